//! `GET` and `DELETE /_synapse/admin/v1/users/{user}/media`.

use std::cmp::Ordering;

use axum::Json;
use serde::Serialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Operation;
use wardroom_media::{MediaError, MediaInfo, UserNid};
use wardroom_web::ApiError;

use super::{Shown, of_media};
use crate::{
    AdminState,
    endpoint::{Asked, Endpoints, next_place},
};

/// Media of a user.
const MEDIA: &str = "/_synapse/admin/v1/users/{user_id}/media";

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new().get(MEDIA, Operation, "Lists what a user uploaded.", list).delete(
        MEDIA,
        Operation,
        "Deletes a page of what a user uploaded.",
        delete,
    )
}

type Order = fn(&MediaInfo, &MediaInfo) -> Ordering;

fn order(name: Option<&str>) -> Result<Order, ApiError> {
    Ok(match name {
        None | Some("created_ts") => |a, b| a.created_ms.cmp(&b.created_ms),
        Some("media_id") => |a, b| a.media.id().cmp(b.media.id()),
        Some("upload_name") => |a, b| a.filename.cmp(&b.filename),
        Some("last_access_ts") => |a, b| a.last_used_ms.cmp(&b.last_used_ms),
        Some("media_length") => |a, b| a.length.cmp(&b.length),
        Some("media_type") => |a, b| a.content_type.cmp(&b.content_type),
        Some("quarantined_by") => |a, b| a.quarantined_ms.cmp(&b.quarantined_ms),
        Some("safe_from_quarantine") => |a, b| a.protected.cmp(&b.protected),
        Some(_) => return Err(ApiError::invalid_param("order_by: media cannot be ordered by this")),
    })
}

/// A page of a user's media, and how many there are.
async fn page(state: &AdminState, asked: &Asked) -> Result<(Vec<MediaInfo>, usize), ApiError> {
    let (from, limit) = asked.page()?;
    let order = order(asked.get("order_by"))?;
    // The newest first, unless an order is asked for.
    let backwards = asked.backwards(asked.get("order_by").is_none())?;
    let user = asked.local_user(state, 0).await?;
    let mut all = state.media.all_of_user(UserNid::new(user.nid.get())).await.map_err(of_media)?;
    all.sort_by(|a, b| if backwards { order(a, b).reverse() } else { order(a, b) });
    let total = all.len();
    Ok((all.into_iter().skip(from).take(limit).collect(), total))
}

#[derive(Serialize)]
struct Listed {
    media: Vec<Shown>,
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<usize>,
}

async fn list(state: AdminState, asked: Asked) -> Result<Json<Listed>, ApiError> {
    let (page, total) = page(&state, &asked).await?;
    let next_token = next_place(asked.page()?.0, page.len(), total);
    let mut media = Vec::with_capacity(page.len());
    for info in page {
        media.push(Shown::of(&state, info).await?);
    }
    Ok(Json(Listed { media, total, next_token }))
}

async fn delete(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let mut deleted = Vec::new();
    for info in page(&state, &asked).await?.0 {
        match state.media.delete(&info.media).await {
            Ok(true) => deleted.push(info.media.id().to_owned()),
            Ok(false) | Err(MediaError::Held(_)) => {}
            Err(error) => return Err(of_media(error)),
        }
    }
    Ok(Json(json!({ "total": deleted.len(), "deleted_media": deleted })))
}

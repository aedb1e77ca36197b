//! `GET /_synapse/admin/v1/statistics/users/media`: how much each user has stored.

use axum::Json;
use serde::Serialize;
use wardroom_accounts::{AdminScope::Operation, UserNid};
use wardroom_web::ApiError;

use super::of_media;
use crate::{
    AdminState,
    endpoint::{Asked, Endpoints, next_place},
};

pub(super) fn endpoints() -> Endpoints {
    let summary = "Tells how much each user has stored who has stored anything.";
    Endpoints::new().get("/_synapse/admin/v1/statistics/users/media", Operation, summary, list)
}

#[derive(Serialize)]
struct Row {
    user_id: String,
    displayname: Option<String>,
    media_count: u64,
    media_length: u64,
}

#[derive(Serialize)]
struct Listed {
    users: Vec<Row>,
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<usize>,
}

async fn list(state: AdminState, asked: Asked) -> Result<Json<Listed>, ApiError> {
    let (from, limit) = asked.page()?;
    let (from_ms, until_ms) = (asked.number("from_ts")?, asked.number("until_ts")?);
    let period =
        (from_ms.is_some() || until_ms.is_some()).then(|| (from_ms.unwrap_or(0), until_ms.unwrap_or(u64::MAX)));
    if period.is_some_and(|(from_ms, until_ms)| until_ms < from_ms) {
        return Err(ApiError::invalid_param("until_ts: must not be before from_ts."));
    }
    let term = asked.text("search_term").map(|term| term.to_lowercase());
    let mut rows = Vec::new();
    for usage in state.media.usage_of_all(period).await.map_err(of_media)? {
        let Some(user) = state.accounts.user_by_nid(UserNid::new(usage.user.get())).await? else { continue };
        let displayname = state.accounts.profile(&user.id).await?.and_then(|profile| profile.displayname);
        let fits = |term: &String| {
            user.id.as_str().to_lowercase().contains(term)
                || displayname.as_ref().is_some_and(|name| name.to_lowercase().contains(term))
        };
        if term.as_ref().is_none_or(fits) {
            rows.push(Row {
                user_id: user.id.to_string(),
                displayname,
                media_count: usage.files,
                media_length: usage.bytes,
            });
        }
    }
    match asked.get("order_by") {
        None | Some("user_id") => rows.sort_by(|a, b| a.user_id.cmp(&b.user_id)),
        Some("displayname") => rows.sort_by(|a, b| a.displayname.cmp(&b.displayname)),
        Some("media_count") => rows.sort_by_key(|row| row.media_count),
        Some("media_length") => rows.sort_by_key(|row| row.media_length),
        Some(_) => return Err(ApiError::invalid_param("order_by: users cannot be ordered by this")),
    }
    if asked.backwards(false)? {
        rows.reverse();
    }
    let total = rows.len();
    let users: Vec<Row> = rows.into_iter().skip(from).take(limit).collect();
    let next_token = next_place(from, users.len(), total);
    Ok(Json(Listed { users, total, next_token }))
}

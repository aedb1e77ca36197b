//! `POST /_wardroom/admin/v1/users/{user}/erase` and `GET .../erasure`: erasing a person (GDPR, articles 17 and 19), and what
//! was done: what was removed, what a legal hold keeps, and which other servers have copies.

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Privacy;
use wardroom_rooms::{Erasure, ErasureWish, UserNid};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .post(
            "/_wardroom/admin/v1/users/{user_id}/erase",
            Privacy,
            "Closes an account and erases the person, now or after `defer_until_ts` (milliseconds), for a `reason`.",
            erase,
        )
        .get(
            "/_wardroom/admin/v1/users/{user_id}/erasure",
            Privacy,
            "Tells how far the erasure of a person got, what stays, and which other servers have copies.",
            show,
        )
}

/// An erasure, without what only the work on it needs.
fn shown(erasure: &Erasure) -> Json<Value> {
    let mut shown = json!(erasure);
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("closed");
        fields.remove("last_room");
    }
    Json(shown)
}

async fn erase(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        reason: Option<String>,
        defer_until_ts: Option<u64>,
    }
    let Body { reason, defer_until_ts } = asked.body()?;
    if defer_until_ts.is_some() && reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
        return Err(ApiError::missing_param("reason: must say why the erasure is put off."));
    }
    let user = asked.subject(&state, 0).await?;
    if user.nid == asked.session.nid {
        return Err(ApiError::invalid_param("user_id: You may not take your own account away."));
    }
    let nid = UserNid::new(user.nid.get());
    let wish = ErasureWish { user: &user.id, nid, reason, until_ms: defer_until_ts };
    Ok(shown(&state.rooms.erase_user(wish).await.map_err(error::of_room)?))
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let user = asked.user_id(0)?;
    let unknown = || ApiError::not_found("Nobody asked for this user to be erased.");
    let nid = state.accounts.user_nid(&user).await?.ok_or_else(unknown)?;
    let erasure = state.rooms.erasure(UserNid::new(nid.get())).await.map_err(error::of_room)?;
    Ok(shown(&erasure.ok_or_else(unknown)?))
}

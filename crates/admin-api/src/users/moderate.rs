//! `PUT /_synapse/admin/v1/suspend/{user}`, `POST v1/user/{user}/redact` and what became of it, and
//! `POST v1/users/{user}/login`.

use std::collections::BTreeMap;

use axum::Json;
use ruma::OwnedRoomId;
use serde::Deserialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::{Privacy, Rooms, Users};
use wardroom_rooms::{MassRedaction, REDACTION_EVENTS_MAX, UserNid, Work};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

/// Events of each room that are redacted where the request does not say how many.
const REDACTED_DEFAULT: u64 = 1_000;

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .put("/_synapse/admin/v1/suspend/{user_id}", Users, "Suspends an account, or ends that.", suspend)
        .post("/_synapse/admin/v1/user/{user_id}/redact", Rooms, "Redacts what a user sent, in the background.", redact)
        .get("/_synapse/admin/v1/user/redact_status/{redact_id}", Rooms, "Tells how far a redaction got.", redacted)
        .post(
            "/_synapse/admin/v1/users/{user_id}/login",
            Privacy,
            "Signs in as a user, where the configuration allows it.",
            login,
        )
}

async fn suspend(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        suspend: bool,
    }
    let Body { suspend } = asked.body()?;
    let user = asked.subject(&state, 0).await?;
    if user.nid == asked.session.nid {
        return Err(ApiError::invalid_param("user_id: You may not suspend yourself."));
    }
    state.accounts.moderate(&user.id, |moderation| moderation.suspended = suspend).await?;
    Ok(Json(json!({ format!("user_{}_suspended", user.id): suspend })))
}

async fn redact(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        rooms: Vec<OwnedRoomId>,
        #[serde(default)]
        reason: Option<String>,
        #[serde(default)]
        limit: Option<u64>,
        #[serde(default)]
        use_admin: bool,
    }
    let (user, body) = (asked.user_id(0)?, asked.body::<Body>()?);
    let limit = body.limit.unwrap_or(REDACTED_DEFAULT);
    if limit == 0 || limit > REDACTION_EVENTS_MAX {
        return Err(ApiError::invalid_param(format!("limit: must be from 1 to {REDACTION_EVENTS_MAX}.")));
    }
    let nid = state.accounts.user_nid(&user).await?;
    let nid = nid.ok_or_else(|| ApiError::not_found("user_id: nobody of this name is known here."))?;
    let rooms = match body.rooms {
        rooms if rooms.is_empty() => {
            let all = state.rooms.rooms_ever_joined(UserNid::new(nid.get())).await;
            all.map_err(error::of_room)?
        }
        rooms => rooms,
    };
    let mut wish = MassRedaction::new(user, asked.session.user.clone(), asked.nid(), rooms);
    (wish.reason, wish.limit, wish.by_requester) = (body.reason, limit, body.use_admin);
    let id = state.rooms.redact_user(wish).await.map_err(error::of_room)?;
    Ok(Json(json!({ "redact_id": id })))
}

async fn redacted(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let task = state.rooms.task(asked.part(0)).await.map_err(error::of_room)?;
    let no_such = || ApiError::not_found("redact_id: no such redaction is known.");
    let task = task.ok_or_else(no_such)?;
    let Work::Redact(redaction) = &task.work else { return Err(no_such()) };
    let failed: &BTreeMap<String, String> = &redaction.failed;
    let mut shown = json!({
        "status": task.status.word(),
        "failed_redactions": failed,
        "successful_redactions": redaction.redacted,
    });
    if let Some(error) = &task.error {
        shown["error"] = error.as_str().into();
    }
    Ok(Json(shown))
}

async fn login(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        valid_until_ms: Option<u64>,
    }
    let Body { valid_until_ms } = asked.body()?;
    if !state.impersonation {
        return Err(ApiError::forbidden("Signing in as other users is off on this server (admin.impersonation)."));
    }
    let user = asked.subject(&state, 0).await?;
    if user.nid == asked.session.nid {
        return Err(ApiError::invalid_param("user_id: This is yourself."));
    }
    if valid_until_ms.is_some_and(|until_ms| until_ms <= state.accounts.now_ms()) {
        return Err(ApiError::invalid_param("valid_until_ms: is in the past."));
    }
    let login = state.accounts.impersonate(asked.session.nid, &user.id, valid_until_ms).await?;
    tracing::warn!(admin = asked.nid().get(), user = user.nid.get(), "an administrator signed in as another user");
    Ok(Json(json!({ "access_token": login.access_token })))
}

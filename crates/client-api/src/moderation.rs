//! What administrators do with accounts: `GET /admin/whois/{userId}`, `GET` and `PUT /admin/lock/{userId}` and
//! `/admin/suspend/{userId}` ([spec](https://spec.matrix.org/v1.19/client-server-api/#server-administration)).

use axum::{Json, extract::State};
use ruma::{
    UserId,
    api::client::admin::{get_user_info, is_user_locked, is_user_suspended, lock_user, suspend_user},
};
use serde_json::{Map, Value, json};
use wardroom_accounts::{AdminScope, Moderation, Session};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(whois).endpoint(is_locked).endpoint(lock).endpoint(is_suspended).endpoint(suspend)
}

/// Refuses administrators to whom accounts were not left.
async fn check_scope(state: &ClientState, session: &Session) -> Result<(), ApiError> {
    if state.accounts.admin_scopes(session.nid).await?.has(AdminScope::Users) {
        return Ok(());
    }
    Err(ApiError::forbidden("Your administrator account does not have the scope `users`."))
}

/// Refuses who may not moderate this user. Before anything is looked up: nobody else may find out who exists.
async fn may_moderate(state: &ClientState, session: &Session, user: &UserId) -> Result<(), ApiError> {
    if !session.admin {
        return Err(ApiError::forbidden("You are no administrator of this server."));
    }
    check_scope(state, session).await?;
    if !state.accounts.is_local(user) {
        return Err(ApiError::invalid_param("userId: is no user of this server."));
    }
    if state.accounts.user(user).await?.is_some_and(|user| user.admin) {
        return Err(ApiError::forbidden("userId: is an administrator of this server."));
    }
    Ok(())
}

async fn moderation(state: &ClientState, session: &Session, user: &UserId) -> Result<Moderation, ApiError> {
    may_moderate(state, session, user).await?;
    let moderation = state.accounts.moderation(user).await?;
    moderation.ok_or_else(|| ApiError::not_found("There is no such user on this server."))
}

/// Changes an account; one that was closed looks like one that never was.
async fn moderate(
    state: &ClientState,
    session: &Session,
    user: &UserId,
    change: impl Fn(&mut Moderation),
) -> Result<Moderation, ApiError> {
    moderation(state, session, user).await?;
    Ok(state.accounts.moderate(user, change).await?)
}

async fn is_locked(
    State(state): State<ClientState>,
    request: Ruma<is_user_locked::v1::Request>,
) -> Result<Reply<is_user_locked::v1::Response>, ApiError> {
    let found = moderation(&state, &request.session, &request.body.user_id).await?;
    Ok(Reply(is_user_locked::v1::Response::new(found.locked)))
}

async fn lock(
    State(state): State<ClientState>,
    request: Ruma<lock_user::v1::Request>,
) -> Result<Reply<lock_user::v1::Response>, ApiError> {
    let locked = request.body.locked;
    let change = |moderation: &mut Moderation| moderation.locked = locked;
    let now = moderate(&state, &request.session, &request.body.user_id, change).await?;
    Ok(Reply(lock_user::v1::Response::new(now.locked)))
}

async fn is_suspended(
    State(state): State<ClientState>,
    request: Ruma<is_user_suspended::v1::Request>,
) -> Result<Reply<is_user_suspended::v1::Response>, ApiError> {
    let found = moderation(&state, &request.session, &request.body.user_id).await?;
    Ok(Reply(is_user_suspended::v1::Response::new(found.suspended)))
}

async fn suspend(
    State(state): State<ClientState>,
    request: Ruma<suspend_user::v1::Request>,
) -> Result<Reply<suspend_user::v1::Response>, ApiError> {
    let suspended = request.body.suspended;
    let change = |moderation: &mut Moderation| moderation.suspended = suspended;
    let now = moderate(&state, &request.session, &request.body.user_id, change).await?;
    Ok(Reply(suspend_user::v1::Response::new(now.suspended)))
}

/// Where a user is signed in: told to the user and to administrators.
async fn whois(
    State(state): State<ClientState>,
    request: Ruma<get_user_info::v3::Request>,
) -> Result<Json<Value>, ApiError> {
    let user = &request.body.user_id;
    if *user != request.session.user {
        if !request.session.admin {
            return Err(ApiError::forbidden("You are no administrator of this server."));
        }
        check_scope(&state, &request.session).await?;
    }
    let found = state.accounts.user(user).await?.filter(|user| !user.deactivated);
    let found = found.ok_or_else(|| ApiError::not_found("There is no such user on this server."))?;
    let mut devices = Map::new();
    for device in state.accounts.devices(found.nid).await? {
        let connection = json!({
            "ip": device.last_seen_ip.map(|ip| ip.to_string()),
            "last_seen": device.last_seen_ms,
            "user_agent": null,
        });
        devices.insert(device.id.to_string(), json!({ "sessions": [{ "connections": [connection] }] }));
    }
    Ok(Json(json!({ "user_id": user, "devices": devices })))
}

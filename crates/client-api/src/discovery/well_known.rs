//! `GET /.well-known/matrix/client`, `/.well-known/matrix/support` and `/.well-known/matrix/policy_server` (client-server API, section "Well-known URIs").

use axum::{Json, extract::State};
use ruma::{
    api::client::discovery::{discover_homeserver::Request, discover_policy_server, discover_support},
    serde::Base64,
};
use serde_json::{Value, json};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::{ClientState, calls};

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(discover_homeserver).endpoint(discover_support).endpoint(discover_policy_server)
}

/// Element Call before the endpoint for transports looks for them here.
async fn discover_homeserver(
    State(state): State<ClientState>,
    _request: Ruma<Request>,
) -> Result<Json<Value>, ApiError> {
    let mut found = json!({ "m.homeserver": { "base_url": state.settings.public_url } });
    let transports = calls::meeting_points(&state);
    if !transports.is_empty() {
        found["org.matrix.msc4143.rtc_foci"] = transports.into();
    }
    Ok(Json(found))
}

async fn discover_support(
    State(state): State<ClientState>,
    _request: Ruma<discover_support::Request>,
) -> Result<Reply<discover_support::Response>, ApiError> {
    let support = &state.settings.support;
    let mut answer = discover_support::Response::with_contacts(support.contacts.clone());
    answer.support_page.clone_from(&support.page);
    if answer.contacts.is_empty() && answer.support_page.is_none() {
        return Err(ApiError::not_found("This server names nobody to turn to."));
    }
    Ok(Reply(answer))
}

/// The key that rooms name in `m.room.policy` when this server is to be their policy server.
async fn discover_policy_server(
    State(state): State<ClientState>,
    _request: Ruma<discover_policy_server::Request>,
) -> Result<Reply<discover_policy_server::Response>, ApiError> {
    let key = state.rooms.policy_key().ok_or_else(|| ApiError::not_found("This is no policy server."))?;
    Ok(Reply(discover_policy_server::Response::new(Base64::new(key.to_vec()))))
}

//! `GET /.well-known/matrix/client` and `/.well-known/matrix/support` (client-server API, section "Well-known URIs").

use axum::extract::State;
use ruma::api::client::discovery::{
    discover_homeserver::{HomeserverInfo, Request, Response},
    discover_support,
};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(discover_homeserver).endpoint(discover_support)
}

async fn discover_homeserver(
    State(state): State<ClientState>,
    _request: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    Ok(Reply(Response::new(HomeserverInfo::new(state.settings.public_url.clone()))))
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

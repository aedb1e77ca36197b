//! `GET /.well-known/matrix/client` (client-server API, section "Well-known URIs").

use axum::extract::State;
use ruma::api::client::discovery::discover_homeserver::{HomeserverInfo, Request, Response};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(discover_homeserver)
}

async fn discover_homeserver(
    State(state): State<ClientState>,
    _request: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    Ok(Reply(Response::new(HomeserverInfo::new(state.settings.public_url.clone()))))
}

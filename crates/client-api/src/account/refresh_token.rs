//! `POST /_matrix/client/v3/refresh` (client-server API, section "Refreshing access tokens").

use std::time::Duration;

use axum::extract::State;
use ruma::api::client::session::refresh_token::v3::{Request, Response};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(refresh_token)
}

async fn refresh_token(State(state): State<ClientState>, request: Ruma<Request>) -> Result<Reply<Response>, ApiError> {
    state.limits.take(Class::Login, request.client_ip)?;
    let refreshed = state.accounts.refresh(&request.body.refresh_token).await?;
    let mut response = Response::new(refreshed.access_token);
    response.refresh_token = refreshed.refresh_token;
    response.expires_in_ms = refreshed.expires_in_ms.map(Duration::from_millis);
    Ok(Reply(response))
}

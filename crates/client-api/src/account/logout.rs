//! `POST /_matrix/client/v3/logout` and `.../logout/all` (client-server API, section "Legacy authentication").

use axum::extract::State;
use ruma::api::client::session::{logout, logout_all};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(logout).endpoint(logout_all)
}

async fn logout(
    State(state): State<ClientState>,
    request: Ruma<logout::v3::Request>,
) -> Result<Reply<logout::v3::Response>, ApiError> {
    state.accounts.logout(&request.session).await?;
    Ok(Reply(logout::v3::Response::new()))
}

async fn logout_all(
    State(state): State<ClientState>,
    request: Ruma<logout_all::v3::Request>,
) -> Result<Reply<logout_all::v3::Response>, ApiError> {
    state.accounts.logout_all(request.session.nid).await?;
    Ok(Reply(logout_all::v3::Response::new()))
}

//! `GET /_matrix/client/v3/account/whoami` (client-server API, section "Current account information").

use axum::extract::State;
use ruma::api::client::account::whoami::v3::{Request, Response};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(whoami)
}

async fn whoami(State(_): State<ClientState>, request: Ruma<Request>) -> Result<Reply<Response>, ApiError> {
    let mut response = Response::new(request.session.user.clone(), request.session.guest);
    response.device_id = Some(request.session.device.clone());
    Ok(Reply(response))
}

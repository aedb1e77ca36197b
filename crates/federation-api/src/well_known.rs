//! `GET /.well-known/matrix/server`: where other servers reach this one.

use axum::extract::State;
use ruma::api::federation::discovery::discover_homeserver::{Request, Response};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::FederationState;

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().endpoint(discover)
}

async fn discover(State(state): State<FederationState>, _: Ruma<Request>) -> Result<Reply<Response>, ApiError> {
    let server = state.well_known_server;
    let server = server.ok_or_else(|| ApiError::not_found("This server is not reached by delegation."))?;
    Ok(Reply(Response::new(server)))
}

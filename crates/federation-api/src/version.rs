//! `GET /_matrix/federation/v1/version`: which software this is.

use axum::extract::State;
use ruma::api::federation::discovery::get_server_version::v1;
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::FederationState;

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().endpoint(version)
}

async fn version(_: State<FederationState>, _: Ruma<v1::Request>) -> Result<Reply<v1::Response>, ApiError> {
    let mut server = v1::Server::new();
    server.name = Some("Wardroom".to_owned());
    server.version = Some(env!("CARGO_PKG_VERSION").to_owned());
    let mut response = v1::Response::new();
    response.server = Some(server);
    Ok(Reply(response))
}

//! `GET /keys/changes` ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges)).

use axum::extract::State;
use ruma::api::client::keys::get_key_changes::v3::{Request, Response};
use wardroom_sync::SyncToken;
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::ClientState;

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_key_changes)
}

async fn get_key_changes(
    State(state): State<ClientState>,
    Ruma { body, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    let (from, to) = (token("from", &body.from)?, token("to", &body.to)?);
    let lists = state.sync.device_list_changes(&session, from, to).await;
    let lists = lists.map_err(|failure| ApiError::internal(&failure))?;
    Ok(Reply(Response::new(lists.changed, lists.left)))
}

fn token(field: &str, text: &str) -> Result<SyncToken, ApiError> {
    text.parse().map_err(|_| ApiError::invalid_param(format!("{field}: is not a token that this server gave")))
}

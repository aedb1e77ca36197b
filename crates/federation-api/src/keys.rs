//! `/_matrix/key/v2`: the keys of this server ([Retrieving server keys][spec]).
//!
//! [spec]: https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys

use axum::extract::State;
use ruma::api::federation::discovery::get_server_keys;
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::FederationState;

/// The path of old servers, which name the key that they want. All keys are in the answer.
const WITH_KEY_ID: &str = "/_matrix/key/v2/server/{key_id}";

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().endpoint(own).endpoint_at(&[WITH_KEY_ID], own)
}

async fn own(
    State(state): State<FederationState>,
    _: Ruma<get_server_keys::v2::Request>,
) -> Result<Reply<get_server_keys::v2::Response>, ApiError> {
    let document = state.federation.partners.key_document().map_err(|error| ApiError::internal(&error))?;
    Ok(Reply(get_server_keys::v2::Response::new(document)))
}

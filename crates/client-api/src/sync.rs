//! `GET /_matrix/client/v3/sync`: what is news to a device.
//!
//! [Specification](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync)

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, header::CONTENT_TYPE};
use ruma::{
    api::client::sync::sync_events::v3::{Filter, Request},
    presence::PresenceState,
};
use wardroom_sync::{BadToken, FilterChoice, SyncError, SyncRequest, SyncToken};
use wardroom_web::{ApiError, Routes, Ruma};

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(sync)
}

/// Presence (`set_presence`) does nothing yet.
async fn sync(State(state): State<ClientState>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, session, .. } = request;
    if !matches!(body.set_presence, PresenceState::Online | PresenceState::Offline | PresenceState::Unavailable) {
        return Err(ApiError::invalid_param("set_presence: must be online, offline or unavailable."));
    }
    let since = body.since.map(|since| since.parse::<SyncToken>()).transpose();
    let since = since.map_err(|error: BadToken| ApiError::invalid_param(error.to_string()))?;
    let filter = match body.filter {
        Some(Filter::FilterDefinition(filter)) => Some(FilterChoice::Inline(Box::new(filter))),
        Some(Filter::FilterId(id)) => Some(FilterChoice::Stored(id)),
        _ => None,
    };
    let timeout = body.timeout.unwrap_or_default();
    let asked = SyncRequest { since, filter, full_state: body.full_state, state_after: body.use_state_after, timeout };
    let answer = state.sync.sync(&session, asked, state.stopping.cancelled()).await.map_err(refusal)?;
    let mut response = answer.body.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn refusal(error: SyncError) -> ApiError {
    match error {
        SyncError::UnknownFilter | SyncError::BadFilter(_) => ApiError::invalid_param(error.to_string()),
        failure => ApiError::internal(&failure),
    }
}

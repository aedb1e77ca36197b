//! `GET /_matrix/client/v3/sync`: what is news to a device.
//!
//! [Specification](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync)

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, header::CONTENT_TYPE};
use ruma::api::client::sync::sync_events::v3::{Filter, Request};
use wardroom_sync::{BadToken, FilterChoice, SyncRequest, SyncToken};
use wardroom_web::{ApiError, Routes, Ruma};

use crate::{ClientState, error, presence::availability};

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(sync)
}

async fn sync(State(state): State<ClientState>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, session, .. } = request;
    let availability = availability("set_presence", &body.set_presence)?;
    let since = body.since.map(|since| since.parse::<SyncToken>()).transpose();
    let since = since.map_err(|error: BadToken| ApiError::invalid_param(error.to_string()))?;
    let filter = match body.filter {
        Some(Filter::FilterDefinition(filter)) => Some(FilterChoice::Inline(Box::new(filter))),
        Some(Filter::FilterId(id)) => Some(FilterChoice::Stored(id)),
        _ => None,
    };
    let timeout = body.timeout.unwrap_or_default();
    let asked = SyncRequest { since, filter, full_state: body.full_state, state_after: body.use_state_after, timeout };
    let _present = state.accounts.presence().begin_sync(&session, availability);
    let answer = state.sync.sync(&session, asked, state.stopping.cancelled()).await.map_err(error::of_sync)?;
    state.note_rooms_seen("sync", &answer.sights).await?;
    let mut response = answer.body.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

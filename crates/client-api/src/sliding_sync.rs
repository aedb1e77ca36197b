//! `POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync`: what is news to a connection of a device, by
//! windows of rooms.
//!
//! [MSC4186](https://github.com/matrix-org/matrix-spec-proposals/pull/4186), in the form that clients speak.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use ruma::api::{client::sync::sync_events::v5::Request, error::ErrorKind};
use wardroom_sync::{BadRequest, SlidingRequest, SyncError};
use wardroom_web::{ApiError, Routes, Ruma};

use crate::{ClientState, error::of_sync, presence::availability};

pub(crate) fn routes() -> Routes<ClientState> {
    // What a connection remembers changes when the answer is ready, at once: a client that hangs up changes nothing.
    Routes::new().reading_endpoint(sliding_sync)
}

/// The body is read again as a [`SlidingRequest`], for filters that ruma's type lacks.
async fn sliding_sync(State(state): State<ClientState>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, session, json, .. } = request;
    let availability = availability("set_presence", &body.set_presence)?;
    let asked = SlidingRequest::new(body.pos.as_deref(), body.timeout, &json).map_err(|error| {
        let sentence = error.to_string();
        match error {
            BadRequest::Form(_) => ApiError::bad_json(sentence),
            BadRequest::Value(_) => ApiError::invalid_param(sentence),
            BadRequest::Pos => unknown_pos(sentence),
        }
    })?;
    let _present = state.accounts.presence().begin_sync(&session, availability);
    let answer =
        state.sync.sliding_sync(&session, &asked, state.stopping.cancelled()).await.map_err(|error| match error {
            SyncError::UnknownPos => unknown_pos(error.to_string()),
            failure => of_sync(failure),
        })?;
    state.note_rooms_seen("sliding_sync", &answer.sights).await?;
    let mut response = answer.body.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn unknown_pos(sentence: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::UnknownPos, sentence)
}

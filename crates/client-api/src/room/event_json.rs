//! Answers made of many events. Each event is written once and copied once, never parsed again.

use std::sync::Arc;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header::CONTENT_TYPE};
use ruma::RoomId;
use serde::Serialize;
use serde_json::value::RawValue as RawJsonValue;
use wardroom_rooms::{Actor, Stored, Viewer};
use wardroom_web::ApiError;

use crate::{ClientState, error};

/// Bytes of an answer besides its events: names of fields, tokens.
const ENVELOPE_BYTES: usize = 256;

/// Events as their reader gets them, in order.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Events(Vec<Box<RawJsonValue>>);

impl Events {
    /// Writes events for a reader, each with its `room_id`.
    pub(super) async fn of(state: &ClientState, reader: Actor<'_>, events: &[Arc<Stored>]) -> Result<Self, ApiError> {
        let mut written = Vec::with_capacity(events.len());
        for event in events {
            written.push(state.rooms.client_event(reader, event, true).await.map_err(error::of_room)?);
        }
        Ok(Self(written))
    }

    /// Writes events of one room's timeline for a viewer, with what belongs to them: their bundled aggregations.
    pub(super) async fn with_relations(
        state: &ClientState,
        viewer: Viewer<'_>,
        room: &RoomId,
        events: &[Arc<Stored>],
    ) -> Result<Self, ApiError> {
        Ok(Self(state.rooms.client_events(viewer, room, events).await.map_err(error::of_room)?))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Length of their JSON.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|event| event.get().len() + 1).sum()
    }
}

/// An answer with events in it.
#[derive(Debug)]
pub(super) struct EventsReply<T> {
    pub(super) body: T,
    /// Length of the events' JSON, for which room is made at once.
    pub(super) events_bytes: usize,
}

impl<T: Serialize> IntoResponse for EventsReply<T> {
    fn into_response(self) -> Response {
        let mut json = Vec::with_capacity(self.events_bytes + ENVELOPE_BYTES);
        match serde_json::to_writer(&mut json, &self.body) {
            Ok(()) => {
                let mut response = Response::new(Body::from(json));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(error) => ApiError::internal(&error).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, response::IntoResponse as _};
    use serde_json::{json, value::to_raw_value};

    use super::{Events, EventsReply};

    #[tokio::test]
    async fn events_are_copied_as_they_are() {
        let events = Events(vec![to_raw_value(&json!({"a": 1})).unwrap(), to_raw_value(&json!({"b": "é"})).unwrap()]);
        let reply = EventsReply { events_bytes: events.bytes(), body: events };
        let response = reply.into_response();
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = to_bytes(response.into_body(), 1_000).await.unwrap();
        assert_eq!(body, "[{\"a\":1},{\"b\":\"é\"}]".as_bytes());
    }
}

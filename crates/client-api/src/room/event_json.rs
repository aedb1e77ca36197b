//! Answers made of many events. Each event is written once and copied once, never parsed again.

use std::sync::Arc;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header::CONTENT_TYPE};
use ruma::RoomId;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_rooms::{Actor, Stored, Viewer};
use wardroom_web::ApiError;

use crate::{ClientState, error};

/// Bytes of an answer besides its events: names of fields, tokens.
const ENVELOPE_BYTES: usize = 256;

/// Events as their reader gets them, in order.
#[derive(Debug, Default)]
pub(super) struct Events {
    written: Vec<Box<RawJsonValue>>,
    events: Vec<Arc<Stored>>,
}

impl Serialize for Events {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}

impl Events {
    /// Writes events for a reader, each with its `room_id`.
    pub(super) async fn of(state: &ClientState, reader: Actor<'_>, events: &[Arc<Stored>]) -> Result<Self, ApiError> {
        let mut written = Vec::with_capacity(events.len());
        for event in events {
            written.push(state.rooms.client_event(reader, event, true).await.map_err(error::of_room)?);
        }
        Ok(Self { written, events: events.to_vec() })
    }

    /// Writes events of one room's timeline for a viewer, with what belongs to them: their bundled aggregations.
    pub(super) async fn with_relations(
        state: &ClientState,
        viewer: Viewer<'_>,
        room: &RoomId,
        events: &[Arc<Stored>],
    ) -> Result<Self, ApiError> {
        let written = state.rooms.client_events(viewer, room, events).await.map_err(error::of_room)?;
        Ok(Self { written, events: events.to_vec() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// As [`Serialize`], for a list of one event that stands by itself.
    pub(super) fn serialize_only<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written.first().serialize(serializer)
    }

    /// The events.
    pub(super) fn stored(&self) -> &[Arc<Stored>] {
        &self.events
    }

    /// Length of their JSON.
    fn bytes(&self) -> usize {
        self.written.iter().map(|event| event.get().len() + 1).sum()
    }
}

/// An answer with events in it, which were recorded to be seen.
#[derive(Debug)]
pub(super) struct EventsReply<T> {
    body: T,
    /// Length of the events' JSON, for which room is made at once.
    events_bytes: usize,
}

impl<T> EventsReply<T> {
    /// An answer with these events of a room.
    pub(super) async fn of_room(
        state: &ClientState,
        room: &RoomId,
        endpoint: &'static str,
        body: T,
        events: impl Fn(&T) -> Vec<&Events>,
    ) -> Result<Self, ApiError> {
        let lists = events(&body);
        state.note_seen(room, endpoint, lists.iter().flat_map(|events| events.stored())).await?;
        let events_bytes = lists.iter().map(|events| events.bytes()).sum();
        Ok(Self { body, events_bytes })
    }

    /// An answer whose events were recorded to be seen.
    pub(super) const fn recorded(body: T, events_bytes: usize) -> Self {
        Self { body, events_bytes }
    }
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
        let written = vec![to_raw_value(&json!({"a": 1})).unwrap(), to_raw_value(&json!({"b": "é"})).unwrap()];
        let events = Events { written, events: Vec::new() };
        let reply = EventsReply { events_bytes: events.bytes(), body: events };
        let response = reply.into_response();
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = to_bytes(response.into_body(), 1_000).await.unwrap();
        assert_eq!(body, "[{\"a\":1},{\"b\":\"é\"}]".as_bytes());
    }
}

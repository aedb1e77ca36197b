//! Answers with many events: they are read while they are sent, so that the state of a large room is never in memory as
//! a whole.

use std::{io, mem};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use wardroom_event::Pdu;
use wardroom_rooms::{EventNid, RoomError, RoomNid, Rooms};
use wardroom_web::ApiError;

/// Events that are read and sent at a time.
const CHUNK_EVENTS: usize = 200;

/// A JSON object under way: what is still to be sent.
struct Sending {
    rooms: Rooms,
    room: RoomNid,
    /// What goes out before the next list.
    before: Vec<u8>,
    /// The current list and those after it, by name, in reverse.
    lists: Vec<(&'static str, Vec<EventNid>)>,
    /// How far the current list has gone out; `None` before its beginning.
    sent: Option<usize>,
    /// Whether the current list has an event yet.
    begun: bool,
    end: &'static [u8],
    done: bool,
}

/// The answer with an object of these fields and lists of events; in a list beside the number 200, where the endpoint
/// is an old one.
pub(crate) fn answer(
    rooms: &Rooms,
    room: RoomNid,
    fields: &impl Serialize,
    mut lists: Vec<(&'static str, Vec<EventNid>)>,
    old: bool,
) -> Result<Response, ApiError> {
    let mut before = if old { b"[200,".to_vec() } else { Vec::new() };
    serde_json::to_writer(&mut before, fields).map_err(|error| ApiError::internal(&error))?;
    // The object goes on.
    before.pop();
    lists.reverse();
    let end: &[u8] = if old { b"}]" } else { b"}" };
    let sending = Sending { rooms: rooms.clone(), room, before, lists, sent: None, begun: false, end, done: false };
    let body = stream::try_unfold(sending, |mut sending| async move {
        let next = sending.next().await;
        next.map(|next| next.map(|bytes| (bytes, sending))).map_err(|error| {
            tracing::error!(%error, "an answer to another server broke off");
            io::Error::other(error)
        })
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

impl Sending {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, RoomError> {
        if self.done {
            return Ok(None);
        }
        let mut out = mem::take(&mut self.before);
        let Some((name, nids)) = self.lists.last() else {
            self.done = true;
            out.extend_from_slice(self.end);
            return Ok(Some(Bytes::from(out)));
        };
        let from = match self.sent {
            Some(from) => from,
            None => {
                // After the brace alone there is no comma.
                if out.last().is_none_or(|last| *last != b'{') {
                    out.push(b',');
                }
                out.extend_from_slice(format!("\"{name}\":[").as_bytes());
                self.begun = false;
                0
            }
        };
        let to = nids.len().min(from + CHUNK_EVENTS);
        let events = self.rooms.events(self.room, nids.get(from..to).unwrap_or_default()).await?;
        out.reserve(events.iter().map(|event| event.pdu.json().len() + 1).sum());
        for event in &events {
            if mem::replace(&mut self.begun, true) {
                out.push(b',');
            }
            out.extend_from_slice(event.pdu.json());
        }
        if to == nids.len() {
            out.push(b']');
            self.lists.pop();
            self.sent = None;
        } else {
            self.sent = Some(to);
        }
        Ok(Some(Bytes::from(out)))
    }
}

/// An event as servers exchange it.
pub(crate) fn raw(pdu: &Pdu) -> Result<Box<serde_json::value::RawValue>, ApiError> {
    serde_json::from_slice(pdu.json()).map_err(|error| ApiError::internal(&error))
}

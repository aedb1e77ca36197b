//! Making events of our own.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, ServerName, events::TimelineEventType};
use serde_json::value::{RawValue as RawJsonValue, to_raw_value};

use crate::{
    Pdu, RoomVersion, SigningKey,
    canonical::{Fault, Json, Object},
    hash,
    pdu::{is_own_room, membership, redacts, room_of_create},
    pdu_format::{AUTH_EVENTS_MAX, DEPTH_MAX, FIELD_BYTES_MAX, PDU_BYTES_MAX, PREV_EVENTS_MAX},
    redaction::write,
};

/// An event of a local user before it is hashed and signed.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The room; `None` only for the create event of a room whose id is its hash (version 12).
    pub room_id: Option<OwnedRoomId>,
    /// Who sends it.
    pub sender: OwnedUserId,
    /// The type.
    pub kind: TimelineEventType,
    /// The state key of a state event.
    pub state_key: Option<String>,
    /// The content, any JSON object in any form.
    pub content: Box<RawJsonValue>,
    /// The event that a `m.room.redaction` redacts; it is written where the room version wants it.
    pub redacts: Option<OwnedEventId>,
    /// The newest events of the room.
    pub prev_events: Vec<OwnedEventId>,
    /// The state events that [`crate::auth_types`] asks for.
    pub auth_events: Vec<OwnedEventId>,
    /// One more than the largest depth of `prev_events`. Capped at [`DEPTH_MAX`].
    pub depth: u64,
    /// Now, in milliseconds since 1970.
    pub origin_server_ts: u64,
}

/// Why a draft cannot become an event.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The content cannot be canonical JSON; names the field.
    #[error("{0}")]
    Content(Fault),
    /// The content is not JSON that can be read, or nested too deeply.
    #[error("content: {0}")]
    Json(serde_json::Error),
    /// The event would be larger than [`PDU_BYTES_MAX`].
    #[error("the event would have {bytes} bytes, more than {PDU_BYTES_MAX}")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
    },
    /// A field is longer than [`FIELD_BYTES_MAX`].
    #[error("{field}: longer than {FIELD_BYTES_MAX} bytes")]
    FieldTooLong {
        /// The field.
        field: &'static str,
    },
    /// A list has more entries than events may have.
    #[error("{field}: more than {max} entries")]
    TooMany {
        /// The field.
        field: &'static str,
        /// The most it may have.
        max: usize,
    },
    /// The room id is missing, or given for an event that makes its own.
    #[error("room_id: missing, or given for a create event whose hash is the room id")]
    RoomId,
    /// The time is past what canonical JSON can hold.
    #[error("origin_server_ts: larger than 2^53-1")]
    Timestamp,
}

impl Draft {
    /// Hashes and signs the event for a server, which makes it what other servers accept.
    ///
    /// [Signing events](https://spec.matrix.org/v1.19/server-server-api/#signing-events).
    pub fn sign(self, version: RoomVersion, server_name: &ServerName, key: &SigningKey) -> Result<Pdu, BuildError> {
        let kind = self.kind.to_string();
        self.check(version, &kind)?;
        let rules = &version.rules().redaction;
        let mut content = read_content(&self.content)?;
        let depth = self.depth.min(DEPTH_MAX);
        let top_level_redacts = self.redacts.as_ref().filter(|_| !rules.content_field_redacts);
        if let Some(redacts) = self.redacts.as_ref().filter(|_| rules.content_field_redacts) {
            content.insert("redacts", text(redacts.as_str()));
        }

        let canonical_content = to_raw_value(&content).map_err(BuildError::Json)?;
        let mut event = Object::with_capacity(FIELDS_MAX);
        event.insert("auth_events", ids(&self.auth_events));
        event.insert("content", Json::Object(content));
        event.insert("depth", number(depth));
        event.insert("origin_server_ts", number(self.origin_server_ts));
        event.insert("prev_events", ids(&self.prev_events));
        if let Some(redacts) = top_level_redacts {
            event.insert("redacts", text(redacts.as_str()));
        }
        if let Some(room_id) = &self.room_id {
            event.insert("room_id", text(room_id.as_str()));
        }
        event.insert("sender", text(self.sender.as_str()));
        if let Some(state_key) = &self.state_key {
            event.insert("state_key", text(state_key));
        }
        event.insert("type", text(&kind));

        let mut buffer = Vec::with_capacity(canonical_content.get().len() + ENVELOPE_BYTES);
        let content_hash = hash::content_hash(&event, &mut buffer);
        event.insert("hashes", field("sha256", Json::String(Cow::Owned(content_hash))));
        hash::write_signed_form(&event, rules, &mut buffer);
        let event_id = hash::event_id(&buffer);
        let signature = STANDARD_NO_PAD.encode(key.sign(&buffer));
        let signatures = field(key.key_id().as_str(), Json::String(Cow::Owned(signature)));
        event.insert("signatures", field(server_name.as_str(), signatures));

        buffer.clear();
        write(&mut buffer, &event);
        drop(event);
        if buffer.len() > PDU_BYTES_MAX {
            return Err(BuildError::TooLarge { bytes: buffer.len() });
        }
        self.into_pdu(version, Bytes::from(buffer), event_id, canonical_content)
    }

    /// Checks what does not depend on the content.
    fn check(&self, version: RoomVersion, kind: &str) -> Result<(), BuildError> {
        if self.room_id.is_some() == is_own_room(&self.kind, version) {
            return Err(BuildError::RoomId);
        }
        let lengths = [
            ("room_id", self.room_id.as_ref().map_or(0, |id| id.as_str().len())),
            ("sender", self.sender.as_str().len()),
            ("type", kind.len()),
            ("state_key", self.state_key.as_ref().map_or(0, String::len)),
            ("redacts", self.redacts.as_ref().map_or(0, |id| id.as_str().len())),
        ];
        for (field, bytes) in lengths {
            if bytes > FIELD_BYTES_MAX {
                return Err(BuildError::FieldTooLong { field });
            }
        }
        if self.prev_events.len() > PREV_EVENTS_MAX {
            return Err(BuildError::TooMany { field: "prev_events", max: PREV_EVENTS_MAX });
        }
        if self.auth_events.len() > AUTH_EVENTS_MAX {
            return Err(BuildError::TooMany { field: "auth_events", max: AUTH_EVENTS_MAX });
        }
        if self.origin_server_ts > DEPTH_MAX {
            return Err(BuildError::Timestamp);
        }
        Ok(())
    }

    fn into_pdu(
        self,
        version: RoomVersion,
        json: Bytes,
        event_id: OwnedEventId,
        content: Box<RawJsonValue>,
    ) -> Result<Pdu, BuildError> {
        let names_room = self.room_id.is_some();
        let room_id = match self.room_id {
            Some(room_id) => room_id,
            None => room_of_create(&event_id).map_err(|_| BuildError::RoomId)?,
        };
        let redacts = match self.redacts {
            Some(redacts) if self.kind == TimelineEventType::RoomRedaction => Some(redacts),
            _ => redacts(&self.kind, version, None, &content),
        };
        let membership = membership(&self.kind, &content);
        Ok(Pdu {
            json,
            version,
            event_id,
            room_id,
            names_room,
            sender: self.sender,
            kind: self.kind,
            state_key: self.state_key,
            content,
            prev_events: self.prev_events,
            auth_events: self.auth_events,
            depth: self.depth.min(DEPTH_MAX),
            origin_server_ts: self.origin_server_ts,
            redacts,
            membership,
            rejected: false,
        })
    }
}

/// The top-level fields of an event.
const FIELDS_MAX: usize = 12;
/// About what an event has around its content; only saves growing the buffer.
const ENVELOPE_BYTES: usize = 1024;

fn read_content(content: &RawJsonValue) -> Result<Object<'_>, BuildError> {
    if content.get().len() > crate::RAW_PDU_BYTES_MAX {
        return Err(BuildError::TooLarge { bytes: content.get().len() });
    }
    let tree = Json::read(content.get().as_bytes()).map_err(BuildError::Json)?;
    if let Some(fault) = tree.fault("content").or_else(|| tree.reserved_key("content")) {
        return Err(BuildError::Content(fault));
    }
    match tree {
        Json::Object(object) => Ok(object),
        _ => Err(BuildError::Content(Fault { path: "content".to_owned(), problem: "not an object" })),
    }
}

fn text(text: &str) -> Json<'_> {
    Json::String(Cow::Borrowed(text))
}

/// Numbers come checked against 2^53 - 1.
fn number(number: u64) -> Json<'static> {
    i64::try_from(number).map_or(Json::HugeInteger, Json::Integer)
}

fn ids(ids: &[OwnedEventId]) -> Json<'_> {
    Json::Array(ids.iter().map(|id| text(id.as_str())).collect())
}

fn field<'a>(key: &'a str, value: Json<'a>) -> Json<'a> {
    let mut object = Object::with_capacity(1);
    object.insert(key, value);
    Json::Object(object)
}

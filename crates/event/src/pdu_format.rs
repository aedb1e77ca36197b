//! The event format of federation and its size limits.
//!
//! [Event format](https://spec.matrix.org/v1.19/rooms/v12/#event-format) of each room version, and
//! [size limits](https://spec.matrix.org/v1.19/client-server-api/#size-limits). These are checked here and not by
//! `check_pdu_format` of ruma, which stops one byte short of the limit and serializes the event once more.

use ruma::{EventId, RoomId, UserId};

use crate::{
    RoomVersion,
    canonical::{Fault, Json, Object},
};

/// The largest event, in bytes of canonical JSON with signatures.
pub const PDU_BYTES_MAX: usize = 65_536;
/// The largest text that is read as an event; canonical JSON can only be smaller than what a peer wrote.
pub const RAW_PDU_BYTES_MAX: usize = 8 * PDU_BYTES_MAX;
/// The longest `sender`, `room_id`, `state_key`, `type` and event id, in bytes.
pub const FIELD_BYTES_MAX: usize = 255;
/// The most entries of `prev_events`.
pub const PREV_EVENTS_MAX: usize = 20;
/// The most entries of `auth_events`.
pub const AUTH_EVENTS_MAX: usize = 10;
/// The largest `depth`: 2^53 - 1, the largest integer of canonical JSON.
pub const DEPTH_MAX: u64 = (1 << 53) - 1;

/// Why JSON is not an event.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The text is not JSON.
    #[error("the event is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The text is JSON, but no object.
    #[error("the event is not a JSON object")]
    NotAnObject,
    /// A value cannot be canonical JSON.
    #[error("the event is not canonical JSON: {0}")]
    Canonical(#[from] Fault),
    /// The event is larger than [`PDU_BYTES_MAX`].
    #[error("the event has {bytes} bytes, more than {PDU_BYTES_MAX}")]
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
    /// A required field is not there.
    #[error("{field}: missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field is not what the format wants.
    #[error("{field}: not {expected}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A list has too many entries.
    #[error("{field}: more than {max} entries")]
    TooMany {
        /// The field.
        field: &'static str,
        /// The most it may have.
        max: usize,
    },
    /// A field must not be there in this room version.
    #[error("{field}: not allowed in this room version")]
    Unexpected {
        /// The field.
        field: &'static str,
    },
}

/// Reads an event as a tree of canonical JSON.
pub(crate) fn read_object(json: &[u8]) -> Result<Object<'_>, ParseError> {
    if json.len() > RAW_PDU_BYTES_MAX {
        return Err(ParseError::TooLarge { bytes: json.len() });
    }
    let tree = Json::read(json)?;
    if let Some(fault) = tree.fault("") {
        return Err(fault.into());
    }
    match tree {
        Json::Object(object) => Ok(object),
        _ => Err(ParseError::NotAnObject),
    }
}

/// Checks the fields that every event has. `hashes` and `signatures` are the business of [`crate::verify`].
pub(crate) fn check(event: &Object<'_>, version: RoomVersion) -> Result<(), ParseError> {
    let rules = &version.rules().event_format;
    let kind = required_text(event, "type")?;
    text(event, "state_key")?;
    if <&UserId>::try_from(required_text(event, "sender")?).is_err() {
        return Err(ParseError::Invalid { field: "sender", expected: "a user id" });
    }
    let room_id = if kind != "m.room.create" || rules.require_room_create_room_id {
        Some(required_text(event, "room_id")?)
    } else {
        // Authorization rejects it; the format does not.
        text(event, "room_id")?
    };
    if room_id.is_some_and(|id| <&RoomId>::try_from(id).is_err()) {
        return Err(ParseError::Invalid { field: "room_id", expected: "a room id" });
    }
    if !rules.require_event_id && event.get("event_id").is_some() {
        return Err(ParseError::Unexpected { field: "event_id" });
    }
    event_ids(event, "prev_events", PREV_EVENTS_MAX, None)?;
    // Where the room id is the hash of the create event, listing that event is an error.
    let forbidden = room_id.filter(|_| !rules.allow_room_create_in_auth_events).and_then(|id| id.strip_prefix('!'));
    event_ids(event, "auth_events", AUTH_EVENTS_MAX, forbidden)?;
    natural_number(event, "depth")?;
    natural_number(event, "origin_server_ts")?;
    match event.get("content") {
        Some(content @ Json::Object(_)) => check_reserved(kind, content),
        Some(_) => Err(ParseError::Invalid { field: "content", expected: "an object" }),
        None => Err(ParseError::Missing { field: "content" }),
    }
}

/// Power levels and third-party invites are read through `serde_json::Value` during authorization, which would take
/// certain keys for something else than other servers do; better no such event than one understood differently.
fn check_reserved(kind: &str, content: &Json<'_>) -> Result<(), ParseError> {
    match kind {
        "m.room.power_levels" | "m.room.member" => {
            content.reserved_key("content").map_or(Ok(()), |fault| Err(fault.into()))
        }
        _ => Ok(()),
    }
}

fn text<'t>(event: &'t Object<'_>, field: &'static str) -> Result<Option<&'t str>, ParseError> {
    match event.get(field) {
        None => Ok(None),
        Some(Json::String(text)) if text.len() > FIELD_BYTES_MAX => Err(ParseError::FieldTooLong { field }),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(ParseError::Invalid { field, expected: "a string" }),
    }
}

fn required_text<'t>(event: &'t Object<'_>, field: &'static str) -> Result<&'t str, ParseError> {
    text(event, field)?.ok_or(ParseError::Missing { field })
}

fn event_ids(event: &Object<'_>, field: &'static str, max: usize, forbidden: Option<&str>) -> Result<(), ParseError> {
    let ids = match event.get(field) {
        Some(Json::Array(ids)) => ids,
        Some(_) => return Err(ParseError::Invalid { field, expected: "a list" }),
        None => return Err(ParseError::Missing { field }),
    };
    if ids.len() > max {
        return Err(ParseError::TooMany { field, max });
    }
    for id in ids {
        let id = id.as_str().ok_or(ParseError::Invalid { field, expected: "a list of event ids" })?;
        if id.len() > FIELD_BYTES_MAX {
            return Err(ParseError::FieldTooLong { field });
        }
        if <&EventId>::try_from(id).is_err() {
            return Err(ParseError::Invalid { field, expected: "a list of event ids" });
        }
        if forbidden.is_some() && id.strip_prefix('$') == forbidden {
            return Err(ParseError::Invalid { field, expected: "a list without the create event" });
        }
    }
    Ok(())
}

fn natural_number(event: &Object<'_>, field: &'static str) -> Result<(), ParseError> {
    match event.get(field) {
        Some(Json::Integer(0..)) => Ok(()),
        Some(_) => Err(ParseError::Invalid { field, expected: "an integer from 0 on" }),
        None => Err(ParseError::Missing { field }),
    }
}

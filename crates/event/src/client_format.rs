//! The forms in which clients see events.

use std::borrow::Cow;

use ruma::{EventId, RoomId, UserId, events::TimelineEventType};
use serde::Serialize;
use serde_json::value::{RawValue as RawJsonValue, to_raw_value};

use crate::{
    Pdu,
    canonical::{Json, Object},
};

/// What goes beside the event itself into what a client sees.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientFormat<'a> {
    /// Whether to name the room; not inside the rooms of `/sync`.
    pub room_id: bool,
    /// The transaction id, for the device that sent the event.
    pub transaction_id: Option<&'a str>,
    /// Time since the event was sent, in milliseconds.
    pub age_ms: Option<u64>,
    /// The redaction, in client format, if the event is redacted.
    pub redacted_because: Option<&'a RawJsonValue>,
    /// The id of that redaction, where old clients look for it.
    pub redacted_by: Option<&'a EventId>,
    /// The content of the state event that this one replaced.
    pub prev_content: Option<&'a RawJsonValue>,
    /// The state event that this one replaced.
    pub replaces_state: Option<&'a EventId>,
    /// The membership of the requesting user at the event (MSC4115).
    pub membership: Option<&'a str>,
    /// The aggregated child events, `m.relations`.
    pub relations: Option<&'a RawJsonValue>,
    /// Stripped state of the room, with an invite.
    pub invite_room_state: Option<&'a RawJsonValue>,
    /// Stripped state of the room, with a knock.
    pub knock_room_state: Option<&'a RawJsonValue>,
}

/// `ClientEvent` of the [specification](https://spec.matrix.org/v1.19/client-server-api/#room-event-format).
#[derive(Serialize)]
struct ClientEvent<'a> {
    content: &'a RawJsonValue,
    event_id: &'a EventId,
    origin_server_ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacts: Option<&'a EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a RoomId>,
    sender: &'a UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a TimelineEventType,
    #[serde(skip_serializing_if = "Unsigned::is_empty")]
    unsigned: Unsigned<'a>,
}

#[derive(Serialize)]
struct Unsigned<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invite_room_state: Option<&'a RawJsonValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    knock_room_state: Option<&'a RawJsonValue>,
    #[serde(rename = "m.relations", skip_serializing_if = "Option::is_none")]
    relations: Option<&'a RawJsonValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_content: Option<&'a RawJsonValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted_because: Option<&'a RawJsonValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted_by: Option<&'a EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces_state: Option<&'a EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<&'a str>,
}

impl Unsigned<'_> {
    fn is_empty(&self) -> bool {
        let Self {
            age,
            invite_room_state,
            knock_room_state,
            relations,
            membership,
            prev_content,
            redacted_because,
            redacted_by,
            replaces_state,
            transaction_id,
        } = self;
        age.is_none()
            && invite_room_state.is_none()
            && knock_room_state.is_none()
            && relations.is_none()
            && membership.is_none()
            && prev_content.is_none()
            && redacted_because.is_none()
            && redacted_by.is_none()
            && replaces_state.is_none()
            && transaction_id.is_none()
    }
}

/// The event as a client sees it.
pub fn client_json(pdu: &Pdu, format: &ClientFormat<'_>) -> Box<RawJsonValue> {
    let content = content(pdu);
    #[expect(clippy::expect_used, reason = "strings, numbers and checked JSON always serialize into memory")]
    to_raw_value(&client_event(pdu, format, &content)).expect("events serialize")
}

/// Appends the event as a client sees it to a body under construction.
pub fn write_client_json(pdu: &Pdu, format: &ClientFormat<'_>, out: &mut Vec<u8>) {
    let content = content(pdu);
    crate::redaction::write(out, &client_event(pdu, format, &content));
}

fn client_event<'a>(pdu: &'a Pdu, format: &ClientFormat<'a>, content: &'a RawJsonValue) -> ClientEvent<'a> {
    ClientEvent {
        content,
        event_id: pdu.event_id(),
        origin_server_ts: pdu.origin_server_ts(),
        // Old clients look here in every room version.
        redacts: pdu.redacts(),
        room_id: format.room_id.then(|| pdu.room_id()),
        sender: pdu.sender(),
        state_key: pdu.state_key(),
        kind: pdu.kind(),
        unsigned: Unsigned {
            age: format.age_ms,
            invite_room_state: format.invite_room_state,
            knock_room_state: format.knock_room_state,
            relations: format.relations,
            membership: format.membership,
            prev_content: format.prev_content,
            redacted_because: format.redacted_because,
            redacted_by: format.redacted_by,
            replaces_state: format.replaces_state,
            transaction_id: format.transaction_id,
        },
    }
}

/// The content, and for redactions with `redacts` in it, where new clients look for it in every room version.
///
/// [Moving the `redacts` property](https://spec.matrix.org/v1.19/rooms/v11/#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property).
fn content(pdu: &Pdu) -> Cow<'_, RawJsonValue> {
    let Some(redacts) = pdu.redacts() else { return Cow::Borrowed(pdu.content()) };
    if pdu.version().rules().redaction.content_field_redacts {
        return Cow::Borrowed(pdu.content());
    }
    let mut object = match Json::read(pdu.content().get().as_bytes()) {
        Ok(Json::Object(object)) => object,
        _ => Object::default(),
    };
    object.insert("redacts", Json::String(Cow::Borrowed(redacts.as_str())));
    to_raw_value(&object).map_or_else(|_| Cow::Borrowed(pdu.content()), Cow::Owned)
}

#[derive(Serialize)]
struct StrippedState<'a> {
    content: &'a RawJsonValue,
    sender: &'a UserId,
    state_key: &'a str,
    #[serde(rename = "type")]
    kind: &'a TimelineEventType,
}

/// A state event as those see it who are invited or knock.
///
/// [Stripped state](https://spec.matrix.org/v1.19/client-server-api/#stripped-state).
pub fn stripped_state(pdu: &Pdu) -> Box<RawJsonValue> {
    let stripped = StrippedState {
        content: pdu.content(),
        sender: pdu.sender(),
        state_key: pdu.state_key().unwrap_or_default(),
        kind: pdu.kind(),
    };
    #[expect(clippy::expect_used, reason = "strings and checked JSON always serialize into memory")]
    to_raw_value(&stripped).expect("events serialize")
}

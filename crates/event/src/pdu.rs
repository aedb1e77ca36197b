//! An event of a room, as servers exchange and keep it.

use std::fmt;

use bytes::Bytes;
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UInt, UserId,
    events::{TimelineEventType, room::member::MembershipState},
    state_res::Event,
};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;

use crate::{
    RoomVersion, hash,
    pdu_format::{self, PDU_BYTES_MAX, ParseError},
    redaction::{write, write_without},
};

/// A persistent data unit: one event, immutable, with its exact canonical JSON. Meant to be shared as `Arc<Pdu>`.
///
/// The JSON never has `unsigned`: what peers write there is not covered by hashes or signatures, and what clients see
/// there is made for each of them by [`crate::client_json`].
pub struct Pdu {
    pub(crate) json: Bytes,
    pub(crate) version: RoomVersion,
    pub(crate) event_id: OwnedEventId,
    pub(crate) room_id: OwnedRoomId,
    /// False for the create event of rooms whose id is its hash.
    pub(crate) names_room: bool,
    pub(crate) sender: OwnedUserId,
    pub(crate) kind: TimelineEventType,
    pub(crate) state_key: Option<String>,
    pub(crate) content: Box<RawJsonValue>,
    pub(crate) prev_events: Vec<OwnedEventId>,
    pub(crate) auth_events: Vec<OwnedEventId>,
    pub(crate) depth: u64,
    pub(crate) origin_server_ts: u64,
    pub(crate) redacts: Option<OwnedEventId>,
    pub(crate) membership: Option<MembershipState>,
    pub(crate) rejected: bool,
}

/// The fields of an event in its JSON; the others matter only to hashes and signatures.
#[derive(Deserialize)]
struct Fields<'a> {
    room_id: Option<OwnedRoomId>,
    sender: OwnedUserId,
    #[serde(rename = "type")]
    kind: TimelineEventType,
    state_key: Option<String>,
    #[serde(borrow)]
    content: &'a RawJsonValue,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    depth: u64,
    origin_server_ts: u64,
    // What it holds is not checked when events are accepted.
    #[serde(borrow)]
    redacts: Option<&'a RawJsonValue>,
}

impl Pdu {
    /// Reads an event that anybody may have written: checks the format and every size limit, brings it into canonical
    /// form without `unsigned`, and computes its id. Signatures are checked by [`crate::verify`].
    pub fn parse(json: &[u8], version: RoomVersion) -> Result<Self, ParseError> {
        let mut event = pdu_format::read_object(json)?;
        pdu_format::check(&event, version)?;
        let mut buffer = Vec::with_capacity(json.len());
        write(&mut buffer, &event);
        if buffer.len() > PDU_BYTES_MAX {
            return Err(ParseError::TooLarge { bytes: buffer.len() });
        }
        let canonical = if event.remove("unsigned").is_some() {
            let mut canonical = Vec::with_capacity(buffer.len());
            write_without(&mut canonical, &event, &[]);
            canonical
        } else {
            buffer.clone()
        };
        hash::write_signed_form(&event, &version.rules().redaction, &mut buffer);
        let event_id = hash::event_id(&buffer);
        Self::from_stored(Bytes::from(canonical), event_id, version)
    }

    /// Reads an event that was kept as [`Pdu::json`]: one pass over borrowed JSON, nothing is hashed or checked.
    pub fn from_stored(json: Bytes, event_id: OwnedEventId, version: RoomVersion) -> Result<Self, ParseError> {
        let fields: Fields<'_> = serde_json::from_slice(&json)?;
        let content = fields.content.to_owned();
        let names_room = fields.room_id.is_some();
        let room_id = match fields.room_id {
            Some(room_id) if !is_own_room(&fields.kind, version) => room_id,
            None if !is_own_room(&fields.kind, version) => return Err(ParseError::Missing { field: "room_id" }),
            _ => room_of_create(&event_id)?,
        };
        let redacts = redacts(&fields.kind, version, fields.redacts, &content);
        let membership = membership(&fields.kind, &content);
        Ok(Self {
            version,
            event_id,
            room_id,
            names_room,
            sender: fields.sender,
            kind: fields.kind,
            state_key: fields.state_key,
            content,
            prev_events: fields.prev_events,
            auth_events: fields.auth_events,
            depth: fields.depth,
            origin_server_ts: fields.origin_server_ts,
            redacts,
            membership,
            rejected: false,
            json,
        })
    }

    /// The event's id, which is its reference hash.
    pub fn event_id(&self) -> &EventId {
        &self.event_id
    }

    /// The room, also of the create event of a version 12 room, whose JSON does not name it.
    pub fn room_id(&self) -> &RoomId {
        &self.room_id
    }

    /// The version of the room.
    pub fn version(&self) -> RoomVersion {
        self.version
    }

    /// Who sent it.
    pub fn sender(&self) -> &UserId {
        &self.sender
    }

    /// The type, like `m.room.message`.
    pub fn kind(&self) -> &TimelineEventType {
        &self.kind
    }

    /// The state key; present, perhaps empty, in state events only.
    pub fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    /// Whether this is a state event.
    pub fn is_state(&self) -> bool {
        self.state_key.is_some()
    }

    /// The content, a JSON object.
    pub fn content(&self) -> &RawJsonValue {
        &self.content
    }

    /// Reads the content. Borrowed fields of `T` borrow from this event.
    pub fn content_as<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.content.get())
    }

    /// The events that were the newest of the room for the sender's server.
    pub fn prev_events(&self) -> impl DoubleEndedIterator<Item = &EventId> + ExactSizeIterator {
        self.prev_events.iter().map(AsRef::as_ref)
    }

    /// The events that authorize this one.
    pub fn auth_events(&self) -> impl DoubleEndedIterator<Item = &EventId> + ExactSizeIterator {
        self.auth_events.iter().map(AsRef::as_ref)
    }

    /// The distance from the create event, as the sender's server claims.
    pub fn depth(&self) -> u64 {
        self.depth
    }

    /// When it was sent, as the sender's server claims, in milliseconds since 1970.
    pub fn origin_server_ts(&self) -> u64 {
        self.origin_server_ts
    }

    /// The event that this one redacts: for `m.room.redaction` with a well-formed event id, wherever the room version
    /// puts it.
    pub fn redacts(&self) -> Option<&EventId> {
        self.redacts.as_deref()
    }

    /// The membership that a `m.room.member` event sets, if it has one.
    pub fn membership(&self) -> Option<MembershipState> {
        self.membership.clone()
    }

    /// The canonical JSON, without `unsigned`.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// Whether authorization failed when the event came. It is then no part of the state, but later events may name it.
    pub fn is_rejected(&self) -> bool {
        self.rejected
    }

    /// Marks the event as rejected or not.
    #[must_use]
    pub fn with_rejected(self, rejected: bool) -> Self {
        Self { rejected, ..self }
    }
}

/// Whether an event of this type gives the room its id.
pub(crate) fn is_own_room(kind: &TimelineEventType, version: RoomVersion) -> bool {
    *kind == TimelineEventType::RoomCreate && !version.rules().event_format.require_room_create_room_id
}

/// The id of the room that a create event makes, where that is its hash.
pub(crate) fn room_of_create(create: &EventId) -> Result<OwnedRoomId, ParseError> {
    let hash = create.as_str().strip_prefix('$').unwrap_or_default();
    RoomId::new_v2(hash).map_err(|_| ParseError::Invalid { field: "event_id", expected: "a reference hash" })
}

pub(crate) fn redacts(
    kind: &TimelineEventType,
    version: RoomVersion,
    top_level: Option<&RawJsonValue>,
    content: &RawJsonValue,
) -> Option<OwnedEventId> {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        redacts: Option<&'a RawJsonValue>,
    }

    if *kind != TimelineEventType::RoomRedaction {
        return None;
    }
    let raw = if version.rules().redaction.content_field_redacts {
        serde_json::from_str::<Content<'_>>(content.get()).ok()?.redacts
    } else {
        top_level
    };
    serde_json::from_str(raw?.get()).ok()
}

pub(crate) fn membership(kind: &TimelineEventType, content: &RawJsonValue) -> Option<MembershipState> {
    #[derive(Deserialize)]
    struct Content {
        membership: MembershipState,
    }

    if *kind != TimelineEventType::RoomMember {
        return None;
    }
    serde_json::from_str::<Content>(content.get()).ok().map(|content| content.membership)
}

/// Ids only: types, users and content do not belong in logs.
impl fmt::Debug for Pdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pdu")
            .field("event_id", &self.event_id)
            .field("version", &self.version)
            .field("rejected", &self.rejected)
            .finish_non_exhaustive()
    }
}

impl Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.event_id
    }

    /// What the JSON says: authorization rejects a create event of version 12 that names a room.
    fn room_id(&self) -> Option<&RoomId> {
        self.names_room.then_some(&*self.room_id)
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        MilliSecondsSinceUnixEpoch(UInt::new_saturating(self.origin_server_ts))
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }

    fn content(&self) -> &RawJsonValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        self.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}

//! The tables of the room engine (ids 0x0200 to 0x02FF) and what stands in them.

use bytes::Bytes;
use ruma::{OwnedEventId, RoomVersionId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_store::{CodecError, Json, Packed, Position, Profile, Seal, Table, TableSpec, Value};

use crate::{
    ids::{EventNid, Place, RoomNid, ServerNid, UserNid},
    trie::Root,
};

/// What a room is and never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoomRecord {
    pub(crate) version: RoomVersionId,
    /// The create event; 0 while only an invite or knock of this room is known.
    pub(crate) create: EventNid,
    /// `type` of the create event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) room_type: Option<String>,
}

/// Where a room stands: rewritten with every event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Forward extremities, at most [`crate::writer::PREV_EVENTS_MAX`] of which the next event names.
    pub(crate) extremities: Vec<EventNid>,
    /// Depth of the deepest extremity.
    pub(crate) depth: u64,
    /// Current state: that after the extremity, or what the states after all of them resolve to.
    pub(crate) state: Root,
    /// Users whose membership is `join`.
    pub(crate) joined: u64,
    /// Users whose membership is `invite`.
    pub(crate) invited: u64,
    /// Events in the timeline, ever.
    pub(crate) events: u64,
    /// Position of the newest event that lifts the room in lists; `None` for the very position of this record.
    pub(crate) bump: Option<u64>,
    /// The state has an `m.room.encryption` event.
    pub(crate) encrypted: bool,
}

/// Where an event stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventMeta {
    pub(crate) room: RoomNid,
    pub(crate) standing: Standing,
    /// Index within its commit; the commit's position is the version of this record.
    pub(crate) index: u16,
    /// Place in the timeline of an event of the past, which is not where its commit put it.
    pub(crate) past: Option<Place>,
    /// State before the event in the graph; of outliers unknown, and then empty.
    pub(crate) state_before: Root,
    /// State after it.
    pub(crate) state_after: Root,
    /// The device that sent it from here and the transaction id it gave, which that device gets back in `unsigned`.
    pub(crate) transaction: Option<([u8; 16], String)>,
}

/// An event at rest: its id and canonical JSON, when it came, and by what it was redacted.
///
/// On disk: number of the redaction (u64, 0 for none; the top bits mark a rejected event and one whose time is over), time
/// of arrival (u64), length of the id (u8), id, JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventRecord {
    pub(crate) redacted_by: Option<EventNid>,
    /// Authorization failed when the event came.
    pub(crate) rejected: bool,
    /// Its time is over: this is what is left of it, and nobody is shown it any more.
    pub(crate) pruned: bool,
    /// When it came, in milliseconds since 1970: with the room the day names the data key of a message event.
    pub(crate) received_ms: u64,
    pub(crate) id: OwnedEventId,
    pub(crate) json: Bytes,
}

const REJECTED_BIT: u64 = 1 << 63;
const PRUNED_BIT: u64 = 1 << 62;
const NO_EVENT: CodecError = CodecError::expected("event record");
const NO_ENTRY: CodecError = CodecError::expected("timeline entry");

impl Value for EventRecord {
    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(17 + self.id.as_bytes().len() + self.json.len());
        let marks = if self.rejected { REJECTED_BIT } else { 0 } | if self.pruned { PRUNED_BIT } else { 0 };
        out.extend_from_slice(&(self.redacted_by.map_or(0, EventNid::get) | marks).to_be_bytes());
        out.extend_from_slice(&self.received_ms.to_be_bytes());
        // Event ids are at most 255 bytes long (specification, appendix "Common identifier format").
        out.push(u8::try_from(self.id.as_bytes().len()).unwrap_or(u8::MAX));
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(&self.json);
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        let (redacted_by, rest) = bytes.split_first_chunk::<8>().ok_or(NO_EVENT)?;
        let (received_ms, rest) = rest.split_first_chunk::<8>().ok_or(NO_EVENT)?;
        let (&length, rest) = rest.split_first().ok_or(NO_EVENT)?;
        let (id, _) = rest.split_at_checked(usize::from(length)).ok_or(NO_EVENT)?;
        let id = std::str::from_utf8(id).ok().and_then(|id| OwnedEventId::try_from(id).ok()).ok_or(NO_EVENT)?;
        let marks = u64::from_be_bytes(*redacted_by);
        let (rejected, pruned) = (marks & REJECTED_BIT != 0, marks & PRUNED_BIT != 0);
        let redacted_by = match marks & !(REJECTED_BIT | PRUNED_BIT) {
            0 => None,
            nid => Some(EventNid::new(nid)),
        };
        let received_ms = u64::from_be_bytes(*received_ms);
        Ok(Self { redacted_by, rejected, pruned, received_ms, id, json: bytes.slice(17 + usize::from(length)..) })
    }
}

/// An entry of a timeline.
///
/// On disk: number of the event (u64, the top bits mark a jump and a gap), state before, and state of the graph where it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimelineEntry {
    pub(crate) event: EventNid,
    /// The room's state when the event came: what clients know before they hear of it.
    pub(crate) state_before: Root,
    /// State before the event in the graph, where that is another: it decides who may see the event.
    pub(crate) graph_before: Option<Root>,
    /// The room's state changed by more or by less than this event, since another line of the graph came together with
    /// the one that was known.
    pub(crate) jump: bool,
    /// Events were missing before it when it came.
    pub(crate) gap: bool,
}

const JUMP_BIT: u64 = 1 << 63;
const GAP_BIT: u64 = 1 << 62;

impl Value for TimelineEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        let marks = if self.jump { JUMP_BIT } else { 0 } | if self.gap { GAP_BIT } else { 0 };
        out.extend_from_slice(&(self.event.get() | marks).to_be_bytes());
        out.extend_from_slice(self.state_before.as_bytes());
        if let Some(root) = &self.graph_before {
            out.extend_from_slice(root.as_bytes());
        }
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        let (event, roots) = bytes.split_first_chunk::<8>().ok_or(NO_ENTRY)?;
        let event = u64::from_be_bytes(*event);
        let (root, rest) = roots.split_first_chunk::<16>().ok_or(NO_ENTRY)?;
        let graph_before = match rest {
            [] => None,
            rest => Some(Root::from_bytes(rest.try_into().map_err(|_| NO_ENTRY)?)),
        };
        Ok(Self {
            event: EventNid::new(event & !(JUMP_BIT | GAP_BIT)),
            state_before: Root::from_bytes(*root),
            graph_before,
            jump: event & JUMP_BIT != 0,
            gap: event & GAP_BIT != 0,
        })
    }
}

/// An event that has to reach other servers, at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutgoingRecord {
    pub(crate) room: RoomNid,
    pub(crate) event: EventNid,
    pub(crate) servers: Vec<ServerNid>,
}

/// What an event is to its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Part of the timeline.
    Timeline,
    /// Allowed where it was sent, but not by the state that the room had when it came. Clients do not see it.
    SoftFailed,
    /// Not allowed. Later events may name it all the same.
    Rejected,
    /// Known because others name it as authorization or state; where it stands in the graph is not known.
    Outlier,
    /// An outlier that its own authorization events do not allow.
    RejectedOutlier,
}

impl Standing {
    /// Whether the event has a place in the graph, and a state before it.
    pub const fn is_placed(self) -> bool {
        matches!(self, Self::Timeline | Self::SoftFailed | Self::Rejected)
    }

    /// Whether the authorization rules rejected the event.
    pub const fn is_rejected(self) -> bool {
        matches!(self, Self::Rejected | Self::RejectedOutlier)
    }
}

/// A user's membership (specification, `m.room.member`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Membership {
    /// In the room.
    Join = 1,
    /// Asked in.
    Invite = 2,
    /// Asks to come in.
    Knock = 3,
    /// Was in, was asked in, or asked; is not any more.
    Leave = 4,
    /// Kept out.
    Ban = 5,
}

/// A user's membership of a room, now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipRecord {
    pub(crate) membership: Membership,
    pub(crate) event: EventNid,
    /// Index of the event within its commit; the commit's position is the version of this record.
    pub(crate) index: u16,
    /// Where the membership became this one; `None` for the very place of this record.
    pub(crate) since: Option<Place>,
    /// Where the user last ceased to be joined, if not here.
    pub(crate) left: Option<Place>,
    /// The user ceased to be joined at the very place of this record.
    pub(crate) left_here: bool,
    /// Membership before: tells a rejected invite from a left room.
    pub(crate) previous: Option<Membership>,
    /// Joined now or ever before: such users may read up to where they left.
    pub(crate) was_joined: bool,
    pub(crate) forgotten: bool,
    /// The user sent the event, nobody else.
    pub(crate) by_self: bool,
}

impl Membership {
    /// The specification's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Invite => "invite",
            Self::Knock => "knock",
            Self::Leave => "leave",
            Self::Ban => "ban",
        }
    }
}

impl MembershipRecord {
    /// Fills in the places that stood for "here", once the position of the record's commit is known.
    pub(crate) fn settle(&mut self, written: Position) {
        let here = Place::new(written, self.index);
        self.since.get_or_insert(here);
        if std::mem::take(&mut self.left_here) {
            self.left = Some(here);
        }
    }
}

/// A change of a user's own membership, for `/sync`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MembershipChange {
    pub(crate) room: RoomNid,
    pub(crate) membership: Membership,
}

/// An alias of this server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AliasRecord {
    pub(crate) alias: ruma::OwnedRoomAliasId,
    pub(crate) room: RoomNid,
    pub(crate) creator: UserNid,
}

pub(crate) const ROOMS: Table<RoomNid, Json<RoomRecord>> = Table::new(0x0200, "rooms", Profile::Point, Seal::System);
pub(crate) const HEADS: Table<RoomNid, Packed<Head>> = Table::new(0x0201, "room_heads", Profile::Churn, Seal::System);
/// Message events are sealed under the data key of (room, day of arrival), all else under the lasting one of the room: see
/// [`crate::sealing`].
pub(crate) const EVENTS: Table<(RoomNid, EventNid), EventRecord> =
    Table::new(0x0202, "events", Profile::Scan, Seal::Scoped).compressed();
pub(crate) const EVENT_META: Table<EventNid, Packed<EventMeta>> =
    Table::new(0x0203, "event_meta", Profile::Point, Seal::System);
pub(crate) const TIMELINE: Table<(RoomNid, Position, u16), TimelineEntry> =
    Table::new(0x0204, "timeline", Profile::Scan, Seal::System);
pub(crate) const STATE_NODES: Table<(RoomNid, [u8; 16]), Bytes> =
    Table::new(0x0205, "state_nodes", Profile::Point, Seal::System);
pub(crate) const MEMBERSHIPS: Table<(UserNid, RoomNid), Packed<MembershipRecord>> =
    Table::new(0x0206, "memberships", Profile::Scan, Seal::System);
pub(crate) const MEMBERS: Table<(RoomNid, u8, UserNid), ()> =
    Table::new(0x0207, "members", Profile::Scan, Seal::System);
pub(crate) const MEMBERSHIP_CHANGES: Table<(UserNid, Position, u16), Packed<MembershipChange>> =
    Table::new(0x0208, "membership_changes", Profile::Scan, Seal::System);
/// Transaction ids by day of use, so that old days go in one stroke: (day, keyed hash of user, device, room, id).
pub(crate) const TRANSACTIONS: Table<(u32, [u8; 16]), Packed<EventNid>> =
    Table::new(0x0209, "transactions", Profile::Churn, Seal::System);
/// What an invited or knocking user may know of the room: (user, room) to stripped state.
pub(crate) const STRIPPED_STATE: Table<(UserNid, RoomNid), Json<Vec<Box<RawJsonValue>>>> =
    Table::new(0x020A, "stripped_state", Profile::Point, Seal::System).compressed();
pub(crate) const ALIASES: Table<[u8; 16], Json<AliasRecord>> =
    Table::new(0x020B, "aliases", Profile::Point, Seal::System);
pub(crate) const ROOM_ALIASES: Table<(RoomNid, [u8; 16]), ()> =
    Table::new(0x020C, "room_aliases", Profile::Scan, Seal::System);
/// Rooms in the public directory.
pub(crate) const LISTED: Table<RoomNid, ()> = Table::new(0x020D, "listed_rooms", Profile::Scan, Seal::System);
/// Events of a room by the time their senders' servers gave them: (room, milliseconds since 1970, place in the timeline).
pub(crate) const EVENT_TIMES: Table<(RoomNid, u64, Position, u16), ()> =
    Table::new(0x0230, "event_times", Profile::Scan, Seal::System);

/// Authorization events of an event, for walks along authorization chains that need no contents.
pub(crate) const AUTH_EDGES: Table<(RoomNid, EventNid), Packed<Vec<EventNid>>> =
    Table::new(0x0252, "auth_edges", Profile::Scan, Seal::System);
/// Joined users of a room by server.
pub(crate) const ROOM_SERVERS: Table<(RoomNid, ServerNid), Packed<u64>> =
    Table::new(0x0253, "room_servers", Profile::Scan, Seal::System);
/// Events that have to reach other servers, until whoever sends them has taken them over.
pub(crate) const OUTGOING: Table<(Position, u16), Packed<OutgoingRecord>> =
    Table::new(0x0254, "outgoing_events", Profile::Churn, Seal::System);
/// Places in timelines before which events are missing, with the events that are named and missing.
pub(crate) const GAPS: Table<(RoomNid, Position, u16), Packed<Vec<OwnedEventId>>> =
    Table::new(0x0255, "timeline_gaps", Profile::Scan, Seal::System);
/// Redactions of events that were not here when the redaction came: (room, event) to the redaction.
pub(crate) const EARLY_REDACTIONS: Table<(RoomNid, EventNid), Packed<EventNid>> =
    Table::new(0x0256, "early_redactions", Profile::Point, Seal::System);

/// Events that have no place in the graph though events of the timeline follow them: where one comes late, it is no
/// forward extremity.
pub(crate) const FOLLOWED: Table<(RoomNid, EventNid), ()> =
    Table::new(0x026F, "followed_events", Profile::Point, Seal::System);

/// The tables of the room engine, for the store's catalogue.
pub const TABLES: &[TableSpec] = &[
    *ROOMS.spec(),
    *HEADS.spec(),
    *EVENTS.spec(),
    *EVENT_META.spec(),
    *TIMELINE.spec(),
    *STATE_NODES.spec(),
    *MEMBERSHIPS.spec(),
    *MEMBERS.spec(),
    *MEMBERSHIP_CHANGES.spec(),
    *TRANSACTIONS.spec(),
    *STRIPPED_STATE.spec(),
    *ALIASES.spec(),
    *ROOM_ALIASES.spec(),
    *LISTED.spec(),
    *EVENT_TIMES.spec(),
    *FOLLOWED.spec(),
    *AUTH_EDGES.spec(),
    *ROOM_SERVERS.spec(),
    *OUTGOING.spec(),
    *GAPS.spec(),
    *EARLY_REDACTIONS.spec(),
    *crate::reports::REPORTS.spec(),
    *crate::reports::REPORT_TIMES.spec(),
    *crate::receipts::RECEIPTS.spec(),
    *crate::receipts::RECEIPT_CHANGES.spec(),
    *crate::log::LOG.spec(),
    *crate::log::FOLLOWERS.spec(),
    *crate::relations::CHILDREN.spec(),
    *crate::relations::SUMMARIES.spec(),
    *crate::relations::ANNOTATIONS.spec(),
    *crate::relations::THREADS.spec(),
    *crate::relations::THREAD_USERS.spec(),
    *crate::search::SEARCH_WORDS.spec(),
    *crate::thread_subscriptions::SUBSCRIPTIONS.spec(),
    *crate::thread_subscriptions::SUBSCRIPTION_CHANGES.spec(),
    *crate::delayed::DELAYED_EVENTS.spec(),
    *crate::delayed::DELAYED_DUE.spec(),
    *crate::delayed::DELAYED_BY_USER.spec(),
    *crate::delayed::DELAYED_FINAL.spec(),
    *crate::delayed::DELAYED_TRANSACTIONS.spec(),
    *crate::serving::ERASED.spec(),
    *crate::erasure::ERASURES.spec(),
    *crate::governed::GOVERNED.spec(),
    *crate::governed::ARRIVALS.spec(),
    *crate::governed::CHANGED.spec(),
    *crate::room_media::MEDIA_ROOMS.spec(),
    *crate::naming::NAMED.spec(),
    *crate::naming::NAMED_IN_ROOM.spec(),
    crate::leavings::table(),
    *crate::retention::PERISHABLE.spec(),
    *crate::retention::OVERRIDES.spec(),
    *crate::retention::SEALED_DAYS.spec(),
    *crate::retention::DOOMED_DAYS.spec(),
    *crate::retention::STUBS.spec(),
    *crate::retention::ORIGINALS.spec(),
    *crate::retention::PURGE_RECEIPTS.spec(),
    *crate::retention::PRUNED_RANGES.spec(),
    *crate::retention::COMPACT_DUE.spec(),
    *crate::retention::TEMPLATE_OF.spec(),
    *crate::retention::NOTICES.spec(),
    *crate::retention::TOLD.spec(),
    *crate::retention::SUPERSEDED.spec(),
    *crate::ends::ACTIVITY.spec(),
    *crate::ends::FORGOTTEN.spec(),
    *crate::guests::GUESTS_OUT.spec(),
    *crate::relations::RELATED_WISHES.spec(),
    *crate::relations::RELATED_DUE.spec(),
    *crate::blocked::BLOCKED.spec(),
    *crate::tasks::TASKS.spec(),
];

#[cfg(test)]
mod tests {
    use super::EventRecord;
    use crate::ids::EventNid;
    use bytes::Bytes;
    use ruma::owned_event_id;
    use wardroom_store::Value;

    #[test]
    fn an_event_record_survives_the_store() {
        for (redacted_by, rejected, pruned) in
            [(None, false, true), (Some(EventNid::new(9)), true, false), (Some(EventNid::new(9)), true, true)]
        {
            let record = EventRecord {
                redacted_by,
                rejected,
                pruned,
                received_ms: 1_700_000_000_000,
                id: owned_event_id!("$abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"),
                json: Bytes::from_static(b"{}"),
            };
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(EventRecord::decode(bytes.into()).ok(), Some(record));
        }
        for junk in [&b""[..], b"12345678", b"1234567812345678\xff123", b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02no"] {
            assert!(EventRecord::decode(Bytes::from_static(junk)).is_err());
        }
    }
}

//! What the outbox keeps in the store, table ids 0x0510 to 0x051F. Keys hold numbers of servers, rooms and positions.

use serde::{Deserialize, Serialize};
use wardroom_rooms::{EventNid, Place, RoomNid};
use wardroom_store::{Packed, Position, Profile, Seal, Table};

/// Number of another server.
pub(crate) type ServerNid = u64;

/// Key of an event in a queue: server, and the event's place in the log.
pub(crate) type EventKey = (ServerNid, Position, u16);

/// Key of something other than an event in a queue: server, the commit that queued it, and its order in that commit.
pub(crate) type EduKey = (ServerNid, Position, u64);

/// Server -> [`DestinationRow`], for every server to which something was sent.
pub(crate) const DESTINATIONS: Table<ServerNid, Packed<DestinationRow>> =
    Table::new(0x0510, "outbox_destinations", Profile::Point, Seal::System);
/// (server, place) -> the event that is to be sent there, in the order in which it is.
pub(crate) const EVENTS: Table<EventKey, Packed<(RoomNid, EventNid)>> =
    Table::new(0x0511, "outbox_events", Profile::Churn, Seal::System);
/// (server, room) -> the newest of the events that were queued for a server which was away for long, and where it stood.
pub(crate) const CATCH_UP: Table<(ServerNid, RoomNid), Packed<(Place, EventNid)>> =
    Table::new(0x0512, "outbox_catch_up", Profile::Churn, Seal::System);
/// (server, commit, order) -> what else is to be sent there and must not get lost.
pub(crate) const EDUS: Table<EduKey, Packed<EduRow>> =
    Table::new(0x0513, "outbox_edus", Profile::Churn, Seal::System).compressed();
/// (server, room) -> place of the newest event of the room that the server took.
pub(crate) const SENT: Table<(ServerNid, RoomNid), Packed<Place>> =
    Table::new(0x0514, "outbox_sent", Profile::Scan, Seal::System);

/// How sending to a server fares. Times are milliseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DestinationRow {
    /// Failures in a row.
    pub(crate) failures: u32,
    /// When the first of them was.
    pub(crate) failure_ts: u64,
    /// When the last of them was.
    pub(crate) retry_last_ts: u64,
    /// How long to wait after it, in milliseconds.
    pub(crate) retry_interval_ms: u64,
    /// When the server last took a transaction, about.
    pub(crate) success_ts: u64,
    /// Place of the newest event that it took.
    pub(crate) success_place: Option<Place>,
    /// What was sent and not taken, to be sent again as it was.
    pub(crate) pending: Option<Pending>,
    /// What the next transaction may hold at most; zero stands for as much as the specification allows. Less while it
    /// is sought what the server takes offence at.
    pub(crate) items_max: u16,
    /// How often a transaction of one item was refused for what is in it.
    pub(crate) refusals: u32,
}

impl DestinationRow {
    /// When to try again; long ago where nothing failed.
    pub(crate) fn retry_at_ms(&self) -> u64 {
        if self.failures == 0 { 0 } else { self.retry_last_ts.saturating_add(self.retry_interval_ms) }
    }
}

/// What a transaction that was not taken held: the first so many rows of each queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// Its `origin_server_ts`.
    pub(crate) at_ms: u64,
    /// Events.
    pub(crate) events: u16,
    /// What else.
    pub(crate) edus: u16,
}

/// Something other than an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EduRow {
    /// `edu_type`.
    pub(crate) kind: String,
    /// `content`, as JSON.
    pub(crate) content: String,
}

/// The key of an event in a queue.
pub(crate) fn event_key(server: ServerNid, place: Place) -> EventKey {
    (server, place.position(), place.index())
}

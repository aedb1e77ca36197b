//! What this crate keeps in the store, table ids 0x0400 to 0x04FF. Keys hold numbers of pushers and positions.

use serde::{Deserialize, Serialize};
use wardroom_rooms::{EventNid, Place, RoomNid, UserNid};
use wardroom_store::{Packed, Position, Profile, Seal, Table, TableSpec};

use crate::kept::TallyRow;

/// Number of a pusher.
pub(crate) type PusherNid = u64;

/// (pusher, place of what is told) -> [`QueueRow`], in the order in which it is told.
pub(crate) const QUEUE: Table<(PusherNid, Position, u16), Packed<QueueRow>> =
    Table::new(0x0400, "push_queue", Profile::Churn, Seal::System);
/// Pusher -> [`StateRow`].
pub(crate) const STATES: Table<PusherNid, Packed<StateRow>> =
    Table::new(0x0401, "push_states", Profile::Point, Seal::System);

/// (user, room) -> what the user has not read there, where counting it took some effort.
pub(crate) const TALLIES: Table<(UserNid, RoomNid), Packed<TallyRow>> =
    Table::new(0x0402, "unread_tallies", Profile::Point, Seal::System).compressed();

/// All tables of this crate, for the store's catalogue.
pub const TABLES: &[TableSpec] = &[*QUEUE.spec(), *STATES.spec(), *TALLIES.spec()];

/// Something to tell a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueRow {
    /// Whose pusher it is.
    pub(crate) user: UserNid,
    pub(crate) what: Told,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Told {
    /// An event.
    Event {
        room: RoomNid,
        event: EventNid,
        /// The tweaks of the rule that matched, as a JSON object.
        tweaks: String,
        /// When it was queued, in milliseconds since the epoch.
        queued_ms: u64,
    },
    /// That the number of what is unread may have changed.
    Badge,
}

/// How a pusher fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateRow {
    /// The number of what is unread that the gateway was told last.
    pub(crate) badge: u64,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// When the first of them was, in milliseconds since the epoch.
    pub(crate) failing_since_ms: u64,
    /// When to try again, in milliseconds since the epoch.
    pub(crate) retry_at_ms: u64,
}

/// The index in a commit under which a [`Told::Badge`] stands: behind all events of that commit.
pub(crate) const BADGE_INDEX: u16 = u16::MAX;

/// The key of what is told at a place.
pub(crate) fn queue_key(pusher: PusherNid, place: Place) -> (PusherNid, Position, u16) {
    (pusher, place.position(), place.index())
}

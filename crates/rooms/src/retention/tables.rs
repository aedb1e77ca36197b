//! What is kept of how long events are kept.

use wardroom_store::{Json, Position, Profile, Seal, Table};

use super::{PurgeReceipt, Terms};
use crate::ids::{EventNid, RoomNid};

/// Message events that are still whole, by when they came to be: (room, milliseconds since 1970, event) to when they came to
/// this server.
pub(crate) const PERISHABLE: Table<(RoomNid, u64, EventNid), u64> =
    Table::new(0x0276, "perishable_events", Profile::Scan, Seal::System);
/// What administrators have set for rooms.
pub(crate) const OVERRIDES: Table<RoomNid, Json<Terms>> =
    Table::new(0x0277, "retention_overrides", Profile::Point, Seal::System);
/// Days of whose arrivals a room has, or had until a moment ago, contents: (room, days since 1970).
pub(crate) const SEALED_DAYS: Table<(RoomNid, u32), ()> =
    Table::new(0x0278, "sealed_days", Profile::Scan, Seal::System);
/// What is left of purged events: (room, when it was purged, event).
pub(crate) const STUBS: Table<(RoomNid, u64, EventNid), ()> = Table::new(0x0279, "stubs", Profile::Scan, Seal::System);
/// Receipts of purges: (milliseconds since 1970, position).
pub(crate) const PURGE_RECEIPTS: Table<(u64, Position), Json<PurgeReceipt>> =
    Table::new(0x027C, "purge_receipts", Profile::Scan, Seal::System);

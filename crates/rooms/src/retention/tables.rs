//! What is kept of how long events are kept.

use wardroom_store::{Hash16, Json, Packed, Position, Profile, Seal, Table};

use super::{
    Override, PurgeReceipt,
    notices::{NoticeRow, Told},
};
use crate::ids::{EventNid, RoomNid};

/// Message events that are still whole, by when they came to be: (room, milliseconds since 1970, event) to when they came to
/// this server.
pub(crate) const PERISHABLE: Table<(RoomNid, u64, EventNid), u64> =
    Table::new(0x0276, "perishable_events", Profile::Scan, Seal::System);
/// What administrators have set for rooms.
pub(crate) const OVERRIDES: Table<RoomNid, Json<Override>> =
    Table::new(0x0277, "retention_overrides", Profile::Point, Seal::System);
/// Days of whose arrivals a room has, or had until a moment ago, contents: (room, days since 1970).
pub(crate) const SEALED_DAYS: Table<(RoomNid, u32), ()> =
    Table::new(0x0278, "sealed_days", Profile::Scan, Seal::System);
/// Days of rooms whose keys are being destroyed, until that they were is written down.
pub(crate) const DOOMED_DAYS: Table<(RoomNid, u32), ()> =
    Table::new(0x028B, "doomed_days", Profile::Churn, Seal::System);
/// What is left of purged events: (room, when it was purged, event).
pub(crate) const STUBS: Table<(RoomNid, u64, EventNid), ()> = Table::new(0x0279, "stubs", Profile::Scan, Seal::System);
/// Receipts of purges: (milliseconds since 1970, position).
pub(crate) const PURGE_RECEIPTS: Table<(u64, Position), Json<PurgeReceipt>> =
    Table::new(0x027C, "purge_receipts", Profile::Scan, Seal::System);
/// The events of a room that were pruned since its files were last rewritten: the first and the last of them, by number.
pub(crate) const PRUNED_RANGES: Table<RoomNid, Packed<(EventNid, EventNid)>> =
    Table::new(0x027D, "pruned_ranges", Profile::Churn, Seal::System);
/// Rooms of which keys were destroyed, until what is gone with these is out of the files.
pub(crate) const COMPACT_DUE: Table<RoomNid, ()> = Table::new(0x027E, "rooms_to_compact", Profile::Churn, Seal::System);
/// The template that a room was made by.
pub(crate) const TEMPLATE_OF: Table<RoomNid, Packed<Hash16>> =
    Table::new(0x027F, "templates_of_rooms", Profile::Point, Seal::System);
/// What members of this server have still to be told: (room, of what).
pub(crate) const NOTICES: Table<(RoomNid, u8), Packed<NoticeRow>> =
    Table::new(0x0286, "retention_notices", Profile::Churn, Seal::System);
/// What they were told last.
pub(crate) const TOLD: Table<RoomNid, Packed<Told>> =
    Table::new(0x0287, "retention_told", Profile::Point, Seal::System);
/// State events that may be pruned since others took their places: (room, milliseconds since 1970 when they did, event).
pub(crate) const SUPERSEDED: Table<(RoomNid, u64, EventNid), ()> =
    Table::new(0x0289, "superseded_state", Profile::Scan, Seal::System);

//! What this crate keeps in the store, table ids 0x0600 to 0x06FF. Keys hold user and room numbers only.

use serde::{Deserialize, Serialize};
use wardroom_rooms::{RoomNid, UserNid};
use wardroom_store::{Packed, Profile, Seal, Table, TableSpec, WatchKey};

/// Touched when somebody's roles changed.
pub(crate) const WATCH_ROLES: WatchKey = WatchKey { kind: 10, id: 0 };

/// What one source says of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct SourceRow {
    /// Whether the user is there at all; none where the source does not say.
    pub(crate) active: Option<bool>,
    pub(crate) bindings: Vec<BindingRow>,
}

/// A role that a source gives.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct BindingRow {
    /// In its canonical form.
    pub(crate) role: String,
    pub(crate) from_ms: Option<u64>,
    pub(crate) until_ms: Option<u64>,
    pub(crate) reason: String,
    pub(crate) set_by: String,
    pub(crate) set_ms: u64,
}

/// Something that an administrator has to look at.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct AlarmRow {
    pub(crate) kind: String,
    pub(crate) sentence: String,
    pub(crate) room: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    pub(crate) count: u64,
}

/// (user, source) -> what it says.
pub(crate) const SOURCES: Table<(UserNid, u8), Packed<SourceRow>> =
    Table::new(0x0600, "role_sources", Profile::Scan, Seal::System);

/// Users whose roles changed, until their rooms have been looked at.
pub(crate) const DUE: Table<UserNid, ()> = Table::new(0x0601, "revalidation_due", Profile::Churn, Seal::System);

/// (room, user) -> since when the user does not meet the room's policy, in milliseconds since 1970.
pub(crate) const LOSSES: Table<(RoomNid, UserNid), Packed<u64>> =
    Table::new(0x0602, "role_losses", Profile::Scan, Seal::System);

/// Hash of what an alarm is about -> the alarm.
pub(crate) const ALARMS: Table<wardroom_store::Hash16, Packed<AlarmRow>> =
    Table::new(0x0603, "alarms", Profile::Scan, Seal::System);

/// Every table of this crate.
pub const TABLES: &[TableSpec] = &[
    *SOURCES.spec(),
    *DUE.spec(),
    *LOSSES.spec(),
    *ALARMS.spec(),
    *crate::emergency::RECORDS.spec(),
    *crate::emergency::GOING_ON.spec(),
    *crate::emergency::UNREVIEWED.spec(),
    *crate::emergency::BY_ROOM.spec(),
    *crate::emergency::BY_USER.spec(),
    *crate::direct::DIRECT_ROOMS.spec(),
    *crate::direct::CHATS.spec(),
];

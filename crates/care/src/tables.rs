//! What this crate keeps in the store, table ids 0x0600 to 0x06FF. Keys hold user and room numbers only.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wardroom_rooms::{RoomNid, ServerNid, UserNid};
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

/// What another server was told of a user. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct HandedRow {
    /// The room that it asked about last.
    pub(crate) room: String,
    /// Roles that it may still believe in, in their canonical form.
    pub(crate) roles: Vec<String>,
    pub(crate) said_ms: u64,
    /// Until when.
    pub(crate) until_ms: u64,
    /// Roles that were taken back since.
    pub(crate) taken_back: Vec<String>,
    pub(crate) taken_back_ms: Option<u64>,
}

/// Roles of a user that their server has taken back, before the answer to what they have now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct RevokedRow {
    pub(crate) roles: BTreeSet<String>,
    /// When the server said so, by its clock, in milliseconds since 1970.
    pub(crate) at_ms: u64,
}

/// A role that is a space.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct SpaceRow {
    /// In its canonical form.
    pub(crate) requirement: String,
    pub(crate) room: RoomNid,
    /// Whether those who have the role are to be in it; else nobody is.
    pub(crate) on: bool,
}

/// What a value of a source means.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct AliasRow {
    /// The source's number; none for each of them.
    pub(crate) source: Option<u8>,
    pub(crate) value: String,
    /// In their canonical form.
    pub(crate) roles: Vec<String>,
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

/// (user, server) -> what the server was told of the user.
pub(crate) const HANDED: Table<(UserNid, ServerNid), Packed<HandedRow>> =
    Table::new(0x0630, "attestations_handed", Profile::Scan, Seal::System);

/// Hash of another server and of the id of a word of its -> hash of the word, and until when it is good.
pub(crate) const WORDS: Table<wardroom_store::Hash16, Packed<(wardroom_store::Hash16, u64)>> =
    Table::new(0x0631, "attestations_heard", Profile::Churn, Seal::System);

/// Users of other servers from whom these took roles back, until they were asked again.
pub(crate) const REVOKED: Table<UserNid, Packed<RevokedRow>> =
    Table::new(0x0632, "attestations_revoked", Profile::Churn, Seal::System);

/// Hash of a requirement -> the space of those who meet it.
pub(crate) const SPACES: Table<wardroom_store::Hash16, Packed<SpaceRow>> =
    Table::new(0x0610, "role_spaces", Profile::Scan, Seal::System);

/// (space, user) -> since when it is known that the user left it by their own will, or was put out by somebody else than
/// the server, in milliseconds since 1970.
pub(crate) const OPT_OUTS: Table<(RoomNid, UserNid), Packed<u64>> =
    Table::new(0x0611, "role_space_opt_outs", Profile::Scan, Seal::System);

/// Zero -> every alias.
pub(crate) const MAPPINGS: Table<u8, Packed<Vec<AliasRow>>> =
    Table::new(0x0614, "role_mappings", Profile::Point, Seal::System);

/// (room, user) -> the power level that the user has there by a role.
pub(crate) const POWERS: Table<(RoomNid, UserNid), Packed<i64>> =
    Table::new(0x0604, "powers_by_role", Profile::Scan, Seal::System);

/// Rooms in which the server's own user has been with power: where it is not any more, somebody has seen to that.
pub(crate) const SERVED: Table<RoomNid, ()> = Table::new(0x0605, "served_rooms", Profile::Point, Seal::System);

/// A policy for new rooms.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct TemplateRow {
    pub(crate) name: String,
    /// As JSON.
    pub(crate) template: String,
}

/// Hash of a name -> the policy template of that name.
pub(crate) const TEMPLATES: Table<wardroom_store::Hash16, Packed<TemplateRow>> =
    Table::new(0x0606, "policy_templates", Profile::Scan, Seal::System);

/// Every table of this crate.
pub const TABLES: &[TableSpec] = &[
    *SOURCES.spec(),
    *DUE.spec(),
    *LOSSES.spec(),
    *ALARMS.spec(),
    *POWERS.spec(),
    *SERVED.spec(),
    *TEMPLATES.spec(),
    *SPACES.spec(),
    *OPT_OUTS.spec(),
    *MAPPINGS.spec(),
    *HANDED.spec(),
    *WORDS.spec(),
    *REVOKED.spec(),
    *crate::emergency::RECORDS.spec(),
    *crate::emergency::GOING_ON.spec(),
    *crate::emergency::UNREVIEWED.spec(),
    *crate::emergency::BY_ROOM.spec(),
    *crate::emergency::BY_USER.spec(),
    *crate::direct::DIRECT_ROOMS.spec(),
    *crate::direct::CHATS.spec(),
];

//! What is kept of emergencies, table ids 0x0620 to 0x0627.

use serde::{Deserialize, Serialize};
use wardroom_rooms::{EventNid, RoomNid, UserNid};
use wardroom_store::{Json, Profile, Seal, Table};

use super::{EndedWhy, Review};

/// An emergency. Nothing of it is ever deleted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct EmergencyRow {
    pub(crate) room: RoomNid,
    pub(crate) user: UserNid,
    /// Ids besides the numbers: the record outlives the room.
    pub(crate) room_id: String,
    pub(crate) user_id: String,
    pub(crate) reason_code: String,
    pub(crate) reason_text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) patient_ref: Option<String>,
    pub(crate) began_ms: u64,
    pub(crate) until_ms: u64,
    /// Who is told, by the policy as it was at the beginning.
    pub(crate) notify: Vec<String>,
    /// The message by which the user asked for it, where that was one to the service user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<EventNid>,
    /// The user was not in the room before, so that the end puts them out.
    pub(crate) brought_in: bool,
    /// The user was let in.
    pub(crate) entered: bool,
    /// The room and those whom the policy names were told.
    pub(crate) told: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<EndRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) review: Option<Review>,
}

/// How an emergency ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct EndRow {
    pub(crate) at_ms: u64,
    pub(crate) why: EndedWhy,
    /// The administrator who ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
}

/// Number -> the record. Numbers grow with time.
pub(crate) const RECORDS: Table<u64, Json<EmergencyRow>> =
    Table::new(0x0620, "emergencies", Profile::Scan, Seal::System);

/// (room, user) -> number of the emergency that goes on there, or of which not all is undone yet.
pub(crate) const GOING_ON: Table<(RoomNid, UserNid), u64> =
    Table::new(0x0621, "emergencies_going_on", Profile::Churn, Seal::System);

/// Emergencies that wait for their review.
pub(crate) const UNREVIEWED: Table<u64, ()> = Table::new(0x0622, "emergencies_unreviewed", Profile::Scan, Seal::System);

/// Emergencies of a room.
pub(crate) const BY_ROOM: Table<(RoomNid, u64), ()> =
    Table::new(0x0623, "emergencies_by_room", Profile::Scan, Seal::System);

/// Emergencies of a user.
pub(crate) const BY_USER: Table<(UserNid, u64), ()> =
    Table::new(0x0624, "emergencies_by_user", Profile::Scan, Seal::System);

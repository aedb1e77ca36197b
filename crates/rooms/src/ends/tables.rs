//! What is kept of how rooms end.

use serde::{Deserialize, Serialize};
use wardroom_store::{Packed, Profile, Seal, Table};

use crate::ids::RoomNid;

/// When something was last said in a room, and what came of it. In milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Activity {
    /// When something was last said, or the room came to be; what followed soon after is not noted again. Zero is not
    /// known.
    pub(crate) last_ms: u64,
    /// Since when members know that the room ends unless something is said.
    pub(crate) told_ms: Option<u64>,
    /// What came up to this time is over.
    pub(crate) ended_ms: Option<u64>,
}

/// When something was last said in each room.
pub(crate) const ACTIVITY: Table<RoomNid, Packed<Activity>> =
    Table::new(0x0285, "room_activity", Profile::Scan, Seal::System);
/// Rooms that somebody has forgotten who may have been the last, and when, in milliseconds since 1970.
pub(crate) const FORGOTTEN: Table<RoomNid, u64> = Table::new(0x0288, "forgotten_rooms", Profile::Churn, Seal::System);

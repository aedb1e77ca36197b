//! Under which data keys a room's contents are sealed.
//!
//! What ends with its time, the contents of message events, is sealed under the key of its room and day of arrival:
//! destroying a day's key ends the day's contents, wherever copies of them are. What has to stay as long as the room, its
//! state and what is left of events whose time is over, is sealed under one lasting key of the room.

use wardroom_store::{DataKey, Scope};

use crate::{Engine, error::RoomError, ids::RoomNid};

/// Contents of message events of a room, by their day of arrival.
const ROOM_DAY: u8 = 1;
/// What lasts as long as the room.
const ROOM_LASTING: u8 = 3;
/// Events of a room that are to be sent later, by the day on which they were scheduled.
const ROOM_DELAYED: u8 = 4;

/// Milliseconds of a day.
pub(crate) const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Days since 1970.
pub(crate) fn day_of(now_ms: u64) -> u32 {
    u32::try_from(now_ms / DAY_MS).unwrap_or(u32::MAX)
}

fn scope(kind: u8, room: RoomNid, day: u32) -> Scope {
    Scope { kind, a: room.get(), b: u64::from(day) }
}

impl Engine {
    /// The data key of a room's message events that arrived on a day.
    pub(crate) async fn day_key(&self, room: RoomNid, day: u32) -> Result<DataKey, RoomError> {
        if self.doomed.has(room, day) {
            // The clock was set back over a day whose key is being destroyed.
            return Err(RoomError::Busy);
        }
        Ok(self.store.data_key(scope(ROOM_DAY, room, day)).await?)
    }

    /// The data key of what lasts as long as the room.
    pub(crate) async fn lasting_key(&self, room: RoomNid) -> Result<DataKey, RoomError> {
        Ok(self.store.data_key(scope(ROOM_LASTING, room, 0)).await?)
    }

    /// The data key of events of a room that were scheduled on a day.
    pub(crate) async fn delayed_key(&self, room: RoomNid, day: u32) -> Result<DataKey, RoomError> {
        Ok(self.store.data_key(scope(ROOM_DELAYED, room, day)).await?)
    }

    /// Destroys the data keys of message events, by their rooms and days of arrival, where there are any.
    pub(crate) async fn destroy_day_keys(&self, days: &[(RoomNid, u32)]) -> Result<(), RoomError> {
        let scopes: Vec<Scope> = days.iter().map(|(room, day)| scope(ROOM_DAY, *room, *day)).collect();
        Ok(self.store.destroy_data_keys(&scopes).await?)
    }

    /// Destroys every key of a room, that of what lasts first.
    pub(crate) async fn destroy_keys(&self, room: RoomNid) -> Result<(), RoomError> {
        Ok(self.store.destroy_data_keys_of(&[ROOM_LASTING, ROOM_DAY, ROOM_DELAYED], room.get()).await?)
    }
}

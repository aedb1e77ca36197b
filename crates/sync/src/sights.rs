//! What of rooms an answer gives away: whoever gives the answer keeps a record of it.

use std::sync::Arc;

use ruma::{OwnedRoomId, RoomId};
use wardroom_rooms::Stored;

/// A room's part of an answer, as JSON, and what is in it.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) json: Vec<u8>,
    pub(crate) events: Vec<Arc<Stored>>,
    pub(crate) stripped: usize,
}

impl Part {
    /// What this part of a room gives away; none where that is nothing.
    pub(crate) fn sights(&mut self, room: &RoomId) -> Option<RoomSights> {
        let (events, stripped) = (std::mem::take(&mut self.events), u64::try_from(self.stripped).unwrap_or(u64::MAX));
        let any = !events.is_empty() || stripped > 0;
        any.then(|| RoomSights { room: room.to_owned(), events, stripped })
    }
}

/// Events of a room that are in an answer.
#[derive(Clone, Debug)]
pub struct RoomSights {
    /// The room.
    pub room: OwnedRoomId,
    /// The events: those of the state, and then those of the timeline, oldest first.
    pub events: Vec<Arc<Stored>>,
    /// How much there is of the stripped state of a room that the user is not in yet.
    pub stripped: u64,
}

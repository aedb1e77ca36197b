//! One at a time, per room.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use ruma::{OwnedRoomId, RoomId};
use tokio::sync::OwnedMutexGuard;

/// Rooms beyond which those that nobody waits for are forgotten.
const ROOMS_KEPT: usize = 1_000;

/// Whose turn it is, by room.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<OwnedRoomId, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for the turn; it lasts until what this returns is dropped.
    pub(crate) async fn take(&self, room: &RoomId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut rooms = self.0.lock();
            if let Some(turn) = rooms.get(room).and_then(Weak::upgrade) {
                turn
            } else {
                if rooms.len() >= ROOMS_KEPT {
                    rooms.retain(|_, turn| turn.strong_count() > 0);
                }
                let turn = Arc::new(tokio::sync::Mutex::new(()));
                rooms.insert(room.to_owned(), Arc::downgrade(&turn));
                turn
            }
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use ruma::room_id;

    use super::Turns;

    #[test]
    fn each_room_has_one_turn() {
        let turns = Turns::default();
        let first = turns.take(room_id!("!a:b.c")).now_or_never();
        assert!(first.is_some());
        assert!(turns.take(room_id!("!a:b.c")).now_or_never().is_none());
        assert!(turns.take(room_id!("!d:b.c")).now_or_never().is_some());
        drop(first);
        assert!(turns.take(room_id!("!a:b.c")).now_or_never().is_some());
    }
}

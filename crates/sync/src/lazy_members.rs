//! Which membership events a device was told, so that lazy loading need not repeat them.
//!
//! A membership event counts as told once the device shows that it has got the answer that held it: by a `since` at or
//! behind that answer's position. An answer that was lost on its way is told again.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use wardroom_rooms::{EventNid, RoomNid, Stored};
use wardroom_store::Position;

/// Rooms of devices that are remembered.
const ROOMS_MAX: usize = 20_000;
/// Members of one room that are remembered for one device; all are forgotten when there are more.
const MEMBERS_PER_ROOM_MAX: usize = 200;

/// Membership events with the position of the answer that told them.
type ToldInRoom = Arc<Mutex<HashMap<EventNid, Position>>>;

/// What was told, by device and room.
#[derive(Debug)]
pub(crate) struct ToldMembers(Cache<(u64, RoomNid), ToldInRoom>);

impl Default for ToldMembers {
    fn default() -> Self {
        Self(Cache::new(ROOMS_MAX))
    }
}

impl ToldMembers {
    /// Leaves out the events that a device which listens since `since` has. Nothing was told to one that starts anew.
    pub(crate) fn retain_news(
        &self,
        device: u64,
        room: RoomNid,
        since: Option<Position>,
        members: &mut Vec<Arc<Stored>>,
    ) {
        let Some(since) = since else {
            self.0.remove(&(device, room));
            return;
        };
        let Some(told) = self.0.get(&(device, room)) else { return };
        let mut told = told.lock();
        told.retain(|_, at| *at <= since);
        members.retain(|member| !told.contains_key(&member.nid));
    }

    /// Remembers the membership events of an answer that reaches up to `now`.
    pub(crate) fn note(&self, device: u64, room: RoomNid, now: Position, members: impl Iterator<Item = EventNid>) {
        let mut members = members.peekable();
        if members.peek().is_none() {
            return;
        }
        let told = self.0.get(&(device, room)).unwrap_or_else(|| {
            let told = ToldInRoom::default();
            self.0.insert((device, room), Arc::clone(&told));
            told
        });
        let mut told = told.lock();
        for member in members {
            told.entry(member).or_insert(now);
        }
        if told.len() > MEMBERS_PER_ROOM_MAX {
            told.clear();
        }
    }
}

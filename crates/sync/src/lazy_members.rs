//! Which membership events a device was told, so that lazy loading need not repeat them.
//!
//! A membership event counts as told once the device shows that it has got the answer that held it: by a `since` at or
//! behind that answer's position. An answer that was lost on its way is told again.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};
use wardroom_rooms::{EventNid, RoomNid, Stored};
use wardroom_store::Position;

/// Members kept in memory over all devices and rooms, 16 bytes each; a room of a device counts as some.
const WEIGHT_MAX: u64 = 300_000;
/// What a room of a device costs besides its members, in members.
const ROOM_WEIGHT: u64 = 6;
/// Mean weight of a room of a device, from which the cache sizes its tables.
const ROOM_WEIGHT_MEAN: u64 = 12;
/// Members of one room that are remembered for one device; all are forgotten when there are more.
const MEMBERS_PER_ROOM_MAX: usize = 200;

/// Membership events, each with the position of the answer that told it.
type ToldInRoom = Arc<[(EventNid, Position)]>;

/// What was told, by device and room.
#[derive(Debug)]
pub(crate) struct ToldMembers(Cache<(u64, RoomNid), ToldInRoom, ByMembers>);

#[derive(Clone, Debug)]
struct ByMembers;

impl Weighter<(u64, RoomNid), ToldInRoom> for ByMembers {
    fn weight(&self, _: &(u64, RoomNid), told: &ToldInRoom) -> u64 {
        ROOM_WEIGHT + u64::try_from(told.len()).unwrap_or(u64::MAX / 2)
    }
}

impl Default for ToldMembers {
    fn default() -> Self {
        let rooms = usize::try_from(WEIGHT_MAX / ROOM_WEIGHT_MEAN).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(rooms, WEIGHT_MAX, ByMembers))
    }
}

impl ToldMembers {
    /// Leaves out the events that a device has which listens since `since`; one that starts anew has none.
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
        let Some(mut told) = self.0.get(&(device, room)) else { return };
        if told.iter().any(|(_, at)| *at > since) {
            // Answers that the device did not get.
            told = told.iter().copied().filter(|(_, at)| *at <= since).collect();
            self.0.insert((device, room), Arc::clone(&told));
        }
        members.retain(|member| !told.iter().any(|(nid, _)| *nid == member.nid));
    }

    /// Remembers the membership events of an answer that reaches up to `now`.
    pub(crate) fn note(&self, device: u64, room: RoomNid, now: Position, members: impl Iterator<Item = EventNid>) {
        let mut members = members.peekable();
        if members.peek().is_none() {
            return;
        }
        let mut told = self.0.get(&(device, room)).unwrap_or_default().to_vec();
        for member in members {
            if !told.iter().any(|(nid, _)| *nid == member) {
                told.push((member, now));
            }
        }
        if told.len() > MEMBERS_PER_ROOM_MAX {
            told.clear();
        }
        self.0.insert((device, room), told.into());
    }
}

#[cfg(test)]
mod tests {
    use super::{MEMBERS_PER_ROOM_MAX, ToldMembers};
    use wardroom_rooms::{EventNid, RoomNid};
    use wardroom_store::Position;

    fn told(members: &ToldMembers) -> usize {
        members.0.get(&(1, RoomNid::new(1))).map_or(0, |told| told.len())
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let members = ToldMembers::default();
        let note = |number| {
            members.note(1, RoomNid::new(1), Position::new(number), [EventNid::new(number)].into_iter());
        };
        (1..=MEMBERS_PER_ROOM_MAX as u64).for_each(note);
        assert_eq!(told(&members), MEMBERS_PER_ROOM_MAX);
        note(1);
        assert_eq!(told(&members), MEMBERS_PER_ROOM_MAX, "known already");
        note(0);
        assert_eq!(told(&members), 0);
    }
}

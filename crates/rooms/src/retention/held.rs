//! What the purge leaves alone because a legal hold covers it, and what else a hold keeps from being destroyed.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use parking_lot::Mutex;
use ruma::RoomId;
use wardroom_holds::Guard;

use super::{Lifetime, originals::is_held, prune::Perishable};
use crate::{
    Engine,
    error::RoomError,
    ids::{EventNid, RoomNid},
    room::RoomView,
    sealing::DAY_MS,
};

/// Up to where a room is pruned but for what is held: what is behind is not looked at in each run.
#[derive(Debug, Default)]
pub(crate) struct Passed(Mutex<HashMap<RoomNid, Front>>);

/// All rows up to this one were pruned, or are held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Front {
    /// When the first of them, in milliseconds since 1970, was looked at last: something may have come there since.
    begun_ms: u64,
    /// What held then.
    lifetime: Lifetime,
    releases: u64,
    /// When the last of them came to be, and which event it is.
    last: (u64, EventNid),
}

impl Passed {
    /// From where a run has to look: behind what it knows to be held, unless something has changed or a day has passed.
    pub(super) fn front(&self, room: RoomNid, lifetime: Lifetime, releases: u64, now_ms: u64) -> Walk {
        let known = self.0.lock().get(&room).copied().filter(|front| {
            front.lifetime == lifetime && front.releases == releases && now_ms.abs_diff(front.begun_ms) < DAY_MS
        });
        Walk { room, lifetime, releases, begun_ms: now_ms, known, last: None, is_whole: true, is_any_held: false }
    }

    pub(super) fn keep(&self, walk: &Walk) {
        let last = walk.last.or(walk.known.map(|front| front.last));
        let mut passed = self.0.lock();
        match last.filter(|_| walk.is_any_held || walk.known.is_some()) {
            Some(last) => {
                let begun_ms = walk.known.map_or(walk.begun_ms, |front| front.begun_ms);
                let Walk { lifetime, releases, .. } = *walk;
                passed.insert(walk.room, Front { begun_ms, lifetime, releases, last });
            }
            None => drop(passed.remove(&walk.room)),
        }
    }
}

/// A run through what a room has.
#[derive(Debug)]
pub(super) struct Walk {
    room: RoomNid,
    lifetime: Lifetime,
    releases: u64,
    begun_ms: u64,
    known: Option<Front>,
    last: Option<(u64, EventNid)>,
    is_whole: bool,
    is_any_held: bool,
}

impl Walk {
    /// Behind which row to begin.
    pub(super) fn after(&self) -> Option<(RoomNid, u64, EventNid)> {
        self.known.map(|front| (self.room, front.last.0, front.last.1))
    }

    /// Notes a row: whether its time is over. What is behind one that stays is looked at again.
    pub(super) fn passes(&mut self, row: &Perishable, is_over: bool) {
        self.is_whole &= is_over;
        if self.is_whole {
            self.last = Some((row.born_ms, row.event));
        }
    }

    pub(super) fn held(&mut self) {
        self.is_any_held = true;
    }
}

impl Engine {
    /// Those of these events that no hold covers.
    pub(super) async fn free_of_holds(
        &self,
        guard: &Guard,
        room: &RoomView,
        due: Vec<Perishable>,
    ) -> Result<Vec<Perishable>, RoomError> {
        let free = self.free_events(guard, room, &due, |row| row.event).await?;
        Ok(free.into_iter().copied().collect())
    }

    /// Those of these rows of events that no hold covers. An event that is gone is none.
    pub(super) async fn free_events<'r, T>(
        &self,
        guard: &Guard,
        room: &RoomView,
        rows: &'r [T],
        event: impl Fn(&T) -> EventNid,
    ) -> Result<Vec<&'r T>, RoomError> {
        if !guard.any_in_room(&room.id, 0, u64::MAX) {
            return Ok(rows.iter().collect());
        }
        let nids: Vec<EventNid> = rows.iter().map(event).collect();
        let events = self.events(room.nid, &nids).await?;
        let held = |event: &Option<_>| event.as_deref().is_some_and(|event| is_held(guard, &room.id, event));
        Ok(rows.iter().zip(&events).filter(|(_, event)| !held(event)).map(|(row, _)| row).collect())
    }

    /// Refuses to destroy a room, or its history, where a hold covers it or somebody who ever was in it.
    pub(crate) async fn check_not_held(&self, guard: &Guard, (id, room): (&RoomId, RoomNid)) -> Result<(), RoomError> {
        if let Some(hold) = guard.room(id).hold() {
            return Err(RoomError::Held(hold));
        }
        for user in guard.users() {
            let Some(nid) = self.user_nid(user).await? else { continue };
            if let (Some(hold), Some(_)) = (guard.user(user).hold(), self.membership(nid, room).await?) {
                return Err(RoomError::Held(hold));
            }
        }
        Ok(())
    }
}

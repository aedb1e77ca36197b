//! Gaps in timelines: places before which events are missing that other servers have, and filling them.
//!
//! A room that was entered through another server begins with a gap, and a server that was away for long comes back to
//! one. Events that fill a gap get places right before the event above it: positions are given once to the whole server,
//! so that a room's timeline has plenty of unused places between any two of its commits.

use std::sync::Arc;

use futures_util::FutureExt as _;
use ruma::OwnedEventId;
use wardroom_audit::Act;
use wardroom_event::Pdu;
use wardroom_store::{Packed, Scan};

use crate::{
    Rooms,
    error::RoomError,
    ids::{Place, RoomNid},
    receive::{Before, Judged},
    tables::{GAPS, Standing, TIMELINE},
    writer::{Placing, Tell, Writer},
};

/// Events that one call puts into a gap.
pub const GAP_EVENTS_MAX: usize = 1_000;

/// A place in a timeline before which events are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The room.
    pub room: RoomNid,
    /// The oldest event above the gap.
    pub at: Place,
    /// Events that are named from above the gap and have no place in the graph.
    pub missing: Vec<OwnedEventId>,
}

impl Rooms {
    /// The newest gap at or below `from` and above `down_to`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn gap(&self, room: RoomNid, from: Place, down_to: Place) -> Result<Option<Gap>, RoomError> {
        let key = |place: Place| (room, place.position(), place.index());
        let scan = Scan::range(&key(down_to.next()), &key(from.next())).reverse().limit(1);
        let found = self.engine.store.latest().scan(&GAPS, scan).await?.pop();
        // Where a history was purged nothing is missing that should come back.
        let found = found.filter(|(_, Packed(missing))| !missing.is_empty());
        Ok(found.map(|((room, position, index), Packed(missing))| Gap {
            room,
            at: Place::new(position, index),
            missing,
        }))
    }

    /// Puts checked events of the past, oldest first, into a gap: at most [`GAP_EVENTS_MAX`]. Those of which something
    /// is not here that has to be are left out. Says what is left of the gap.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn fill_gap(&self, gap: &Gap, events: Vec<(Arc<Pdu>, Before)>) -> Result<Option<Gap>, RoomError> {
        let room = self.engine.room(gap.room).await?;
        let at = gap.at;
        self.engine.write(&room, move |writer| async move { writer.fill_gap(at, events).await }.boxed()).await
    }
}

impl Writer {
    async fn fill_gap(&mut self, at: Place, events: Vec<(Arc<Pdu>, Before)>) -> Result<Option<Gap>, RoomError> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        let key = (self.nid(), at.position(), at.index());
        let found = self.engine.store.latest().get(&GAPS, &key).await?;
        let Some(Packed(missing)) = found.filter(|Packed(missing)| !missing.is_empty()) else { return Ok(None) };
        let filled = self.fill(at, missing, events).await;
        self.guard(filled)
    }

    async fn fill(
        &mut self,
        at: Place,
        mut missing: Vec<OwnedEventId>,
        events: Vec<(Arc<Pdu>, Before)>,
    ) -> Result<Option<Gap>, RoomError> {
        let mut places = self.places_below(at, events.len().min(GAP_EVENTS_MAX)).await?.into_iter();
        let full = places.len() < events.len().min(GAP_EVENTS_MAX);
        let (mut lowest, mut filled) = (at, Vec::new());
        for (pdu, before) in events.into_iter().take(GAP_EVENTS_MAX) {
            if pdu.room_id() != self.view().id || self.is_placed(&pdu).await? {
                continue;
            }
            let root = match before {
                Before::Derived => self.state_before(&pdu).await?,
                Before::Given(ids) => match self.root_of(&ids).await {
                    Err(RoomError::Lacking) => None,
                    root => Some(root?),
                },
            };
            // One event of another server must not undo what others write in the same commit: it stays missing.
            let Some(root) = root else { continue };
            let before_it = self.missing_before(&pdu).await?;
            missing.extend_from_slice(&before_it);
            if matches!(self.judge_past(&pdu, root).await?, Judged::Rejected(_)) {
                let placing =
                    Placing { before: root, standing: Standing::Rejected, transaction: None, tell: Tell::Nobody };
                self.place(pdu, placing).await?;
                continue;
            }
            let Some(place) = places.next() else { break };
            lowest = lowest.min(place);
            self.note_followed(&before_it).await?;
            filled.push(pdu.event_id().to_owned());
            self.place_in_past(pdu, root, place).await?;
        }
        self.record_several(Act::FederationReceive, &filled, "backfill");
        let mut left = Vec::new();
        missing.sort_unstable();
        missing.dedup();
        for id in missing {
            let placed = match self.numbers(std::iter::once(&*id)).await?.pop() {
                Some(nid) => self.standing(nid).await?.is_some_and(Standing::is_placed),
                None => false,
            };
            if !placed {
                left.push(id);
            }
        }
        let room = self.nid();
        self.batch.delete(&GAPS, &(room, at.position(), at.index()));
        // Without places left below the gap nothing can ever fill it.
        if left.is_empty() || full {
            return Ok(None);
        }
        self.batch.put(&GAPS, &(room, lowest.position(), lowest.index()), &Packed(left.clone()));
        Ok(Some(Gap { room, at: lowest, missing: left }))
    }

    async fn is_placed(&self, pdu: &Pdu) -> Result<bool, RoomError> {
        match self.numbers(std::iter::once(pdu.event_id())).await?.pop() {
            Some(nid) => Ok(self.standing(nid).await?.is_some_and(Standing::is_placed)),
            None => Ok(false),
        }
    }

    /// The places right below one that no event of the room has, in order: as many as asked for, or as there are.
    async fn places_below(&self, at: Place, count: usize) -> Result<Vec<Place>, RoomError> {
        let key = |place: Place| (self.nid(), place.position(), place.index());
        let scan = Scan::range(&key(Place::FIRST), &key(at)).reverse().limit(1);
        let below = self.engine.store.latest().scan_keys(&TIMELINE, scan).await?.pop();
        let floor = below.map_or(Place::FIRST, |(_, position, index)| Place::new(position, index));
        let mut places = Vec::with_capacity(count);
        let mut place = at;
        while places.len() < count {
            place = place.before();
            if place <= floor {
                break;
            }
            places.push(place);
        }
        places.reverse();
        Ok(places)
    }
}

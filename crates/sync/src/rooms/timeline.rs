//! The stretch of a room's timeline that is told.

use std::{cmp::Reverse, collections::HashSet};

use ruma::events::StateEventType;
use wardroom_rooms::{Membership, Place, Root, TimelineItem, TimelineRange, passes};

use super::Room;
use crate::{
    SyncError,
    hearing::Hearing,
    response::{Events, Object},
};

/// Events that are looked at in search of events that the filter lets pass and the user sees.
const SCAN_EVENTS_MAX: usize = 1_000;
/// Events of one read of that search.
const SCAN_STEP_EVENTS: usize = 100;

/// A stretch of a timeline, as far as it is told.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// Oldest first.
    pub(crate) items: Vec<TimelineItem>,
    /// Older events that the client does not know were left out.
    pub(crate) limited: bool,
    /// Boundary from which the older events are read.
    pub(crate) prev_batch: Option<Place>,
    /// Events within the stretch were left out: by the filter, or because the user does not see them.
    pub(crate) has_holes: bool,
    /// The state before the first event behind what the client knows, where the search came that far.
    pub(crate) state_at_known: Option<Root>,
}

impl Hearing<'_> {
    /// The newest events between what the client knows and the end, as many as the filter wants.
    pub(crate) async fn timeline(&self, room: &Room<'_>) -> Result<Timeline, SyncError> {
        let limit = self.filter.timeline_limit;
        let mut timeline = Timeline::default();
        let mut boundary = room.end;
        let mut scanned = 0;
        let mut complete = room.end.min(room.view.end) <= room.known;
        if !complete && limit == 0 {
            // What comes is not looked at: its effect on the state is.
            timeline.has_holes = true;
            timeline.limited = !self.filter.hides_timelines;
            complete = true;
        }
        while !complete && timeline.items.len() <= limit && scanned < SCAN_EVENTS_MAX {
            let step = if scanned == 0 { limit + 1 } else { SCAN_STEP_EVENTS };
            let range = TimelineRange { from: room.known, to: boundary, backwards: true, limit: step };
            let items = self.syncer.rooms.timeline(room.view.nid, range).await?;
            let count = items.len();
            scanned += count;
            complete = count < step;
            if let Some(oldest) = items.last() {
                boundary = oldest.place;
                timeline.state_at_known = Some(oldest.state_before);
            }
            let passing = self.visible(room, items).await?;
            timeline.has_holes |= passing.len() < count || passing.iter().any(|item| item.jump);
            timeline.items.extend(passing);
        }
        // What is older than a gap is not what came before: the client asks for that page by page.
        if let Some(above) = timeline.items.iter().position(|item| item.gap) {
            timeline.items.truncate(above + 1);
            complete = false;
        }
        if timeline.items.len() > limit {
            timeline.items.truncate(limit);
            complete = false;
        }
        if !complete {
            timeline.state_at_known = None;
            timeline.limited = true;
            boundary = timeline.items.last().map_or(boundary, |oldest| oldest.place);
        }
        timeline.prev_batch = Some(boundary);
        timeline.items.reverse();
        Ok(timeline)
    }

    /// Leaves out what the filter or the history visibility withholds, and what is over.
    async fn visible(&self, room: &Room<'_>, mut items: Vec<TimelineItem>) -> Result<Vec<TimelineItem>, SyncError> {
        items.retain(|item| {
            let pdu = &item.event.pdu;
            passes(self.filter.timeline(), pdu)
                && !self.ignored.hides(pdu.sender(), pdu.is_state())
                && self.syncer.rooms.is_live(room.view, &item.event)
        });
        let Some(reader) = &room.reader else { return Ok(Vec::new()) };
        // Members see whatever came since they joined (specification, "Room history visibility", rule 2).
        let joined = room.entry.membership == Membership::Join;
        if items.last().is_none_or(|oldest| joined && oldest.place >= room.entry.place) {
            return Ok(items);
        }
        let state: Vec<TimelineItem> = items.iter().filter(|item| item.event.pdu.is_state()).cloned().collect();
        let mut seen = self.syncer.rooms.visible(reader, room.view, items).await?;
        if joined && !state.is_empty() {
            self.add_current(room, state, &mut seen).await?;
        }
        Ok(seen)
    }

    /// Adds what the history visibility withholds of these state events and members are told all the same, because it is
    /// the room's state now. Some clients take changes of the state from timelines only.
    async fn add_current(
        &self,
        room: &Room<'_>,
        state: Vec<TimelineItem>,
        seen: &mut Vec<TimelineItem>,
    ) -> Result<(), SyncError> {
        let places: HashSet<Place> = seen.iter().map(|item| item.place).collect();
        let end = self.state_at_end(room).await?;
        for item in state {
            let Some(state_key) = item.event.pdu.state_key().filter(|_| !places.contains(&item.place)) else {
                continue;
            };
            let kind = StateEventType::from(item.event.pdu.kind().to_string());
            let now = self.syncer.rooms.state_event(room.view.nid, end, &kind, state_key).await?;
            if now.is_some_and(|now| now.nid == item.event.nid) {
                seen.push(item);
            }
        }
        // Newest first.
        seen.sort_by_key(|item| Reverse(item.place));
        Ok(())
    }

    /// Tells a timeline.
    pub(crate) async fn tell_timeline(&self, room: &Room<'_>, timeline: &Timeline) -> Result<Object, SyncError> {
        let mut events = Events::default();
        for item in &timeline.items {
            self.tell_timeline_event(&mut events, room, item).await?;
        }
        let mut told = Object::default();
        told.raw("events", &events.end());
        told.value("limited", &timeline.limited);
        if let Some(prev_batch) = timeline.prev_batch {
            told.value("prev_batch", &prev_batch.to_string());
        }
        Ok(told)
    }

    /// The event at this place alone, as far as the filter wants it.
    pub(crate) async fn single(&self, room: &Room<'_>, place: Place) -> Result<Option<TimelineItem>, SyncError> {
        let range = TimelineRange { from: place, to: place.next(), backwards: false, limit: 1 };
        let item = self.syncer.rooms.timeline(room.view.nid, range).await?.pop();
        Ok(item.filter(|item| passes(self.filter.timeline(), &item.event.pdu)))
    }
}

impl Timeline {
    /// A timeline of one event.
    pub(crate) fn of(item: Option<TimelineItem>) -> Self {
        let prev_batch = item.as_ref().map(|item| item.place);
        Self { items: item.into_iter().collect(), prev_batch, ..Self::default() }
    }
}

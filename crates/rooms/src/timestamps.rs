//! The event next to a time (specification, `GET /rooms/{roomId}/timestamp_to_event`).
//!
//! Times are what the senders' servers said. They need not follow the order in which the events came, so the search
//! goes along an index of its own, written with each event.

use std::sync::Arc;

use ruma::RoomId;
use wardroom_store::{Position, Scan};

use crate::{
    Actor, Rooms,
    error::RoomError,
    events::Stored,
    ids::Place,
    room::RoomView,
    tables::{EVENT_TIMES, TIMELINE},
    timeline::{Reader, TimelineItem},
};

/// Events looked at in one search when the reader sees none of them.
const SEARCHED_EVENTS_MAX: usize = 50_000;
/// Events read at a time, at first; each further page is larger, up to [`PAGE_EVENTS_MAX`].
const PAGE_EVENTS_MIN: usize = 8;
/// Events read at a time.
const PAGE_EVENTS_MAX: usize = 1_000;

type TimeKey = (crate::RoomNid, u64, Position, u16);

impl Rooms {
    /// The event that its reader sees closest to a time, in milliseconds since 1970: the first at or after it, or
    /// backwards the last at or before it.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] where there is none, [`RoomError::Forbidden`] for rooms that the actor may not read.
    pub async fn event_near(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        time_ms: u64,
        backwards: bool,
    ) -> Result<Arc<Stored>, RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let reader = self.reader(actor, &view).await?;
        let mut range = if backwards {
            Scan::prefix(&view.nid).before(&(view.nid, time_ms.saturating_add(1))).reverse()
        } else {
            Scan::prefix(&view.nid).from(&(view.nid, time_ms))
        };
        let (mut searched, mut page) = (0, PAGE_EVENTS_MIN);
        while searched < SEARCHED_EVENTS_MAX {
            let keys = self.engine.store.latest().scan_keys(&EVENT_TIMES, range.clone().limit(page)).await?;
            if let Some(found) = self.first_seen(&reader, &view, &keys).await? {
                return Ok(found);
            }
            let Some(last) = keys.last().filter(|_| keys.len() == page) else { break };
            range = if backwards { range.before(last) } else { range.after(last) };
            searched += keys.len();
            page = (page * 4).min(PAGE_EVENTS_MAX);
        }
        Err(RoomError::NotFound("There is no event in this direction from this time that you may see."))
    }

    /// The first event at these places that the reader sees.
    async fn first_seen(
        &self,
        reader: &Reader,
        room: &RoomView,
        keys: &[TimeKey],
    ) -> Result<Option<Arc<Stored>>, RoomError> {
        let places: Vec<_> = keys.iter().map(|(room, _, position, index)| (*room, *position, *index)).collect();
        let entries = self.engine.store.latest().multi_get(&TIMELINE, &places).await?;
        let found: Vec<_> = places.iter().zip(entries).filter_map(|(place, entry)| Some((place, entry?))).collect();
        let nids: Vec<_> = found.iter().map(|(_, entry)| entry.event).collect();
        let events = self.engine.events_in(room.nid, Some(room.version), &nids).await?;
        for ((&(_, position, index), entry), event) in found.into_iter().zip(events) {
            let Some(event) = event else { continue };
            let item = TimelineItem { place: Place::new(position, index), event, state_before: entry.state_before };
            if self.engine.sees(reader, room, &item).await? {
                return Ok(Some(item.event));
            }
        }
        Ok(None)
    }
}

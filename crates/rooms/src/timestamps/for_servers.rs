//! The same search for another server.

use std::sync::Arc;

use super::{EVENT_TIMES, PAGE_EVENTS_MAX, PAGE_EVENTS_MIN, Place, SEARCHED_EVENTS_MAX, Scan, TIMELINE};
use crate::{Rooms, error::RoomError, events::Stored, serving::ServerReader};

impl Rooms {
    /// The event that a server sees closest to a time, in milliseconds since 1970: the first at or after it, or
    /// backwards the last at or before it.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] where there is none.
    pub async fn event_near_for_server(
        &self,
        reader: &mut ServerReader,
        time_ms: u64,
        backwards: bool,
    ) -> Result<Arc<Stored>, RoomError> {
        let room = reader.room().nid;
        let mut range = if backwards {
            Scan::prefix(&room).before(&(room, time_ms.saturating_add(1))).reverse()
        } else {
            Scan::prefix(&room).from(&(room, time_ms))
        };
        let (mut searched, mut page) = (0, PAGE_EVENTS_MIN);
        while searched < SEARCHED_EVENTS_MAX {
            let keys = self.engine.store.latest().scan_keys(&EVENT_TIMES, range.clone().limit(page)).await?;
            for (_, _, position, index) in &keys {
                let place = Place::new(*position, *index);
                let key = (room, place.position(), place.index());
                let Some(entry) = self.engine.store.latest().get(&TIMELINE, &key).await? else { continue };
                let Some(event) = self.engine.event(room, entry.event).await? else { continue };
                if !self.engine.is_live(reader.room(), &event) {
                    continue;
                }
                if self.engine.server_sees(reader, &event.pdu, entry.graph_before.unwrap_or(entry.state_before)).await?
                {
                    return Ok(event);
                }
            }
            let Some(last) = keys.last().filter(|_| keys.len() == page) else { break };
            range = if backwards { range.before(last) } else { range.after(last) };
            searched += keys.len();
            page = (page * 4).min(PAGE_EVENTS_MAX);
        }
        Err(RoomError::NotFound("There is no event in this direction from this time that you may see."))
    }
}

//! What a legal hold covers, for who may look at it: events as they were said, also those that were redacted since or whose
//! time is over.

use std::{fmt, str::FromStr};

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::Serialize;
use serde_json::value::RawValue as RawJsonValue;
use wardroom_holds::Scope;
use wardroom_store::{Position, Scan};

use crate::{
    Rooms,
    error::RoomError,
    events::Stored,
    ids::{Place, RoomNid},
    room::RoomView,
    tables::ROOMS,
    timeline::TimelineRange,
};

/// Events in one answer.
pub const HELD_PAGE_MAX: usize = 100;
/// Events and rooms that are looked at for one answer.
const LOOKED_AT_MAX: usize = 10_000;
/// Events that are read at a time.
const READ_AT_ONCE: usize = 500;

/// An event that a hold covers.
#[derive(Debug, Serialize)]
pub struct HeldEvent {
    /// Its id.
    pub event_id: OwnedEventId,
    /// Its room.
    pub room_id: OwnedRoomId,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The place in the state that it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_key: Option<String>,
    /// When it was sent, as its sender's server says, in milliseconds since 1970.
    pub origin_server_ts: u64,
    /// When it came to this server, in milliseconds since 1970.
    pub received_ts: u64,
    /// What it said; of one that was redacted what it had said, where that is kept.
    pub content: Box<RawJsonValue>,
    /// It was redacted.
    pub redacted: bool,
    /// Its time is over: nobody is shown it any more.
    pub expired: bool,
}

/// Behind which event a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldPlace {
    room: RoomNid,
    place: Place,
}

impl fmt::Display for HeldPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}", self.room.get(), self.place.position().get(), self.place.index())
    }
}

impl FromStr for HeldPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('_');
        let mut next = || parts.next().and_then(|part| part.parse::<u64>().ok()).ok_or(());
        let (room, position) = (RoomNid::new(next()?), Position::new(next()?));
        let index = u16::try_from(next()?).map_err(|_| ())?;
        if parts.next().is_some() { Err(()) } else { Ok(Self { room, place: Place::new(position, index) }) }
    }
}

/// A page of what a hold covers.
#[derive(Debug)]
pub struct HeldPage {
    /// Events, room by room, in the order in which they stand in the timeline.
    pub events: Vec<HeldEvent>,
    /// Where to go on, where there may be more: a page may be short, or empty, and yet not be the last.
    pub next: Option<HeldPlace>,
}

impl Rooms {
    /// A page of the events that a hold with this scope covers. Ungated: for administrators.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn held_events(&self, scope: &Scope, from: Option<HeldPlace>) -> Result<HeldPage, RoomError> {
        let mut page = HeldPage { events: Vec::new(), next: None };
        let mut at = from;
        for _ in 0..LOOKED_AT_MAX / READ_AT_ONCE {
            let Some(room) = self.covered_room(scope, at).await? else { return Ok(page) };
            let after = at.filter(|at| at.room == room).map_or(Place::FIRST, |at| at.place.next());
            let next = match self.view_of(room).await {
                Ok(view) => self.held_in_room(scope, &view, after, &mut page.events).await?,
                // It is being destroyed.
                Err(RoomError::NoSuchRoom) => None,
                Err(error) => return Err(error),
            };
            // A room that is done is left behind.
            at = Some(HeldPlace { room, place: next.unwrap_or(Place::LAST) });
            if page.events.len() == HELD_PAGE_MAX {
                break;
            }
        }
        page.next = at;
        Ok(page)
    }

    /// Covered events of a stretch of one room; answers behind which place to go on, if the room goes on.
    async fn held_in_room(
        &self,
        scope: &Scope,
        view: &RoomView,
        from: Place,
        found: &mut Vec<HeldEvent>,
    ) -> Result<Option<Place>, RoomError> {
        let range = TimelineRange { from, to: Place::LAST, backwards: false, limit: READ_AT_ONCE };
        let items = self.timeline(view.nid, range).await?;
        let (is_last, mut last) = (items.len() < READ_AT_ONCE, None);
        for item in items {
            last = Some(item.place);
            let (event, age) = (&item.event, item.event.age());
            if !event.pruned && scope.covers_event(&view.id, event.pdu.sender(), age.received_ms, age.sent_ms) {
                found.push(self.held_event(view, event).await?);
            }
            if found.len() == HELD_PAGE_MAX {
                return Ok(last);
            }
        }
        Ok(last.filter(|_| !is_last))
    }

    async fn held_event(&self, view: &RoomView, event: &Stored) -> Result<HeldEvent, RoomError> {
        let redacted = event.redacted_because.is_some();
        let original = match redacted {
            true => self.engine.original(view.nid, view.version, event.nid).await?,
            false => None,
        };
        let pdu = original.as_ref().unwrap_or(&event.pdu);
        Ok(HeldEvent {
            event_id: pdu.event_id().to_owned(),
            room_id: view.id.clone(),
            sender: pdu.sender().to_owned(),
            kind: pdu.kind().to_string(),
            state_key: pdu.state_key().map(ToOwned::to_owned),
            origin_server_ts: pdu.origin_server_ts(),
            received_ts: event.received_ms,
            content: pdu.content().to_owned(),
            redacted,
            expired: !self.is_live(view, event),
        })
    }

    /// The room that a page goes on with, of those in which a hold may cover something.
    async fn covered_room(&self, scope: &Scope, at: Option<HeldPlace>) -> Result<Option<RoomNid>, RoomError> {
        if scope.media.is_some() {
            return Ok(None);
        }
        // A room that is done is not looked at again.
        let first = at.map_or(0, |at| at.room.get() + u64::from(at.place == Place::LAST));
        let first = RoomNid::new(first);
        if let Some(room) = &scope.room_id {
            return Ok(self.room_nid(room).await?.filter(|room| *room >= first));
        }
        if let Some(user) = &scope.user_id {
            let Some(user) = self.engine.user_nid(user).await? else { return Ok(None) };
            return Ok(self
                .memberships(user)
                .await?
                .into_iter()
                .map(|entry| entry.room)
                .filter(|room| *room >= first)
                .min());
        }
        Ok(self.engine.store.latest().scan_keys(&ROOMS, Scan::all().from(&first).limit(1)).await?.pop())
    }
}

#[cfg(test)]
mod tests {
    use super::HeldPlace;

    #[test]
    fn places_survive_the_text_and_junk_is_none() {
        let place: HeldPlace = "7_8_9".parse().unwrap();
        assert_eq!(place.to_string(), "7_8_9");
        for junk in ["", "1", "1_2", "1_2_3_4", "1_2_65536", "a_b_c", "-1_2_3"] {
            assert_eq!(junk.parse::<HeldPlace>(), Err(()), "{junk}");
        }
    }
}

//! The event next to a time (specification, `GET /rooms/{roomId}/timestamp_to_event`).
//!
//! Times are what the senders' servers said. They need not follow the order in which the events came, so the search
//! goes along an index of its own, written with each event.

mod for_servers;

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
        self.event_near_as(&reader, &view, time_ms, backwards).await
    }

    /// As [`Rooms::event_near`], for a reader whom the gate has let in.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] where there is none.
    pub async fn event_near_as(
        &self,
        reader: &Reader,
        view: &RoomView,
        time_ms: u64,
        backwards: bool,
    ) -> Result<Arc<Stored>, RoomError> {
        let mut range = if backwards {
            Scan::prefix(&view.nid).before(&(view.nid, time_ms.saturating_add(1))).reverse()
        } else {
            Scan::prefix(&view.nid).from(&(view.nid, time_ms))
        };
        let (mut searched, mut page) = (0, PAGE_EVENTS_MIN);
        while searched < SEARCHED_EVENTS_MAX {
            let keys = self.engine.store.latest().scan_keys(&EVENT_TIMES, range.clone().limit(page)).await?;
            if let Some(found) = self.first_seen(reader, view, &keys).await? {
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
            let item = TimelineItem::new(Place::new(position, index), event, &entry);
            if self.engine.sees(reader, room, &item).await? {
                return Ok(Some(item.event));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ruma::{owned_server_name, room_version_id, user_id};
    use serde_json::{json, value::to_raw_value};
    use wardroom_audit::AuditLog;
    use wardroom_clock::ManualClock;
    use wardroom_event::SigningKey;

    use crate::{
        Preset, RoomError, Rooms, Settings, StandardGate,
        tests::{World, new_room, run},
    };

    /// The rooms of the same store at another time.
    fn rooms_at(world: &World, now_ms: u64) -> Rooms {
        let settings = Settings {
            server_name: owned_server_name!("a.example"),
            default_version: room_version_id!("12"),
            signing_key: SigningKey::from_seed([7; 32], "1").unwrap().into(),
            holds: Default::default(),
            retention: crate::RetentionSettings::default(),
        };
        Rooms::new(
            world.store.clone(),
            Arc::new(ManualClock::new(now_ms)),
            Arc::new(StandardGate),
            AuditLog::silent(),
            settings,
        )
    }

    #[test]
    fn times_count_and_not_the_order_of_arrival() {
        run(async {
            let world = World::new();
            let alice = world.person(user_id!("@alice:a.example")).await;
            let room =
                rooms_at(&world, 1_000).create(alice.actor(), new_room("12", Preset::PrivateChat)).await.unwrap();
            let mut sent = Vec::new();
            // The third arrives last and is the oldest but for the creation.
            for time in [5_000, 9_000, 3_000] {
                let content = to_raw_value(&json!({ "body": time.to_string() })).unwrap();
                let rooms = rooms_at(&world, time);
                sent.push(rooms.send(alice.actor(), &room, "m.room.message", content, None).await.unwrap());
            }
            let rooms = rooms_at(&world, 10_000);
            let near = |time, backwards| {
                let rooms = rooms.clone();
                let (alice, room) = (alice.clone(), room.clone());
                async move {
                    let found = rooms.event_near(alice.actor(), &room, time, backwards).await;
                    found.map(|event| event.pdu.event_id().to_owned())
                }
            };
            for (time, backwards, expected) in [
                (1_001, false, 2),
                (3_000, false, 2),
                (3_001, false, 0),
                (5_001, false, 1),
                (3_000, true, 2),
                (4_999, true, 2),
                (8_999, true, 0),
                (u64::MAX, true, 1),
            ] {
                assert_eq!(near(time, backwards).await.unwrap(), sent[expected], "{time} {backwards}");
            }
            for (time, backwards) in [(9_001, false), (u64::MAX, false), (999, true), (0, true)] {
                assert!(matches!(near(time, backwards).await, Err(RoomError::NotFound(_))), "{time} {backwards}");
            }
        });
    }
}

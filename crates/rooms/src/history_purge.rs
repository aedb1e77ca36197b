//! Purging a room's history up to a point: events before it leave the timeline, and what they said is deleted. State
//! stays, since the room needs it, and so does where each event stood in the graph.
//!
//! Where the timeline now begins stands a gap that names nothing: what was purged is not fetched again from others.

use std::sync::Arc;

use futures_util::FutureExt as _;
use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};
use wardroom_audit::Act;
use wardroom_holds::Guard;
use wardroom_store::{Batch, Packed, Position, Scan};

use crate::{
    Rooms,
    error::RoomError,
    events::Stored,
    ids::Place,
    tables::{AUTH_EDGES, EVENT_META, EVENT_TIMES, EVENTS, GAPS, Standing, TIMELINE},
    tasks::{Task, Work},
    writer::Writer,
};

/// Events that leave the timeline in one commit.
const PURGED_AT_ONCE: usize = 200;

/// Where a purge ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgeUpTo {
    /// Before this event.
    Event(OwnedEventId),
    /// Before the first event whose sender's server said this time or a later one, in milliseconds since 1970.
    Time(u64),
}

/// The purge of a room's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPurge {
    /// The room.
    pub room: OwnedRoomId,
    /// The first event that stays.
    pub(crate) up_to: Place,
    /// What users of this server said is deleted too; else only nobody reads it any more.
    pub delete_local_events: bool,
    /// Events that have left the timeline.
    #[serde(default)]
    pub purged: u64,
}

fn purge(task: &mut Task) -> Result<&mut HistoryPurge, RoomError> {
    match &mut task.work {
        Work::PurgeHistory(purge) => Ok(purge),
        _ => Err(RoomError::inconsistent("a task of another kind")),
    }
}

impl Rooms {
    /// Has a room's history purged; answers the id of the task.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] where there is no such room or event, [`RoomError::InvalidParam`] while the room is
    /// being purged already, [`RoomError::Held`] where a legal hold keeps it.
    pub async fn purge_history(
        &self,
        room: &RoomId,
        up_to: &PurgeUpTo,
        delete_local_events: bool,
    ) -> Result<String, RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NotFound("There is no such room."))?;
        let up_to = match up_to {
            PurgeUpTo::Event(event) => self.timeline_place(view.nid, event).await?,
            PurgeUpTo::Time(time_ms) => {
                let scan = Scan::prefix(&view.nid).from(&(view.nid, *time_ms)).limit(1);
                let next = self.engine.store.latest().scan_keys(&EVENT_TIMES, scan).await?.pop();
                next.map(|(.., position, index)| Place::new(position, index))
            }
        };
        self.engine.check_not_held(&self.engine.holds.nothing_changes().await, (&view.id, view.nid)).await?;
        let newest = Scan::prefix(&view.nid).reverse().limit(1);
        let newest = self.engine.store.latest().scan_keys(&TIMELINE, newest).await?.pop();
        let (_, position, index) = newest.ok_or(RoomError::NotFound("The room has no events."))?;
        // The newest event stays: others follow it.
        let newest = Place::new(position, index);
        let up_to = up_to.map_or(newest, |up_to| up_to.min(newest));
        let work = HistoryPurge { room: room.to_owned(), up_to, delete_local_events, purged: 0 };
        let unlike = |work: &Work| work.room() == Some(room);
        self.add_task(Batch::default(), Work::PurgeHistory(work), unlike).await
    }

    async fn timeline_place(&self, room: crate::RoomNid, event: &EventId) -> Result<Option<Place>, RoomError> {
        const NO_SUCH_EVENT: RoomError = RoomError::NotFound("There is no such event in this room.");
        let nid = self.engine.event_nid(event).await?.ok_or(NO_SUCH_EVENT)?;
        let (meta, place) = self.engine.meta(nid).await?.ok_or(NO_SUCH_EVENT)?;
        if meta.room == room { Ok(Some(place)) } else { Err(NO_SUCH_EVENT) }
    }

    pub(crate) async fn do_purge(&self, task: &mut Task) -> Result<(), RoomError> {
        let known = purge(task)?.clone();
        let Some(nid) = self.room_nid(&known.room).await? else { return Ok(()) };
        let room = self.engine.room(nid).await?;
        loop {
            // A hold that was set since ends the purge where it is.
            let (guard, so_far) = (self.engine.holds.nothing_changes().await, task.clone());
            let purged = self
                .engine
                .write(&room, move |writer| async move { writer.purge_oldest(so_far, guard).await }.boxed())
                .await?;
            purge(task)?.purged += purged;
            if purged == 0 {
                return Ok(());
            }
            self.engine.tasks.has_moved();
        }
    }
}

impl Writer {
    /// Takes the oldest events before a place out of the timeline, and tells how many there were.
    async fn purge_oldest(&mut self, mut task: Task, guard: Guard) -> Result<u64, RoomError> {
        let HistoryPurge { up_to, delete_local_events, .. } = *purge(&mut task)?;
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        self.engine.check_not_held(&guard, (&self.view().id, self.nid())).await?;
        self.batch.on_commit(move |_| drop(guard));
        let purged = self.purge_page(up_to, delete_local_events).await;
        let purged = self.guard(purged)?;
        // Counted with the deed: a crash leaves none uncounted.
        purge(&mut task)?.purged += purged;
        if purged > 0 {
            self.engine.put_task(&mut self.batch, &mut task)?;
        }
        #[cfg(test)]
        self.engine.steps.reach(crate::steps::Step::History).await;
        Ok(purged)
    }

    async fn purge_page(&mut self, up_to: Place, delete_local_events: bool) -> Result<u64, RoomError> {
        let room = self.nid();
        let key = |place: Place| (room, place.position(), place.index());
        let store = self.engine.store.latest();
        let scan = Scan::range(&key(Place::FIRST), &key(up_to)).limit(PURGED_AT_ONCE);
        let entries = store.scan(&TIMELINE, scan).await?;
        let Some((last, _)) = entries.last() else { return Ok(0) };
        let first_kept = Scan::prefix(&room).after(last).limit(1);
        let first_kept = store.scan_keys(&TIMELINE, first_kept).await?.pop();
        let first_kept = first_kept.ok_or_else(|| RoomError::inconsistent("a timeline that ends before its end"))?;
        let mut ids = Vec::with_capacity(entries.len());
        for (at, entry) in &entries {
            self.batch.delete(&TIMELINE, at);
            self.batch.delete(&GAPS, at);
            if let Some(event) = self.event(entry.event).await? {
                ids.push(event.pdu.event_id().to_owned());
                self.purge_event(&event, (at.1, at.2), delete_local_events).await?;
            }
        }
        self.batch.put(&GAPS, &first_kept, &Packed(Vec::new()));
        self.record_several(Act::RetentionPurge, &ids, "history");
        let purged = entries.len() as u64;
        self.head.events = self.head.events.saturating_sub(purged);
        Ok(purged)
    }

    async fn purge_event(
        &mut self,
        event: &Arc<Stored>,
        (position, index): (Position, u16),
        delete_local_events: bool,
    ) -> Result<(), RoomError> {
        let (room, pdu) = (self.nid(), &event.pdu);
        self.batch.delete(&EVENT_TIMES, &(room, pdu.origin_server_ts(), position, index));
        self.forget_words(event).await?;
        self.unrelate(event).await?;
        if let Some((mut meta, _)) = self.engine.any_meta(event.nid).await? {
            // It has its place in the graph as before, and none in the timeline any more.
            meta.standing = Standing::SoftFailed;
            meta.past = Some(Place::new(position, index));
            meta.transaction = None;
            self.batch.put(&EVENT_META, &event.nid, &Packed(meta));
        }
        let own = pdu.sender().server_name() == self.engine.server_name;
        if pdu.is_state() || (own && !delete_local_events) {
            return Ok(());
        }
        self.forget_children(event.nid).await?;
        self.forget_related(event).await?;
        self.forget_named(event);
        self.batch.delete(&EVENTS, &(room, event.nid));
        self.batch.delete(&AUTH_EDGES, &(room, event.nid));
        let (engine, nid) = (Arc::clone(&self.engine), event.nid);
        self.batch.on_commit(move |_| drop(engine.event_cache.remove(&(room, nid))));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ruma::{api::client::filter::RoomEventFilter, user_id};
    use serde_json::{json, value::to_raw_value};

    use super::PurgeUpTo;
    use crate::{
        MemberProfile, Page, Preset, Profiles, RoomError, TaskStatus, fsck,
        tests::{World, new_room, run},
    };

    #[test]
    fn what_is_before_the_point_is_gone_and_the_store_is_sound() {
        run(async {
            let world = World::new();
            let alice = world.person(user_id!("@alice:a.example")).await;
            let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
            let state_events = world.rooms.current_state(alice.actor(), &room).await.unwrap().len();
            let mut events = Vec::new();
            for number in 0..450 {
                let mut content = json!({ "msgtype": "m.text", "body": format!("number {number}") });
                if number % 3 == 2 {
                    content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": events[number - 2] });
                }
                if number % 3 == 1 {
                    content["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": events[number - 1] });
                    content["m.new_content"] = json!({ "msgtype": "m.text", "body": "better" });
                }
                let content = to_raw_value(&content).unwrap();
                events.push(world.rooms.send(alice.actor(), &room, "m.room.message", content, None).await.unwrap());
            }
            let up_to = PurgeUpTo::Event(events[401].clone());
            let task = world.rooms.purge_history(&room, &up_to, true).await.unwrap();
            let again = world.rooms.purge_history(&room, &up_to, true).await;
            assert!(matches!(again, Err(RoomError::InvalidParam(_))), "{again:?}");
            let profiles = Profiles::new(|_| Box::pin(async { MemberProfile::default() }));
            let running = tokio::spawn(world.rooms.clone().run_tasks(profiles));
            let done = world.rooms.finished_task(&task).await.unwrap().unwrap();
            running.abort();
            assert_eq!((done.status, done.error), (TaskStatus::Complete, None));
            let filter = RoomEventFilter::default();
            let page = Page { from: None, to: None, backwards: true, limit: 1_000, filter: &filter };
            let left = world.rooms.messages(alice.actor(), &room, page).await.unwrap();
            assert_eq!(left.chunk.len(), 49);
            assert_eq!(left.end, None);
            for gone in [&events[0], &events[400]] {
                let found = world.rooms.event(alice.actor(), &room, gone).await;
                assert!(matches!(found, Err(RoomError::NoSuchEvent)), "{found:?}");
            }
            world.rooms.event(alice.actor(), &room, &events[401]).await.unwrap();
            assert_eq!(world.rooms.current_state(alice.actor(), &room).await.unwrap().len(), state_events);
            let content = to_raw_value(&json!({ "msgtype": "m.text", "body": "and on" })).unwrap();
            world.rooms.send(alice.actor(), &room, "m.room.message", content, None).await.unwrap();
            assert_eq!(fsck(&world.store).await.unwrap().problems, Vec::<String>::new());
            let view = world.rooms.view(&room).await.unwrap().unwrap();
            let gap = world.rooms.gap(view.nid, crate::Place::LAST, crate::Place::FIRST).await.unwrap();
            assert_eq!(gap, None, "what was purged is not asked for again");
        });
    }
}

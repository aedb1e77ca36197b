//! Destroying everything that this server has of a room.
//!
//! First nobody finds the room any more, then the keys of its contents are destroyed, then the rows go, a page at a
//! time. A legal hold that is set before the keys are destroyed, while a crash has interrupted it, gets the room back as it
//! is by then, and the deletion has failed; from there on it is carried to its end. What stays is that local users are not in the room any more, which their clients have to hear, and numbers of
//! names.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use ruma::OwnedRoomId;
use tokio::time::sleep;
use wardroom_audit::Act;
use wardroom_store::{Batch, Json, Packed, Position, ReadError, Scan};

use super::{Taken, deletion};
use crate::{
    Rooms,
    ends::{ACTIVITY, FORGOTTEN},
    error::RoomError,
    governed::{ARRIVALS, CHANGED, GOVERNED},
    ids::{NS_ROOM, Place, RoomNid, UserNid, WATCH_POLICIES},
    receipts::{RECEIPT_CHANGES, RECEIPTS},
    relations::{ANNOTATIONS, CHILDREN, RELATED_DUE, RELATED_WISHES, SUMMARIES, THREAD_USERS, THREADS},
    retention::{
        COMPACT_DUE, DOOMED_DAYS, NOTICES, ORIGINALS, OVERRIDES, PERISHABLE, PRUNED_RANGES, SEALED_DAYS, STUBS,
        SUPERSEDED, TEMPLATE_OF, TOLD,
    },
    room::Room,
    search::SEARCH_WORDS,
    tables::{
        ALIASES, AUTH_EDGES, EARLY_REDACTIONS, EVENT_META, EVENT_TIMES, EVENTS, FOLLOWED, GAPS, HEADS, LISTED, MEMBERS,
        MEMBERSHIP_CHANGES, MEMBERSHIPS, Membership, MembershipChange, ROOM_ALIASES, ROOM_SERVERS, ROOMS, STATE_NODES,
        STRIPPED_STATE, TIMELINE,
    },
    tasks::Task,
    thread_subscriptions::SUBSCRIPTIONS,
};

/// Rows of which the others are found, read at a time.
const PAGE_ROWS: usize = 2_000;
/// Other servers get this long to hear that the users of this one have left, before the events that say so are
/// destroyed. Those that are away longer find out when they next ask.
const TELLING_OTHERS: Duration = Duration::from_secs(10);

impl Rooms {
    pub(super) async fn erase(&self, task: &mut Task, room: RoomNid) -> Result<(), RoomError> {
        let (id, closed) = (deletion(task)?.room.clone(), deletion(task)?.done.closed);
        if !closed {
            self.tell_others(task, room).await?;
        }
        // A hold comes before this, or when the contents are gone.
        let guard = self.engine.holds.nothing_changes().await;
        if !closed || self.is_whole(task, room).await? {
            match self.engine.check_not_held(&guard, (&id, room)).await {
                Err(held @ RoomError::Held(_)) if closed => {
                    self.reopen(task, room).await?;
                    return Err(held);
                }
                checked => checked?,
            }
        }
        if !closed {
            self.close(task, room).await?;
        }
        #[cfg(test)]
        self.engine.steps.reach(crate::steps::Step::DestroyRoom).await;
        self.engine.destroy_keys(room).await?;
        drop(guard);
        #[cfg(test)]
        self.engine.steps.reach(crate::steps::Step::EraseRows).await;
        self.end_memberships(room).await?;
        let mut batch = self.erase_rows(room).await?;
        self.engine.record_change(&mut batch, Act::RoomDelete, &id, "destroyed");
        deletion(task)?.done.taken = None;
        #[cfg(test)]
        self.engine.steps.reach(crate::steps::Step::Destroyed).await;
        self.save_task(task, batch).await?;
        self.engine.registry.remove(room);
        self.engine.forget_pictures(room);
        self.engine.closed.0.lock().remove(&room);
        Ok(())
    }

    /// Whether the contents of a closed room can still be read. The key that lasts is the first to be destroyed.
    async fn is_whole(&self, task: &mut Task, room: RoomNid) -> Result<bool, RoomError> {
        let Some(taken) = &deletion(task)?.done.taken else { return Ok(false) };
        match self.engine.store.latest().get(&EVENTS, &(room, taken.record.create)).await {
            Err(ReadError::Shredded) => Ok(false),
            create => Ok(create?.is_some()),
        }
    }

    /// Makes a closed room one again that is found, as it was then.
    async fn reopen(&self, task: &mut Task, room: RoomNid) -> Result<(), RoomError> {
        let deletion = deletion(task)?;
        let Some(Taken { record, head, governed }) = deletion.done.taken.take() else { return Ok(()) };
        let mut batch = Batch::default();
        batch.put(&ROOMS, &room, &Json(record));
        batch.put(&HEADS, &room, &Packed(head));
        if governed {
            batch.put(&GOVERNED, &room, &());
            // Who may be there is looked at again.
            batch.put(&CHANGED, &room, &());
            batch.touch(WATCH_POLICIES);
        }
        batch.touch(room.watch());
        deletion.done.closed = false;
        self.engine.record_change(&mut batch, Act::RoomDelete, &deletion.room, "held");
        self.save_task(task, batch).await?;
        self.engine.closed.0.lock().remove(&room);
        self.engine.forget_pictures(room);
        Ok(())
    }

    /// Takes the room's rows away, of which the keys are destroyed; those that the batch deletes are the last.
    async fn erase_rows(&self, room: RoomNid) -> Result<Batch, RoomError> {
        self.engine.closed.0.lock().insert(room);
        self.erase_events(room).await?;
        while self.engine.unname_room(room).await? {
            tokio::task::consume_budget().await;
        }
        self.erase_members(room).await?;
        let mut batch = Batch::default();
        batch.delete(&ROOMS, &room);
        batch.delete(&HEADS, &room);
        batch.delete(&LISTED, &room);
        batch.delete(&GOVERNED, &room);
        batch.delete(&CHANGED, &room);
        batch.delete(&OVERRIDES, &room);
        batch.delete(&ACTIVITY, &room);
        batch.delete(&FORGOTTEN, &room);
        batch.delete(&TEMPLATE_OF, &room);
        batch.delete(&TOLD, &room);
        // All of it is to leave the files.
        batch.delete(&PRUNED_RANGES, &room);
        batch.put(&COMPACT_DUE, &room, &());
        macro_rules! all_of {
            ($($table:ident),*) => { $(batch.delete_prefix(&$table, &room);)* };
        }
        all_of!(EVENTS, TIMELINE, STATE_NODES, MEMBERS, ROOM_ALIASES, EVENT_TIMES, AUTH_EDGES, ROOM_SERVERS, GAPS);
        all_of!(EARLY_REDACTIONS, FOLLOWED, RECEIPTS, RECEIPT_CHANGES, CHILDREN, SUMMARIES, ANNOTATIONS, THREADS);
        all_of!(THREAD_USERS, SEARCH_WORDS, ARRIVALS, PERISHABLE, SEALED_DAYS, STUBS, ORIGINALS, SUPERSEDED, NOTICES);
        all_of!(DOOMED_DAYS, RELATED_WISHES, RELATED_DUE);
        Ok(batch)
    }

    /// Takes away the rooms whose contents were destroyed while the rest of them is there, as an older copy of the data
    /// has it beside newer keys. For a store that nobody else uses yet. Answers how many there were.
    ///
    /// # Errors
    /// When the store fails; doing it again goes on.
    pub async fn remove_remains(&self) -> Result<u64, RoomError> {
        let (mut removed, mut scan) = (0, Scan::all().limit(PAGE_ROWS));
        loop {
            let rooms = self.engine.store.latest().scan(&ROOMS, scan).await?;
            let Some(last) = rooms.last().map(|(room, _)| *room) else { return Ok(removed) };
            for (room, Json(record)) in rooms {
                let create = self.engine.store.latest().get(&EVENTS, &(room, record.create)).await;
                if matches!(create, Err(ReadError::Shredded)) {
                    self.end_memberships(room).await?;
                    self.take_aliases(room).await?;
                    self.engine.destroy_keys(room).await?;
                    let batch = self.erase_rows(room).await?;
                    self.engine.store.commit(batch).await?;
                    removed += 1;
                }
            }
            scan = Scan::all().after(&last).limit(PAGE_ROWS);
        }
    }

    async fn take_aliases(&self, room: RoomNid) -> Result<(), RoomError> {
        let mut batch = Batch::default();
        for (_, hash) in self.engine.store.latest().scan_keys(&ROOM_ALIASES, Scan::prefix(&room)).await? {
            batch.delete(&ALIASES, &hash);
        }
        self.engine.store.commit(batch).await?;
        Ok(())
    }

    /// Gives other servers the time to hear who has left.
    async fn tell_others(&self, task: &mut Task, room: RoomNid) -> Result<(), RoomError> {
        let own = self.engine.server_name.clone();
        let somebody_left = !deletion(task)?.done.kicked.is_empty();
        if somebody_left && self.servers(room).await?.iter().any(|server| *server != own) {
            sleep(TELLING_OTHERS).await;
        }
        Ok(())
    }

    /// Makes the room one that is not there any more, for good.
    async fn close(&self, task: &mut Task, room: RoomNid) -> Result<(), RoomError> {
        let open: Arc<Room> = self.engine.room(room).await?;
        self.engine.closed.0.lock().insert(room);
        // What waits in the queue is written before, what comes after it is refused.
        if !open.is_closed() {
            self.engine
                .write(&open, |writer| {
                    async move {
                        writer.close_room();
                        Ok(())
                    }
                    .boxed()
                })
                .await?;
        }
        let store = self.engine.store.latest();
        if let (Some(Json(record)), Some((Packed(head), written)), governed) = (
            store.get(&ROOMS, &room).await?,
            store.get_versioned(&HEADS, &room).await?,
            store.get(&GOVERNED, &room).await?.is_some(),
        ) {
            deletion(task)?.done.taken = Some(Taken { record, head: head.settled(written), governed });
        }
        let mut batch = Batch::default();
        batch.delete(&ROOMS, &room);
        batch.delete(&HEADS, &room);
        batch.delete(&LISTED, &room);
        // Nobody is to look for its members any more.
        batch.delete(&GOVERNED, &room);
        batch.delete(&CHANGED, &room);
        batch.delete_prefix(&ARRIVALS, &room);
        batch.touch(room.watch());
        deletion(task)?.done.closed = true;
        self.engine.record_change(&mut batch, Act::RoomDelete, &deletion(task)?.room, "closed");
        #[cfg(test)]
        self.engine.steps.reach(crate::steps::Step::Close).await;
        self.save_task(task, batch).await?;
        self.engine.registry.remove(room);
        self.engine.forget_pictures(room);
        Ok(())
    }

    /// Users of this server who could not be taken out are not in the room all the same.
    async fn end_memberships(&self, room: RoomNid) -> Result<(), RoomError> {
        for membership in [Membership::Join, Membership::Invite, Membership::Knock] {
            let mut after = None;
            loop {
                let page = self.members(room, membership, after, PAGE_ROWS).await?;
                let Some(last) = page.last().copied() else { break };
                after = Some(last);
                let mut batch = Batch::default();
                for (_, user) in self.local_among(&page).await? {
                    let found = self.engine.store.latest().get_versioned(&MEMBERSHIPS, &(user, room)).await?;
                    let Some((Packed(mut record), written)) = found else { continue };
                    record.settle(written);
                    record.previous = Some(record.membership);
                    record.left =
                        record.left.or((record.membership == Membership::Join).then(|| Place::after(written)));
                    (record.membership, record.since, record.index) = (Membership::Leave, None, 0);
                    batch.put(&MEMBERSHIPS, &(user, room), &Packed(record));
                    batch.delete(&STRIPPED_STATE, &(user, room));
                    let change = MembershipChange { room, membership: Membership::Leave };
                    batch.put(&MEMBERSHIP_CHANGES, &(user, Position::COMMIT, 0), &Packed(change));
                    batch.touch(user.watch());
                }
                if !batch.is_empty() {
                    self.engine.store.commit(batch).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes away what is kept by the numbers of the room's events.
    async fn erase_events(&self, room: RoomNid) -> Result<(), RoomError> {
        loop {
            let keys = self.engine.store.latest().scan_keys(&EVENTS, Scan::prefix(&room).limit(PAGE_ROWS)).await?;
            if keys.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::default();
            for key in &keys {
                batch.delete(&EVENTS, key);
                batch.delete(&EVENT_META, &key.1);
                self.engine.event_cache.remove(key);
            }
            self.engine.store.commit(batch).await?;
            tokio::task::consume_budget().await;
        }
    }

    /// Takes away what is kept by the numbers of the room's members, but that those of this server are gone.
    async fn erase_members(&self, room: RoomNid) -> Result<(), RoomError> {
        let id = self.engine.store.interner().resolve(NS_ROOM, room.get()).await?;
        let id = id.and_then(|id| OwnedRoomId::try_from(&*id).ok());
        let mut scan = Scan::prefix(&room).limit(PAGE_ROWS);
        loop {
            let keys = self.engine.store.latest().scan_keys(&MEMBERS, scan).await?;
            let Some(last) = keys.last().copied() else { return Ok(()) };
            let users: Vec<UserNid> = keys.iter().map(|(_, _, user)| *user).collect();
            let local: Vec<UserNid> = self.local_among(&users).await?.into_iter().map(|(_, user)| user).collect();
            let mut batch = Batch::default();
            if let Some(id) = &id {
                self.engine.leave_sessions(&mut batch, id, local.clone());
            }
            for user in users {
                batch.delete(&STRIPPED_STATE, &(user, room));
                if local.contains(&user) {
                    let threads = Scan::prefix(&(user, room));
                    for key in self.engine.store.latest().scan_keys(&SUBSCRIPTIONS, threads).await? {
                        batch.delete(&SUBSCRIPTIONS, &key);
                    }
                } else {
                    batch.delete(&MEMBERSHIPS, &(user, room));
                }
            }
            self.engine.store.commit(batch).await?;
            scan = Scan::prefix(&room).after(&last).limit(PAGE_ROWS);
        }
    }
}

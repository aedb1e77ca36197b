//! What a restored store has lost: contents of days whose keys were destroyed after the copy was made, before they were
//! pruned there.
//!
//! Nothing can be read of such an event, not even what would be left of it. It leaves the timeline and all indexes and keeps
//! its place in the graph, by number, so that what comes later can follow it: see [`super::stubs`]. Where it stood nothing is
//! fetched again from others.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use futures_util::FutureExt as _;
use wardroom_store::{Batch, Key, Packed, Position, ReadError, Scan, Table, Value};

use super::{PERISHABLE, stubs::TimelineKey};
use crate::{
    Rooms,
    error::RoomError,
    ids::{EventNid, Place, RoomNid, UserNid},
    relations::{ANNOTATIONS, CHILDREN},
    room::Room,
    search::SEARCH_WORDS,
    tables::{AUTH_EDGES, EVENT_META, EVENT_TIMES, EVENTS, ROOMS, Standing},
    writer::Writer,
};

/// Rows read at a time.
const ROWS_PER_PAGE: usize = 2_000;
/// Events that are dropped in one commit.
const DROPPED_AT_ONCE: usize = 100;

/// Key of a child in the index of relations.
type ChildKey = (RoomNid, EventNid, u8, Position, u16);

/// An event of which nothing can be read.
#[derive(Clone, Debug)]
struct Lost {
    event: EventNid,
    born_ms: u64,
    /// Where it stands in the index of relations, and who sent it.
    child: Option<(ChildKey, UserNid)>,
}

impl Rooms {
    /// Drops the events that cannot be read because their keys were destroyed. For a store that nobody else uses yet.
    /// Answers how many there were.
    ///
    /// # Errors
    /// When the store fails; doing it again goes on.
    pub async fn drop_lost(&self) -> Result<u64, RoomError> {
        let (mut dropped, mut after) = (0, None);
        while let Some(room) = self.next_room(after).await? {
            after = Some(room);
            // The copy was made while it was being deleted: that goes on when the server starts.
            if self.engine.store.latest().get(&ROOMS, &room).await?.is_none() {
                continue;
            }
            let lost = self.lost_of(room).await?;
            if lost.is_empty() {
                continue;
            }
            self.unindex(room, &lost).await?;
            let room = self.engine.room(room).await?;
            let mut lost = self.with_parents(&room, lost).await?;
            while !lost.is_empty() {
                let page = lost.split_off(lost.len().saturating_sub(DROPPED_AT_ONCE));
                dropped += page.len() as u64;
                self.engine.write(&room, move |writer| async move { writer.drop_lost(page).await }.boxed()).await?;
            }
        }
        Ok(dropped)
    }

    /// Message events of a room that cannot be read, with when they came to be.
    async fn lost_of(&self, room: RoomNid) -> Result<HashMap<EventNid, u64>, RoomError> {
        let (mut lost, store) = (HashMap::new(), self.engine.store.latest());
        let mut scan = Scan::prefix(&room).limit(ROWS_PER_PAGE);
        loop {
            let keys = store.scan_keys(&PERISHABLE, scan).await?;
            let Some(last) = keys.last().copied() else { return Ok(lost) };
            for (_, born_ms, event) in keys {
                if matches!(store.get(&EVENTS, &(room, event)).await, Err(ReadError::Shredded)) {
                    lost.insert(event, born_ms);
                }
            }
            scan = Scan::prefix(&room).after(&last).limit(ROWS_PER_PAGE);
        }
    }

    /// Takes these events out of the indexes that lead to them by place, or by number.
    async fn unindex(&self, room: RoomNid, lost: &HashMap<EventNid, u64>) -> Result<(), RoomError> {
        let mut places = HashSet::with_capacity(lost.len());
        for event in lost.keys() {
            places.extend(self.engine.meta(*event).await?.map(|(_, place)| place));
        }
        let stands = |position: Position, index: u16| places.contains(&Place::new(position, index));
        self.sweep(room, &EVENT_TIMES, |(_, _, position, index), ()| stands(*position, *index)).await?;
        self.sweep(room, &SEARCH_WORDS, |(_, _, position, index), _| stands(*position, *index)).await?;
        self.sweep(room, &ANNOTATIONS, |_, Packed(event)| lost.contains_key(event)).await
    }

    /// Deletes those rows of a room that are meant.
    async fn sweep<K: Key, V: Value>(
        &self,
        room: RoomNid,
        table: &Table<K, V>,
        is_meant: impl Fn(&K, &V) -> bool,
    ) -> Result<(), RoomError> {
        let mut scan = Scan::prefix(&room).limit(ROWS_PER_PAGE);
        loop {
            let rows = self.engine.store.latest().scan(table, scan).await?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            scan = Scan::prefix(&room).after(last).limit(ROWS_PER_PAGE);
            let mut batch = Batch::default();
            for (key, _) in rows.iter().filter(|(key, value)| is_meant(key, value)) {
                batch.delete(table, key);
            }
            if !batch.is_empty() {
                self.engine.store.commit(batch).await?;
            }
        }
    }

    /// Finds out to what these events relate, which their contents said.
    async fn with_parents(&self, room: &Arc<Room>, lost: HashMap<EventNid, u64>) -> Result<Vec<Lost>, RoomError> {
        let mut children: HashMap<EventNid, (ChildKey, UserNid)> = HashMap::new();
        let mut scan = Scan::prefix(&room.nid).limit(ROWS_PER_PAGE);
        loop {
            let rows = self.engine.store.latest().scan(&CHILDREN, scan).await?;
            let Some((last, _)) = rows.last().copied() else { break };
            let known = rows.into_iter().filter(|(_, Packed(child))| lost.contains_key(&child.event));
            children.extend(known.map(|(key, Packed(child))| (child.event, (key, child.sender))));
            scan = Scan::prefix(&room.nid).after(&last).limit(ROWS_PER_PAGE);
        }
        let found = lost.into_iter().map(|(event, born_ms)| Lost { event, born_ms, child: children.remove(&event) });
        Ok(found.collect())
    }
}

impl Writer {
    async fn drop_lost(&mut self, lost: Vec<Lost>) -> Result<(), RoomError> {
        self.quiet();
        let room = self.nid();
        let mut places: BTreeSet<TimelineKey> = BTreeSet::new();
        for Lost { event, born_ms, child } in lost {
            self.batch.delete(&PERISHABLE, &(room, born_ms, event));
            self.batch.delete(&EVENTS, &(room, event));
            self.batch.delete(&AUTH_EDGES, &(room, event));
            if let Some((key, sender)) = child {
                self.take_child(key, event, sender).await?;
            }
            self.forget_children(event).await?;
            let Some((mut meta, place)) = self.engine.any_meta(event).await? else { continue };
            if meta.standing == Standing::Timeline {
                places.insert((room, place.position(), place.index()));
                (meta.standing, meta.past) = (Standing::SoftFailed, Some(place));
                meta.transaction = None;
                self.batch.put(&EVENT_META, &event, &Packed(meta));
            }
        }
        self.leave_gaps(&places).await
    }
}

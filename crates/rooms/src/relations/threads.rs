//! The threads of a room (specification, "Querying threads in a room").

use std::sync::Arc;

use ruma::RoomId;
use wardroom_event::redact;
use wardroom_store::Scan;

use super::{THREADS, ThreadEntry, Viewer};
use crate::{
    Rooms,
    error::RoomError,
    events::Stored,
    ids::Place,
    room::RoomView,
    timeline::{Reader, TimelineItem},
};

/// Threads that one page may hold.
pub const THREADS_PAGE_MAX: usize = 100;
/// Threads that one page may look at when the user takes part in few of them, or does not see most.
const THREADS_SCAN_MAX: usize = 5_000;
/// Threads read at a time.
const SCAN_STEP_ROWS: usize = 100;

/// A page of a room's threads.
#[derive(Clone, Debug)]
pub struct ThreadsPage {
    /// Roots of the threads, the one with the newest reply first. Roots by ignored users are redacted.
    pub chunk: Vec<Arc<Stored>>,
    /// Where the next page starts; none where there is no more to see.
    pub next: Option<Place>,
}

impl Rooms {
    /// Threads of a room by their newest reply, from the newest down: all of them, or those in which the viewer has
    /// taken part.
    pub async fn threads(
        &self,
        viewer: Viewer<'_>,
        room: &RoomId,
        participated: bool,
        from: Option<Place>,
        limit: usize,
    ) -> Result<ThreadsPage, RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let reader = self.reader(viewer.actor, &view).await?;
        let limit = limit.clamp(1, THREADS_PAGE_MAX);
        let (mut chunk, mut before, mut scanned) = (Vec::new(), from.unwrap_or(Place::LAST), 0);
        loop {
            let key = |place: Place| (view.nid, place.position(), place.index());
            let scan = Scan::range(&key(Place::FIRST), &key(before)).reverse().limit(SCAN_STEP_ROWS);
            let rows = self.engine.store.latest().scan(&THREADS, scan).await?;
            let complete = rows.len() < SCAN_STEP_ROWS;
            scanned += rows.len();
            for ((_, position, index), entry) in rows {
                let Some(root) = self.thread_root(viewer, &reader, &view, participated, &entry.0).await? else {
                    before = Place::new(position, index);
                    continue;
                };
                if chunk.len() == limit {
                    return Ok(ThreadsPage { chunk, next: Some(before) });
                }
                before = Place::new(position, index);
                chunk.push(root);
            }
            if complete {
                return Ok(ThreadsPage { chunk, next: None });
            }
            if scanned >= THREADS_SCAN_MAX {
                return Ok(ThreadsPage { chunk, next: Some(before) });
            }
            tokio::task::consume_budget().await;
        }
    }

    /// The root of a thread, if the viewer is told of the thread.
    async fn thread_root(
        &self,
        viewer: Viewer<'_>,
        reader: &Reader,
        view: &RoomView,
        participated: bool,
        entry: &ThreadEntry,
    ) -> Result<Option<Arc<Stored>>, RoomError> {
        let (engine, room) = (&self.engine, view.nid);
        let whose = (entry.root, entry.starter);
        if participated && !engine.has_participated(viewer.actor.nid, room, whose).await? {
            return Ok(None);
        }
        let Some(item) = engine.item(room, entry.root).await? else { return Ok(None) };
        if !engine.sees_place(reader, view, &item).await? {
            return Ok(None);
        }
        let thread = engine.summary_of(room, entry.root).await?.and_then(|summary| summary.thread);
        let Some(thread) = thread else { return Ok(None) };
        if engine.thread_seen(viewer, reader, view, (entry.root, &thread)).await?.is_none() {
            return Ok(None);
        }
        let TimelineItem { event, .. } = item;
        // The thread lives on where its root's time is over: of the root only what is left is told.
        if !viewer.ignores_event(&event.pdu) && engine.is_live(view, &event) {
            return Ok(Some(event));
        }
        let pdu = redact(&event.pdu, None).map_err(|_| RoomError::inconsistent("event that does not parse"))?;
        let (received_ms, pruned) = (event.received_ms, event.pruned);
        Ok(Some(Arc::new(Stored { nid: event.nid, pdu: Arc::new(pdu), redacted_because: None, received_ms, pruned })))
    }
}

//! Dropping what is left of purged events, once it is of no use any more.
//!
//! An event whose stub was dropped keeps its place in the graph, by number, and has none in the timeline. Where it stood
//! the timeline has a gap that names nothing: what was purged is not fetched again from others.

use std::{collections::BTreeSet, sync::Arc};

use wardroom_audit::{Act, Origin, Record};
use wardroom_holds::Guard;
use wardroom_store::{Packed, Position, Scan};

use super::STUBS;
use crate::{
    error::RoomError,
    ids::{EventNid, RoomNid},
    relations::CHILDREN,
    tables::{AUTH_EDGES, EVENT_META, EVENT_TIMES, EVENTS, GAPS, Standing, TIMELINE},
    writer::Writer,
};

pub(super) type TimelineKey = (RoomNid, Position, u16);

impl Writer {
    /// Drops those of these stubs that nothing needs, and tells how many they were. The guard says that none is held.
    pub(super) async fn drop_stubs(
        &mut self,
        keys: Vec<(RoomNid, u64, EventNid)>,
        guard: Arc<Guard>,
    ) -> Result<u64, RoomError> {
        self.quiet();
        self.batch.on_commit(move |_| drop(guard));
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        let dropped = self.drop_all(keys).await;
        #[cfg(test)]
        self.engine.steps.reach(crate::steps::Step::Stubs).await;
        self.guard(dropped)
    }

    async fn drop_all(&mut self, keys: Vec<(RoomNid, u64, EventNid)>) -> Result<u64, RoomError> {
        let mut places: BTreeSet<TimelineKey> = BTreeSet::new();
        for key in keys {
            if let Some(place) = self.drop_stub(key).await? {
                places.insert(place);
            }
        }
        self.leave_gaps(&places).await?;
        let count = places.len() as u64;
        if count > 0 {
            let room = self.view().id;
            let record = Record::by(Act::RetentionPurge, Origin::default()).room(room.as_str()).count(count);
            self.engine.audit.add(&mut self.batch, record);
        }
        Ok(count)
    }

    /// Takes these places out of the timeline, which has gaps there that name nothing.
    pub(super) async fn leave_gaps(&mut self, places: &BTreeSet<TimelineKey>) -> Result<(), RoomError> {
        for place in places {
            self.batch.delete(&TIMELINE, place);
            self.batch.delete(&GAPS, place);
        }
        for place in places {
            let scan = Scan::prefix(&self.nid()).after(place).limit(places.len() + 1);
            let next = self.engine.store.latest().scan_keys(&TIMELINE, scan).await?;
            if let Some(kept) = next.into_iter().find(|key| !places.contains(key)) {
                self.batch.put(&GAPS, &kept, &Packed(Vec::new()));
            }
        }
        self.head.events = self.head.events.saturating_sub(places.len() as u64);
        Ok(())
    }

    /// Drops a stub of the timeline, unless others follow or relate to it; tells where it stood.
    async fn drop_stub(&mut self, key: (RoomNid, u64, EventNid)) -> Result<Option<TimelineKey>, RoomError> {
        let (room, _, nid) = key;
        let store = self.engine.store.latest();
        let Some((mut meta, place)) = self.engine.meta(nid).await? else {
            // Deleted with the history up to a point, or none of the timeline: nobody is ever shown it.
            self.batch.delete(&STUBS, &key);
            return Ok(None);
        };
        let Some(event) = self.event(nid).await?.filter(|event| event.pruned) else {
            self.batch.delete(&STUBS, &key);
            return Ok(None);
        };
        let at = (room, place.position(), place.index());
        let has_children = !store.scan_keys(&CHILDREN, Scan::prefix(&(room, nid)).limit(1)).await?.is_empty();
        let changes_more = store.get(&TIMELINE, &at).await?.is_none_or(|entry| entry.jump);
        if self.head.extremities.contains(&nid) || has_children || changes_more {
            return Ok(None);
        }
        self.forget_related(&event).await?;
        self.batch.delete(&STUBS, &key);
        self.batch.delete(&EVENT_TIMES, &(room, event.pdu.origin_server_ts(), at.1, at.2));
        meta.standing = Standing::SoftFailed;
        meta.past = Some(place);
        self.batch.put(&EVENT_META, &nid, &Packed(meta));
        self.batch.delete(&EVENTS, &(room, nid));
        self.batch.delete(&AUTH_EDGES, &(room, nid));
        let engine = Arc::clone(&self.engine);
        self.batch.on_commit(move |_| drop(engine.event_cache.remove(&(room, nid))));
        Ok(Some(at))
    }
}

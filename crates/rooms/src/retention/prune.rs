//! Pruning: of an event whose time is over only its redacted form stays.

use std::sync::Arc;

use futures_util::FutureExt as _;
use ruma::{OwnedEventId, OwnedUserId};
use tokio::{task::yield_now, time::sleep};
use wardroom_audit::{Act, Origin, Record};
use wardroom_event::redact;
use wardroom_holds::Guard;
use wardroom_store::Packed;

use super::{
    Age, PERISHABLE, STUBS,
    receipts::{Done, PurgeReceipt},
    run::PAUSE,
};
use crate::{
    Rooms,
    error::RoomError,
    events::Stored,
    ids::EventNid,
    room::Room,
    tables::{EVENT_META, EVENTS, EventRecord, GAPS},
    writer::Writer,
};

/// Events that are pruned in one commit even while others wait for the room's writer, or for the machine.
const PRUNED_AT_LEAST: usize = 8;

/// A message event that is whole, as its index has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Perishable {
    pub(crate) born_ms: u64,
    pub(crate) event: EventNid,
    pub(crate) received_ms: u64,
}

/// Why events are pruned.
#[derive(Clone, Debug)]
pub(crate) enum Cause {
    /// Their time is over.
    Time,
    /// Who sent them is erased.
    Erasure(OwnedUserId),
}

impl Perishable {
    /// Its age; when it was sent matters only where that made it older.
    pub(super) fn age(self) -> Age {
        Age { sent_ms: self.born_ms, received_ms: self.received_ms }
    }
}

/// What one commit of pruning did.
pub(crate) struct Pruned {
    /// Events that were dealt with, the first of those that were given.
    pub(crate) dealt: usize,
    /// Those of them that were pruned.
    pub(crate) events: u64,
}

impl Rooms {
    /// Prunes those of these events whose time is over, and tells how many they were. What people send meanwhile comes first: then
    /// they are pruned a few at a time. The guard says that none is held.
    pub(super) async fn prune(
        &self,
        room: &Arc<Room>,
        due: &[Perishable],
        now_ms: u64,
        guard: &Arc<Guard>,
    ) -> Result<u64, RoomError> {
        let (mut dealt, mut events) = (0, 0);
        while let Some(rest) = due.get(dealt..).filter(|rest| !rest.is_empty()) {
            let (rest, guard) = (rest.to_vec(), Arc::clone(guard));
            let pruned = self
                .patiently(room, move |writer| {
                    async move { writer.prune(rest, now_ms, &Cause::Time, guard).await }.boxed()
                })
                .await?;
            (dealt, events) = (dealt + pruned.dealt, events + pruned.events);
            sleep(PAUSE).await;
        }
        Ok(events)
    }
}

impl Writer {
    /// Prunes the first of these events: all of them, or fewer where others wait.
    pub(crate) async fn prune(
        &mut self,
        due: Vec<Perishable>,
        now_ms: u64,
        cause: &Cause,
        guard: Arc<Guard>,
    ) -> Result<Pruned, RoomError> {
        self.quiet();
        self.batch.on_commit(move |_| drop(guard));
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        let pruned = self.prune_all(due, now_ms, cause).await;
        #[cfg(test)]
        self.engine.steps.reach(crate::steps::Step::Prune).await;
        self.guard(pruned)
    }

    async fn prune_all(&mut self, due: Vec<Perishable>, now_ms: u64, cause: &Cause) -> Result<Pruned, RoomError> {
        let (mut done, mut dealt) = (Done::default(), 0);
        let mut pruned = Vec::with_capacity(due.len());
        for row in due {
            if dealt > 0 && dealt % PRUNED_AT_LEAST == 0 {
                yield_now().await;
                if self.is_waited_for() {
                    break;
                }
            }
            dealt += 1;
            // The policy may have changed since they were looked for.
            if matches!(cause, Cause::Time) && !self.lifetime.is_over(row.age(), now_ms) {
                continue;
            }
            self.batch.delete(&PERISHABLE, &(self.nid(), row.born_ms, row.event));
            // Deleted with the history up to a point, or by another run.
            let Some(event) = self.event(row.event).await?.filter(|event| !event.pruned && !event.pdu.is_state())
            else {
                continue;
            };
            self.prune_event(&event, now_ms).await?;
            if matches!(cause, Cause::Erasure(_)) {
                self.forget_original(event.nid).await?;
            }
            done.note(event.pdu.event_id().to_owned(), row.born_ms);
            pruned.push(row.event);
        }
        self.note_pruned(pruned.into_iter()).await?;
        if done.count() > 0 {
            self.record_pruned(&done, now_ms, cause);
        }
        Ok(Pruned { dealt, events: done.count() })
    }

    fn record_pruned(&mut self, done: &Done, now_ms: u64, cause: &Cause) {
        let room = self.view().id;
        let record = match cause {
            Cause::Time => Record::by(Act::RetentionRedact, Origin::default()),
            Cause::Erasure(user) => {
                Record::by(Act::AccountErase, self.origin.clone()).user(user.as_str()).detail("events")
            }
        };
        let record = record.room(room.as_str()).count(done.count());
        let (first, last) = done.ends();
        let record = record.event(first).last(last);
        self.engine.audit.add(&mut self.batch, record);
        let receipt = PurgeReceipt::of_events(&self.engine, room, self.lifetime, (done, cause), now_ms);
        self.put_receipt(&receipt);
    }

    async fn prune_event(&mut self, event: &Arc<Stored>, now_ms: u64) -> Result<(), RoomError> {
        let (room, nid) = (self.nid(), event.nid);
        self.unrelate(event).await?;
        self.forget_words(event).await?;
        self.forget_named(event);
        self.forget_transaction(nid).await?;
        let pdu = match &event.redacted_because {
            Some(_) => Arc::clone(&event.pdu),
            None => {
                Arc::new(redact(&event.pdu, None).map_err(|_| RoomError::inconsistent("event that does not parse"))?)
            }
        };
        let redacted_by = match &event.redacted_because {
            Some(by) => self.engine.event_nid(by.event_id()).await?,
            None => None,
        };
        let stored = Stored {
            nid,
            pdu,
            redacted_because: event.redacted_because.clone(),
            received_ms: event.received_ms,
            pruned: true,
        };
        self.put_stub(&stored, redacted_by, now_ms).await?;
        self.forget_copy(event.pdu.redacts().map(ToOwned::to_owned)).await?;
        if let Some((position, index)) = self.key_place(nid).await? {
            let key = (room, position, index);
            // What is missing before it is older than it is, and not fetched any more.
            if self.engine.store.latest().get(&GAPS, &key).await?.is_some_and(|Packed(missing)| !missing.is_empty()) {
                self.batch.put(&GAPS, &key, &Packed(Vec::new()));
            }
        }
        self.replace_fresh(stored);
        Ok(())
    }

    /// Writes what is left of an event, for as long as the room lasts or until it is dropped.
    pub(crate) async fn put_stub(
        &mut self,
        stored: &Stored,
        redacted_by: Option<EventNid>,
        now_ms: u64,
    ) -> Result<(), RoomError> {
        let record = EventRecord {
            redacted_by,
            rejected: stored.pdu.is_rejected(),
            pruned: true,
            received_ms: stored.received_ms,
            id: stored.pdu.event_id().to_owned(),
            json: stored.pdu.json().clone(),
        };
        let key = self.engine.lasting_key(self.nid()).await?;
        self.batch.put_sealed(&EVENTS, &(self.nid(), stored.nid), &record, &key);
        self.batch.put(&STUBS, &(self.nid(), now_ms, stored.nid), &());
        Ok(())
    }

    /// Drops the id that a client gave the request by which it sent an event.
    async fn forget_transaction(&mut self, event: EventNid) -> Result<(), RoomError> {
        if let Some((mut meta, place)) = self.engine.any_meta(event).await?
            && meta.transaction.take().is_some()
        {
            // The record's version was where it stands.
            meta.past = Some(place);
            self.batch.put(&EVENT_META, &event, &Packed(meta));
        }
        Ok(())
    }

    /// What a redaction redacted is kept in memory with the whole redaction.
    async fn forget_copy(&mut self, target: Option<OwnedEventId>) -> Result<(), RoomError> {
        let Some(target) = target else { return Ok(()) };
        if let Some(target) = self.engine.event_nid(&target).await? {
            let (engine, key) = (Arc::clone(&self.engine), (self.nid(), target));
            self.batch.on_commit(move |_| drop(engine.event_cache.remove(&key)));
        }
        Ok(())
    }
}

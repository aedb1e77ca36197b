//! State that something else took the place of: what it said is pruned after a while, where the server wants that.
//!
//! Only what nobody needs to know to decide anything: names, topics, pictures, and states of types that the specification
//! does not have. What is left of them is their redacted form, where they stood.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::time::sleep;
use wardroom_audit::{Act, Origin, Record};
use wardroom_event::{Pdu, redact};
use wardroom_holds::Guard;
use wardroom_store::Scan;

use super::{
    Cause, SUPERSEDED, is_retention,
    receipts::{Done, PurgeReceipt},
    run::PAUSE,
};
use crate::{
    Rooms,
    error::RoomError,
    events::Stored,
    ids::{EventNid, RoomNid},
    room::Room,
    tables::{EVENTS, EventRecord},
    writer::Writer,
};

/// Events that are pruned in one commit.
const PRUNED_AT_ONCE: usize = 100;
/// Types of the specification whose events may be pruned.
const TYPES: [&str; 3] = ["m.room.name", "m.room.topic", "m.room.avatar"];
/// Types that begin like this are the specification's, or mean something to this server.
const KEPT_PREFIXES: [&str; 2] = ["m.", "org.wardroom."];

impl Writer {
    /// Notes that a state event is not the room's any more where another takes its place.
    pub(crate) fn note_superseded(&mut self, before: Option<&Stored>) {
        if let Some(before) = before.filter(|before| self.may_be_pruned(&before.pdu)) {
            self.batch.put(&SUPERSEDED, &(self.nid(), self.now_ms, before.nid), &());
        }
    }

    fn may_be_pruned(&self, pdu: &Pdu) -> bool {
        let kind = pdu.kind().to_string();
        TYPES.contains(&&*kind)
            || !(KEPT_PREFIXES.iter().any(|prefix| kind.starts_with(prefix))
                || is_retention(&kind)
                || self.engine.is_policy(pdu.kind()))
    }

    async fn prune_superseded(
        &mut self,
        rows: Vec<(RoomNid, u64, EventNid)>,
        guard: Guard,
        now_ms: u64,
    ) -> Result<u64, RoomError> {
        self.quiet();
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        let pruned = self.prune_states(rows, &guard, now_ms).await;
        #[cfg(test)]
        self.engine.steps.reach(crate::steps::Step::Superseded).await;
        // Until this is written no hold is set.
        self.batch.on_commit(move |_| drop(guard));
        self.guard(pruned)
    }

    async fn prune_states(
        &mut self,
        rows: Vec<(RoomNid, u64, EventNid)>,
        guard: &Guard,
        now_ms: u64,
    ) -> Result<u64, RoomError> {
        let (mut done, room) = (Done::default(), self.view().id);
        for row in rows {
            let found = self.event(row.2).await?;
            if let Some(event) = &found {
                let age = event.age();
                if guard.event(&room, event.pdu.sender(), age.received_ms, age.sent_ms).is_held() {
                    continue;
                }
            }
            self.batch.delete(&SUPERSEDED, &row);
            let Some(event) = found else { continue };
            // Two lines of the graph may have made it the room's again.
            if event.pruned || event.redacted_because.is_some() || self.is_current(&event).await? {
                continue;
            }
            self.prune_state(&event).await?;
            done.note(event.pdu.event_id().to_owned(), event.age().born_ms());
        }
        if done.count() > 0 {
            let (first, last) = done.ends();
            let record = Record::by(Act::RetentionRedact, Origin::default()).room(room.as_str()).count(done.count());
            let record = record.detail("state").event(first).last(last);
            self.engine.audit.add(&mut self.batch, record);
            let receipt = PurgeReceipt::of_events(&self.engine, room, self.lifetime, (&done, &Cause::Time), now_ms);
            self.put_receipt(&receipt);
        }
        Ok(done.count())
    }

    async fn is_current(&self, event: &Stored) -> Result<bool, RoomError> {
        let kind = event.pdu.kind().to_string().into();
        let now = self.state_event(&kind, event.pdu.state_key().unwrap_or_default()).await?;
        Ok(now.is_some_and(|now| now.nid == event.nid))
    }

    async fn prune_state(&mut self, event: &Arc<Stored>) -> Result<(), RoomError> {
        self.forget_words(event).await?;
        let redacted = redact(&event.pdu, None).map_err(|_| RoomError::inconsistent("event that does not parse"))?;
        let record = EventRecord {
            redacted_by: None,
            rejected: event.pdu.is_rejected(),
            pruned: true,
            received_ms: event.received_ms,
            id: redacted.event_id().to_owned(),
            json: redacted.json().clone(),
        };
        let key = self.engine.lasting_key(self.nid()).await?;
        self.batch.put_sealed(&EVENTS, &(self.nid(), event.nid), &record, &key);
        let (nid, received_ms) = (event.nid, event.received_ms);
        let pdu = Arc::new(redacted.with_rejected(event.pdu.is_rejected()));
        self.replace_fresh(Stored { nid, pdu, redacted_because: None, received_ms, pruned: true });
        Ok(())
    }
}

impl Rooms {
    /// Prunes the states of a room whose time is over; tells how many they were.
    pub(super) async fn prune_superseded(&self, room: &Arc<Room>, now_ms: u64) -> Result<u64, RoomError> {
        let kept = self.engine.retention.state_kept.and_then(|kept| u64::try_from(kept.as_millis()).ok());
        let Some(horizon_ms) = kept.and_then(|kept_ms| now_ms.checked_sub(kept_ms)) else { return Ok(0) };
        let range = || Scan::range(&(room.nid, 0_u64), &(room.nid, horizon_ms.saturating_add(1)));
        let (mut pruned, mut scan) = (0, range());
        loop {
            let rows = self.engine.store.latest().scan_keys(&SUPERSEDED, scan.limit(PRUNED_AT_ONCE)).await?;
            let Some(last) = rows.last().copied() else { return Ok(pruned) };
            let guard = self.engine.holds.nothing_changes().await;
            let write = self.engine.write(room, move |writer: &mut Writer| {
                async move { writer.prune_superseded(rows, guard, now_ms).await }.boxed()
            });
            pruned += write.await?;
            sleep(PAUSE).await;
            scan = range().after(&last);
        }
    }
}

//! What redacted events said before: kept for a while, and as long as a legal hold covers them. Nobody is shown it but who
//! looks at what a hold covers.
//!
//! It is sealed under the key of the day on which the event came: destroying that key ends it too.

use std::sync::Arc;

use ruma::RoomId;
use wardroom_audit::{Act, Origin, Record};
use wardroom_event::{Pdu, RoomVersion};
use wardroom_holds::Guard;
use wardroom_store::{Batch, Profile, ReadError, Scan, Seal, Table};

use super::{Age, Lifetime, SEALED_DAYS};
use crate::{
    Engine, Rooms,
    error::RoomError,
    events::Stored,
    ids::{EventNid, RoomNid},
    room::Room,
    sealing::day_of,
    tables::EventRecord,
    writer::Writer,
};

/// Originals that are looked at for one commit.
const PAGE_ROWS: usize = 200;
/// Originals of a room among which those of a day are looked for; where there are more, the day's key stays until there are
/// fewer.
const LOOKED_AT_MAX: usize = 10_000;

/// Room, event, when it was redacted and when it had come, in milliseconds since 1970.
type OriginalKey = (RoomNid, EventNid, u64, u64);

/// Events as they were before their redaction.
pub(crate) const ORIGINALS: Table<OriginalKey, EventRecord> =
    Table::new(0x027B, "redacted_originals", Profile::Scan, Seal::Scoped).compressed();

impl Writer {
    /// Keeps what an event says that is being redacted; tells whether it is kept.
    pub(crate) async fn keep_original(&mut self, target: &Stored) -> Result<bool, RoomError> {
        if target.pruned || target.redacted_because.is_some() || !self.wants_original(target) {
            return Ok(false);
        }
        let (room, day) = (self.nid(), day_of(target.received_ms));
        let record = EventRecord {
            redacted_by: None,
            rejected: target.pdu.is_rejected(),
            pruned: false,
            received_ms: target.received_ms,
            id: target.pdu.event_id().to_owned(),
            json: target.pdu.json().clone(),
        };
        let key = self.engine.day_key(room, day).await?;
        self.batch.put_sealed(&ORIGINALS, &(room, target.nid, self.now_ms, target.received_ms), &record, &key);
        self.batch.put(&SEALED_DAYS, &(room, day), &());
        self.days_of_originals.insert(day);
        Ok(true)
    }

    /// Deletes what an event said before its redaction.
    pub(super) async fn forget_original(&mut self, event: EventNid) -> Result<(), RoomError> {
        let store = self.engine.store.latest();
        for key in store.scan_keys(&ORIGINALS, Scan::prefix(&(self.nid(), event)).limit(PAGE_ROWS)).await? {
            self.batch.delete(&ORIGINALS, &key);
        }
        Ok(())
    }

    /// Where nothing is kept for a while, only what is held. A hold that is just being set may be about it.
    fn wants_original(&self, target: &Stored) -> bool {
        let holds = &self.engine.holds;
        !self.engine.retention.redaction_hold.is_zero()
            || holds.try_nothing_changes().is_none_or(|guard| is_held(&guard, &self.view().id, target))
    }
}

/// Whether a hold covers an event.
pub(super) fn is_held(guard: &Guard, room: &RoomId, event: &Stored) -> bool {
    let Age { sent_ms, received_ms } = event.age();
    guard.event(room, event.pdu.sender(), received_ms, sent_ms).is_held()
}

impl Engine {
    /// Whether the original of a redacted event that came on this day is kept.
    pub(super) async fn has_originals_of(&self, room: RoomNid, day: u32) -> Result<bool, RoomError> {
        let keys = self.store.latest().scan_keys(&ORIGINALS, Scan::prefix(&room).limit(LOOKED_AT_MAX)).await?;
        Ok(keys.len() == LOOKED_AT_MAX || keys.iter().any(|(.., received_ms)| day_of(*received_ms) == day))
    }

    /// What an event said before its redaction, where that is kept.
    pub(crate) async fn original(
        &self,
        room: RoomNid,
        version: RoomVersion,
        event: EventNid,
    ) -> Result<Option<Pdu>, RoomError> {
        let store = self.store.latest();
        let Some(key) = store.scan_keys(&ORIGINALS, Scan::prefix(&(room, event)).limit(1)).await?.pop() else {
            return Ok(None);
        };
        match store.get(&ORIGINALS, &key).await {
            Err(ReadError::Shredded) => Ok(None),
            record => record?.map(|record| parsed(record, version)).transpose(),
        }
    }
}

fn parsed(record: EventRecord, version: RoomVersion) -> Result<Pdu, RoomError> {
    Pdu::from_stored(record.json, record.id, version).map_err(|_| RoomError::inconsistent("event that does not parse"))
}

impl Rooms {
    /// Deletes originals whose time is over, but those that are held.
    pub(super) async fn drop_originals(&self, room: &Arc<Room>, now_ms: u64) -> Result<(), RoomError> {
        let mut scan = Scan::prefix(&room.nid).limit(PAGE_ROWS);
        loop {
            let keys = self.engine.store.latest().scan_keys(&ORIGINALS, scan).await?;
            let Some(last) = keys.last().copied() else { return Ok(()) };
            let lifetime = room.view().lifetime;
            let due: Vec<OriginalKey> =
                keys.into_iter().filter(|key| self.is_original_over(key, lifetime, now_ms)).collect();
            if !due.is_empty() {
                self.drop_free_originals(room, due).await?;
            }
            scan = Scan::prefix(&room.nid).after(&last).limit(PAGE_ROWS);
        }
    }

    /// Either its own time is over or that of its event.
    fn is_original_over(&self, key: &OriginalKey, lifetime: Lifetime, now_ms: u64) -> bool {
        let (.., redacted_ms, received_ms) = *key;
        let hold_ms = u64::try_from(self.engine.retention.redaction_hold.as_millis()).unwrap_or(u64::MAX);
        now_ms >= redacted_ms.saturating_add(hold_ms)
            || lifetime.is_over(Age { sent_ms: received_ms, received_ms }, now_ms)
    }

    async fn drop_free_originals(&self, room: &Arc<Room>, due: Vec<OriginalKey>) -> Result<(), RoomError> {
        let view = room.view();
        let (store, mut batch, mut count) = (self.engine.store.latest(), Batch::default(), 0);
        let guard = self.engine.holds.nothing_changes().await;
        for key in due {
            let record = match store.get(&ORIGINALS, &key).await {
                Err(ReadError::Shredded) => None,
                record => record?,
            };
            if let Some(record) = record {
                let received_ms = record.received_ms;
                let pdu = parsed(record, view.version)?;
                if guard.event(&view.id, pdu.sender(), received_ms, pdu.origin_server_ts()).is_held() {
                    continue;
                }
                let (redacted_because, pruned) = (None, false);
                let said = Stored { nid: key.1, pdu: Arc::new(pdu), redacted_because, received_ms, pruned };
                self.engine.forget_named(&mut batch, room.nid, &said);
            }
            batch.delete(&ORIGINALS, &key);
            count += 1;
        }
        if count > 0 {
            let record = Record::by(Act::RetentionPurge, Origin::default()).room(view.id.as_str());
            self.engine.audit.add(&mut batch, record.detail("originals").count(count));
            batch.on_commit(move |_| drop(guard));
            #[cfg(test)]
            self.engine.steps.reach(crate::steps::Step::Originals).await;
            self.engine.store.commit(batch).await?;
        }
        Ok(())
    }
}

//! Shredding: once no event that came on a day is whole any more, the day's data key is destroyed. What was sealed with it
//! can then be read nowhere, neither in what the store's files still hold of it nor in copies of them.
//!
//! Events are pruned before, since what is left of them is made of what they were. Whatever a crash interrupts, the next run
//! goes on with: a day stands in [`SEALED_DAYS`] until its key is gone.

use std::sync::Arc;

use wardroom_audit::{Act, Origin, Record};
use wardroom_store::Scan;

use super::{PERISHABLE, SEALED_DAYS, receipts::PurgeReceipt};
use crate::{
    error::RoomError,
    ids::RoomNid,
    sealing::{DAY_MS, day_of},
    writer::Writer,
};

/// Events kept for longer than others of their day among which those of a day are looked for; where there are more, the
/// day's key stays until there are fewer.
const KEPT_LOOKED_AT_MAX: usize = 10_000;

impl crate::Engine {
    /// Whether no event of the room that came on this day is whole any more.
    async fn day_is_over(&self, room: RoomNid, day: u32) -> Result<bool, RoomError> {
        let end_ms = u64::from(day).saturating_add(1).saturating_mul(DAY_MS);
        // Nothing comes to be after it came.
        let scan = Scan::range(&(room, 0_u64), &(room, end_ms)).limit(KEPT_LOOKED_AT_MAX);
        let whole = self.store.latest().scan(&PERISHABLE, scan).await?;
        Ok(whole.len() < KEPT_LOOKED_AT_MAX && whole.iter().all(|(_, received_ms)| day_of(*received_ms) != day))
    }
}

impl Writer {
    /// Destroys the data key of a day that is past, if no event that came on it is whole any more; tells whether it did.
    ///
    /// Only the room's writer seals with the key, and never with that of a past day, so nothing is sealed meanwhile.
    pub(super) async fn shred(&mut self, day: u32, now_ms: u64) -> Result<bool, RoomError> {
        self.quiet();
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        let shredded = self.shred_day(day, now_ms).await;
        self.guard(shredded)
    }

    async fn shred_day(&mut self, day: u32, now_ms: u64) -> Result<bool, RoomError> {
        let (engine, room) = (Arc::clone(&self.engine), self.nid());
        if day >= day_of(self.now_ms) || !engine.day_is_over(room, day).await? {
            return Ok(false);
        }
        engine.destroy_day_key(room, day).await?;
        self.batch.delete(&SEALED_DAYS, &(room, day));
        self.note_shredded();
        let id = self.view().id;
        let record = Record::by(Act::RetentionShred, Origin::default()).room(id.as_str()).count(1);
        engine.audit.add(&mut self.batch, record);
        let receipt = PurgeReceipt::of_key(&engine, id, self.lifetime, day, now_ms);
        self.put_receipt(&receipt);
        Ok(true)
    }
}

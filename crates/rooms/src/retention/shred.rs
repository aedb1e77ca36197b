//! Shredding: once no event that came on a day is whole any more, the day's data key is destroyed. What was sealed with it
//! can then be read nowhere, neither in what the store's files still hold of it nor in copies of them.
//!
//! Events are pruned before, since what is left of them is made of what they were. Destroying keys rewrites files, so the
//! days of many rooms go together. That a key is about to be destroyed stands in [`DOOMED_DAYS`] before it is, until that it was
//! is written down: whatever a crash interrupts, the next run goes on with, also where events are to stay for longer by then.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use wardroom_audit::{Act, Origin, Record};
use wardroom_store::Scan;

use super::{DOOMED_DAYS, PERISHABLE, Purged, SEALED_DAYS, receipts::PurgeReceipt};
use crate::{
    Rooms,
    error::RoomError,
    ids::RoomNid,
    room::Room,
    sealing::{DAY_MS, day_of},
    writer::Writer,
};

/// Events kept for longer than others of their day among which those of a day are looked for; where there are more, the
/// day's key stays until there are fewer.
const KEPT_LOOKED_AT_MAX: usize = 10_000;
/// Days of one room that are read at a time.
const DAYS_AT_ONCE: usize = 1_000;
/// Keys that are destroyed together.
pub(super) const SHREDDED_AT_ONCE: usize = 1_000;

/// Days of rooms whose keys are about to be destroyed: nothing is sealed with these any more, whatever the clock says.
#[derive(Debug, Default)]
pub(crate) struct Doomed(Mutex<HashSet<(RoomNid, u32)>>);

impl Doomed {
    pub(crate) fn has(&self, room: RoomNid, day: u32) -> bool {
        self.0.lock().contains(&(room, day))
    }
}

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

impl Rooms {
    /// Finds the days of a room whose keys can be destroyed.
    pub(super) async fn find_days(
        &self,
        room: &Arc<Room>,
        now_ms: u64,
        due: &mut BTreeMap<RoomNid, Vec<u32>>,
    ) -> Result<(), RoomError> {
        let begun = Scan::prefix(&room.nid).limit(DAYS_AT_ONCE);
        let begun = self.engine.store.latest().scan_keys(&DOOMED_DAYS, begun).await?;
        self.doom(room, begun, due).await?;
        let Some(horizon_ms) = room.view().lifetime.horizon_ms(now_ms) else { return Ok(()) };
        let end = u32::try_from(horizon_ms / DAY_MS).unwrap_or(u32::MAX).saturating_add(1);
        // The last of them may have a part that is not over: the writer looks.
        let mut scan = Scan::range(&(room.nid, 0_u32), &(room.nid, end)).limit(DAYS_AT_ONCE);
        loop {
            let days = self.engine.store.latest().scan_keys(&SEALED_DAYS, scan).await?;
            let Some(last) = days.last().copied() else { return Ok(()) };
            self.doom(room, days, due).await?;
            // Those that stay, held for years, keep nobody from the others.
            scan = Scan::range(&(room.nid, 0_u32), &(room.nid, end)).after(&last).limit(DAYS_AT_ONCE);
        }
    }

    /// Adds those of these days whose keys can be destroyed.
    async fn doom(
        &self,
        room: &Arc<Room>,
        days: Vec<(RoomNid, u32)>,
        due: &mut BTreeMap<RoomNid, Vec<u32>>,
    ) -> Result<(), RoomError> {
        let known = due.get(&room.nid);
        let days = days.into_iter().map(|(_, day)| day);
        let days: Vec<u32> = days.filter(|day| known.is_none_or(|known| !known.contains(day))).collect();
        if days.is_empty() {
            return Ok(());
        }
        let doomed = self.patiently(room, |writer: &mut Writer| async move { writer.doom(days).await }.boxed()).await?;
        if !doomed.is_empty() {
            due.entry(room.nid).or_default().extend(doomed);
        }
        Ok(())
    }

    /// Destroys the keys of these days, and says so.
    pub(super) async fn shred(
        &self,
        due: BTreeMap<RoomNid, Vec<u32>>,
        now_ms: u64,
        done: &mut Purged,
    ) -> Result<(), RoomError> {
        let days: Vec<(RoomNid, u32)> =
            due.iter().flat_map(|(room, days)| days.iter().map(|day| (*room, *day))).collect();
        let mut destroyed = Ok(());
        for page in days.chunks(SHREDDED_AT_ONCE) {
            #[cfg(test)]
            self.engine.steps.reach(crate::steps::Step::DestroyDays).await;
            destroyed = destroyed.and(self.engine.destroy_day_keys(page).await);
        }
        {
            let mut doomed = self.engine.doomed.0.lock();
            doomed.retain(|day| !days.contains(day));
        }
        destroyed?;
        for (room, days) in due {
            let count = u64::try_from(days.len()).unwrap_or(u64::MAX);
            match self.note_shredded(room, days, now_ms).await {
                Ok(()) => done.keys += count,
                Err(error) => {
                    done.failures += 1;
                    tracing::error!(%error, room = room.get(), "keys were destroyed, which could not be written down");
                }
            }
        }
        Ok(())
    }

    async fn note_shredded(&self, room: RoomNid, days: Vec<u32>, now_ms: u64) -> Result<(), RoomError> {
        let room = match self.engine.room(room).await {
            Err(RoomError::NoSuchRoom) => return Ok(()),
            room => room?,
        };
        self.patiently(&room, move |writer: &mut Writer| {
            async move {
                writer.quiet();
                writer.note_shredded(days, now_ms);
                #[cfg(test)]
                writer.engine.steps.reach(crate::steps::Step::NoteShredded).await;
                Ok(())
            }
            .boxed()
        })
        .await
    }
}

impl Writer {
    /// Those of these days that are past and of which nothing is whole any more, nor an original kept; what is held is. From
    /// here on nothing is sealed with their keys: only the room's writer seals, and what it built before is of another day.
    async fn doom(&mut self, days: Vec<u32>) -> Result<Vec<u32>, RoomError> {
        self.quiet();
        let (engine, room, today) = (Arc::clone(&self.engine), self.nid(), day_of(self.now_ms));
        let mut doomed = Vec::new();
        for day in days.into_iter().filter(|day| *day < today) {
            if !self.days_of_originals.contains(&day)
                && engine.day_is_over(room, day).await?
                && !engine.has_originals_of(room, day).await?
            {
                engine.doomed.0.lock().insert((room, day));
                self.batch.put(&DOOMED_DAYS, &(room, day), &());
                doomed.push(day);
            }
        }
        #[cfg(test)]
        engine.steps.reach(crate::steps::Step::Doom).await;
        Ok(doomed)
    }

    fn note_shredded(&mut self, days: Vec<u32>, now_ms: u64) {
        let (engine, room, id) = (Arc::clone(&self.engine), self.nid(), self.view().id);
        for day in &days {
            self.batch.delete(&SEALED_DAYS, &(room, *day));
            self.batch.delete(&DOOMED_DAYS, &(room, *day));
        }
        self.want_compaction();
        let count = u64::try_from(days.len()).unwrap_or(u64::MAX);
        let record = Record::by(Act::RetentionShred, Origin::default()).room(id.as_str()).count(count);
        engine.audit.add(&mut self.batch, record);
        let receipt = PurgeReceipt::of_keys(&engine, id, self.lifetime, days, now_ms);
        self.put_receipt(&receipt);
    }
}

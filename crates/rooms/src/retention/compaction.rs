//! Compaction: what is gone with a key is taken out of the store's files, too.
//!
//! It could not be read any more in any case. What was destroyed is noted in the batch that says so, and the note stays until
//! the files were rewritten: whatever a crash interrupts is done again.

use wardroom_store::{Batch, CommitError, Packed, Scan};

use super::{COMPACT_DUE, PRUNED_RANGES};
use crate::{
    Rooms,
    error::RoomError,
    ids::{EventNid, RoomNid},
    relations::{ANNOTATIONS, SUMMARIES},
    search::SEARCH_WORDS,
    tables::EVENTS,
    writer::Writer,
};

/// Rooms whose files are rewritten in one run; the others wait for the next one.
const ROOMS_PER_RUN_MAX: usize = 100;

impl Writer {
    /// Notes events that were pruned.
    pub(super) async fn note_pruned(&mut self, events: impl Iterator<Item = EventNid>) -> Result<(), RoomError> {
        let room = self.nid();
        let noted = match self.pruned_range {
            Some(range) => Some(range),
            None => self.engine.store.latest().get(&PRUNED_RANGES, &room).await?.map(|Packed(range)| range),
        };
        let (first, last) = noted.unwrap_or((EventNid::new(u64::MAX), EventNid::new(0)));
        let (first, last) = events.fold((first, last), |(first, last), event| (first.min(event), last.max(event)));
        if first <= last {
            self.batch.put(&PRUNED_RANGES, &room, &Packed((first, last)));
            self.pruned_range = Some((first, last));
        }
        Ok(())
    }

    /// Notes that keys of the room were destroyed.
    pub(super) fn want_compaction(&mut self) {
        self.batch.put(&COMPACT_DUE, &self.nid(), &());
    }
}

/// Everything of a room that is sealed with keys of its own.
fn range_of(room: RoomNid, range: Option<(EventNid, EventNid)>) -> Scan {
    match range {
        Some((first, last)) => Scan::prefix(&room).from(&(room, first)).before(&(room, EventNid::new(last.get() + 1))),
        None => Scan::prefix(&room),
    }
}

impl Rooms {
    /// Takes out of the files what went with the keys of rooms; tells of how many rooms.
    pub(super) async fn compact_shredded(&self) -> Result<u64, RoomError> {
        let store = &self.engine.store;
        let due = store.marks(&COMPACT_DUE, ROOMS_PER_RUN_MAX).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let (mut events, mut whole, mut batch) = (Vec::new(), Vec::new(), Batch::default());
        for (room, _) in &due {
            let noted = store.latest().get_versioned(&PRUNED_RANGES, room).await?;
            events.push(range_of(*room, noted.as_ref().map(|(Packed(range), _)| *range)));
            whole.push(Scan::prefix(room));
            if let Some((_, version)) = noted {
                // Nobody prunes meanwhile: the purge is the only one who does, and it does this.
                batch.expect_version(&PRUNED_RANGES, room, Some(version));
                batch.delete(&PRUNED_RANGES, room);
            }
        }
        #[cfg(test)]
        self.engine.steps.reach(crate::steps::Step::Compact).await;
        store.compact(&EVENTS, &events).await?;
        // What these say of messages is sealed with a key that stays.
        store.compact(&SEARCH_WORDS, &whole).await?;
        store.compact(&SUMMARIES, &whole).await?;
        store.compact(&ANNOTATIONS, &whole).await?;
        #[cfg(test)]
        self.engine.steps.reach(crate::steps::Step::Compacted).await;
        match store.commit(batch).await {
            Ok(_) => {}
            // One of the rooms was destroyed meanwhile, and is due again with all of it.
            Err(CommitError::Conflict { .. }) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        #[cfg(test)]
        self.engine.steps.reach(crate::steps::Step::Unmark).await;
        store.unmark(&COMPACT_DUE, &due).await?;
        Ok(due.len() as u64)
    }
}

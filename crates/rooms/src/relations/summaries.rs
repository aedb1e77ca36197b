//! Summaries of children in memory.

use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use super::{SUMMARIES, Summary};
use crate::{
    Engine,
    error::RoomError,
    ids::{EventNid, RoomNid},
};

/// Events of which the summary, or that there is none, is kept in memory; about 120 bytes each.
const SUMMARIES_CACHED_MAX: usize = 32_768;

/// Summaries by room and parent, also of events that have none. Never holds what a commit has replaced: see
/// [`SummaryCache::fill`].
#[derive(Debug)]
pub(crate) struct SummaryCache {
    entries: Cache<(RoomNid, EventNid), Option<Summary>>,
    /// Counts commits that changed summaries.
    changes: AtomicU64,
}

impl Default for SummaryCache {
    fn default() -> Self {
        Self { entries: Cache::new(SUMMARIES_CACHED_MAX), changes: AtomicU64::new(0) }
    }
}

impl SummaryCache {
    /// Keeps what was read from the store. A commit may have changed it since, so whoever reads notes `changes` before,
    /// and takes the entry out again when the number has moved.
    fn fill(&self, key: (RoomNid, EventNid), summary: Option<Summary>, changes_before: u64) {
        self.entries.insert(key, summary);
        if self.changes.load(Ordering::SeqCst) != changes_before {
            self.entries.remove(&key);
        }
    }

    /// Keeps what a commit has written; to be called when it is durable and before it is published.
    pub(crate) fn set(&self, room: RoomNid, parent: EventNid, summary: Summary) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.entries.insert((room, parent), Some(summary));
    }
}

impl Engine {
    /// What is known of the children of events of a room, in their order.
    pub(crate) async fn summaries(
        &self,
        room: RoomNid,
        parents: &[EventNid],
    ) -> Result<Vec<Option<Summary>>, RoomError> {
        let cache = &self.summaries_of_children;
        let changes = cache.changes.load(Ordering::SeqCst);
        let mut found: Vec<Option<Option<Summary>>> =
            parents.iter().map(|parent| cache.entries.get(&(room, *parent))).collect();
        let missing: Vec<usize> = (0..parents.len()).filter(|index| found[*index].is_none()).collect();
        if !missing.is_empty() {
            let keys: Vec<_> = missing.iter().map(|index| (room, parents[*index])).collect();
            let read = self.store.latest().multi_get(&SUMMARIES, &keys).await?;
            for (index, summary) in missing.into_iter().zip(read) {
                let summary = summary.map(|summary| summary.0);
                cache.fill((room, parents[index]), summary, changes);
                found[index] = Some(summary);
            }
        }
        Ok(found.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// What is known of one event's children.
    pub(crate) async fn summary_of(&self, room: RoomNid, parent: EventNid) -> Result<Option<Summary>, RoomError> {
        Ok(self.summaries(room, &[parent]).await?.pop().flatten())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::{Summary, SummaryCache};
    use crate::ids::{EventNid, RoomNid};

    #[test]
    fn what_was_read_before_a_change_is_not_kept() {
        let (cache, room, event) = (SummaryCache::default(), RoomNid::new(1), EventNid::new(2));
        let before = cache.changes.load(Ordering::SeqCst);
        cache.fill((room, event), None, before);
        assert_eq!(cache.entries.get(&(room, event)), Some(None));
        cache.set(room, event, Summary::default());
        cache.fill((room, EventNid::new(3)), None, before);
        assert_eq!(cache.entries.get(&(room, EventNid::new(3))), None);
        assert_eq!(cache.entries.get(&(room, event)), Some(Some(Summary::default())));
    }
}

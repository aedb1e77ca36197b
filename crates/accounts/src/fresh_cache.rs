//! A bounded cache in front of the store that never holds what a commit has ended.
//!
//! A reader who fetches a value from the store and a commit that changes it may overlap. So every commit that ends a
//! value first raises `endings` and then removes from the cache, before it is published; and every reader notes
//! `endings` before it reads the store, and takes its entry out again when the number has moved. Whichever comes last,
//! no ended value stays.

use std::{
    hash::Hash,
    sync::atomic::{AtomicU64, Ordering},
};

use quick_cache::sync::Cache;

pub(crate) struct FreshCache<K, V> {
    entries: Cache<K, V>,
    endings: AtomicU64,
}

/// What `endings` was before the store was read.
#[derive(Clone, Copy)]
pub(crate) struct BeforeRead(u64);

impl<K: Eq + Hash + Clone, V: Clone> FreshCache<K, V> {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries: Cache::new(entries_max), endings: AtomicU64::new(0) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.entries.get(key)
    }

    /// To be called before the store is read for what [`FreshCache::insert`] gets.
    pub(crate) fn before_read(&self) -> BeforeRead {
        BeforeRead(self.endings.load(Ordering::SeqCst))
    }

    pub(crate) fn insert(&self, key: &K, value: V, before: BeforeRead) {
        self.entries.insert(key.clone(), value);
        if self.endings.load(Ordering::SeqCst) != before.0 {
            self.entries.remove(key);
        }
    }

    /// To be called when the commit that ends the value is durable and not yet published.
    pub(crate) fn end(&self, key: &K) {
        self.endings.fetch_add(1, Ordering::SeqCst);
        self.entries.remove(key);
    }

    /// The same for all values that match; walks the whole cache.
    pub(crate) fn end_all(&self, matches: impl Fn(&V) -> bool) {
        self.endings.fetch_add(1, Ordering::SeqCst);
        self.entries.retain(|_, value| !matches(value));
    }
}

#[cfg(test)]
mod tests {
    use super::FreshCache;

    #[test]
    fn a_value_read_before_its_end_is_not_kept() {
        let cache = FreshCache::new(10);
        let before = cache.before_read();
        cache.insert(&1, "fresh", before);
        assert_eq!(cache.get(&1), Some("fresh"));
        let before = cache.before_read();
        cache.end(&2);
        cache.insert(&2, "stale", before);
        assert_eq!(cache.get(&2), None);
        cache.end_all(|value| *value == "fresh");
        assert_eq!(cache.get(&1), None);
    }
}

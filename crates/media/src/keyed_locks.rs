//! Work that is done once for all who want it at the same time.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

type Locks<K> = Arc<Mutex<HashMap<K, Arc<AsyncMutex<()>>>>>;

/// One lock per key, there as long as somebody holds it or waits for it.
#[derive(Debug)]
pub(crate) struct KeyedLocks<K>(Locks<K>);

/// The lock of a key; held until dropped.
#[derive(Debug)]
pub(crate) struct KeyedGuard<K: Eq + Hash> {
    locks: Locks<K>,
    key: K,
    guard: Option<OwnedMutexGuard<()>>,
}

impl<K> Default for KeyedLocks<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq + Hash + Clone> KeyedLocks<K> {
    /// Waits for its turn. Whoever gets it looks first whether the one before has done the work.
    pub(crate) async fn lock(&self, key: &K) -> KeyedGuard<K> {
        let lock = Arc::clone(self.0.lock().entry(key.clone()).or_default());
        // Made before waiting: who gives up waiting leaves no key behind.
        let mut guard = KeyedGuard { locks: Arc::clone(&self.0), key: key.clone(), guard: None };
        guard.guard = Some(lock.lock_owned().await);
        guard
    }
}

impl<K: Eq + Hash> Drop for KeyedGuard<K> {
    fn drop(&mut self) {
        drop(self.guard.take());
        let mut locks = self.locks.lock();
        // Who waits or holds has a reference of its own, taken under this lock.
        if locks.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use super::KeyedLocks;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_stays() {
        let locks = Arc::new(KeyedLocks::default());
        let inside = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for n in 0..20_u32 {
            let (locks, inside) = (Arc::clone(&locks), Arc::clone(&inside));
            tasks.push(tokio::spawn(async move {
                let guard = locks.lock(&"key").await;
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                tokio::time::sleep(Duration::from_millis(u64::from(n % 3))).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(guard);
            }));
            if n % 5 == 4 {
                tasks.pop().unwrap().abort();
            }
        }
        for task in tasks {
            let _ = task.await;
        }
        drop(locks.lock(&"other").await);
        assert!(locks.0.lock().is_empty());
    }
}

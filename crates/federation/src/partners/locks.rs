//! One lock for each server, for work that must not be done twice at the same time.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use ruma::{OwnedServerName, ServerName};

/// Locks beyond which those that nobody holds are thrown away.
const LOCKS_MAX: usize = 1_024;

type Lock = tokio::sync::Mutex<()>;

/// The locks that somebody holds or waits for.
#[derive(Default)]
pub(crate) struct Locks(Mutex<HashMap<OwnedServerName, Weak<Lock>>>);

impl fmt::Debug for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locks").finish_non_exhaustive()
    }
}

impl Locks {
    /// The lock of a server. It is the same one for everybody as long as anybody keeps it.
    pub(crate) fn of(&self, server: &ServerName) -> Arc<Lock> {
        let mut locks = self.0.lock();
        if locks.len() > LOCKS_MAX {
            locks.retain(|_, lock| lock.strong_count() > 0);
        }
        if let Some(lock) = locks.get(server).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(Lock::default());
        locks.insert(server.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

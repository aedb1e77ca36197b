//! How full inboxes are, kept in memory, so that a message to a device that has been away for weeks costs no walk
//! through all that waits for it.
//!
//! A size is a hint. It may be too large for a moment, which costs a look into the store; it is never too small.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use wardroom_store::Batch;

/// Sizes kept in memory, about 100 bytes each.
const SIZES_MAX: usize = 32_768;
/// Counters of changes; each serves many inboxes.
const STRIPES: usize = 1_024;

/// What waits in an inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InboxSize {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
struct Inner {
    sizes: Cache<u64, Arc<Mutex<InboxSize>>>,
    /// Moved by every change of an inbox: a size that was read while it moved is not kept.
    changes: Vec<AtomicU64>,
}

/// The sizes of inboxes by the number of the device.
#[derive(Clone, Debug)]
pub(crate) struct InboxSizes(Arc<Inner>);

/// How often inboxes had changed before the store was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BeforeRead(u64);

impl Default for InboxSizes {
    fn default() -> Self {
        let changes = std::iter::repeat_with(AtomicU64::default).take(STRIPES).collect();
        Self(Arc::new(Inner { sizes: Cache::new(SIZES_MAX), changes }))
    }
}

impl InboxSizes {
    /// Device numbers are random, so any of their bits will do.
    fn changes(&self, device_nid: u64) -> &AtomicU64 {
        let stripe = usize::try_from(device_nid % STRIPES as u64).unwrap_or_default();
        &self.0.changes[stripe]
    }

    pub(crate) fn get(&self, device_nid: u64) -> Option<InboxSize> {
        self.0.sizes.get(&device_nid).map(|size| *size.lock())
    }

    /// To be called before the store is read for what [`Self::insert`] gets.
    pub(crate) fn before_read(&self, device_nid: u64) -> BeforeRead {
        BeforeRead(self.changes(device_nid).load(Ordering::SeqCst))
    }

    pub(crate) fn insert(&self, device_nid: u64, size: InboxSize, before: BeforeRead) {
        self.0.sizes.insert(device_nid, Arc::new(Mutex::new(size)));
        if self.changes(device_nid).load(Ordering::SeqCst) != before.0 {
            self.0.sizes.remove(&device_nid);
        }
    }

    /// Counts a message when the batch is committed.
    pub(crate) fn add_on_commit(&self, batch: &mut Batch, device_nid: u64, bytes: u64) {
        let sizes = self.clone();
        batch.on_commit(move |_| sizes.add(device_nid, bytes));
    }

    /// Forgets the size when the batch is committed.
    pub(crate) fn end_on_commit(&self, batch: &mut Batch, device_nid: u64) {
        let sizes = self.clone();
        batch.on_commit(move |_| sizes.end(device_nid));
    }

    fn add(&self, device_nid: u64, bytes: u64) {
        // First this, so that whoever inserts a size without the message notices.
        self.changes(device_nid).fetch_add(1, Ordering::SeqCst);
        if let Some(size) = self.0.sizes.get(&device_nid) {
            let mut size = size.lock();
            size.messages += 1;
            size.bytes += bytes;
        }
    }

    fn end(&self, device_nid: u64) {
        self.changes(device_nid).fetch_add(1, Ordering::SeqCst);
        self.0.sizes.remove(&device_nid);
    }
}

#[cfg(test)]
mod tests {
    use super::{InboxSize, InboxSizes};

    #[test]
    fn a_size_that_was_read_while_a_message_came_is_not_kept() {
        let sizes = InboxSizes::default();
        let before = sizes.before_read(7);
        sizes.add(7, 10);
        sizes.insert(7, InboxSize::default(), before);
        assert_eq!(sizes.get(7), None);
        let before = sizes.before_read(7);
        sizes.insert(7, InboxSize::default(), before);
        assert_eq!(sizes.get(7), Some(InboxSize::default()));
        sizes.add(7, 10);
        assert_eq!(sizes.get(7), Some(InboxSize { messages: 1, bytes: 10 }));
        sizes.end(7);
        assert_eq!(sizes.get(7), None);
    }
}

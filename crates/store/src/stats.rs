//! What the store counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the store opened.
#[derive(Debug, Copy, Clone, Default, Eq, PartialEq)]
pub struct Stats {
    /// Successful commits, also those without writes.
    pub commits: u64,
    /// Commits refused for a precondition.
    pub conflicts: u64,
    /// Commits that failed for any other reason.
    pub failures: u64,
    /// Writes of the engine; `commits / groups` is the mean size of a group.
    pub groups: u64,
    /// Bytes of keys and sealed values written.
    pub bytes_written: u64,
    /// Time spent in writes of the engine, in microseconds.
    pub write_micros: u64,
    /// Reads answered from memory on the caller's thread.
    pub reads_inline: u64,
    /// Reads that had to go to the blocking pool.
    pub reads_blocking: u64,
}

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter,)* }

        impl Counters {
            pub(crate) fn stats(&self) -> Stats {
                Stats { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}
counters!(commits, conflicts, failures, groups, bytes_written, write_micros, reads_inline, reads_blocking);

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

//! What is counted since the start.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) transactions: Counter,
    pub(super) failures: Counter,
    pub(super) events: Counter,
    pub(super) edus: Counter,
    pub(super) events_refused: Counter,
    pub(super) edus_dropped: Counter,
    pub(super) refused: Counter,
    pub(super) signals_dropped: Counter,
}

impl Counters {
    /// A transaction was taken.
    pub(super) fn taken(&self, events: usize, edus: usize, events_refused: usize) {
        self.transactions.add(1);
        self.events.add(events as u64);
        self.edus.add(edus as u64);
        self.events_refused.add(events_refused as u64);
    }

    /// A transaction was not taken.
    pub(super) fn failed(&self) {
        self.failures.add(1);
    }

    /// Something is not sent any more because the server refused it.
    pub(super) fn dropped_as_refused(&self) {
        self.refused.add(1);
    }
}

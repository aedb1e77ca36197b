//! `[delayed_events]`

use serde::{Deserialize, Serialize};

/// Events that are sent later.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DelayedEvents {
    /// Longest delay, in seconds.
    pub(crate) max_delay_seconds: u64,
    /// Events that may wait at once, per user. Zero: there are no delayed events.
    pub(crate) max_per_user: usize,
}

impl Default for DelayedEvents {
    fn default() -> Self {
        Self { max_delay_seconds: 24 * 60 * 60, max_per_user: 100 }
    }
}

impl DelayedEvents {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(1..=366 * 24 * 60 * 60).contains(&self.max_delay_seconds) {
            problems.push("delayed_events.max_delay_seconds: must be at least 1 and at most a year".to_owned());
        }
        if self.max_per_user > 10_000 {
            problems.push("delayed_events.max_per_user: must be at most 10000".to_owned());
        }
        problems
    }
}

//! `[retention]`

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wardroom_rooms::{RetentionSettings, TERM_MS_MAX, Terms};

const DAY: u64 = 24 * 60 * 60;
/// Longest term that can be given, in seconds: a thousand years.
const TERM_SECONDS_MAX: u64 = 1_000 * 366 * DAY;

/// How long messages are kept.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retention {
    /// In rooms that say nothing of it, messages go after so many seconds. Zero: never.
    pub(crate) max_lifetime_seconds: u64,
    /// In rooms that say nothing of it, messages are kept for at least so many seconds.
    pub(crate) min_lifetime_seconds: u64,
    /// What rooms may say: less or more becomes the nearer of the two. Zero as an upper end: as much as they like.
    pub(crate) max_lifetime_limits_seconds: [u64; 2],
    /// The same for how long messages are kept at least. The lower end holds in every room, whatever it says.
    pub(crate) min_lifetime_limits_seconds: [u64; 2],
    /// What is left of a purged message (who, when, where in the room) goes after so many seconds more.
    pub(crate) stubs_seconds: u64,
    /// How often messages whose time is over are looked for, in seconds. They are hidden at once.
    pub(crate) purge_every_seconds: u64,
    /// A legal hold is released when a second administrator asks for it as well.
    pub(crate) hold_release_needs_two: bool,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_lifetime_seconds: 365 * DAY,
            min_lifetime_seconds: 0,
            max_lifetime_limits_seconds: [DAY, 0],
            min_lifetime_limits_seconds: [0, 0],
            stubs_seconds: 7 * DAY,
            purge_every_seconds: 60 * 60,
            hold_release_needs_two: true,
        }
    }
}

impl Retention {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let terms = [
            ("max_lifetime_seconds", self.max_lifetime_seconds),
            ("min_lifetime_seconds", self.min_lifetime_seconds),
            ("stubs_seconds", self.stubs_seconds),
        ];
        for (name, seconds) in terms {
            if seconds > TERM_SECONDS_MAX {
                problems.push(format!("retention.{name}: must be at most {TERM_SECONDS_MAX}"));
            }
        }
        let limits = [
            ("max_lifetime_limits_seconds", self.max_lifetime_limits_seconds),
            ("min_lifetime_limits_seconds", self.min_lifetime_limits_seconds),
        ];
        for (name, [low, high]) in limits {
            if low > TERM_SECONDS_MAX || high > TERM_SECONDS_MAX || (high > 0 && low > high) {
                problems.push(format!("retention.{name}: must be a lower and an upper end, in this order"));
            }
        }
        if self.max_lifetime_seconds > 0 && self.max_lifetime_seconds < self.min_lifetime_seconds {
            problems.push("retention.max_lifetime_seconds: must not be less than min_lifetime_seconds".to_owned());
        }
        if !(1..=DAY).contains(&self.purge_every_seconds) {
            problems.push("retention.purge_every_seconds: must be at least 1 and at most a day".to_owned());
        }
        problems
    }

    /// As the rooms want it.
    pub(crate) fn settings(&self) -> RetentionSettings {
        let ms = |seconds: u64| seconds.saturating_mul(1_000);
        let term = |seconds: u64| Some(ms(seconds)).filter(|ms| *ms > 0);
        let limits = |[low, high]: [u64; 2]| ms(low)..=term(high).unwrap_or(TERM_MS_MAX);
        RetentionSettings {
            default: Terms { max_ms: term(self.max_lifetime_seconds), min_ms: term(self.min_lifetime_seconds) },
            max_limits: limits(self.max_lifetime_limits_seconds),
            min_limits: limits(self.min_lifetime_limits_seconds),
            stubs_kept: Duration::from_secs(self.stubs_seconds),
            purge_every: Duration::from_secs(self.purge_every_seconds),
        }
    }
}

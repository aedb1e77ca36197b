//! `[retention]`

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wardroom_media::AgeOf;
use wardroom_rooms::{Ends, ErasedMessages, RetentionSettings, TERM_MS_MAX, Terms};

use crate::endings::FileTerms;

const DAY: u64 = 24 * 60 * 60;
/// Longest term that can be given, in seconds: a thousand years.
const TERM_SECONDS_MAX: u64 = 1_000 * 366 * DAY;

/// From when on the age of files is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MediaClock {
    /// From when they were uploaded, or came from their server.
    Received,
    /// From the end of the day on which somebody last looked at them.
    LastAccess,
}
/// Longest time before which users can be told, in days.
const NOTICE_DAYS_MAX: u64 = 366;

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
    /// Files that somebody uploaded go after so many seconds, but for those that state, profiles or packs of images name. Zero:
    /// with the last event that names them, and those that no event names when nobody looked at them for as long as messages
    /// may last.
    pub(crate) media_max_age_seconds: u64,
    /// What is kept of other servers' files goes after so many seconds. Zero: `media.remote_cache_days` alone counts.
    pub(crate) remote_media_max_age_seconds: u64,
    /// From when on these seconds are counted.
    pub(crate) media_clock: MediaClock,
    /// What a redacted message said is kept for so many seconds, sealed, for a legal hold that may come. Zero: not at all.
    pub(crate) redaction_hold_seconds: u64,
    /// What becomes of the messages of a person who is erased.
    pub(crate) erase_messages: ErasedMessages,
    /// Names, topics, pictures and states of types that are not the specification's keep what they said for so many seconds
    /// after something else took their place. Zero: as long as the room.
    pub(crate) state_max_lifetime_seconds: u64,
    /// Users can redact a message for so many seconds after it was sent. Zero: always.
    pub(crate) redaction_max_age_seconds: u64,
    /// Rooms go so many seconds after the last user of this server who was in them has forgotten them. Zero: never.
    pub(crate) forgotten_rooms_seconds: u64,
    /// Rooms in which nothing but state is left go so many seconds after something was said. Zero: never.
    pub(crate) state_only_rooms_seconds: u64,
    /// Messages and files of a room go so many seconds after the last of them. Zero: never.
    pub(crate) inactive_rooms_seconds: u64,
    /// Members are told so many days before messages of a room go for the first time, or all of them. Zero: they are not.
    pub(crate) notice_days_before: u64,
    /// Messages do not go for the first time before members were told so long ago.
    pub(crate) notice_blocks: bool,
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
            media_max_age_seconds: 0,
            remote_media_max_age_seconds: 0,
            media_clock: MediaClock::Received,
            redaction_hold_seconds: 7 * DAY,
            erase_messages: ErasedMessages::Prune,
            state_max_lifetime_seconds: 0,
            redaction_max_age_seconds: 0,
            forgotten_rooms_seconds: 7 * DAY,
            state_only_rooms_seconds: 0,
            inactive_rooms_seconds: 0,
            notice_days_before: 7,
            notice_blocks: false,
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
            ("media_max_age_seconds", self.media_max_age_seconds),
            ("remote_media_max_age_seconds", self.remote_media_max_age_seconds),
            ("redaction_hold_seconds", self.redaction_hold_seconds),
            ("state_max_lifetime_seconds", self.state_max_lifetime_seconds),
            ("redaction_max_age_seconds", self.redaction_max_age_seconds),
            ("forgotten_rooms_seconds", self.forgotten_rooms_seconds),
            ("state_only_rooms_seconds", self.state_only_rooms_seconds),
            ("inactive_rooms_seconds", self.inactive_rooms_seconds),
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
        if self.notice_days_before > NOTICE_DAYS_MAX {
            problems.push(format!("retention.notice_days_before: must be at most {NOTICE_DAYS_MAX}"));
        }
        problems
    }

    /// How old files may become.
    pub(crate) fn file_terms(&self) -> FileTerms {
        let term = |seconds: u64| Some(seconds.saturating_mul(1_000)).filter(|ms| *ms > 0);
        FileTerms {
            uploads_ms: term(self.media_max_age_seconds),
            copies_ms: term(self.remote_media_max_age_seconds),
            age: match self.media_clock {
                MediaClock::Received => AgeOf::Receipt,
                MediaClock::LastAccess => AgeOf::LastAccess,
            },
        }
    }

    /// As the rooms want it; `told` says whether the server can tell users anything.
    pub(crate) fn settings(&self, told: bool) -> RetentionSettings {
        let ms = |seconds: u64| seconds.saturating_mul(1_000);
        let seconds = |seconds: u64| Some(Duration::from_secs(seconds)).filter(|term| !term.is_zero());
        let term = |seconds: u64| Some(ms(seconds)).filter(|ms| *ms > 0);
        let limits = |[low, high]: [u64; 2]| ms(low)..=term(high).unwrap_or(TERM_MS_MAX);
        RetentionSettings {
            default: Terms { max_ms: term(self.max_lifetime_seconds), min_ms: term(self.min_lifetime_seconds) },
            max_limits: limits(self.max_lifetime_limits_seconds),
            min_limits: limits(self.min_lifetime_limits_seconds),
            stubs_kept: Duration::from_secs(self.stubs_seconds),
            purge_every: Duration::from_secs(self.purge_every_seconds),
            redaction_hold: Duration::from_secs(self.redaction_hold_seconds),
            erased_messages: self.erase_messages,
            state_kept: seconds(self.state_max_lifetime_seconds),
            redactable: seconds(self.redaction_max_age_seconds),
            notice_before: Duration::from_secs(if told { self.notice_days_before * DAY } else { 0 }),
            notice_blocks: self.notice_blocks,
            ends: Ends {
                forgotten: seconds(self.forgotten_rooms_seconds),
                state_only: seconds(self.state_only_rooms_seconds),
                inactive: seconds(self.inactive_rooms_seconds),
            },
        }
    }
}

//! How long events are kept ([MSC1763]), decided in one place for everybody who asks: readers of timelines, searches,
//! other servers, counts of what is unread, and the purge.
//!
//! - An event is to go `max` after it was sent or came, whichever was earlier, and is to stay for `min` after it came.
//!   Where both apply it stays.
//! - What a room's lifetime is follows from layers: what an administrator has set for the room, the room's own
//!   `m.room.retention` as far as the server's limits let it, the template that the room was made by, the server's default.
//!   A field that one layer leaves open comes from the next. Only what they say now counts, for events of any age.
//! - Where nobody has said anything for long, what was said until then is over, too: see [`crate::ends`].
//! - State events are exempt. Every other event is, once its time is over, shown to nobody any more, and soon after it is
//!   pruned: what is left is its redacted form, so that the graph, its extremities and threads stay whole.
//!
//! [MSC1763]: https://github.com/matrix-org/matrix-spec-proposals/pull/1763

mod compaction;
mod held;
mod layers;
mod lost;
mod notices;
mod originals;
mod policy;
mod prune;
mod receipts;
mod run;
mod shred;
mod stubs;
mod superseded;
mod tables;
#[cfg(test)]
pub(crate) mod tests;

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use wardroom_store::Scan;

pub(crate) use self::{
    held::Passed,
    originals::ORIGINALS,
    policy::{check_content, is_retention, terms_of},
    tables::{DOOMED_DAYS, OVERRIDES, PERISHABLE, PURGE_RECEIPTS, SEALED_DAYS, STUBS},
};
pub use self::{
    layers::{OVERRIDE_REMOVED, OVERRIDE_SET, Override, RetentionOf},
    notices::{Notified, RetentionNotice, Warning},
    policy::{RETENTION_TYPES, TERM_MS_MAX},
    receipts::{PurgeReceipt, RECEIPTS_PAGE_MAX},
    run::Purged,
};
pub(crate) use self::{
    notices::Notices,
    prune::{Cause, Perishable},
    run::PAUSE,
    shred::Doomed,
    tables::{COMPACT_DUE, NOTICES, PRUNED_RANGES, SUPERSEDED, TEMPLATE_OF, TOLD},
};
use crate::{
    Engine, Rooms,
    ends::Ends,
    error::RoomError,
    events::Stored,
    ids::{EventNid, RoomNid},
    room::RoomView,
    writer::Writer,
};

/// Stubs stay this long where nothing else is said.
const STUBS_KEPT_DEFAULT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// What redacted events said is kept this long where nothing else is said.
const REDACTION_HOLD_DEFAULT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often expired events are looked for where nothing else is said.
const PURGE_EVERY_DEFAULT: Duration = Duration::from_secs(60 * 60);

/// What one layer says of how long events are kept. In milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Events go when they are this old.
    #[serde(default, rename = "max_lifetime", skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<u64>,
    /// Events are kept for this long.
    #[serde(default, rename = "min_lifetime", skip_serializing_if = "Option::is_none")]
    pub min_ms: Option<u64>,
}

/// How the server wants events to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionSettings {
    /// Where a room says nothing. Without `max_ms` its events are kept for ever.
    pub default: Terms,
    /// What rooms may ask for as `max_lifetime`, in milliseconds: less or more becomes the nearer of the two.
    pub max_limits: RangeInclusive<u64>,
    /// What rooms may ask for as `min_lifetime`, in milliseconds. The lower limit holds whatever anybody says.
    pub min_limits: RangeInclusive<u64>,
    /// What is left of a purged event stays this long.
    pub stubs_kept: Duration,
    /// How often expired events are looked for.
    pub purge_every: Duration,
    /// What a redacted event said is kept this long, for a legal hold that may come.
    pub redaction_hold: Duration,
    /// What becomes of the messages of a person who is erased.
    pub erased_messages: crate::ErasedMessages,
    /// State that something else took the place of keeps what it said for this long; `None` is as long as the room.
    pub state_kept: Option<Duration>,
    /// Users may take back what was sent within this time; `None` is always.
    pub redactable: Option<Duration>,
    /// Members are told so long before messages of a room are deleted for the first time; zero: they are told nothing.
    pub notice_before: Duration,
    /// That first time waits until members were told so long ago.
    pub notice_blocks: bool,
    /// How rooms end.
    pub ends: Ends,
}

impl Default for RetentionSettings {
    /// Everything is kept, unless a room says otherwise.
    fn default() -> Self {
        Self {
            default: Terms::default(),
            max_limits: 0..=TERM_MS_MAX,
            min_limits: 0..=TERM_MS_MAX,
            stubs_kept: STUBS_KEPT_DEFAULT,
            purge_every: PURGE_EVERY_DEFAULT,
            redaction_hold: REDACTION_HOLD_DEFAULT,
            erased_messages: crate::ErasedMessages::default(),
            state_kept: None,
            redactable: None,
            notice_before: Duration::ZERO,
            notice_blocks: false,
            ends: Ends::default(),
        }
    }
}

impl RetentionSettings {
    /// The lifetime of a room's events, by what is said of it.
    pub(crate) fn lifetime(&self, of: &RetentionOf) -> Lifetime {
        let set = of.set.map(|set| set.terms).unwrap_or_default();
        let (room, template) = (of.said.unwrap_or_default(), of.template.unwrap_or_default());
        let within = |limits: &RangeInclusive<u64>, ms: u64| ms.clamp(*limits.start(), *limits.end());
        let room_max = room.max_ms.map(|ms| within(&self.max_limits, ms));
        let room_min = room.min_ms.map(|ms| within(&self.min_limits, ms));
        // A limit that is as far as terms go is none.
        let limit = Some(*self.max_limits.end()).filter(|limit| *limit < TERM_MS_MAX);
        let min_ms = set.min_ms.or(room_min).or(template.min_ms).or(self.default.min_ms).unwrap_or(0);
        Lifetime {
            max_ms: set.max_ms.or(room_max).or(template.max_ms).or(self.default.max_ms).or(limit),
            min_ms: min_ms.max(*self.min_limits.start()),
            ended_ms: None,
        }
    }
}

/// When an event came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Age {
    /// What its sender's server says: `origin_server_ts`, in milliseconds since 1970.
    pub sent_ms: u64,
    /// When it came to this server, in milliseconds since 1970.
    pub received_ms: u64,
}

impl Age {
    /// When it came to be, as far as deleting it goes. A time in the future, or far in the past, is no way around that: what
    /// its sender says can only make an event older.
    pub(crate) fn born_ms(self) -> u64 {
        self.sent_ms.min(self.received_ms)
    }
}

/// How long events of a room are kept, all said and done. In milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// Events go when they are this old; `None` is never.
    pub max_ms: Option<u64>,
    /// Events are kept for this long after they came, whatever else is said.
    pub min_ms: u64,
    /// What came up to this time, in milliseconds since 1970, is over: the room has ended since.
    pub(crate) ended_ms: Option<u64>,
}

impl Lifetime {
    /// The same, where what came up to a time is over.
    pub(crate) fn ended(self, ended_ms: Option<u64>) -> Self {
        Self { ended_ms, ..self }
    }

    /// Whether the time of such an event is over.
    pub fn is_over(self, age: Age, now_ms: u64) -> bool {
        let delete_by = self.max_ms.map(|max_ms| age.born_ms().saturating_add(max_ms));
        let goes = delete_by.is_some_and(|delete_by| now_ms >= delete_by)
            || self.ended_ms.is_some_and(|ended_ms| age.received_ms <= ended_ms);
        goes && now_ms >= age.received_ms.saturating_add(self.min_ms)
    }

    /// Events that came to be before this may be over.
    fn horizon_ms(self, now_ms: u64) -> Option<u64> {
        self.max_ms.and_then(|max_ms| now_ms.checked_sub(max_ms)).max(self.ended_ms)
    }
}

impl Stored {
    /// When the event came to be.
    pub fn age(&self) -> Age {
        Age { sent_ms: self.pdu.origin_server_ts(), received_ms: self.received_ms }
    }

    /// Whether the event may be shown at this time: state always may.
    pub(crate) fn is_live(&self, lifetime: Lifetime, now_ms: u64) -> bool {
        self.pdu.is_state() || !(self.pruned || lifetime.is_over(self.age(), now_ms))
    }
}

impl Engine {
    /// Whether an event's time is not over.
    pub(crate) fn is_live(&self, room: &RoomView, event: &Stored) -> bool {
        let forgotten = !event.pdu.is_state() && self.is_forgotten(event.pdu.sender());
        !forgotten && event.is_live(room.lifetime, self.clock.now_ms())
    }

    /// Whether an event is for other servers: of who is erased, they get the redacted form, so that the graph is whole.
    pub(crate) fn is_served(&self, room: &RoomView, event: &Stored) -> bool {
        let is_erased = !event.pdu.is_state() && self.is_forgotten(event.pdu.sender());
        self.is_live(room, event) || is_erased && !room.lifetime.is_over(event.age(), self.clock.now_ms())
    }

    /// Whether no event of the room that is still whole can be over: what was worked out of them can be told as it is.
    pub(crate) async fn all_live(&self, room: &RoomView) -> Result<bool, RoomError> {
        if self.erasing.is_active() {
            return Ok(false);
        }
        let Some(horizon_ms) = room.lifetime.horizon_ms(self.clock.now_ms()) else { return Ok(true) };
        let oldest = self.store.latest().scan_keys(&PERISHABLE, Scan::prefix(&room.nid).limit(1)).await?.pop();
        Ok(oldest.is_none_or(|(_, born_ms, _)| born_ms > horizon_ms))
    }
}

impl Rooms {
    /// Whether an event's time is not over: others are shown to nobody. State never ends.
    pub fn is_live(&self, room: &RoomView, event: &Stored) -> bool {
        self.engine.is_live(room, event)
    }

    /// Whether an event is for other servers: as [`Rooms::is_live`], and with what erased users sent, which
    /// [`Rooms::served`] redacts.
    pub fn is_served(&self, room: &RoomView, event: &Stored) -> bool {
        self.engine.is_served(room, event)
    }

    /// An event by number, unless it is gone or its time is over. Ungated.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn live_event(&self, room: RoomNid, event: EventNid) -> Result<Option<Arc<Stored>>, RoomError> {
        let Some(event) = self.engine.event(room, event).await? else { return Ok(None) };
        match self.view_of(room).await {
            Err(RoomError::NoSuchRoom) => Ok(None),
            Err(error) => Err(error),
            Ok(view) => Ok(Some(event).filter(|event| self.is_live(&view, event))),
        }
    }

    /// Whether the time of a message event of this age is over.
    pub fn is_over(&self, room: &RoomView, age: Age) -> bool {
        room.lifetime.is_over(age, self.engine.clock.now_ms())
    }

    /// How the server wants events to be kept.
    pub fn retention(&self) -> &RetentionSettings {
        &self.engine.retention
    }
}

impl Writer {
    /// Notes that a message event is kept whole until its time is over.
    pub(crate) fn note_perishable(&mut self, event: EventNid, age: Age) {
        let room = self.nid();
        self.batch.put(&PERISHABLE, &(room, age.born_ms(), event), &age.received_ms);
        self.batch.put(&SEALED_DAYS, &(room, crate::sealing::day_of(age.received_ms)), &());
    }
}

//! How long events are kept ([MSC1763]), decided in one place for everybody who asks: readers of timelines, searches,
//! other servers, counts of what is unread, and the purge.
//!
//! - An event is to go `max` after it was sent or came, whichever was earlier, and is to stay for `min` after it came.
//!   Where both apply it stays.
//! - What a room's lifetime is follows from layers: what an administrator has set for the room, the room's own
//!   `m.room.retention` as far as the server's limits let it, the server's default. A field that one layer leaves open
//!   comes from the next. Only what they say now counts, for events of any age.
//! - State events are exempt. Every other event is, once its time is over, shown to nobody any more, and soon after it is
//!   pruned: what is left is its redacted form, so that the graph, its extremities and threads stay whole.
//!
//! [MSC1763]: https://github.com/matrix-org/matrix-spec-proposals/pull/1763

mod policy;
mod prune;
mod receipts;
mod run;
mod shred;
mod stubs;
mod tables;
#[cfg(test)]
mod tests;

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use ruma::{OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};
use wardroom_audit::{Act, Record};
use wardroom_store::{Json, Scan};

pub use self::{
    policy::{RETENTION_TYPES, TERM_MS_MAX},
    receipts::{PurgeReceipt, RECEIPTS_PAGE_MAX},
    run::Purged,
};
pub(crate) use self::{
    policy::{check_content, is_retention, terms_of},
    tables::{OVERRIDES, PERISHABLE, PURGE_RECEIPTS, SEALED_DAYS, STUBS},
};
use crate::{
    Engine, Rooms,
    error::RoomError,
    events::Stored,
    ids::{EventNid, RoomNid, UserNid},
    room::RoomView,
    tables::Membership,
    writer::Writer,
};

/// Stubs stay this long where nothing else is said.
const STUBS_KEPT_DEFAULT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Rooms for which administrators have set something that one answer looks at.
const OVERRIDES_LISTED_MAX: usize = 10_000;
/// What the record says when an administrator sets how long a room's events are kept; its name has the terms, as JSON.
pub const OVERRIDE_SET: &str = "retention.set";
/// What it says when that is taken back.
pub const OVERRIDE_REMOVED: &str = "retention.remove";
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
        }
    }
}

impl RetentionSettings {
    /// The lifetime of a room's events, by what an administrator has set for the room and what the room says itself.
    pub(crate) fn lifetime(&self, set: Option<Terms>, room: Option<Terms>) -> Lifetime {
        let (set, room) = (set.unwrap_or_default(), room.unwrap_or_default());
        let within = |limits: &RangeInclusive<u64>, ms: u64| ms.clamp(*limits.start(), *limits.end());
        let room_max = room.max_ms.map(|ms| within(&self.max_limits, ms));
        let room_min = room.min_ms.map(|ms| within(&self.min_limits, ms));
        // A limit that is as far as terms go is none.
        let limit = Some(*self.max_limits.end()).filter(|limit| *limit < TERM_MS_MAX);
        Lifetime {
            max_ms: set.max_ms.or(room_max).or(self.default.max_ms).or(limit),
            min_ms: set.min_ms.or(room_min).or(self.default.min_ms).unwrap_or(0).max(*self.min_limits.start()),
        }
    }
}

/// What is said of how long one room's events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionOf {
    /// By an administrator of the server.
    pub set: Option<Terms>,
    /// By the room itself, before the server's limits.
    pub said: Option<Terms>,
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
}

impl Lifetime {
    /// Whether the time of such an event is over.
    pub fn is_over(self, age: Age, now_ms: u64) -> bool {
        let Some(max_ms) = self.max_ms else { return false };
        let delete_by = age.born_ms().saturating_add(max_ms);
        let keep_until = age.received_ms.saturating_add(self.min_ms);
        now_ms >= delete_by.max(keep_until)
    }

    /// Events that came to be before this may be over.
    fn horizon_ms(self, now_ms: u64) -> Option<u64> {
        self.max_ms.and_then(|max_ms| now_ms.checked_sub(max_ms))
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
        event.is_live(room.lifetime, self.clock.now_ms())
    }

    /// Whether no event of the room that is still whole can be over: what was worked out of them can be told as it is.
    pub(crate) async fn all_live(&self, room: &RoomView) -> Result<bool, RoomError> {
        let Some(horizon_ms) = room.lifetime.horizon_ms(self.clock.now_ms()) else { return Ok(true) };
        let oldest = self.store.latest().scan_keys(&PERISHABLE, Scan::prefix(&room.nid).limit(1)).await?.pop();
        Ok(oldest.is_none_or(|(_, born_ms, _)| born_ms > horizon_ms))
    }

    /// What an administrator has set for a room.
    pub(crate) async fn retention_set(&self, room: RoomNid) -> Result<Option<Terms>, RoomError> {
        Ok(self.store.latest().get(&OVERRIDES, &room).await?.map(|terms| terms.0))
    }
}

impl Rooms {
    /// Whether an event's time is not over: others are shown to nobody. State never ends.
    pub fn is_live(&self, room: &RoomView, event: &Stored) -> bool {
        self.engine.is_live(room, event)
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

    /// What is said of how long a room's events are kept.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn retention_of(&self, room: &RoomView) -> Result<RetentionOf, RoomError> {
        let mut said = None;
        for kind in RETENTION_TYPES {
            if said.is_none() {
                let event = self.engine.state_event(room.nid, room.state, &kind.into(), "").await?;
                said = event.and_then(|event| terms_of(&event.pdu));
            }
        }
        Ok(RetentionOf { set: room.retention_set, said })
    }

    /// What administrators have set for rooms that a user is in.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn retention_overrides_of(&self, user: UserNid) -> Result<Vec<(OwnedRoomId, Terms)>, RoomError> {
        let mut found = Vec::new();
        for (room, Json(terms)) in
            self.engine.store.latest().scan(&OVERRIDES, Scan::all().limit(OVERRIDES_LISTED_MAX)).await?
        {
            let entry = self.membership(user, room).await?;
            if entry.is_some_and(|entry| entry.membership == Membership::Join) {
                found.push((self.view_of(room).await?.id.clone(), terms));
            }
        }
        Ok(found)
    }

    /// Sets, or takes back, for how long a room's events are kept. It counts at once, for events of any age.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] where there is no such room, [`RoomError::InvalidParam`] where the terms make no sense; when
    /// the store fails.
    pub async fn set_retention_override(&self, room: &RoomId, terms: Option<Terms>) -> Result<(), RoomError> {
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NotFound("There is no such room."))?;
        if let Some(terms) = terms {
            policy::check_terms(terms).map_err(RoomError::InvalidParam)?;
        }
        let set = move |writer: &mut Writer| {
            let room = writer.nid();
            match terms {
                Some(terms) => writer.batch.put(&OVERRIDES, &room, &Json(terms)),
                None => writer.batch.delete(&OVERRIDES, &room),
            }
            writer.retention_set = terms;
            let record = Record::by(Act::RoomChange, writer.origin.clone()).room(writer.view().id.as_str());
            let record = match terms {
                Some(terms) => record.detail(OVERRIDE_SET).name(serde_json::to_string(&terms).unwrap_or_default()),
                None => record.detail(OVERRIDE_REMOVED),
            };
            writer.engine.audit.add(&mut writer.batch, record);
        };
        self.engine
            .write(&found, move |writer| {
                async move {
                    set(writer);
                    let noted = writer.note_retention().await;
                    writer.guard(noted)
                }
                .boxed()
            })
            .await
    }
}

impl Writer {
    /// Works out the room's lifetime anew: what it follows from has changed.
    pub(crate) async fn note_retention(&mut self) -> Result<(), RoomError> {
        let mut said = None;
        for kind in RETENTION_TYPES {
            if said.is_none() {
                let event = self.state_event(&kind.into(), "").await?;
                said = event.and_then(|event| terms_of(&event.pdu));
            }
        }
        self.lifetime = self.engine.retention.lifetime(self.retention_set, said);
        Ok(())
    }

    /// Notes that a message event is kept whole until its time is over.
    pub(crate) fn note_perishable(&mut self, event: EventNid, age: Age) {
        let room = self.nid();
        self.batch.put(&PERISHABLE, &(room, age.born_ms(), event), &age.received_ms);
        self.batch.put(&SEALED_DAYS, &(room, crate::sealing::day_of(age.received_ms)), &());
    }
}

//! When something was last said in a room, and the end of what was said where that is long ago.

use std::sync::Arc;

use futures_util::FutureExt as _;
use wardroom_audit::{Act, Origin, Record};
use wardroom_store::{Packed, Scan};

use super::{ACTIVITY, Activity, RoomEnd, ms};
use crate::{
    Engine, Rooms,
    error::RoomError,
    ids::RoomNid,
    retention::{PERISHABLE, Warning},
    room::{Room, RoomView},
    writer::Writer,
};

/// What is said within this time of what was noted is not noted again, in milliseconds: a busy room writes one row an hour.
const STEP_MS_MAX: u64 = 60 * 60 * 1_000;
/// Where rooms end sooner, so many steps pass before they do.
const STEPS_MIN: u64 = 4;
/// Rooms read at a time.
const ROOMS_PAGE: usize = 1_000;

/// What comes next in a room where nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Next {
    warning: Warning,
    /// When, if members know of it.
    due_ms: u64,
}

impl Engine {
    /// What is said within this time of what was noted is not noted again.
    fn step_ms(&self) -> u64 {
        let ends = &self.retention.ends;
        let shortest = ms(ends.inactive).into_iter().chain(ms(ends.state_only)).min();
        shortest.map_or(STEP_MS_MAX, |shortest| (shortest / STEPS_MIN).clamp(1, STEP_MS_MAX))
    }

    /// After which time without anything being said what was said is over.
    fn inactive_ms(&self, room: &RoomView) -> Option<u64> {
        match room.retention_set.and_then(|set| set.inactive_ms) {
            Some(0) => None,
            Some(ms) => Some(ms),
            None => ms(self.retention.ends.inactive),
        }
    }

    /// After which time the room is removed where nothing is left of what was said.
    fn unused_ms(&self, room: &RoomView) -> Option<u64> {
        let kept = room.retention_set.is_some_and(|set| set.inactive_ms == Some(0));
        // Of a room to which somebody is only invited nothing is here.
        let is_here = room.create.get() != 0;
        ms(self.retention.ends.state_only).filter(|_| is_here && !kept && room.room_type.is_none())
    }
}

impl Writer {
    /// Notes that something was said.
    pub(crate) fn note_activity(&mut self) {
        let (now_ms, step_ms) = (self.now_ms, self.engine.step_ms());
        let known = self.activity;
        if now_ms >= known.last_ms.saturating_add(step_ms) || known.told_ms.is_some() {
            self.put_activity(Activity { last_ms: now_ms, told_ms: None, ended_ms: known.ended_ms });
        }
    }

    pub(crate) fn put_activity(&mut self, activity: Activity) {
        self.activity = activity;
        self.batch.put(&ACTIVITY, &self.nid(), &Packed(activity));
    }

    /// Ends what was said up to a time, unless something was noted since.
    fn end_talk(&mut self, seen: Activity, ended_ms: u64) {
        self.quiet();
        if self.activity != seen {
            return;
        }
        self.put_activity(Activity { ended_ms: Some(ended_ms), ..seen });
        self.lifetime = self.lifetime.ended(Some(ended_ms));
        let room = self.view().id;
        let record = Record::by(Act::RetentionPurge, Origin::default()).room(room.as_str()).detail("inactive");
        self.engine.audit.add(&mut self.batch, record);
    }

    fn note_warned(&mut self, seen: Activity, (next, now_ms): (Next, u64)) {
        self.quiet();
        if self.activity != seen {
            return;
        }
        self.put_activity(Activity { told_ms: Some(now_ms), ..seen });
        let (engine, room) = (Arc::clone(&self.engine), self.nid());
        engine.warn(&mut self.batch, room, next.warning, now_ms, next.due_ms);
    }

    fn begin_activity(&mut self, now_ms: u64) {
        self.quiet();
        if self.activity.last_ms == 0 {
            self.put_activity(Activity { last_ms: now_ms, ..Activity::default() });
        }
    }
}

impl Rooms {
    /// Notes of a room from before such things were noted that its time begins now.
    pub(super) async fn begin_activity(&self, room: RoomNid, now_ms: u64) -> Result<(), RoomError> {
        self.quietly(room, move |writer| writer.begin_activity(now_ms)).await
    }

    /// Has a room's writer do something that nobody needs to hear of. A room that is gone needs nothing.
    async fn quietly(&self, room: RoomNid, work: impl FnOnce(&mut Writer) + Send + 'static) -> Result<(), RoomError> {
        let room: Arc<Room> = match self.engine.room(room).await {
            Err(RoomError::NoSuchRoom) => return Ok(()),
            room => room?,
        };
        let write = self.engine.write(&room, move |writer| {
            work(writer);
            std::future::ready(Ok(())).boxed()
        });
        match write.await {
            Err(RoomError::NoSuchRoom) => Ok(()),
            done => done,
        }
    }

    /// Ends what was said where nothing was said for long, and removes rooms where nothing is left of it.
    pub(super) async fn end_inactive(&self, now_ms: u64) -> Result<(), RoomError> {
        let mut scan = Scan::all().limit(ROOMS_PAGE);
        loop {
            let rows = self.engine.store.latest().scan(&ACTIVITY, scan).await?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            scan = Scan::all().after(last).limit(ROOMS_PAGE);
            for (room, Packed(activity)) in rows {
                if !self.engine.may_have_ended(room, activity, now_ms).await? {
                    continue;
                }
                match self.end_if_inactive(room, activity, now_ms).await {
                    Ok(()) | Err(RoomError::NoSuchRoom) => {}
                    Err(error) => tracing::error!(%error, room = room.get(), "an inactive room could not end"),
                }
                tokio::task::consume_budget().await;
            }
        }
    }

    async fn end_if_inactive(&self, room: RoomNid, activity: Activity, now_ms: u64) -> Result<(), RoomError> {
        let view = self.view_of(room).await?;
        let Some(next) = self.next_end(&view, activity).await? else { return Ok(()) };
        let Some(before_ms) = self.engine.notice_ms() else {
            return if now_ms >= next.due_ms { self.end_now(room, activity, next.warning).await } else { Ok(()) };
        };
        match activity.told_ms {
            // Not before they have known of it for so long, whenever the server came to tell them.
            Some(told_ms) if now_ms >= next.due_ms.max(told_ms.saturating_add(before_ms)) => {
                self.end_now(room, activity, next.warning).await
            }
            None if now_ms.saturating_add(before_ms) >= next.due_ms => {
                let due_ms = next.due_ms.max(now_ms.saturating_add(before_ms));
                let next = Next { due_ms, ..next };
                self.quietly(room, move |writer| writer.note_warned(activity, (next, now_ms))).await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What comes next in a room where nothing is said, and when.
    async fn next_end(&self, view: &RoomView, activity: Activity) -> Result<Option<Next>, RoomError> {
        // The last of what was said may have come so long after what was noted.
        let last_ms = activity.last_ms.saturating_add(self.engine.step_ms());
        let next = |warning, after_ms: u64| Next { warning, due_ms: last_ms.saturating_add(after_ms) };
        if self.engine.has_talk(view.nid).await? {
            let is_over = activity.ended_ms.is_some_and(|ended_ms| ended_ms >= activity.last_ms);
            return Ok(self.engine.inactive_ms(view).filter(|_| !is_over).map(|ms| next(Warning::Inactive, ms)));
        }
        Ok(self.engine.unused_ms(view).map(|ms| next(Warning::Unused, ms)))
    }

    async fn end_now(&self, room: RoomNid, activity: Activity, what: Warning) -> Result<(), RoomError> {
        if what == Warning::Unused {
            return self.end(room, RoomEnd::Unused).await.map(drop);
        }
        // What comes later than this is noted.
        let ended_ms = activity.last_ms.saturating_add(self.engine.step_ms()).saturating_sub(1);
        self.quietly(room, move |writer| writer.end_talk(activity, ended_ms)).await
    }
}

impl Engine {
    /// Whether something that was said in a room is still whole.
    pub(super) async fn has_talk(&self, room: RoomNid) -> Result<bool, RoomError> {
        let scan = Scan::prefix(&room).limit(1);
        Ok(!self.store.latest().scan_keys(&PERISHABLE, scan).await?.is_empty())
    }

    /// Whether a room may have come to an end, or to the time when its members are told, as far as that can be seen without
    /// loading it.
    async fn may_have_ended(&self, room: RoomNid, activity: Activity, now_ms: u64) -> Result<bool, RoomError> {
        let last_ms = activity.last_ms.saturating_add(self.step_ms());
        if activity.last_ms == 0 || now_ms < last_ms {
            return Ok(false);
        }
        let (ends, set) = (&self.retention.ends, self.retention_set(room).await?);
        let inactive_ms = match set.and_then(|set| set.inactive_ms) {
            Some(0) => return Ok(false),
            set => set.or(ms(ends.inactive)).filter(|_| activity.ended_ms.is_none_or(|at| at < activity.last_ms)),
        };
        let soonest = inactive_ms.into_iter().chain(ms(ends.state_only)).min();
        let told_ms = now_ms.saturating_add(self.notice_ms().unwrap_or_default());
        Ok(soonest.is_some_and(|soonest| told_ms >= last_ms.saturating_add(soonest)))
    }
}

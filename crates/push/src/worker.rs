//! Delivers the queues: one turn is one request to a gateway.

use serde_json::value::RawValue;
use wardroom_accounts::Pusher;
use wardroom_audit::{Act, Origin, ReadOf, Sight, Who};
use wardroom_rooms::{Actor, Membership, Place, RoomError, RoomNid, RoomView, TimelineItem, UserNid};
use wardroom_store::{Batch, Packed};

use crate::{
    PushError, Whose,
    gateway::Answer,
    lanes::Outcome,
    message::{self, Device},
    queue::{BACKLOG_KEPT, BACKLOG_MAX, Queue, Queued},
    service::Inner,
    tables::{PusherNid, STATES, StateRow, Told},
    unread::hides,
};

/// The pause after the first failure; each further one doubles it.
const PAUSE_FIRST_MS: u64 = 1_000;
/// The longest pause, 2 hours.
const PAUSE_MAX_MS: u64 = 2 * 60 * 60 * 1_000;
/// A notification that could not be told for 3 days is not told any more.
const NOTIFICATION_AGE_MAX_MS: u64 = 3 * 24 * 60 * 60 * 1_000;
/// A pusher that failed for 30 days without one success is removed.
const FAILING_MAX_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// How long it is tried to read an event that is to be told, 10 minutes.
const UNREADABLE_MAX_MS: u64 = 10 * 60 * 1_000;
/// The pause after a failure of our own.
const OWN_FAILURE_PAUSE_MS: u64 = 5_000;

/// An event that is to be told.
pub(crate) struct Due {
    pub(crate) room: std::sync::Arc<RoomView>,
    pub(crate) item: TimelineItem,
    /// What the invited is told of a room that this server is not in.
    pub(crate) stripped: Vec<Box<RawValue>>,
}

impl Inner {
    /// Serves lanes, for as long as it is polled.
    pub(crate) async fn work(&self) {
        loop {
            let (pusher, user) = self.lanes.next().await;
            let outcome = match self.turn(user, pusher).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    tracing::warn!(%error, "a notification could not be sent; trying again");
                    Outcome::RetryAt(self.clock.now_ms().saturating_add(OWN_FAILURE_PAUSE_MS))
                }
            };
            self.lanes.done(pusher, outcome);
        }
    }

    /// Tells a pusher's gateway the first thing in its queue that is still to be told.
    async fn turn(&self, user: UserNid, nid: PusherNid) -> Result<Outcome, PushError> {
        let account = wardroom_accounts::UserNid::new(user.get());
        let (Some(pusher), Some(id)) = (self.accounts.pusher(account, nid).await?, self.name(user).await?) else {
            self.queue.forget(nid).await?;
            return Ok(Outcome::Idle);
        };
        let state = self.queue.state(nid).await?;
        if state.retry_at_ms > self.clock.now_ms() {
            return Ok(Outcome::RetryAt(state.retry_at_ms));
        }
        let whose = Whose { user: &id, nid: user };
        let waiting = self.queue.waiting(nid).await?;
        let kept = if state.failures > 0 || waiting.len() > BACKLOG_MAX { BACKLOG_KEPT } else { waiting.len() };
        let (old, waiting) = waiting.split_at(waiting.len().saturating_sub(kept));
        let mut dropped: Vec<Place> = old.iter().map(|queued| queued.place).collect();
        let device = Device::new(&pusher);
        for queued in waiting {
            let unread = self.badges.count(whose).await?;
            let notification = match &queued.row.what {
                Told::Badge if unread == state.badge => None,
                Told::Badge => Some(message::badge(&device, unread)),
                Told::Event { room, tweaks, .. } => match self.due_or_lost(whose, *room, queued).await? {
                    Some(due) if device.event_id_only() || !self.settings.include_content => {
                        Some(message::event_id_only(&device, &due.item, &due.room, tweaks, unread))
                    }
                    Some(due) => {
                        self.note_read(whose, &pusher, &due).await?;
                        Some(message::event(&self.rooms, whose, &device, &due, tweaks, unread).await?)
                    }
                    None => None,
                },
            };
            let Some(notification) = notification else {
                dropped.push(queued.place);
                continue;
            };
            let answer = self.gateways.tell(device.url(), &notification).await;
            return self.answered((user, &pusher), state, dropped, (Some(queued.place), unread), answer).await;
        }
        self.last_of(whose, &pusher, state, dropped).await
    }

    /// Records that a device is about to receive an event with its content.
    async fn note_read(&self, whose: Whose<'_>, pusher: &Pusher, due: &Due) -> Result<(), PushError> {
        let device = self.accounts.device_of_pusher(whose.account(), pusher).await?;
        let user = Some(whose.user.to_string());
        let who = Who { user, device, ..Who::default() };
        let event = &due.item.event;
        let events = [Sight { number: event.nid.get(), id: event.pdu.event_id().as_str() }];
        let read =
            ReadOf { act: Act::RoomRead, object: due.room.id.as_str(), endpoint: "push", events: &events, others: 0 };
        Ok(self.audit.read_as(&Origin { who, request: None }, &[read]).await?)
    }

    /// Ends a pusher's work when nothing waits for it: with the number of what is unread, where that is another than
    /// its gateway was told. It may have changed while something was on its way.
    async fn last_of(
        &self,
        whose: Whose<'_>,
        pusher: &Pusher,
        state: StateRow,
        dropped: Vec<Place>,
    ) -> Result<Outcome, PushError> {
        let unread = self.badges.count(whose).await?;
        if unread != state.badge {
            let device = Device::new(pusher);
            let answer = self.gateways.tell(device.url(), &message::badge(&device, unread)).await;
            return self.answered((whose.nid, pusher), state, dropped, (None, unread), answer).await;
        }
        if dropped.is_empty() {
            return Ok(Outcome::Idle);
        }
        let mut batch = Batch::default();
        Queue::remove(&mut batch, pusher.nid, &dropped);
        self.store.commit(batch).await?;
        // There may be more than one look takes in.
        Ok(Outcome::More)
    }

    /// Notes what a gateway answered.
    async fn answered(
        &self,
        (user, pusher): (UserNid, &Pusher),
        before: StateRow,
        mut done: Vec<Place>,
        (place, unread): (Option<Place>, u64),
        answer: Answer,
    ) -> Result<Outcome, PushError> {
        let account = wardroom_accounts::UserNid::new(user.get());
        let now_ms = self.clock.now_ms();
        let (state, outcome) = match answer {
            Answer::Taken { rejected } if rejected.contains(&pusher.is.pushkey) => {
                self.counters.rejected();
                self.accounts.delete_pusher_by_nid(account, pusher.nid).await?;
                self.queue.forget(pusher.nid).await?;
                return Ok(Outcome::Idle);
            }
            Answer::Taken { .. } => {
                self.counters.sent();
                done.extend(place);
                (StateRow { badge: unread, ..StateRow::default() }, Outcome::More)
            }
            Answer::Refused => {
                self.counters.failed();
                done.extend(place);
                // A number that is refused is not told again before it changes.
                let badge = if place.is_none() { unread } else { before.badge };
                (StateRow { badge, ..StateRow::default() }, Outcome::More)
            }
            Answer::Failed { retry_after_ms } => {
                self.counters.failed();
                let failing_since_ms = if before.failures == 0 { now_ms } else { before.failing_since_ms };
                if now_ms.saturating_sub(failing_since_ms) > FAILING_MAX_MS {
                    self.counters.rejected();
                    self.accounts.delete_pusher_by_nid(account, pusher.nid).await?;
                    self.queue.forget(pusher.nid).await?;
                    return Ok(Outcome::Idle);
                }
                let retry_at_ms = now_ms.saturating_add(pause_ms(pusher.nid, before.failures, retry_after_ms));
                let failures = before.failures.saturating_add(1);
                let state = StateRow { badge: before.badge, failures, failing_since_ms, retry_at_ms };
                (state, Outcome::RetryAt(retry_at_ms))
            }
        };
        let mut batch = Batch::default();
        Queue::remove(&mut batch, pusher.nid, &done);
        if state != before {
            batch.put(&STATES, &pusher.nid, &Packed(state));
        }
        if !batch.is_empty() {
            self.store.commit(batch).await?;
        }
        Ok(outcome)
    }

    /// As [`Inner::due`]; what could not be read for some time is lost, so that it does not hold up what waits behind it.
    async fn due_or_lost(&self, whose: Whose<'_>, room: RoomNid, queued: &Queued) -> Result<Option<Due>, PushError> {
        match (self.due(whose, room, queued).await, &queued.row.what) {
            (Err(error), Told::Event { queued_ms, .. })
                if self.clock.now_ms().saturating_sub(*queued_ms) > UNREADABLE_MAX_MS =>
            {
                tracing::error!(%error, "an event cannot be read and is not told");
                Ok(None)
            }
            (due, _) => due,
        }
    }

    /// The event in a queue, if it is still to be told: the user is there and sees it, has not read it, and it is
    /// neither redacted nor old.
    async fn due(&self, whose: Whose<'_>, room: RoomNid, queued: &Queued) -> Result<Option<Due>, PushError> {
        let Told::Event { event, queued_ms, .. } = &queued.row.what else { return Ok(None) };
        if self.clock.now_ms().saturating_sub(*queued_ms) > NOTIFICATION_AGE_MAX_MS {
            return Ok(None);
        }
        let mut stripped = Vec::new();
        let item = match self.unread.item(room, queued.place).await? {
            Some(item) => item,
            None => {
                let invite = self.invitation(whose.nid, room, queued.place).await?;
                let Some(invite) = invite else { return Ok(None) };
                stripped = self.rooms.stripped_state(whose.nid, room).await?;
                invite
            }
        };
        if item.event.redacted_because.is_some() || hides(&self.unread.ignored_by(whose).await?, &item.event.pdu) {
            return Ok(None);
        }
        let room = self.rooms.view_of(room).await?;
        let entry = self.rooms.membership(whose.nid, room.nid).await?;
        match entry.map(|entry| (entry.membership, entry.event)) {
            Some((Membership::Invite, invite)) if invite == *event => {
                return Ok(Some(Due { room, item, stripped }));
            }
            Some((Membership::Join, _)) => {}
            _ => return Ok(None),
        }
        let actor = Actor { user: whose.user, nid: whose.nid, device: None, guest: false };
        let reader = match self.rooms.reader(actor, &room).await {
            Err(RoomError::Forbidden(_)) => return Ok(None),
            reader => reader?,
        };
        let facts = self.unread.facts(room.nid, &item).await?;
        if self.unread.reads(whose, room.nid).await?.cover(facts.thread.as_deref(), item.place) {
            return Ok(None);
        }
        let seen = self.rooms.visible(&reader, &room, vec![item]).await?.pop();
        Ok(seen.map(|item| Due { room, item, stripped }))
    }
}

/// How long a pusher waits after a failure, the last of `failures` and one: doubled each time, with a quarter more or
/// less so that pushers that failed together do not come back together. Their numbers are random, and so is what is made
/// of them.
fn pause_ms(pusher: PusherNid, failures: u32, asked_ms: Option<u64>) -> u64 {
    let doubled = PAUSE_FIRST_MS.checked_shl(failures.min(32)).unwrap_or(PAUSE_MAX_MS).min(PAUSE_MAX_MS);
    let quarter = doubled / 4;
    let any = pusher.wrapping_add(u64::from(failures)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let jittered = doubled - quarter + any % (2 * quarter + 1);
    jittered.max(asked_ms.unwrap_or(0).min(PAUSE_MAX_MS))
}

#[cfg(test)]
mod tests {
    use super::{PAUSE_MAX_MS, pause_ms};

    #[test]
    fn pauses_grow_and_have_an_end() {
        for (failures, about_ms) in [(0, 1_000), (1, 2_000), (5, 32_000), (40, PAUSE_MAX_MS), (u32::MAX, PAUSE_MAX_MS)]
        {
            for pusher in 0..100 {
                let pause = pause_ms(pusher, failures, None);
                assert!((about_ms * 3 / 4..=about_ms * 5 / 4).contains(&pause), "{failures}: {pause}");
            }
        }
        assert_ne!(pause_ms(1, 5, None), pause_ms(2, 5, None), "they do not come back together");
        assert_eq!(pause_ms(7, 0, Some(60_000)), 60_000, "as the gateway asks");
        assert!(pause_ms(7, 0, Some(u64::MAX)) <= PAUSE_MAX_MS);
    }
}

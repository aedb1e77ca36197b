//! The purge: room by room, a page at a time, in the background.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::time::sleep;
use wardroom_holds::Guard;
use wardroom_store::Scan;

use super::{PERISHABLE, SEALED_DAYS, STUBS, SUPERSEDED, held::Walk, prune::Perishable, shred::SHREDDED_AT_ONCE};
use crate::{
    Rooms,
    error::RoomError,
    ids::{EventNid, RoomNid},
    room::Room,
    writer::Writer,
};

/// Events that are pruned in one commit at most.
const PRUNED_AT_ONCE: usize = 100;
/// Stubs that are dropped in one commit.
const DROPPED_AT_ONCE: usize = 100;
/// Between two commits, so that what people send comes first.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);
/// How often a room that is too busy is asked again, and when.
const BUSY_TRIES_MAX: u32 = 10;
const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// A clock that runs ahead of the machine's own counting of time by more than this was set: what it says is not taken for
/// the passing of time, since what is purged does not come back.
const CLOCK_AHEAD_MAX_MS: u64 = 60 * 60 * 1_000;

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Events of which only the redacted form is left now.
    pub events: u64,
    /// Redacted forms that were dropped.
    pub stubs: u64,
    /// Data keys that were destroyed.
    pub keys: u64,
    /// States that something else took the place of, of which only the redacted form is left now.
    pub states: u64,
    /// Rooms that could not be purged whole.
    pub failures: u64,
}

/// What time it is for a purge.
#[derive(Debug)]
struct Watch {
    started: Instant,
    started_ms: u64,
}

impl Watch {
    fn new(now_ms: u64) -> Self {
        Self { started: Instant::now(), started_ms: now_ms }
    }

    /// The clock's time, but no later than so long after the start as has passed since.
    fn time(&self, now_ms: u64) -> u64 {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let latest = self.started_ms.saturating_add(passed).saturating_add(CLOCK_AHEAD_MAX_MS);
        if now_ms > latest {
            tracing::error!("the clock was set forward: nothing is purged for it until the server is started again");
        }
        now_ms.min(latest)
    }
}

impl Rooms {
    /// Purges what is over, again and again, as long as the server runs. What follows from it is done after each time, for
    /// the same time in milliseconds since 1970.
    pub async fn run_retention<F: Future<Output = ()>>(self, follow: impl Fn(u64) -> F) {
        let watch = Watch::new(self.engine.clock.now_ms());
        loop {
            sleep(self.engine.retention.purge_every).await;
            let now_ms = watch.time(self.engine.clock.now_ms());
            match self.purge_expired(now_ms).await {
                Ok(done) if done != Purged::default() => {
                    let Purged { events, stubs, keys, states, failures } = done;
                    tracing::info!(events, stubs, keys, states, failures, "events whose time was over were purged");
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "what is over cannot be looked for"),
            }
            if let Err(error) = self.end_rooms(now_ms).await {
                tracing::error!(%error, "rooms that have ended cannot be looked for");
            }
            if let Err(error) = self.resume_erasures().await {
                tracing::error!(%error, "erasures that wait cannot be looked for");
            }
            follow(now_ms).await;
        }
    }

    /// Purges everything whose time is over at this time, in milliseconds since 1970. A room that fails does not keep the
    /// others from being purged.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn purge_expired(&self, now_ms: u64) -> Result<Purged, RoomError> {
        let _alone = self.engine.purging.lock().await;
        let (mut done, mut after) = (Purged::default(), None);
        // Keys of days that were purged whole before this run: nobody who was reading then still is.
        let mut days = BTreeMap::new();
        while let Some(room) = self.next_room(after).await? {
            after = Some(room);
            if let Err(error) = self.purge_room(room, now_ms, &mut days, &mut done).await {
                done.failures += 1;
                tracing::error!(%error, room = room.get(), "a room could not be purged");
            }
            if days.values().map(Vec::len).sum::<usize>() >= SHREDDED_AT_ONCE {
                self.shred(std::mem::take(&mut days), now_ms, &mut done).await?;
            }
            tokio::task::consume_budget().await;
        }
        self.shred(days, now_ms, &mut done).await?;
        self.compact_shredded().await?;
        Ok(done)
    }

    /// The next room of which contents, or what is left of them, are kept.
    pub(super) async fn next_room(&self, after: Option<RoomNid>) -> Result<Option<RoomNid>, RoomError> {
        let store = self.engine.store.latest();
        let (days, stubs, states) = match after {
            None => (Scan::all(), Scan::all(), Scan::all()),
            Some(room) => {
                let last = EventNid::new(u64::MAX);
                let timed = Scan::all().after(&(room, u64::MAX, last));
                (Scan::all().after(&(room, u32::MAX)), timed.clone(), timed)
            }
        };
        let days = store.scan_keys(&SEALED_DAYS, days.limit(1)).await?.pop().map(|(room, _)| room);
        let stubs = store.scan_keys(&STUBS, stubs.limit(1)).await?.pop().map(|(room, ..)| room);
        let states = match self.engine.retention.state_kept {
            Some(_) => store.scan_keys(&SUPERSEDED, states.limit(1)).await?.pop().map(|(room, ..)| room),
            None => None,
        };
        Ok(days.into_iter().chain(stubs).chain(states).min())
    }

    async fn purge_room(
        &self,
        room: RoomNid,
        now_ms: u64,
        days: &mut BTreeMap<RoomNid, Vec<u32>>,
        done: &mut Purged,
    ) -> Result<(), RoomError> {
        let room = match self.engine.room(room).await {
            // It is being destroyed.
            Err(RoomError::NoSuchRoom) => return Ok(()),
            room => room?,
        };
        self.follow_late(&room).await?;
        self.find_days(&room, now_ms, days).await?;
        if self.engine.announce(&room.view(), now_ms).await? {
            self.prune_room(&room, now_ms, done).await?;
        }
        done.states += self.prune_superseded(&room, now_ms).await?;
        self.drop_originals(&room, now_ms).await?;
        self.drop_stubs(&room, now_ms, done).await
    }

    /// A room that came to be while its template was changed may follow what that said before.
    async fn follow_late(&self, room: &Arc<Room>) -> Result<(), RoomError> {
        let view = room.view();
        if view.template.is_none() {
            return Ok(());
        }
        let lifetime = self.engine.retention.lifetime(&self.retention_of(&view).await?);
        if lifetime.ended(view.activity.ended_ms) == view.lifetime {
            return Ok(());
        }
        self.engine.follow_template(room).await
    }

    async fn prune_room(&self, room: &Arc<Room>, now_ms: u64, done: &mut Purged) -> Result<(), RoomError> {
        let Some(horizon_ms) = room.view().lifetime.horizon_ms(now_ms) else { return Ok(()) };
        let (end, releases) = ((room.nid, horizon_ms.saturating_add(1)), self.nothing_changes().await.releases());
        let mut walk = self.engine.passed.front(room.nid, room.view().lifetime, releases, now_ms);
        let mut after = walk.after();
        loop {
            let scan = Scan::range(&(room.nid, 0_u64), &end).limit(PRUNED_AT_ONCE);
            let scan = after.map_or(scan.clone(), |after| scan.after(&after));
            let rows = self.engine.store.latest().scan(&PERISHABLE, scan).await?;
            let Some((last, _)) = rows.last().copied() else { break };
            after = Some(last);
            done.events += self.prune_page(room, now_ms, rows, &mut walk).await?;
        }
        self.engine.passed.keep(&walk);
        Ok(())
    }

    async fn prune_page(
        &self,
        room: &Arc<Room>,
        now_ms: u64,
        rows: Vec<((RoomNid, u64, EventNid), u64)>,
        walk: &mut Walk,
    ) -> Result<u64, RoomError> {
        let view = room.view();
        let mut due: Vec<Perishable> = rows
            .into_iter()
            .map(|((_, born_ms, event), received_ms)| Perishable { born_ms, event, received_ms })
            .collect();
        due.retain(|row| {
            let is_over = view.lifetime.is_over(row.age(), now_ms);
            walk.passes(row, is_over);
            is_over
        });
        let (guard, count) = (self.nothing_changes().await, due.len());
        let due = self.engine.free_of_holds(&guard, &view, due).await?;
        if due.len() < count {
            walk.held();
        }
        self.prune(room, &due, now_ms, &guard).await
    }

    /// No hold is set while this lives.
    pub(crate) async fn nothing_changes(&self) -> Arc<Guard> {
        Arc::new(self.engine.holds.nothing_changes().await)
    }

    async fn drop_stubs(&self, room: &Arc<Room>, now_ms: u64, done: &mut Purged) -> Result<(), RoomError> {
        let kept_ms = u64::try_from(self.engine.retention.stubs_kept.as_millis()).unwrap_or(u64::MAX);
        let Some(horizon_ms) = now_ms.checked_sub(kept_ms) else { return Ok(()) };
        let end = (room.nid, horizon_ms.saturating_add(1));
        let mut scan = Scan::range(&(room.nid, 0_u64), &end).limit(DROPPED_AT_ONCE);
        loop {
            let keys = self.engine.store.latest().scan_keys(&STUBS, scan).await?;
            let Some(last) = keys.last().copied() else { return Ok(()) };
            let guard = self.nothing_changes().await;
            let free = self.engine.free_events(&guard, &room.view(), &keys, |(_, _, event)| *event).await?;
            let free: Vec<_> = free.into_iter().copied().collect();
            if !free.is_empty() {
                done.stubs += self
                    .patiently(room, move |writer: &mut Writer| {
                        async move { writer.drop_stubs(free, guard).await }.boxed()
                    })
                    .await?;
                sleep(PAUSE).await;
            }
            scan = Scan::range(&(room.nid, 0_u64), &end).after(&last).limit(DROPPED_AT_ONCE);
        }
    }

    /// Has the room's writer do something, after what people send where there is too much of it.
    pub(crate) async fn patiently<T, F>(&self, room: &Arc<Room>, work: F) -> Result<T, RoomError>
    where
        F: for<'w> FnOnce(&'w mut Writer) -> futures_util::future::BoxFuture<'w, Result<T, RoomError>>
            + Clone
            + Send
            + 'static,
        T: Send + 'static,
    {
        for _ in 0..BUSY_TRIES_MAX {
            match self.engine.write(room, work.clone()).await {
                Err(RoomError::Busy) => sleep(BUSY_PAUSE).await,
                done => return done,
            }
        }
        Err(RoomError::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::{CLOCK_AHEAD_MAX_MS, Watch};

    #[test]
    fn a_clock_that_is_set_forward_makes_nothing_old() {
        let watch = Watch::new(1_000_000_000);
        assert_eq!(watch.time(1_000_000_500), 1_000_000_500);
        assert_eq!(watch.time(999_000_000), 999_000_000, "backwards it may go");
        let far = watch.time(u64::MAX);
        assert!((1_000_000_000 + CLOCK_AHEAD_MAX_MS..1_000_000_000 + 2 * CLOCK_AHEAD_MAX_MS).contains(&far), "{far}");
    }
}

//! The purge: room by room, a page at a time, in the background.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::time::sleep;
use wardroom_store::Scan;

use super::{PERISHABLE, SEALED_DAYS, STUBS, SUPERSEDED, prune::Perishable};
use crate::{
    Rooms,
    error::RoomError,
    ids::{EventNid, RoomNid},
    room::Room,
    sealing::DAY_MS,
    writer::Writer,
};

/// Events that are pruned in one commit.
const PRUNED_AT_ONCE: usize = 200;
/// Stubs that are dropped in one commit.
const DROPPED_AT_ONCE: usize = 100;
/// Days of one room whose keys are looked at in one run.
const DAYS_PER_RUN_MAX: usize = 1_000;
/// Between two commits, so that what people send comes first.
pub(super) const PAUSE: Duration = Duration::from_millis(20);
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
    /// Purges what is over, again and again, as long as the server runs.
    pub async fn run_retention(self) {
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
        while let Some(room) = self.next_room(after).await? {
            after = Some(room);
            if let Err(error) = self.purge_room(room, now_ms, &mut done).await {
                done.failures += 1;
                tracing::error!(%error, room = room.get(), "a room could not be purged");
            }
            tokio::task::consume_budget().await;
        }
        self.compact_shredded().await?;
        Ok(done)
    }

    /// The next room of which contents, or what is left of them, are kept.
    async fn next_room(&self, after: Option<RoomNid>) -> Result<Option<RoomNid>, RoomError> {
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

    async fn purge_room(&self, room: RoomNid, now_ms: u64, done: &mut Purged) -> Result<(), RoomError> {
        let room = match self.engine.room(room).await {
            // It is being destroyed.
            Err(RoomError::NoSuchRoom) => return Ok(()),
            room => room?,
        };
        self.follow_late(&room).await?;
        // First the keys of days that were purged whole before this run: nobody who was reading then still is.
        self.shred_room(&room, now_ms, done).await?;
        if self.engine.announce(&room.view(), now_ms).await? {
            self.prune_room(&room, now_ms, done).await?;
        }
        done.states += self.prune_superseded(&room, now_ms).await?;
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

    async fn shred_room(&self, room: &Arc<Room>, now_ms: u64, done: &mut Purged) -> Result<(), RoomError> {
        let Some(horizon_ms) = room.view().lifetime.horizon_ms(now_ms) else { return Ok(()) };
        let end = u32::try_from(horizon_ms / DAY_MS).unwrap_or(u32::MAX);
        // Days whose last moment is over.
        let scan = Scan::range(&(room.nid, 0_u32), &(room.nid, end)).limit(DAYS_PER_RUN_MAX);
        for (_, day) in self.engine.store.latest().scan_keys(&SEALED_DAYS, scan).await? {
            let shredded = self
                .patiently(room, move |writer: &mut Writer| async move { writer.shred(day, now_ms).await }.boxed())
                .await?;
            done.keys += u64::from(shredded);
            sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn prune_room(&self, room: &Arc<Room>, now_ms: u64, done: &mut Purged) -> Result<(), RoomError> {
        let Some(horizon_ms) = room.view().lifetime.horizon_ms(now_ms) else { return Ok(()) };
        let end = (room.nid, horizon_ms.saturating_add(1));
        let mut scan = Scan::range(&(room.nid, 0_u64), &end).limit(PRUNED_AT_ONCE);
        loop {
            let rows = self.engine.store.latest().scan(&PERISHABLE, scan).await?;
            let Some((last, _)) = rows.last().copied() else { return Ok(()) };
            let lifetime = room.view().lifetime;
            let due: Vec<Perishable> = rows
                .into_iter()
                .map(|((_, born_ms, event), received_ms)| Perishable { born_ms, event, received_ms })
                .filter(|row| lifetime.is_over(row.age(), now_ms))
                .collect();
            if !due.is_empty() {
                done.events += self
                    .patiently(room, move |writer: &mut Writer| {
                        let due = due.clone();
                        async move { writer.prune(due, now_ms).await }.boxed()
                    })
                    .await?;
                sleep(PAUSE).await;
            }
            scan = Scan::range(&(room.nid, 0_u64), &end).after(&last).limit(PRUNED_AT_ONCE);
        }
    }

    async fn drop_stubs(&self, room: &Arc<Room>, now_ms: u64, done: &mut Purged) -> Result<(), RoomError> {
        let kept_ms = u64::try_from(self.engine.retention.stubs_kept.as_millis()).unwrap_or(u64::MAX);
        let Some(horizon_ms) = now_ms.checked_sub(kept_ms) else { return Ok(()) };
        let end = (room.nid, horizon_ms.saturating_add(1));
        let mut scan = Scan::range(&(room.nid, 0_u64), &end).limit(DROPPED_AT_ONCE);
        loop {
            let keys = self.engine.store.latest().scan_keys(&STUBS, scan).await?;
            let Some(last) = keys.last().copied() else { return Ok(()) };
            done.stubs += self
                .patiently(room, move |writer: &mut Writer| async move { writer.drop_stubs(keys).await }.boxed())
                .await?;
            sleep(PAUSE).await;
            scan = Scan::range(&(room.nid, 0_u64), &end).after(&last).limit(DROPPED_AT_ONCE);
        }
    }

    /// Has the room's writer do something, after what people send where there is too much of it.
    pub(super) async fn patiently<T, F>(&self, room: &Arc<Room>, work: F) -> Result<T, RoomError>
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

//! One task per room in which events wait: it fetches what they need and receives them, in the order in which they came.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use ruma::{OwnedServerName, ServerName};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use wardroom_audit::{Origin, Who, origin};
use wardroom_event::{Pdu, RoomVersion};
use wardroom_rooms::{Received, RoomNid};
use wardroom_store::ReadError;

use super::{
    Inner,
    fetch::{Budget, Errand, Shortfall},
    staging::{STAGED_MAX, STAGED_PER_ROOM_MAX, StagedKey, StagedRow},
};

/// Rooms that fetch at the same time.
const FETCHING_ROOMS_MAX: usize = 32;
/// Of those, rooms that wait for events of one origin: a slow server holds up its own.
const FETCHING_PER_ORIGIN_MAX: usize = 4;
/// Requests that one attempt at one event may cause.
const REQUESTS_MAX: usize = 250;
/// Time that one attempt at one event may take.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(300);
/// Attempts at one event that end because they take too much work.
const SPENT_ATTEMPTS_MAX: u32 = 3;
/// The pause after an attempt that failed; each further one doubles it.
const PAUSE_FIRST: Duration = Duration::from_secs(10);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30 * 60);
/// How long an event waits: whoever sent it will by then have sent later ones that lead to it.
const STAGED_AGE_MAX_MS: u64 = 24 * 60 * 60 * 1_000;

/// The rooms in which events wait.
#[derive(Debug)]
pub(crate) struct Lanes {
    state: Mutex<State>,
    fetching: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    lanes: HashMap<RoomNid, Lane>,
    /// Events that wait in all rooms.
    staged: usize,
    /// Permits of the origins that something is fetched for.
    origins: HashMap<OwnedServerName, Arc<Semaphore>>,
}

#[derive(Debug, Default)]
struct Lane {
    staged: usize,
    /// The room's task, where it runs.
    task: Option<Arc<Notify>>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { state: Mutex::default(), fetching: Arc::new(Semaphore::new(FETCHING_ROOMS_MAX)) }
    }
}

/// The right to fetch for an event of an origin.
struct Permit {
    _origin: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
}

impl Lanes {
    /// Counts events in that are to wait in a room, if there is room for them.
    pub(crate) fn reserve(&self, room: RoomNid, events: usize) -> bool {
        let mut state = self.state.lock();
        let waiting = state.lanes.get(&room).map_or(0, |lane| lane.staged);
        if waiting + events > STAGED_PER_ROOM_MAX || state.staged + events > STAGED_MAX {
            return false;
        }
        state.staged += events;
        state.lanes.entry(room).or_default().staged += events;
        true
    }

    /// Counts events out that wait no longer.
    pub(crate) fn release(&self, room: RoomNid, events: usize) {
        let mut state = self.state.lock();
        state.staged = state.staged.saturating_sub(events);
        if let Some(lane) = state.lanes.get_mut(&room) {
            lane.staged = lane.staged.saturating_sub(events);
            if lane.staged == 0 && lane.task.is_none() {
                state.lanes.remove(&room);
            }
        }
    }

    /// Counts events in that waited when the server started.
    fn recall(&self, room: RoomNid, events: usize) {
        let mut state = self.state.lock();
        state.staged += events;
        state.lanes.entry(room).or_default().staged += events;
    }

    /// Wakes a room's task; where there is none, it is to be started and woken by what this returns.
    fn start(&self, room: RoomNid) -> Option<Arc<Notify>> {
        let mut state = self.state.lock();
        let lane = state.lanes.entry(room).or_default();
        if let Some(wake) = &lane.task {
            wake.notify_one();
            return None;
        }
        let wake = Arc::new(Notify::new());
        lane.task = Some(Arc::clone(&wake));
        Some(wake)
    }

    /// Ends a room's task, unless events wait.
    fn finish(&self, room: RoomNid) -> bool {
        let mut state = self.state.lock();
        let ends = state.lanes.get(&room).is_none_or(|lane| lane.staged == 0);
        if ends {
            state.lanes.remove(&room);
        }
        ends
    }

    /// Waits for the turn of an event of this origin.
    async fn permit(&self, origin: &ServerName) -> Option<Permit> {
        let of_origin = {
            let mut state = self.state.lock();
            // Those that nothing is fetched for have all their permits.
            state.origins.retain(|_, permits| Arc::strong_count(permits) > 1);
            let new = || Arc::new(Semaphore::new(FETCHING_PER_ORIGIN_MAX));
            Arc::clone(state.origins.entry(origin.to_owned()).or_insert_with(new))
        };
        let of_origin = of_origin.acquire_owned().await.ok()?;
        let of_room = Arc::clone(&self.fetching).acquire_owned().await.ok()?;
        Some(Permit { _origin: of_origin, _room: of_room })
    }
}

/// How an attempt at an event ended.
enum Attempt {
    /// It waits no longer.
    Done,
    /// It is to be tried again.
    Later,
    /// As [`Attempt::Later`], but it takes too much work to be tried often.
    Spent,
}

impl Inner {
    /// Starts the tasks of all rooms in which events wait.
    pub(crate) async fn resume(self: &Arc<Self>) -> Result<(), ReadError> {
        for (room, events) in self.staging.rooms().await? {
            self.lanes.recall(room, events);
            self.wake(room);
        }
        Ok(())
    }

    /// Has a room's task look at what waits.
    pub(crate) fn wake(self: &Arc<Self>, room: RoomNid) {
        if let Some(wake) = self.lanes.start(room) {
            let work = Arc::clone(self).work(room, wake);
            tokio::spawn(self.stopping.clone().run_until_cancelled_owned(work));
        }
    }

    /// Works off what waits in a room.
    async fn work(self: Arc<Self>, room: RoomNid, wake: Arc<Notify>) {
        let mut pause = PAUSE_FIRST;
        let mut spent: HashMap<StagedKey, u32> = HashMap::new();
        loop {
            let keys = match self.staging.keys(room).await {
                Ok(keys) => keys,
                Err(error) => {
                    tracing::error!(%error, "events that wait for others cannot be read");
                    tokio::time::sleep(PAUSE_FIRST).await;
                    continue;
                }
            };
            spent.retain(|key, _| keys.contains(key));
            let (mut left, mut done) = (false, false);
            for key in &keys {
                let attempt = match spent.get(key) {
                    Some(attempts) if *attempts >= SPENT_ATTEMPTS_MAX => Attempt::Done,
                    _ => self.attempt(room, key).await,
                };
                match attempt {
                    Attempt::Done => match self.staging.remove(key).await {
                        Ok(()) => {
                            self.lanes.release(room, 1);
                            done = true;
                        }
                        Err(error) => {
                            tracing::error!(%error, "an event that waits no longer cannot be dropped");
                            left = true;
                        }
                    },
                    Attempt::Spent => {
                        *spent.entry(*key).or_default() += 1;
                        left = true;
                    }
                    Attempt::Later => left = true,
                }
            }
            if left {
                pause = if done { PAUSE_FIRST } else { (pause * 2).min(PAUSE_MAX) };
                // Another event of the room may come with what the others lack.
                drop(tokio::time::timeout(pause, wake.notified()).await);
            } else if self.lanes.finish(room) {
                return;
            }
        }
    }

    async fn attempt(&self, room: RoomNid, key: &StagedKey) -> Attempt {
        let row = match self.staging.get(key).await {
            Ok(Some(row)) => row,
            Ok(None) => return Attempt::Done,
            Err(error) => {
                tracing::error!(%error, "an event that waits for others cannot be read");
                return Attempt::Later;
            }
        };
        if self.clock.now_ms().saturating_sub(row.received_ms) > STAGED_AGE_MAX_MS {
            return Attempt::Done;
        }
        let Some(_permit) = self.lanes.permit(&row.origin).await else { return Attempt::Later };
        let started = Instant::now();
        let who = Who { server: Some(row.origin.to_string()), ..Who::default() };
        let work = origin::scope(Origin { who, request: None }, self.place_row(room, &row));
        let placed = tokio::time::timeout(ATTEMPT_TIME_MAX, work).await;
        match placed.unwrap_or(Err(Shortfall::Spent)) {
            Ok(received) => {
                tracing::debug!(?received, seconds = started.elapsed().as_secs(), "an event that waited was received");
                Attempt::Done
            }
            Err(Shortfall::Spent) => Attempt::Spent,
            Err(error) if error.may_pass() => {
                tracing::debug!(%error, origin = %row.origin, "an event waits for others");
                Attempt::Later
            }
            Err(error) => {
                tracing::debug!(%error, origin = %row.origin, "an event is dropped");
                Attempt::Done
            }
        }
    }

    async fn place_row(&self, room: RoomNid, row: &StagedRow) -> Result<Received, Shortfall> {
        let view = self.rooms.view_of(room).await?;
        let event = read(&row.event, view.version)?;
        let servers = self.whom_to_ask(room, &row.origin, &event).await?;
        let budget = Budget::new(REQUESTS_MAX, ATTEMPT_TIME_MAX);
        let errand = Errand { room: &view.id, version: view.version, servers, budget };
        self.fetcher.place_sent(&errand, event).await
    }

    /// The servers that may have what an event needs: whoever sent it, its sender's, then others of the room.
    pub(crate) async fn whom_to_ask(
        &self,
        room: RoomNid,
        origin: &ServerName,
        event: &Pdu,
    ) -> Result<Vec<OwnedServerName>, Shortfall> {
        let mut servers = vec![origin.to_owned(), event.sender().server_name().to_owned()];
        servers.extend(self.rooms.servers(room).await?.iter().cloned());
        let mut asked = std::collections::HashSet::new();
        servers.retain(|server| *server != self.server_name && asked.insert(server.clone()));
        Ok(servers)
    }
}

/// Reads an event that was checked before it was kept.
fn read(json: &str, version: RoomVersion) -> Result<Arc<Pdu>, Shortfall> {
    let parsed = Pdu::parse(json.as_bytes(), version);
    parsed.map(Arc::new).map_err(|_| Shortfall::Withheld("what was kept is no event"))
}

#[cfg(test)]
mod tests {
    use ruma::server_name;
    use wardroom_rooms::RoomNid;

    use super::{FETCHING_PER_ORIGIN_MAX, Lanes, STAGED_PER_ROOM_MAX};

    #[test]
    fn what_waits_is_bounded_per_room_and_its_task_runs_once() {
        let (lanes, room, other) = (Lanes::default(), RoomNid::new(1), RoomNid::new(2));
        assert!(lanes.reserve(room, STAGED_PER_ROOM_MAX));
        assert!(!lanes.reserve(room, 1));
        assert!(lanes.reserve(other, 1), "another room has room");
        assert!(lanes.start(room).is_some());
        assert!(lanes.start(room).is_none());
        assert!(!lanes.finish(room), "events wait");
        lanes.release(room, STAGED_PER_ROOM_MAX);
        assert!(lanes.finish(room));
        lanes.release(other, 1);
        let state = lanes.state.lock();
        assert!(state.lanes.is_empty() && state.staged == 0);
    }

    #[tokio::test]
    async fn a_slow_origin_holds_up_its_own_rooms_only() {
        let lanes = Lanes::default();
        let (slow, quick) = (server_name!("slow.example"), server_name!("quick.example"));
        let mut held = Vec::new();
        for _ in 0..FETCHING_PER_ORIGIN_MAX {
            held.extend(lanes.permit(slow).await);
        }
        assert!(futures_util::FutureExt::now_or_never(lanes.permit(slow)).is_none());
        assert!(futures_util::FutureExt::now_or_never(lanes.permit(quick)).is_some());
        held.pop();
        assert!(futures_util::FutureExt::now_or_never(lanes.permit(slow)).is_some());
    }
}

//! Whose turn it is: pushers with something to send, those being served, and those that wait to be tried again.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};
use wardroom_clock::SharedClock;
use wardroom_rooms::UserNid;

use crate::tables::PusherNid;

/// The longest sleep of whoever watches the time: a clock that is set forward is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing is left to send.
    Idle,
    /// There is more.
    More,
    /// To be tried again at this time, in milliseconds since the epoch.
    RetryAt(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Ready,
    /// Served; `again` if something came in the meantime.
    Busy {
        again: bool,
    },
    Waiting {
        until_ms: u64,
    },
}

#[derive(Debug, Default)]
struct State {
    lanes: HashMap<PusherNid, (UserNid, At)>,
    ready: VecDeque<PusherNid>,
    waiting: BTreeSet<(u64, PusherNid)>,
}

/// The lanes of all pushers that have something to send.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    state: Mutex<State>,
    /// A lane became ready.
    ready: Notify,
    /// The first time to wake up at may be another.
    timers: Notify,
}

impl Lanes {
    /// Something waits for a pusher. One that is to be tried again later stays where it is; true for such.
    pub(crate) fn wake(&self, pusher: PusherNid, user: UserNid) -> bool {
        let mut state = self.state.lock();
        match state.lanes.get_mut(&pusher) {
            Some((_, At::Busy { again })) => *again = true,
            Some((_, At::Waiting { .. })) => return true,
            Some((_, At::Ready)) => {}
            None => {
                state.lanes.insert(pusher, (user, At::Ready));
                state.ready.push_back(pusher);
                drop(state);
                self.ready.notify_one();
            }
        }
        false
    }

    /// The next pusher whose turn it is.
    pub(crate) async fn next(&self) -> (PusherNid, UserNid) {
        loop {
            let ready = self.ready.notified();
            {
                let mut state = self.state.lock();
                if let Some(pusher) = state.ready.pop_front()
                    && let Some((user, at)) = state.lanes.get_mut(&pusher)
                {
                    *at = At::Busy { again: false };
                    let user = *user;
                    if !state.ready.is_empty() {
                        // One notice may stand for several lanes.
                        self.ready.notify_one();
                    }
                    return (pusher, user);
                }
            }
            ready.await;
        }
    }

    /// A turn is over.
    pub(crate) fn done(&self, pusher: PusherNid, outcome: Outcome) {
        let mut state = self.state.lock();
        let Some((_, at)) = state.lanes.get_mut(&pusher) else { return };
        let again = matches!(at, At::Busy { again: true });
        match outcome {
            Outcome::Idle if !again => {
                state.lanes.remove(&pusher);
            }
            Outcome::Idle | Outcome::More => {
                *at = At::Ready;
                state.ready.push_back(pusher);
                drop(state);
                self.ready.notify_one();
            }
            Outcome::RetryAt(until_ms) => {
                *at = At::Waiting { until_ms };
                state.waiting.insert((until_ms, pusher));
                drop(state);
                self.timers.notify_one();
            }
        }
    }

    /// Makes lanes ready when their time has come, for as long as it is polled.
    pub(crate) async fn run_timers(&self, clock: &SharedClock) {
        loop {
            let moved = self.timers.notified();
            let now_ms = clock.now_ms();
            let next_ms = self.release(now_ms);
            let pause = next_ms.map_or(SLEEP_MAX, |at| Duration::from_millis(at.saturating_sub(now_ms)));
            tokio::select! {
                () = moved => {}
                () = sleep(pause.min(SLEEP_MAX)) => {}
            }
        }
    }

    /// Makes ready what is due, and tells when the next is.
    fn release(&self, now_ms: u64) -> Option<u64> {
        let mut state = self.state.lock();
        let mut released = false;
        let next_ms = loop {
            match state.waiting.first().copied() {
                Some((until_ms, pusher)) if until_ms <= now_ms => {
                    state.waiting.pop_first();
                    if let Some((_, at)) = state.lanes.get_mut(&pusher)
                        && *at == (At::Waiting { until_ms })
                    {
                        *at = At::Ready;
                        state.ready.push_back(pusher);
                        released = true;
                    }
                }
                next => break next.map(|(until_ms, _)| until_ms),
            }
        };
        drop(state);
        if released {
            self.ready.notify_one();
        }
        next_ms
    }

    /// Pushers that wait to be tried again.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use wardroom_rooms::UserNid;

    use super::{Lanes, Outcome};

    #[tokio::test]
    async fn each_lane_has_one_turn_at_a_time() {
        let (lanes, user) = (Lanes::default(), UserNid::new(7));
        lanes.wake(1, user);
        lanes.wake(1, user);
        lanes.wake(2, user);
        assert_eq!(lanes.next().await, (1, user));
        assert_eq!(lanes.next().await, (2, user));
        assert!(!lanes.wake(1, user), "it is served, and will be again");
        lanes.done(1, Outcome::Idle);
        lanes.done(2, Outcome::Idle);
        assert_eq!(lanes.next().await, (1, user));
        lanes.done(1, Outcome::RetryAt(500));
        assert!(lanes.wake(1, user), "it waits");
        assert_eq!((lanes.waiting(), lanes.release(499)), (1, Some(500)));
        assert_eq!(lanes.release(500), None);
        assert_eq!(lanes.next().await, (1, user));
        lanes.done(1, Outcome::More);
        assert_eq!(lanes.next().await, (1, user));
        lanes.done(1, Outcome::Idle);
        assert!(lanes.state.lock().lanes.is_empty());
    }
}

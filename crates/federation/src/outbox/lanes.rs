//! Whose turn it is: servers for which something waits, those being sent to, and those that are left alone for a while.

use std::collections::{BTreeSet, HashMap, VecDeque};

use parking_lot::Mutex;
use ruma::{OwnedServerName, ServerName};
use tokio::sync::Notify;

use super::{
    OutgoingEdu,
    signals::{SIGNAL_AGE_MAX_MS, Signal, Signals},
};

/// Events that wait for a server that fails; with more, only the newest of each room stays.
pub(super) const EVENTS_MAX_FAILING: u64 = 1_000;
/// Events that wait for a server that takes them, but too slowly.
pub(super) const EVENTS_MAX: u64 = 50_000;
/// Other things that wait for a server that fails; of more, the oldest are dropped.
pub(super) const EDUS_MAX_FAILING: u64 = 10_000;
/// What may wait in memory for all servers, in bytes. What comes beyond is not told.
const SIGNALS_BYTES_MAX: usize = 16 << 20;
/// A server that we have heard from is tried again, but not sooner after the last attempt.
const HEARD_PAUSE_MS: u64 = 5_000;

/// What a turn came to. Times are milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing is left to send.
    Idle,
    /// There is more.
    More,
    /// It failed, and is to be tried again at this time.
    RetryAt(u64),
    /// The server is not admitted; to be looked at again at this time.
    Shelved(u64),
    /// Nothing was to be sent yet.
    NotDue,
}

/// Servers that work have turns of their own, so that those that do not answer never hold them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pool {
    Working,
    Failing,
}

/// A turn: to send, or just to see that the queue does not grow too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) server: OwnedServerName,
    /// Whether something may be sent.
    pub(super) due: bool,
    /// Whether the queue's length is known.
    pub(super) counted: bool,
    /// Whether more waits than is kept.
    pub(super) too_long: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Nothing to do.
    Resting,
    Ready,
    /// Served; `again` if something came in the meantime.
    Busy {
        again: bool,
    },
    Waiting,
}

#[derive(Debug)]
struct Lane {
    at: At,
    /// Nothing is sent before this time.
    until_ms: u64,
    attempted_ms: u64,
    /// Whether the server sent us something since then.
    heard: bool,
    failing: bool,
    shelved: bool,
    counted: bool,
    events: u64,
    edus: u64,
    signals: Signals,
}

impl Lane {
    fn new() -> Self {
        Self {
            at: At::Resting,
            until_ms: 0,
            attempted_ms: 0,
            heard: false,
            failing: false,
            shelved: false,
            counted: true,
            events: 0,
            edus: 0,
            signals: Signals::default(),
        }
    }

    /// When a server that was heard from is tried again.
    fn soon_ms(&self, now_ms: u64) -> u64 {
        self.attempted_ms.saturating_add(HEARD_PAUSE_MS).max(now_ms)
    }

    fn is_too_long(&self) -> bool {
        if self.failing || self.shelved {
            self.events > EVENTS_MAX_FAILING || self.edus > EDUS_MAX_FAILING
        } else {
            self.events > EVENTS_MAX
        }
    }
}

/// A lane, to those who measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) server: OwnedServerName,
    pub(super) events: u64,
    pub(super) edus: u64,
    pub(super) failing: bool,
    pub(super) shelved: bool,
}

#[derive(Debug, Default)]
struct State {
    lanes: HashMap<OwnedServerName, Lane>,
    working: VecDeque<OwnedServerName>,
    failing: VecDeque<OwnedServerName>,
    waiting: BTreeSet<(u64, OwnedServerName)>,
    signal_bytes: usize,
}

impl State {
    fn lane(&mut self, server: &ServerName) -> &mut Lane {
        if !self.lanes.contains_key(server) {
            self.lanes.insert(server.to_owned(), Lane::new());
        }
        #[expect(clippy::expect_used, reason = "it was put there if it was not")]
        self.lanes.get_mut(server).expect("the lane is there")
    }

    /// Puts a lane where it belongs, when something is to be done. True if that is among those whose turn it is.
    fn place(&mut self, server: &ServerName, now_ms: u64) -> bool {
        let Some(lane) = self.lanes.get_mut(server) else { return false };
        let is_turn = lane.until_ms <= now_ms || lane.is_too_long();
        match lane.at {
            At::Busy { .. } => {
                lane.at = At::Busy { again: true };
                return false;
            }
            At::Ready => return false,
            At::Waiting | At::Resting => {}
        }
        if is_turn {
            lane.at = At::Ready;
            let queue = if lane.failing || lane.shelved { &mut self.failing } else { &mut self.working };
            queue.push_back(server.to_owned());
        } else if lane.at == At::Resting {
            lane.at = At::Waiting;
            self.waiting.insert((lane.until_ms, server.to_owned()));
        }
        is_turn
    }

    /// Changes when a lane is due.
    fn set_due(&mut self, server: &ServerName, until_ms: u64, now_ms: u64) -> bool {
        let Some(lane) = self.lanes.get_mut(server) else { return false };
        let before_ms = std::mem::replace(&mut lane.until_ms, until_ms);
        if lane.at != At::Waiting {
            // A lane that is ready is due from now on; one that is busy will have another time.
            return false;
        }
        lane.at = At::Resting;
        self.waiting.remove(&(before_ms, server.to_owned()));
        self.place(server, now_ms)
    }

    fn change_signals<T>(&mut self, server: &ServerName, change: impl FnOnce(&mut Signals) -> T) -> Option<T> {
        let lane = self.lanes.get_mut(server)?;
        let before = lane.signals.bytes();
        let done = change(&mut lane.signals);
        self.signal_bytes = self.signal_bytes + lane.signals.bytes() - before;
        Some(done)
    }
}

/// The lanes of all servers for which something waits, or which fail.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    state: Mutex<State>,
    /// A lane became ready, or the first time to wake up at may be another.
    pub(super) moved: Notify,
}

impl Lanes {
    /// A server that failed when this one stopped, or for which something was left.
    pub(super) fn restore(&self, server: &ServerName, until_ms: u64, attempted_ms: u64, failing: bool) {
        let mut state = self.state.lock();
        let lane = state.lane(server);
        lane.until_ms = lane.until_ms.max(until_ms);
        lane.attempted_ms = lane.attempted_ms.max(attempted_ms);
        lane.failing |= failing;
        // What is there is counted when its turn comes, not at start.
        lane.counted = false;
        if lane.at == At::Resting {
            lane.at = At::Waiting;
            let until_ms = lane.until_ms;
            state.waiting.insert((until_ms, server.to_owned()));
        }
        drop(state);
        self.moved.notify_one();
    }

    /// So much was queued.
    pub(super) fn added(&self, server: &ServerName, events: u64, edus: u64, now_ms: u64) {
        let mut state = self.state.lock();
        let lane = state.lane(server);
        lane.events += events;
        lane.edus += edus;
        state.place(server, now_ms);
        drop(state);
        self.moved.notify_one();
    }

    /// So much is not queued any more.
    pub(super) fn removed(&self, server: &ServerName, events: u64, edus: u64) {
        if let Some(lane) = self.state.lock().lanes.get_mut(server) {
            lane.events = lane.events.saturating_sub(events);
            lane.edus = lane.edus.saturating_sub(edus);
        }
    }

    /// The queue was counted.
    pub(super) fn counted(&self, server: &ServerName, events: u64, edus: u64) {
        if let Some(lane) = self.state.lock().lanes.get_mut(server) {
            (lane.events, lane.edus, lane.counted) = (events, edus, true);
        }
    }

    /// Takes something that may get lost. False if it did at once.
    pub(super) fn signal(&self, server: &ServerName, edu: OutgoingEdu, now_ms: u64) -> bool {
        let signal = Signal { edu, since_ms: now_ms };
        let mut state = self.state.lock();
        if state.signal_bytes + signal.bytes() > SIGNALS_BYTES_MAX {
            return false;
        }
        let lane = state.lane(server);
        if lane.shelved || lane.until_ms > now_ms.saturating_add(SIGNAL_AGE_MAX_MS) {
            // It would be too old when the server is tried again.
            return false;
        }
        state.change_signals(server, |signals| signals.add(signal));
        state.place(server, now_ms);
        drop(state);
        self.moved.notify_one();
        true
    }

    /// What is worth telling a server of that.
    pub(super) fn take_signals(
        &self,
        server: &ServerName,
        now_ms: u64,
        count_max: usize,
        bytes_max: usize,
    ) -> Vec<Signal> {
        let mut state = self.state.lock();
        state.change_signals(server, |signals| signals.take(now_ms, count_max, bytes_max)).unwrap_or_default()
    }

    /// They could not be sent.
    pub(super) fn put_back(&self, server: &ServerName, signals: Vec<Signal>) {
        let mut state = self.state.lock();
        if state.signal_bytes < SIGNALS_BYTES_MAX {
            state.change_signals(server, |waiting| waiting.put_back(signals));
        }
    }

    /// A server has sent us something: if it is left alone since it failed, it is tried soon.
    pub(super) fn heard_from(&self, server: &ServerName, now_ms: u64) {
        let mut state = self.state.lock();
        let Some(lane) = state.lanes.get_mut(server) else { return };
        lane.heard = true;
        let soon_ms = lane.soon_ms(now_ms);
        if lane.failing && soon_ms < lane.until_ms {
            state.set_due(server, soon_ms, now_ms);
            drop(state);
            self.moved.notify_one();
        }
    }

    /// Makes a server due that is left alone.
    pub(super) fn reset(&self, server: &ServerName, now_ms: u64) {
        self.state.lock().set_due(server, now_ms, now_ms);
        self.moved.notify_one();
    }

    /// Makes due all that were not admitted.
    pub(super) fn reset_shelved(&self, now_ms: u64) {
        let mut state = self.state.lock();
        let shelved: Vec<OwnedServerName> =
            state.lanes.iter().filter(|(_, lane)| lane.shelved).map(|(server, _)| server.clone()).collect();
        for server in shelved {
            state.set_due(&server, now_ms, now_ms);
        }
        drop(state);
        self.moved.notify_one();
    }

    /// The next turn.
    pub(super) fn next(&self, pool: Pool, now_ms: u64) -> Option<Turn> {
        let mut state = self.state.lock();
        loop {
            let server = match pool {
                Pool::Working => state.working.pop_front()?,
                Pool::Failing => state.failing.pop_front()?,
            };
            let Some(lane) = state.lanes.get_mut(&server) else { continue };
            lane.at = At::Busy { again: false };
            let (due, counted, too_long) = (lane.until_ms <= now_ms, lane.counted, lane.is_too_long());
            if due {
                (lane.attempted_ms, lane.heard) = (now_ms, false);
            }
            return Some(Turn { server, due, counted, too_long });
        }
    }

    /// A turn is over.
    pub(super) fn done(&self, server: &ServerName, outcome: Outcome, now_ms: u64) {
        let mut state = self.state.lock();
        let Some(lane) = state.lanes.get_mut(server) else { return };
        let again = matches!(lane.at, At::Busy { again: true });
        lane.at = At::Resting;
        match outcome {
            Outcome::Idle | Outcome::More => {
                (lane.failing, lane.shelved, lane.until_ms) = (false, false, 0);
                if outcome == Outcome::Idle && !again && lane.signals.is_empty() {
                    state.lanes.remove(server);
                    return;
                }
            }
            Outcome::RetryAt(until_ms) => {
                // Heard from while it was tried: it came back then.
                let until_ms = if lane.heard { until_ms.min(lane.soon_ms(now_ms)) } else { until_ms };
                (lane.failing, lane.shelved, lane.until_ms) = (true, false, until_ms);
                if until_ms > now_ms.saturating_add(SIGNAL_AGE_MAX_MS) {
                    state.change_signals(server, Signals::clear);
                }
            }
            Outcome::Shelved(until_ms) => {
                (lane.shelved, lane.until_ms) = (true, until_ms);
                state.change_signals(server, Signals::clear);
            }
            Outcome::NotDue => {}
        }
        state.place(server, now_ms);
    }

    /// Makes ready what is due, and tells when the next is.
    pub(super) fn release(&self, now_ms: u64) -> Option<u64> {
        let mut state = self.state.lock();
        loop {
            let (until_ms, server) = state.waiting.first().cloned()?;
            if until_ms > now_ms {
                return Some(until_ms);
            }
            state.waiting.pop_first();
            if let Some(lane) = state.lanes.get_mut(&server)
                && lane.at == At::Waiting
                && lane.until_ms == until_ms
            {
                lane.at = At::Resting;
                state.place(&server, now_ms);
            }
        }
    }

    /// All of them.
    pub(super) fn sights(&self) -> Vec<Sight> {
        let state = self.state.lock();
        let sight = |(server, lane): (&OwnedServerName, &Lane)| Sight {
            server: server.clone(),
            events: lane.events,
            edus: lane.edus,
            failing: lane.failing,
            shelved: lane.shelved,
        };
        state.lanes.iter().map(sight).collect()
    }

    /// What all that waits in memory costs there.
    pub(super) fn signal_bytes(&self) -> usize {
        self.state.lock().signal_bytes
    }
}

#[cfg(test)]
mod tests {
    use ruma::{ServerName, server_name};
    use serde_json::{json, value::to_raw_value};

    use super::{EVENTS_MAX_FAILING, HEARD_PAUSE_MS, Lanes, Outcome, Pool, SIGNALS_BYTES_MAX, Turn};
    use crate::OutgoingEdu;

    fn typing(key: usize) -> OutgoingEdu {
        let content = to_raw_value(&json!({ "room_id": "!room:a.example" })).unwrap();
        OutgoingEdu { kind: "m.typing", coalesce: Some(key.to_string()), content }
    }

    fn turn(lanes: &Lanes, pool: Pool, now_ms: u64) -> Option<(String, bool)> {
        lanes.next(pool, now_ms).map(|Turn { server, due, .. }| (server.to_string(), due))
    }

    fn some(server: &ServerName, due: bool) -> Option<(String, bool)> {
        Some((server.to_string(), due))
    }

    #[test]
    fn each_server_has_one_turn_at_a_time() {
        let (lanes, a, b) = (Lanes::default(), server_name!("a.example"), server_name!("b.example"));
        lanes.added(a, 1, 0, 0);
        lanes.added(a, 1, 0, 0);
        lanes.added(b, 0, 1, 0);
        assert_eq!(turn(&lanes, Pool::Working, 0), some(a, true));
        assert_eq!(turn(&lanes, Pool::Working, 0), some(b, true));
        lanes.added(a, 1, 0, 0);
        assert_eq!(turn(&lanes, Pool::Working, 0), None);
        lanes.done(a, Outcome::Idle, 0);
        lanes.done(b, Outcome::Idle, 0);
        assert_eq!(turn(&lanes, Pool::Working, 0), some(a, true), "something came meanwhile");
        lanes.done(a, Outcome::More, 0);
        assert_eq!(turn(&lanes, Pool::Working, 0), some(a, true));
        lanes.done(a, Outcome::Idle, 0);
        assert!(lanes.sights().is_empty());
    }

    #[test]
    fn a_server_that_fails_is_left_alone_until_it_is_due_or_heard() {
        let (lanes, a) = (Lanes::default(), server_name!("a.example"));
        lanes.added(a, 1, 0, 1_000);
        assert_eq!(turn(&lanes, Pool::Working, 1_000), some(a, true));
        lanes.done(a, Outcome::RetryAt(60_000), 1_000);
        lanes.added(a, 1, 0, 1_001);
        assert_eq!((lanes.release(59_999), turn(&lanes, Pool::Failing, 59_999)), (Some(60_000), None));
        assert_eq!((lanes.release(60_000), turn(&lanes, Pool::Failing, 60_000)), (None, some(a, true)));
        lanes.done(a, Outcome::RetryAt(200_000), 60_000);
        lanes.heard_from(a, 61_000);
        assert_eq!(lanes.release(61_000), Some(60_000 + HEARD_PAUSE_MS));
        assert_eq!(lanes.release(100_000), None);
        assert_eq!(turn(&lanes, Pool::Failing, 100_000), some(a, true));
        lanes.done(a, Outcome::RetryAt(400_000), 100_000);
        lanes.heard_from(a, 200_000);
        assert_eq!(turn(&lanes, Pool::Failing, 200_000), some(a, true));
        lanes.done(a, Outcome::RetryAt(400_000), 200_000);
        lanes.reset(a, 200_001);
        assert_eq!(turn(&lanes, Pool::Failing, 200_001), some(a, true));
        lanes.done(a, Outcome::Shelved(900_000), 200_001);
        lanes.reset_shelved(200_002);
        assert_eq!(turn(&lanes, Pool::Failing, 200_002), some(a, true));
        lanes.done(a, Outcome::Idle, 200_002);
        assert_eq!(lanes.release(u64::MAX), None);
    }

    #[test]
    fn a_server_that_is_heard_while_it_is_tried_is_tried_again_soon() {
        let (lanes, a) = (Lanes::default(), server_name!("a.example"));
        lanes.added(a, 1, 0, 1_000);
        assert_eq!(turn(&lanes, Pool::Working, 1_000), some(a, true));
        lanes.heard_from(a, 20_000);
        lanes.done(a, Outcome::RetryAt(90_000), 31_000);
        assert_eq!(turn(&lanes, Pool::Failing, 31_000), some(a, true), "not when its pause is over");
        lanes.done(a, Outcome::RetryAt(90_000), 32_000);
        assert_eq!((lanes.release(32_000), turn(&lanes, Pool::Failing, 32_000)), (Some(90_000), None));
    }

    #[test]
    fn a_queue_that_grows_too_long_is_seen_to_although_nothing_is_due() {
        let (lanes, a) = (Lanes::default(), server_name!("a.example"));
        lanes.restore(a, 60_000, 0, true);
        lanes.added(a, EVENTS_MAX_FAILING, 0, 1_000);
        assert_eq!(turn(&lanes, Pool::Failing, 1_000), None);
        lanes.added(a, 1, 0, 1_000);
        assert_eq!(turn(&lanes, Pool::Failing, 1_000), some(a, false));
        lanes.counted(a, 0, 0);
        lanes.done(a, Outcome::NotDue, 1_000);
        assert_eq!(turn(&lanes, Pool::Failing, 1_000), None);
        assert_eq!(lanes.release(1_000), Some(60_000));
    }

    #[test]
    fn what_may_get_lost_does_not_fill_the_memory() {
        let (lanes, a) = (Lanes::default(), server_name!("a.example"));
        assert!(lanes.signal(a, typing(0), 0));
        assert_eq!(turn(&lanes, Pool::Working, 0), some(a, true));
        let taken = lanes.take_signals(a, 0, 100, 1_000);
        assert_eq!((taken.len(), lanes.signal_bytes()), (1, 0));
        lanes.put_back(a, taken);
        lanes.done(a, Outcome::RetryAt(1_000_000), 0);
        assert_eq!(lanes.signal_bytes(), 0, "it will be too old");
        assert!(!lanes.signal(a, typing(0), 0));
        let refused = (0..1_000_000).find(|number| {
            let server = ServerName::parse(format!("s{}.example", number / 100)).unwrap();
            !lanes.signal(&server, typing(*number), 0)
        });
        assert!(refused.is_some());
        assert!(lanes.signal_bytes() <= SIGNALS_BYTES_MAX);
    }
}

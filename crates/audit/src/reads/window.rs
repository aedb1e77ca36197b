//! Windows: what one asker received of one object within five minutes.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::{BuildHasher as _, Hash},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use wardroom_store::{Packed, Profile, Seal, Table};

use super::ReadOf;
use crate::{Act, Record, origin::Origin};

/// How long a window is open, 5 minutes.
pub(super) const WINDOW_MS: u64 = 5 * 60 * 1_000;
/// Rows after which a window is over before its time: one per answer that brought something new.
const ROWS_MAX: u32 = 2_000;
/// Windows of refusals that are open at once; what comes besides is recorded one by one.
const REFUSALS_MAX: usize = 50_000;
/// Numbers that one window remembers. Who receives more has what came before counted again.
const SEEN_MAX: usize = 20_000;
/// Numbers that all windows together remember, 16 bytes each: 64 MiB.
const SEEN_BY_ALL_MAX: usize = 4_000_000;
/// Numbers from here on stand for what has no number.
pub(super) const OTHERS: u64 = 1 << 63;

/// What was received at one time, as (window, number within it).
pub(crate) const ROWS: Table<(u64, u32), Packed<Row>> =
    Table::new(0x0810, "audit_window_rows", Profile::Churn, Seal::System);

/// A row of a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// JSON of the record that the window is about, in those rows that may be its first.
    pub(super) head: Option<String>,
    /// When it was received, in milliseconds since 1970.
    pub(super) at_ms: u64,
    /// By which endpoint.
    pub(super) endpoint: String,
    /// How much of it there was.
    pub(super) count: u64,
    /// Id of the first event.
    pub(super) first: Option<String>,
    /// Id of the last event.
    pub(super) last: Option<String>,
    /// Numbers of the events, ascending.
    pub(super) events: Vec<u64>,
}

/// What is new of a read to its window.
#[derive(Debug)]
pub(super) struct Unseen {
    /// Numbers of events, and one that stands for what has none; ascending.
    pub(super) numbers: Vec<u64>,
    /// How much has no number.
    pub(super) others: u64,
}

/// A window that is open, or about to be closed.
#[derive(Debug)]
pub(super) struct Window {
    /// Its number: random, so that windows of this run and those that a crash left have different ones.
    pub(super) id: u64,
    opened_ms: u64,
    rows: AtomicU32,
    /// JSON of its record, until a row with it is durable.
    head: Mutex<Option<String>>,
    /// What was received, as far as rows of it are durable.
    seen: Mutex<HashSet<u64>>,
    /// How often it happened again: all times, and those that no row tells yet.
    times: AtomicU64,
    untold: AtomicU64,
    /// When it last happened, in milliseconds since 1970.
    last_ms: AtomicU64,
}

impl Window {
    fn new(head: &Record, opened_ms: u64) -> Self {
        Self {
            id: rand::random(),
            opened_ms,
            rows: AtomicU32::new(0),
            head: Mutex::new(Some(String::from_utf8(head.to_json()).unwrap_or_default())),
            seen: Mutex::default(),
            times: AtomicU64::new(0),
            untold: AtomicU64::new(0),
            last_ms: AtomicU64::new(opened_ms),
        }
    }

    pub(super) fn head(&self) -> Option<String> {
        self.head.lock().clone()
    }

    /// Number of the next row.
    pub(super) fn next_row(&self) -> u32 {
        self.rows.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts that it happened again. Tells how often since the last row, where it is time for one: each time that the
    /// number of all times is a power of two.
    pub(super) fn count_one(&self, now_ms: u64) -> Option<u64> {
        self.last_ms.store(now_ms, Ordering::Relaxed);
        let times = self.times.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.untold.fetch_add(1, Ordering::Relaxed);
        times.is_power_of_two().then(|| self.untold.swap(0, Ordering::Relaxed))
    }

    /// How often it happened since the last row, and when it last did.
    pub(super) fn untold(&self) -> (u64, u64) {
        (self.untold.load(Ordering::Relaxed), self.last_ms.load(Ordering::Relaxed))
    }

    /// What was not received before.
    pub(super) fn unseen(&self, read: &ReadOf<'_>, windows: &Windows) -> Unseen {
        let mark = OTHERS | windows.hashers.0.hash_one((read.endpoint, read.others));
        let seen = self.seen.lock();
        let others = if seen.contains(&mark) { 0 } else { read.others };
        let marked = (others > 0).then_some(mark);
        let numbers = read.events.iter().map(|event| event.number).filter(|number| !seen.contains(number));
        let mut numbers: Vec<u64> = numbers.chain(marked).collect();
        drop(seen);
        numbers.sort_unstable();
        numbers.dedup();
        Unseen { numbers, others }
    }

    fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.opened_ms.saturating_add(WINDOW_MS)
            // A clock that was set back.
            || now_ms.saturating_add(WINDOW_MS) < self.opened_ms
            || self.rows.load(Ordering::Relaxed) >= ROWS_MAX
    }
}

type Key = (u64, u64);

#[derive(Debug, Default)]
struct Open {
    reads: HashMap<Key, Arc<Window>>,
    refusals: HashMap<Key, Arc<Window>>,
    /// Those that are over.
    over: Vec<Arc<Window>>,
}

/// The windows of a trail.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    open: Mutex<Open>,
    /// Two, so that nobody finds keys that collide.
    hashers: (RandomState, RandomState),
    /// Numbers that all windows remember.
    seen: AtomicUsize,
    /// Whoever closes windows, or reads rows that must not go meanwhile.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl Windows {
    /// The window of a read, new where there is none.
    pub(super) fn of_read(&self, origin: &Origin, read: &ReadOf<'_>, now_ms: u64) -> Arc<Window> {
        let key = self.key(&(read.act, &origin.who, read.object));
        let head = || {
            let record = Record::by(read.act, origin.clone());
            if read.act == Act::MediaRead { record.media(read.object) } else { record.room(read.object) }
        };
        let Open { reads, over, .. } = &mut *self.open.lock();
        of(reads, over, key, now_ms, head)
    }

    /// The window of whatever is recorded like this; none where there are too many.
    pub(super) fn of_record(&self, record: &Record, now_ms: u64) -> Option<Arc<Window>> {
        let Record { act, outcome, on, who, why, .. } = record;
        let ip = who.ip.as_ref().filter(|_| who.user.is_none());
        let key = self.key(&(act, outcome, on, &who.user, &who.on_behalf_of, &who.server, &who.service, ip, why));
        let Open { refusals, over, .. } = &mut *self.open.lock();
        let has_place = refusals.len() < REFUSALS_MAX || refusals.contains_key(&key);
        has_place.then(|| of(refusals, over, key, now_ms, || record.clone()))
    }

    fn key(&self, of: &impl Hash) -> Key {
        (self.hashers.0.hash_one(of), self.hashers.1.hash_one(of))
    }

    /// Remembers what is durable now.
    pub(super) fn remember(&self, window: &Window, numbers: Vec<u64>) {
        *window.head.lock() = None;
        let mut seen = window.seen.lock();
        let before = seen.len();
        if before.saturating_add(numbers.len()) > SEEN_MAX {
            seen.clear();
        }
        if self.seen.load(Ordering::Relaxed).saturating_add(numbers.len()) <= SEEN_BY_ALL_MAX {
            seen.extend(numbers.into_iter().take(SEEN_MAX));
        }
        self.seen.fetch_add(seen.len(), Ordering::Relaxed);
        self.seen.fetch_sub(before, Ordering::Relaxed);
    }

    /// Windows that are over, or all of them, as far as nobody writes to them any more. They stay until they are
    /// [forgotten](Self::forget).
    pub(super) fn over(&self, now_ms: u64, all: bool) -> Vec<Arc<Window>> {
        let mut open = self.open.lock();
        let Open { reads, refusals, over } = &mut *open;
        for windows in [reads, refusals] {
            over.extend(windows.extract_if(|_, window| all || window.is_over(now_ms)).map(|(_, window)| window));
        }
        // Whoever got a window when it was open holds it until its row is written or given up.
        over.iter().filter(|window| Arc::strong_count(window) == 1).map(Arc::clone).collect()
    }

    /// Forgets windows that were closed.
    pub(super) fn forget(&self, closed: &[Arc<Window>]) {
        let closed: HashSet<u64> = closed.iter().map(|window| window.id).collect();
        let gone: Vec<Arc<Window>> =
            self.open.lock().over.extract_if(.., |window| closed.contains(&window.id)).collect();
        for window in gone {
            self.seen.fetch_sub(window.seen.lock().len(), Ordering::Relaxed);
        }
    }

    /// Numbers of the windows of reads that were not closed yet.
    pub(super) fn ids(&self) -> Vec<u64> {
        let open = self.open.lock();
        open.reads.values().chain(&open.over).map(|window| window.id).collect()
    }
}

/// The window of this key, new where there is none or it is over.
fn of(
    windows: &mut HashMap<Key, Arc<Window>>,
    over: &mut Vec<Arc<Window>>,
    key: Key,
    now_ms: u64,
    head: impl FnOnce() -> Record,
) -> Arc<Window> {
    if let Some(window) = windows.get(&key).filter(|window| !window.is_over(now_ms)) {
        return Arc::clone(window);
    }
    let window = Arc::new(Window::new(&head(), now_ms));
    over.extend(windows.insert(key, Arc::clone(&window)));
    window
}

//! Who waits for what, and when it last moved.

use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Position;

/// Shards of the map, so that registering waiters does not contend with the committer.
const SHARDS: usize = 64;
/// Keys that a shard remembers; beyond it the older half of those nobody waits for is forgotten.
const SHARD_KEYS_MAX: usize = 4096;

/// Something that can be waited for, in the callers' numbers.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct WatchKey {
    /// What `id` means.
    pub kind: u8,
    /// Which one.
    pub id: u64,
}

#[derive(Default)]
struct Signal {
    raised: AtomicBool,
    notify: Notify,
}

impl Signal {
    fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        self.notify.notify_one();
    }
}

/// A place in a key's list of waiters, kept free for the next one when its waiter goes.
enum Place {
    Free { next: Option<usize> },
    Taken(Arc<Signal>),
}

#[derive(Default)]
struct Watched {
    last: Position,
    places: Vec<Place>,
    free: Option<usize>,
    waiters: usize,
}

impl Watched {
    fn enter(&mut self, signal: Arc<Signal>) -> usize {
        self.waiters += 1;
        let taken = Place::Taken(signal);
        match self.free {
            Some(place) => {
                if let Place::Free { next } = std::mem::replace(&mut self.places[place], taken) {
                    self.free = next;
                }
                place
            }
            None => {
                self.places.push(taken);
                self.places.len() - 1
            }
        }
    }

    fn leave(&mut self, place: usize) {
        self.waiters -= 1;
        if self.waiters == 0 {
            self.places = Vec::new();
            self.free = None;
        } else {
            self.places[place] = Place::Free { next: self.free };
            self.free = Some(place);
        }
    }
}

#[derive(Default)]
struct Shard {
    keys: HashMap<WatchKey, Watched>,
    /// Keys that are not in the map were touched here at the latest.
    floor: Position,
    /// The next trim is due beyond so many keys.
    trim_at: usize,
}

impl Shard {
    /// Forgets the older half of the keys that nobody waits for, when there are too many.
    fn trim(&mut self) {
        if self.keys.len() <= self.trim_at.max(SHARD_KEYS_MAX) {
            return;
        }
        // Those with waiters stay; a shard full of them is not searched again at every touch.
        let waited = self.keys.values().filter(|watched| watched.waiters > 0).count();
        self.trim_at = SHARD_KEYS_MAX + 2 * waited;
        let mut idle: Vec<Position> =
            self.keys.values().filter(|watched| watched.waiters == 0).map(|watched| watched.last).collect();
        if idle.is_empty() {
            return;
        }
        let middle = idle.len() / 2;
        let (_, limit, _) = idle.select_nth_unstable(middle);
        let limit = *limit;
        self.keys.retain(|_, watched| watched.waiters > 0 || watched.last > limit);
        self.floor = self.floor.max(limit);
    }
}

struct Shards {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

impl Shards {
    fn of(&self, key: WatchKey) -> &Mutex<Shard> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        &self.shards[shard]
    }
}

/// The watched keys of a store.
#[derive(Clone)]
pub struct Watches(Arc<Shards>);

impl Watches {
    pub(crate) fn new() -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self(Arc::new(Shards { shards, hasher: RandomState::new() }))
    }

    /// The last position that touched `key` in this run, zero if none did. For a key that was long forgotten it is a
    /// later position: never one too early. The position may be about to be published.
    pub fn last(&self, key: WatchKey) -> Position {
        let shard = self.0.of(key).lock();
        shard.keys.get(&key).map_or(shard.floor, |watched| watched.last)
    }

    /// Registers for changes of these keys from now on. To miss nothing: register, then read what is published, then
    /// wait.
    pub fn waiter(&self, keys: impl IntoIterator<Item = WatchKey>) -> Waiter {
        let signal = Arc::new(Signal::default());
        let enter = |key| {
            let mut shard = self.0.of(key).lock();
            let floor = shard.floor;
            let watched = shard.keys.entry(key).or_insert_with(|| Watched { last: floor, ..Watched::default() });
            (key, watched.enter(Arc::clone(&signal)))
        };
        let places = keys.into_iter().map(enter).collect();
        Waiter { watches: self.clone(), signal, places }
    }

    /// Notes that `position` touches these keys, before it is published: who compares [`Self::last`] with what is
    /// published is never told of too little.
    pub(crate) fn note(&self, keys: &[WatchKey], position: Position) {
        for key in keys {
            let mut shard = self.0.of(*key).lock();
            shard.keys.entry(*key).or_default().last = position;
            shard.trim();
        }
    }

    /// Wakes who waits for these keys, after the position that touched them is published: who registered before is
    /// woken, and who registers later finds it published. Looking for waiters any earlier would miss those who register
    /// between the look and the publishing.
    pub(crate) fn wake(&self, keys: &[WatchKey]) {
        for key in keys {
            let shard = self.0.of(*key).lock();
            for place in shard.keys.get(key).map_or(&[][..], |watched| &watched.places) {
                if let Place::Taken(signal) = place {
                    signal.raise();
                }
            }
        }
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").finish_non_exhaustive()
    }
}

/// Waits for any of some keys. Dropping it unregisters.
pub struct Waiter {
    watches: Watches,
    signal: Arc<Signal>,
    places: Vec<(WatchKey, usize)>,
}

impl Waiter {
    /// Resolves when any of the keys was touched since registration or since it last resolved.
    pub async fn changed(&mut self) {
        while !self.signal.raised.swap(false, Ordering::Acquire) {
            self.signal.notify.notified().await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        for (key, place) in self.places.drain(..) {
            let mut shard = self.watches.0.of(key).lock();
            let floor = shard.floor;
            let Some(watched) = shard.keys.get_mut(&key) else { continue };
            watched.leave(place);
            // A key that was registered and never touched says nothing.
            if watched.waiters == 0 && watched.last <= floor {
                shard.keys.remove(&key);
            }
        }
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").field("keys", &self.places.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u64) -> WatchKey {
        WatchKey { kind: 0, id }
    }

    #[test]
    fn places_are_used_again() {
        let watches = Watches::new();
        let mut waiters: Vec<_> = (0..100).map(|_| watches.waiter([key(1)])).collect();
        waiters.truncate(50);
        waiters.extend((0..50).map(|_| watches.waiter([key(1)])));
        assert_eq!(watches.0.of(key(1)).lock().keys[&key(1)].places.len(), 100);
        watches.note(&[key(1)], Position::new(1));
        watches.wake(&[key(1)]);
        assert!(waiters.iter().all(|waiter| waiter.signal.raised.load(Ordering::Acquire)));
        drop(waiters);
        assert_eq!(watches.0.of(key(1)).lock().keys[&key(1)].places.len(), 0);
        assert_eq!(watches.last(key(1)), Position::new(1));
    }

    #[test]
    fn keys_without_touch_or_waiter_are_not_kept() {
        let watches = Watches::new();
        drop(watches.waiter((0..1000).map(key)));
        assert!(watches.0.shards.iter().all(|shard| shard.lock().keys.is_empty()));
    }

    #[test]
    fn memory_is_bounded_and_no_answer_is_too_early() {
        let watches = Watches::new();
        let _waiter = watches.waiter([key(0)]);
        let count = 3 * (SHARDS * SHARD_KEYS_MAX) as u64;
        for id in 0..count {
            watches.note(&[key(id)], Position::new(id + 1));
        }
        let kept: usize = watches.0.shards.iter().map(|shard| shard.lock().keys.len()).sum();
        assert!(kept <= SHARDS * (SHARD_KEYS_MAX + 2));
        for id in (0..count).step_by(97) {
            assert!(watches.last(key(id)) > Position::new(id), "key {id}");
        }
        assert_eq!(watches.last(key(0)), Position::new(1), "who is waited for is not forgotten");
        assert_eq!(watches.last(key(count - 1)), Position::new(count));
    }
}

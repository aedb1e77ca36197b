//! Names to small numbers, so that keys hold no names.
//!
//! A new mapping is *pending* in memory until a commit that carries it succeeds. Every batch that interns a pending
//! name carries the mapping, always with the same number, so batches need no order among each other, and one that
//! fails loses nothing.

use std::{
    collections::HashMap,
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use quick_cache::{Equivalent, sync::Cache};

use crate::{
    Batch, Hash16, ReadError, View,
    internal::{NAMES, NIDS},
    store::Core,
};

/// Names kept in memory with their numbers, about 150 bytes each in both directions.
const NAMES_CACHED_MAX: usize = 32_768;
/// Pending names beyond which those whose batches are gone are given up; their numbers stay unused.
const NAMES_PENDING_MAX: usize = 65_536;

/// Keeps the hashes of names apart from those that callers of the store make.
const HASH_DOMAIN: u8 = 2;

#[derive(Clone, Eq, PartialEq, Hash)]
struct Name(u8, Arc<str>);

/// A borrowed [`Name`].
struct NameRef<'a>(u8, &'a str);

impl Hash for NameRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
        self.1.hash(state);
    }
}

impl Equivalent<Name> for NameRef<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        self.0 == name.0 && *self.1 == *name.1
    }
}

/// Says that a batch which carries a pending name is still alive.
struct Carried;

#[derive(Default)]
struct Pending {
    names: HashMap<Name, (u64, Weak<Carried>)>,
    /// The last number given, by namespace.
    last: HashMap<u8, u64>,
}

struct Names {
    /// Numbers of committed names.
    nids: Cache<Name, u64>,
    /// Committed names of numbers.
    names: Cache<(u8, u64), Arc<str>>,
    pending: Mutex<Pending>,
    /// Counts pending names that were committed: whoever did not find a name in the store looks again if it moved.
    settled: AtomicU64,
}

impl Names {
    fn remember(&self, ns: u8, nid: u64, name: &Arc<str>) {
        self.nids.insert(Name(ns, Arc::clone(name)), nid);
        self.names.insert((ns, nid), Arc::clone(name));
    }

    /// A commit with this mapping succeeded.
    fn settle(&self, ns: u8, nid: u64, name: &Arc<str>) {
        self.remember(ns, nid, name);
        let mut pending = self.pending.lock();
        pending.names.remove(&Name(ns, Arc::clone(name)));
        self.settled.fetch_add(1, Ordering::Release);
    }
}

/// Interns names of up to 256 namespaces. Numbers start at 1 in each.
pub struct Interner {
    core: Arc<Core>,
    names: Arc<Names>,
}

impl Interner {
    /// `last` has the largest number of each namespace.
    pub(crate) fn new(core: Arc<Core>, last: HashMap<u8, u64>) -> Self {
        let names = Names {
            nids: Cache::new(NAMES_CACHED_MAX),
            names: Cache::new(NAMES_CACHED_MAX),
            pending: Mutex::new(Pending { names: HashMap::new(), last }),
            settled: AtomicU64::new(0),
        };
        Self { core, names: Arc::new(names) }
    }

    /// The number of a name that was committed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn lookup(&self, ns: u8, name: &str) -> Result<Option<u64>, ReadError> {
        if let Some(nid) = self.names.nids.get(&NameRef(ns, name)) {
            return Ok(Some(nid));
        }
        let Some(nid) = self.view().get(&NIDS, &(ns, self.hash(ns, name))).await? else { return Ok(None) };
        self.names.remember(ns, nid, &Arc::from(name));
        Ok(Some(nid))
    }

    /// The number of a name that was committed, or that some batch on its way to a commit carries: what whoever
    /// builds on an uncommitted batch needs.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn known(&self, ns: u8, name: &str) -> Result<Option<u64>, ReadError> {
        loop {
            let settled = self.names.settled.load(Ordering::Acquire);
            if let Some(nid) = self.lookup(ns, name).await? {
                return Ok(Some(nid));
            }
            let pending = self.names.pending.lock();
            if let Some((nid, _)) = pending.names.get(&Name(ns, Arc::from(name))) {
                return Ok(Some(*nid));
            }
            // Settled since the store was asked: it may have been this name.
            if self.names.settled.load(Ordering::Acquire) == settled {
                return Ok(None);
            }
        }
    }

    /// The number of a name. If it is new, the mapping becomes part of `batch`.
    ///
    /// # Errors
    /// When the store cannot be read; `batch` is as it was then.
    pub async fn intern(&self, batch: &mut Batch, ns: u8, name: &str) -> Result<u64, ReadError> {
        loop {
            let settled = self.names.settled.load(Ordering::Acquire);
            if let Some(nid) = self.lookup(ns, name).await? {
                return Ok(nid);
            }
            if let Some(nid) = self.carry(batch, ns, name, settled) {
                return Ok(nid);
            }
        }
    }

    /// The name of a number that was committed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn resolve(&self, ns: u8, nid: u64) -> Result<Option<Arc<str>>, ReadError> {
        if let Some(name) = self.names.names.get(&(ns, nid)) {
            return Ok(Some(name));
        }
        let Some(name) = self.view().get(&NAMES, &(ns, nid)).await? else { return Ok(None) };
        let name = Arc::from(name);
        self.names.remember(ns, nid, &name);
        Ok(Some(name))
    }

    /// The names of many numbers, in their order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn resolve_many(&self, ns: u8, nids: &[u64]) -> Result<Vec<Option<Arc<str>>>, ReadError> {
        let mut names: Vec<Option<Arc<str>>> = nids.iter().map(|nid| self.names.names.get(&(ns, *nid))).collect();
        let unknown: Vec<usize> = (0..nids.len()).filter(|at| names[*at].is_none()).collect();
        if unknown.is_empty() {
            return Ok(names);
        }
        let keys: Vec<(u8, u64)> = unknown.iter().map(|at| (ns, nids[*at])).collect();
        let found = self.view().multi_get(&NAMES, &keys).await?;
        for (at, name) in unknown.into_iter().zip(found) {
            names[at] = name.map(Arc::from);
            if let Some(name) = &names[at] {
                self.names.remember(ns, nids[at], name);
            }
        }
        Ok(names)
    }

    /// Puts the mapping of an uncommitted name into the batch. None if names were committed since `settled` was read:
    /// this one may be among them.
    fn carry(&self, batch: &mut Batch, ns: u8, name: &str, settled: u64) -> Option<u64> {
        let name: Arc<str> = Arc::from(name);
        let (nid, carried) = {
            let mut pending = self.names.pending.lock();
            if self.names.settled.load(Ordering::Acquire) != settled {
                return None;
            }
            pending.enter(Name(ns, Arc::clone(&name)))
        };
        batch.put(&NIDS, &(ns, self.hash(ns, &name)), &nid);
        batch.put(&NAMES, &(ns, nid), &String::from(&*name));
        let names = Arc::clone(&self.names);
        batch.on_commit(move |_| {
            names.settle(ns, nid, &name);
            drop(carried);
        });
        Some(nid)
    }

    fn view(&self) -> View {
        View::latest(Arc::clone(&self.core))
    }

    fn hash(&self, ns: u8, name: &str) -> Hash16 {
        self.core.keyring().keyed_hash([HASH_DOMAIN, ns], name.as_bytes())
    }
}

impl Pending {
    /// The number of a pending name, new if need be, and the sign that one more batch carries it.
    fn enter(&mut self, name: Name) -> (u64, Arc<Carried>) {
        if let Some((nid, carried)) = self.names.get_mut(&name) {
            let sign = carried.upgrade().unwrap_or_else(|| Arc::new(Carried));
            *carried = Arc::downgrade(&sign);
            return (*nid, sign);
        }
        if self.names.len() >= NAMES_PENDING_MAX {
            self.names.retain(|_, (_, carried)| carried.strong_count() > 0);
        }
        let last = self.last.entry(name.0).or_insert(0);
        *last += 1;
        let nid = *last;
        let sign = Arc::new(Carried);
        self.names.insert(name, (nid, Arc::downgrade(&sign)));
        (nid, sign)
    }
}

impl fmt::Debug for Interner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interner").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_names_are_bounded_by_the_batches_that_carry_them() {
        let mut pending = Pending::default();
        let name = |number: usize| Name(1, Arc::from(number.to_string()));
        let (first, carried) = pending.enter(name(0));
        for number in 1..NAMES_PENDING_MAX {
            // The batch is dropped at once.
            drop(pending.enter(name(number)));
        }
        assert_eq!(pending.enter(name(7)).0, 8, "not committed, not forgotten");
        assert_eq!(pending.enter(name(NAMES_PENDING_MAX)).0, NAMES_PENDING_MAX as u64 + 1);
        assert_eq!(pending.names.len(), 2);
        assert_eq!(pending.enter(name(0)).0, first);
        drop(carried);
        assert_eq!(pending.enter(name(7)).0, NAMES_PENDING_MAX as u64 + 2, "a number is never given twice");
    }
}

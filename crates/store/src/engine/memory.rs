//! The engine of unit tests: ordered maps in memory, with versions for snapshots.

use std::{collections::BTreeMap, ops::Bound, path::Path, sync::Arc};

use parking_lot::{Mutex, RwLock};

use super::{Change, Engine, Fault, Range, Reach, Read, Row};
use crate::Profile;

/// A row's values by the number of the write that set them, oldest first; none is a deletion.
type History = Vec<(u64, Option<Vec<u8>>)>;

#[derive(Debug, Default)]
struct Rows {
    /// Writes so far.
    writes: u64,
    families: BTreeMap<Profile, BTreeMap<Vec<u8>, History>>,
}

/// Which writes snapshots still look at: number of snapshots by number of writes.
type Pins = BTreeMap<u64, usize>;

/// Rows in memory. Clones share them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Memory {
    rows: Arc<RwLock<Rows>>,
    pins: Arc<Mutex<Pins>>,
}

/// The rows as of some write.
#[derive(Debug)]
struct MemorySnapshot {
    memory: Memory,
    writes: u64,
}

impl Drop for MemorySnapshot {
    fn drop(&mut self) {
        let mut pins = self.memory.pins.lock();
        if let Some(count) = pins.get_mut(&self.writes) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.writes);
            }
        }
    }
}

/// The value that a reader of the first `writes` writes sees.
fn visible(history: &History, writes: u64) -> Option<&Vec<u8>> {
    history.iter().rev().find(|(written, _)| *written <= writes).and_then(|(_, value)| value.as_ref())
}

impl Rows {
    fn get(&self, profile: Profile, key: &[u8], writes: u64) -> Option<Vec<u8>> {
        visible(self.families.get(&profile)?.get(key)?, writes).cloned()
    }

    fn scan(&self, range: &Range, writes: u64, row: &mut Row<'_>) {
        let Some(family) = self.families.get(&range.profile) else { return };
        if range.start >= range.end {
            return;
        }
        let rows = family
            .range::<[u8], _>((Bound::Included(range.start.as_slice()), Bound::Excluded(range.end.as_slice())))
            .map(|(key, history)| (key, visible(history, writes)));
        let mut show = |(key, value): (&Vec<u8>, Option<&Vec<u8>>)| value.map(|value| row(key, value));
        if range.reverse {
            rows.rev().filter_map(&mut show).take(range.limit).for_each(drop);
        } else {
            rows.filter_map(&mut show).take(range.limit).for_each(drop);
        }
    }

    /// Sets a value, and forgets those that neither new readers nor snapshots since `pinned` can see.
    fn set(&mut self, profile: Profile, key: &[u8], value: Option<Vec<u8>>, pinned: u64) {
        let history = self.families.entry(profile).or_default().entry(key.to_vec()).or_default();
        if let Some(oldest) = history.iter().rposition(|(written, _)| *written <= pinned) {
            history.drain(..oldest);
        }
        history.push((self.writes, value));
    }

    fn keys(&self, profile: Profile, start: &[u8], end: &[u8]) -> Vec<Vec<u8>> {
        let Some(family) = self.families.get(&profile) else { return Vec::new() };
        family.range::<[u8], _>((Bound::Included(start), Bound::Excluded(end))).map(|(key, _)| key.clone()).collect()
    }
}

impl Read for Memory {
    fn get(&self, profile: Profile, key: &[u8], _: Reach) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.rows.read().get(profile, key, u64::MAX))
    }

    fn multi_get(&self, profile: Profile, keys: &[Vec<u8>], _: Reach) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let rows = self.rows.read();
        Ok(keys.iter().map(|key| rows.get(profile, key, u64::MAX)).collect())
    }

    fn scan(&self, range: &Range, _: Reach, row: &mut Row<'_>) -> Result<(), Fault> {
        self.rows.read().scan(range, u64::MAX, row);
        Ok(())
    }
}

impl Read for MemorySnapshot {
    fn get(&self, profile: Profile, key: &[u8], _: Reach) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.memory.rows.read().get(profile, key, self.writes))
    }

    fn multi_get(&self, profile: Profile, keys: &[Vec<u8>], _: Reach) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let rows = self.memory.rows.read();
        Ok(keys.iter().map(|key| rows.get(profile, key, self.writes)).collect())
    }

    fn scan(&self, range: &Range, _: Reach, row: &mut Row<'_>) -> Result<(), Fault> {
        self.memory.rows.read().scan(range, self.writes, row);
        Ok(())
    }
}

impl Engine for Memory {
    fn write(&self, changes: &mut dyn Iterator<Item = Change<'_>>, _: bool) -> Result<(), Fault> {
        let mut rows = self.rows.write();
        let pinned = self.pins.lock().keys().next().copied().unwrap_or(rows.writes);
        rows.writes += 1;
        for change in changes {
            match change {
                Change::Put { profile, key, value } => rows.set(profile, key, Some(value.to_vec()), pinned),
                Change::Delete { profile, key } => rows.set(profile, key, None, pinned),
                Change::DeleteRange { profile, start, end } => {
                    for key in rows.keys(profile, start, end) {
                        rows.set(profile, &key, None, pinned);
                    }
                }
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn Read> {
        let rows = self.rows.read();
        *self.pins.lock().entry(rows.writes).or_default() += 1;
        Arc::new(MemorySnapshot { memory: self.clone(), writes: rows.writes })
    }

    fn checkpoint(&self, _: &Path) -> Result<(), Fault> {
        Err(Fault::Engine("the in-memory engine has nothing to copy".into()))
    }

    fn purge(&self, _: Profile, _: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Fault> {
        Ok(())
    }

    fn compact(&self, _: Profile, _: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Fault> {
        Ok(())
    }

    fn flush(&self) -> Result<(), Fault> {
        Ok(())
    }
}

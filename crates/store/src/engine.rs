//! What the store asks of an engine: ordered bytes, consistent snapshots, atomic writes.
//!
//! Keys arrive complete (table id first), values sealed. Engines know nothing of either.

mod memory;
mod rocks;

use std::{path::Path, sync::Arc};

pub(crate) use memory::Memory;
pub(crate) use rocks::{OpenFault, Rocks};

use crate::Profile;

/// Why the engine did not do it.
#[derive(Debug, Clone, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The answer is not in memory and [`Reach::Memory`] was asked for.
    Incomplete,
    /// No space left on the device.
    NoSpace,
    /// Anything else, in the engine's words (which name no stored data).
    Engine(Arc<str>),
}

/// How far a read may go.
#[derive(Debug, Copy, Clone, Eq, PartialEq)]
pub(crate) enum Reach {
    /// What is in memory; never blocks.
    Memory,
    /// The disk if need be.
    Disk,
}

/// A range of keys to read.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) profile: Profile,
    /// First key.
    pub(crate) start: Vec<u8>,
    /// First key beyond.
    pub(crate) end: Vec<u8>,
    pub(crate) reverse: bool,
    pub(crate) limit: usize,
}

/// Receives the rows of a scan; keys and values are the engine's own memory.
pub(crate) type Row<'a> = dyn FnMut(&[u8], &[u8]) + 'a;

/// Something to read from: the newest data, or a snapshot.
pub(crate) trait Read: Send + Sync {
    /// The value of one key.
    fn get(&self, profile: Profile, key: &[u8], reach: Reach) -> Result<Option<Vec<u8>>, Fault>;

    /// The values of many keys, in their order.
    fn multi_get(&self, profile: Profile, keys: &[Vec<u8>], reach: Reach) -> Result<Vec<Option<Vec<u8>>>, Fault>;

    /// Hands the rows of a range to `row`, in order, up to the limit.
    fn scan(&self, range: &Range, reach: Reach, row: &mut Row<'_>) -> Result<(), Fault>;
}

/// One change of a group.
#[derive(Debug, Copy, Clone)]
pub(crate) enum Change<'a> {
    Put { profile: Profile, key: &'a [u8], value: &'a [u8] },
    Delete { profile: Profile, key: &'a [u8] },
    DeleteRange { profile: Profile, start: &'a [u8], end: &'a [u8] },
}

/// A place to keep things.
pub(crate) trait Engine: Read {
    /// Applies all changes or none; on stable storage when it returns, if `sync`.
    fn write(&self, changes: &mut dyn Iterator<Item = Change<'_>>, sync: bool) -> Result<(), Fault>;

    /// The data as it is now, unmoved by later writes.
    fn snapshot(&self) -> Arc<dyn Read>;

    /// Copies the data as it is now into a new directory, while writes go on.
    fn checkpoint(&self, dir: &Path) -> Result<(), Fault>;

    /// Takes what was deleted in these ranges (first key, first key beyond) out of the files, and checks that the files
    /// that held it are gone.
    fn purge(&self, profile: Profile, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Fault>;

    /// Rewrites the files that hold these ranges (first key, first key beyond) without what was deleted or written over
    /// there. What is wrong with a file is not told here, but when it is read.
    fn compact(&self, profile: Profile, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Fault>;

    /// Puts what is only in memory and log into tables, so that the next open is quick.
    fn flush(&self) -> Result<(), Fault>;
}

//! RocksDB, one column family per access profile.

mod purge;
mod snapshot;
mod tuning;

use std::{path::Path, sync::Arc};

use rocksdb::{
    BottommostLevelCompaction, ColumnFamily, CompactOptions, DB, DBPinnableSlice, ErrorKind, FlushOptions, ReadOptions,
    ReadTier, WriteBatch, WriteOptions, checkpoint::Checkpoint,
};

use self::{
    purge::Files,
    snapshot::{BorrowedSnapshot, OwnedSnapshot},
    tuning::TABLE_BYTES,
};
use super::{Change, Engine, Fault, Range, Reach, Read, Row};
use crate::{Options, Profile};

/// Memory of a database of keys: blocks, and what is not yet in tables.
const KEYS_CACHE_BYTES: usize = 4 << 20;
const KEYS_WRITE_BUFFER_BYTES: usize = 2 << 20;
/// Size of its tables, about ten thousand keys.
const KEYS_TABLE_BYTES: u64 = 1 << 20;

/// Why the database does not open.
#[derive(Debug, Clone, Eq, PartialEq)]
pub(crate) enum OpenFault {
    /// Somebody has it open.
    Locked,
    Fault(Fault),
}

impl From<rocksdb::Error> for Fault {
    fn from(error: rocksdb::Error) -> Self {
        match error.kind() {
            ErrorKind::Incomplete => Self::Incomplete,
            // The subcode is only in the text.
            _ if error.as_ref().contains("No space left") || error.as_ref().contains("NoSpace") => Self::NoSpace,
            _ => Self::Engine(error.into_string().into()),
        }
    }
}

/// The open database.
#[derive(Debug)]
pub(crate) struct Rocks {
    db: Arc<DB>,
    /// The families that it has.
    profiles: &'static [Profile],
}

impl Rocks {
    pub(crate) fn open(dir: &Path, options: &Options) -> Result<Self, OpenFault> {
        Self::open_with(dir, options, &Profile::ALL, TABLE_BYTES)
    }

    /// Opens a database for keys only: small, and with small tables, so that taking a key out rewrites little.
    pub(crate) fn open_keys(dir: &Path) -> Result<Self, OpenFault> {
        let options = Options {
            block_cache_bytes: KEYS_CACHE_BYTES,
            write_buffer_bytes: KEYS_WRITE_BUFFER_BYTES,
            ..Options::default()
        };
        Self::open_with(dir, &options, &[Profile::Point], KEYS_TABLE_BYTES)
    }

    fn open_with(
        dir: &Path,
        options: &Options,
        profiles: &'static [Profile],
        table_bytes: u64,
    ) -> Result<Self, OpenFault> {
        let (db_options, families) = tuning::tune(options, profiles, table_bytes);
        match DB::open_cf_descriptors(&db_options, dir, families) {
            Ok(db) => Ok(Self { db: Arc::new(db), profiles }),
            Err(error) if error.as_ref().contains("/LOCK") || error.as_ref().contains("lock hold") => {
                Err(OpenFault::Locked)
            }
            Err(error) => Err(OpenFault::Fault(error.into())),
        }
    }
}

impl Rocks {
    /// Merges the tables of these ranges down to the last level.
    fn rewrite(&self, profile: Profile, ranges: &[(Vec<u8>, Vec<u8>)], alone: bool) -> Result<(), Fault> {
        // Once every family is flushed, no log is needed, and those with rows that are gone go.
        self.flush()?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        options.set_exclusive_manual_compaction(alone);
        for (start, end) in ranges {
            self.db.compact_range_cf_opt(family(&self.db, profile)?, Some(start), Some(end), &options);
        }
        Ok(())
    }
}

fn family(db: &DB, profile: Profile) -> Result<&ColumnFamily, Fault> {
    db.cf_handle(profile.name()).ok_or_else(|| Fault::Engine("a column family is missing".into()))
}

/// Options of a read; `snapshot` unless it is of the newest data.
fn read_options(reach: Reach, snapshot: Option<&BorrowedSnapshot<'_>>) -> ReadOptions {
    let mut options = ReadOptions::default();
    if reach == Reach::Memory {
        options.set_read_tier(ReadTier::BlockCache);
    }
    if let Some(snapshot) = snapshot {
        options.set_snapshot(snapshot);
    }
    options
}

fn get(db: &DB, options: &ReadOptions, profile: Profile, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    Ok(db.get_pinned_cf_opt(family(db, profile)?, key, options)?.map(|value| value.to_vec()))
}

fn multi_get(
    db: &DB,
    options: &ReadOptions,
    profile: Profile,
    keys: &[Vec<u8>],
) -> Result<Vec<Option<Vec<u8>>>, Fault> {
    let values = db.batched_multi_get_cf_opt(family(db, profile)?, keys, false, options);
    let read = |value: Result<Option<DBPinnableSlice<'_>>, rocksdb::Error>| match value? {
        // Where a key leads to a block that is not in memory, RocksDB (10.4.2) says so by an empty value instead of a
        // status. No sealed value is empty.
        Some(value) if value.is_empty() => Err(Fault::Incomplete),
        value => Ok(value.map(|value| value.to_vec())),
    };
    values.into_iter().map(read).collect()
}

fn scan(db: &DB, mut options: ReadOptions, range: &Range, row: &mut Row<'_>) -> Result<(), Fault> {
    if range.start >= range.end {
        return Ok(());
    }
    options.set_iterate_lower_bound(range.start.as_slice());
    options.set_iterate_upper_bound(range.end.as_slice());
    let mut rows = db.raw_iterator_cf_opt(family(db, range.profile)?, options);
    if range.reverse {
        rows.seek_to_last();
    } else {
        rows.seek_to_first();
    }
    for _ in 0..range.limit {
        let Some((key, value)) = rows.item() else { break };
        row(key, value);
        if range.reverse { rows.prev() } else { rows.next() }
    }
    // An iterator ends alike at the end of the range and at an error.
    Ok(rows.status()?)
}

impl Read for Rocks {
    fn get(&self, profile: Profile, key: &[u8], reach: Reach) -> Result<Option<Vec<u8>>, Fault> {
        get(&self.db, &read_options(reach, None), profile, key)
    }

    fn multi_get(&self, profile: Profile, keys: &[Vec<u8>], reach: Reach) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        multi_get(&self.db, &read_options(reach, None), profile, keys)
    }

    fn scan(&self, range: &Range, reach: Reach, row: &mut Row<'_>) -> Result<(), Fault> {
        scan(&self.db, read_options(reach, None), range, row)
    }
}

impl Engine for Rocks {
    fn write(&self, changes: &mut dyn Iterator<Item = Change<'_>>, sync: bool) -> Result<(), Fault> {
        let mut batch = WriteBatch::default();
        for change in changes {
            match change {
                Change::Put { profile, key, value } => batch.put_cf(family(&self.db, profile)?, key, value),
                Change::Delete { profile, key } => batch.delete_cf(family(&self.db, profile)?, key),
                Change::DeleteRange { profile, start, end } => {
                    batch.delete_range_cf(family(&self.db, profile)?, start, end);
                }
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        Ok(self.db.write_opt(batch, &options)?)
    }

    fn snapshot(&self) -> Arc<dyn Read> {
        Arc::new(OwnedSnapshot::new(Arc::clone(&self.db), |db| db.snapshot()))
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), Fault> {
        Ok(Checkpoint::new(&*self.db)?.create_checkpoint(dir)?)
    }

    fn purge(&self, profile: Profile, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Fault> {
        let before = Files::of(&self.db)?;
        self.rewrite(profile, ranges, true)?;
        before.check_purged(&self.db, profile, ranges)
    }

    fn compact(&self, profile: Profile, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Fault> {
        // What writes need goes on meanwhile.
        self.rewrite(profile, ranges, false)
    }

    fn flush(&self) -> Result<(), Fault> {
        let families = self.profiles.iter().map(|profile| family(&self.db, *profile));
        let families = families.collect::<Result<Vec<_>, _>>()?;
        Ok(self.db.flush_cfs_opt(&families, &FlushOptions::default())?)
    }
}

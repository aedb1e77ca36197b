//! Whether what was deleted is out of the files.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs, thread,
    time::{Duration, Instant},
};

use rocksdb::DB;

use super::Fault;
use crate::Profile;

/// RocksDB unlinks files that nobody needs any more soon after the work that replaced them.
const UNLINKED_WITHIN: Duration = Duration::from_secs(10);
/// How often is looked whether they are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The files of a database that hold rows: tables, and logs that are not empty.
pub(super) struct Files {
    tables: HashSet<OsString>,
    logs: HashSet<OsString>,
}

impl Files {
    pub(super) fn of(db: &DB) -> Result<Self, Fault> {
        let (mut tables, mut logs) = (HashSet::new(), HashSet::new());
        for entry in fs::read_dir(db.path()).map_err(|error| fault(&error))? {
            let entry = entry.map_err(|error| fault(&error))?;
            let name = entry.file_name();
            match name.to_str().and_then(|name| name.rsplit_once('.')).map(|(_, end)| end) {
                Some("sst") => drop(tables.insert(name)),
                // One that vanishes meanwhile is none.
                Some("log") if entry.metadata().is_ok_and(|file| file.len() > 0) => drop(logs.insert(name)),
                _ => {}
            }
        }
        Ok(Self { tables, logs })
    }

    /// Checks, after these files were rewritten, that no table of the ranges notes deletions any more, which stand with
    /// what they delete, and waits until those of the files that nobody needs are gone.
    pub(super) fn check_purged(self, db: &DB, profile: Profile, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Fault> {
        let live = db.live_files()?;
        let remains = live.iter().any(|file| {
            let (Some(first), Some(last)) = (&file.start_key, &file.end_key) else { return false };
            file.num_deletions > 0
                && file.column_family_name == profile.name()
                && ranges.iter().any(|(start, end)| first < end && start <= last)
        });
        if remains {
            return Err(Fault::Engine("deleted rows could not be taken out of the files".into()));
        }
        let needed: HashSet<OsString> = live.iter().map(|file| file.name.trim_start_matches('/').into()).collect();
        let waited = Instant::now();
        loop {
            let now = Self::of(db)?;
            let lingering = now.tables.iter().any(|name| self.tables.contains(name) && !needed.contains(name));
            if !lingering && now.logs.is_disjoint(&self.logs) {
                return Ok(());
            }
            if waited.elapsed() > UNLINKED_WITHIN {
                return Err(Fault::Engine("files with deleted rows are still there".into()));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

fn fault(error: &std::io::Error) -> Fault {
    Fault::Engine(error.to_string().into())
}

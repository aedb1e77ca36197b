//! Copies of the vault, and how an older one is brought up to a newer journal.

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use super::{
    Contents, Kept, Vault, VaultPlace,
    journal::Journal,
    opening::{ENGINE_DIR, JOURNAL_FILE, KEPT_FILE, bad_journal},
};
use crate::{CheckpointError, MasterKey, OpenError};

/// What a copy of the keys is.
#[derive(Debug, Copy, Clone, Eq, PartialEq)]
pub struct KeysCopy {
    /// Which store they belong to.
    pub store_id: [u8; 16],
    /// Destructions that the journal tells of.
    pub destructions: u64,
}

impl Vault {
    /// Copies keys and journal as they are now into a new directory. Keys may be made meanwhile, none destroyed.
    pub(crate) fn copy(&self, dir: &Path) -> Result<KeysCopy, CheckpointError> {
        let _files = self.files.lock();
        self.erase_deleted()?;
        let state = &mut *self.state.lock();
        if !state.undeleted.is_empty() {
            return Err(CheckpointError("keys that were destroyed could not be deleted".into()));
        }
        let now = self.now_unix_seconds();
        let Some(journal) = &mut state.journal else {
            return Err(CheckpointError("keys in memory cannot be copied".into()));
        };
        DirBuilder::new().mode(0o700).create(dir)?;
        journal.milestone(now)?;
        journal.copy(&dir.join(JOURNAL_FILE))?;
        if let Kept::File(kept) = &*self.kept.lock() {
            kept.copy(&dir.join(KEPT_FILE))?;
        }
        self.engine.checkpoint(&dir.join(ENGINE_DIR))?;
        File::open(dir)?.sync_all()?;
        Ok(KeysCopy { store_id: self.store_id, destructions: journal.count() })
    }
}

/// Brings a copy of the keys up to a newer journal of the same store: destroys what was destroyed since the copy was
/// made, and takes over what was kept since, from the file that lies beside that journal. Without a journal, only finishes
/// what the own one says. A crash in between is repaired by doing it again.
///
/// # Errors
/// When the copy or the journal cannot be read, or the journal does not continue that of the copy.
pub fn replay_journal(
    keys: &Path,
    master: &MasterKey,
    journal: Option<&Path>,
    now_unix_seconds: u64,
) -> Result<KeysCopy, OpenError> {
    let own = keys.join(JOURNAL_FILE);
    if let Some(journal) = journal {
        let read = |path: &Path| Contents::read(path, &master.journal_key()).map_err(bad_journal);
        let newer = read(journal)?;
        if !newer.continues(&read(&own)?) {
            return Err(OpenError::Journal("it does not continue the one that lies with the keys".into()));
        }
        let new = own.with_extension("new");
        fs::copy(journal, &new)?;
        File::open(&new)?.sync_all()?;
        fs::rename(&new, &own)?;
        File::open(keys)?.sync_all()?;
    }
    // Opening carries out what the journal says.
    let vault = VaultPlace { dir: Some(keys), master, now_unix_seconds }.open_alone()?;
    if let (Some(beside), Kept::File(kept)) = (journal.and_then(Path::parent), &mut *vault.kept.lock()) {
        kept.take_over(&beside.join(KEPT_FILE)).map_err(bad_journal)?;
    }
    let destructions = vault.state.lock().journal.as_ref().map_or(0, Journal::count);
    Ok(KeysCopy { store_id: vault.store_id, destructions })
}

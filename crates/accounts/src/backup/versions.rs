//! Versions of a user's backup.

use serde_json::value::RawValue;
use wardroom_store::{Batch, DataKey, Packed, Position, Scan, View};

use super::{
    BACKUP_AUTH_DATA_BYTES_MAX, BACKUP_NAME_BYTES_MAX, BACKUP_VERSIONS_MAX, BackupError, KeyChoice, check_bytes, raw,
    tables::{BACKUP_KEYS, BACKUP_VERSIONS, BACKUPS, BackupsRow, VersionRow},
};
use crate::{
    AccountError, Accounts, UserNid,
    error::{CONFLICT_ROUNDS_MAX, settled},
};

/// What a version is and holds.
#[derive(Clone, Debug)]
pub struct BackupInfo {
    /// The version's name.
    pub version: String,
    /// How its keys are encrypted.
    pub algorithm: String,
    /// With what, opaque to servers.
    pub auth_data: Box<RawValue>,
    /// How many keys it holds, and in which state.
    pub state: BackupState,
}

/// How many keys a version holds; another etag means other keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupState {
    /// Number of keys.
    pub count: u64,
    /// Changes with every change to the keys.
    pub etag: String,
}

/// A user's row and the version that an operation is about, as they were read.
pub(super) struct Opened {
    pub(super) backups: BackupsRow,
    /// Of the user's row: whatever changes expects it.
    pub(super) read_at: Position,
    pub(super) version: u64,
    pub(super) row: VersionRow,
}

impl VersionRow {
    pub(super) fn state(&self) -> BackupState {
        BackupState { count: self.count, etag: self.etag.to_string() }
    }
}

/// The number of a version's name; `None` when no version was ever named so.
pub(super) fn number(version: &str) -> Option<u64> {
    version.parse().ok().filter(|number: &u64| number.to_string() == version)
}

fn check_config(algorithm: &str, auth_data: &RawValue) -> Result<(), BackupError> {
    check_bytes("The length of `algorithm`, in bytes,", algorithm.len(), BACKUP_NAME_BYTES_MAX)?;
    check_bytes("The size of `auth_data`, in bytes,", auth_data.get().len(), BACKUP_AUTH_DATA_BYTES_MAX)
}

impl Accounts {
    /// Makes a new version, which is the current one from now on; answers its name.
    ///
    /// # Errors
    /// [`AccountError::Limit`], or the store's.
    pub async fn create_backup(
        &self,
        user: UserNid,
        algorithm: &str,
        auth_data: &RawValue,
    ) -> Result<String, BackupError> {
        check_config(algorithm, auth_data)?;
        let _writer = self.0.backups.writer(user).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let view = self.0.store.latest();
            let stored = view.get_versioned(&BACKUPS, &user.get()).await?;
            let read_at = stored.as_ref().map(|(_, version)| *version);
            let mut backups = stored.map(|(Packed(row), _)| row).unwrap_or_default();
            let scan = Scan::prefix(&user.get()).limit(BACKUP_VERSIONS_MAX);
            if view.scan_keys(&BACKUP_VERSIONS, scan).await?.len() >= BACKUP_VERSIONS_MAX {
                let what = "The number of your key backup versions";
                return Err(AccountError::Limit { what, limit: BACKUP_VERSIONS_MAX }.into());
            }
            backups.last_version += 1;
            let row = VersionRow {
                algorithm: algorithm.to_owned(),
                auth_data: auth_data.get().to_owned(),
                count: 0,
                etag: 0,
            };
            let mut batch = Batch::default();
            batch.expect_version(&BACKUPS, &user.get(), read_at);
            batch.put(&BACKUPS, &user.get(), &Packed(backups));
            let person = self.person_key(user).await?;
            batch.put_sealed(&BACKUP_VERSIONS, &(user.get(), backups.last_version), &Packed(row), &person);
            self.record_backup(&mut batch, user, backups.last_version, "backup.create").await?;
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(backups.last_version.to_string());
            }
        }
        Err(AccountError::Contended.into())
    }

    /// A version, or the current one.
    ///
    /// # Errors
    /// [`BackupError::UnknownVersion`] or [`BackupError::NoBackup`], or the store's.
    pub async fn backup(&self, user: UserNid, version: Option<&str>) -> Result<BackupInfo, BackupError> {
        let view = self.0.store.latest();
        let (number, row) = match version {
            Some(version) => version_row(&view, user, version).await?,
            None => current(&view, user).await?.ok_or(BackupError::NoBackup)?,
        };
        let state = row.state();
        let auth_data = raw(row.auth_data)?;
        Ok(BackupInfo { version: number.to_string(), algorithm: row.algorithm, auth_data, state })
    }

    /// Replaces the `auth_data` of a version; its algorithm stays.
    ///
    /// # Errors
    /// [`BackupError::UnknownVersion`], [`AccountError::Invalid`] for another algorithm, [`AccountError::Limit`], or the
    /// store's.
    pub async fn update_backup(
        &self,
        user: UserNid,
        version: &str,
        algorithm: &str,
        auth_data: &RawValue,
    ) -> Result<(), BackupError> {
        check_config(algorithm, auth_data)?;
        let _writer = self.0.backups.writer(user).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let mut opened = self.open_backup(user, version).await?;
            if opened.row.algorithm != algorithm {
                let problem = "is not the algorithm of this backup version";
                return Err(AccountError::Invalid { field: "algorithm", problem }.into());
            }
            auth_data.get().clone_into(&mut opened.row.auth_data);
            if settled(self.0.store.commit(opened.rewritten(user, &self.person_key(user).await?)).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended.into())
    }

    /// Deletes a version with all its keys. One that was deleted before is deleted.
    ///
    /// # Errors
    /// [`BackupError::UnknownVersion`] when there never was one, or the store's.
    pub async fn delete_backup(&self, user: UserNid, version: &str) -> Result<(), BackupError> {
        let _writer = self.0.backups.writer(user).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let mut opened = match self.open_backup(user, version).await {
                Err(BackupError::UnknownVersion) if self.was_backup(user, version).await? => return Ok(()),
                opened => opened?,
            };
            let mut batch = Batch::default();
            opened.backups.keys = opened.backups.keys.saturating_sub(opened.row.count);
            self.purge_keys(&mut batch, user, opened.version, KeyChoice::All, opened.row.count).await?;
            batch.expect_version(&BACKUPS, &user.get(), Some(opened.read_at));
            batch.put(&BACKUPS, &user.get(), &Packed(opened.backups));
            batch.delete(&BACKUP_VERSIONS, &(user.get(), opened.version));
            self.record_backup(&mut batch, user, opened.version, "backup.delete").await?;
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended.into())
    }

    /// Adds the end of everything that a user has in backups to the batch.
    pub(crate) fn end_backups(batch: &mut Batch, user: UserNid) {
        batch.delete(&BACKUPS, &user.get());
        batch.delete_prefix(&BACKUP_VERSIONS, &user.get());
        batch.delete_prefix(&BACKUP_KEYS, &user.get());
    }

    /// A version for a change.
    pub(super) async fn open_backup(&self, user: UserNid, version: &str) -> Result<Opened, BackupError> {
        let view = self.0.store.latest();
        // The user's row first: whatever changed after this look at it, the commit finds out.
        let found = view.get_versioned(&BACKUPS, &user.get()).await?;
        let (Packed(backups), read_at) = found.ok_or(BackupError::UnknownVersion)?;
        let (version, row) = version_row(&view, user, version).await?;
        Ok(Opened { backups, read_at, version, row })
    }

    /// The current version for new keys, which must be `version`.
    pub(super) async fn open_current_backup(&self, user: UserNid, version: &str) -> Result<Opened, BackupError> {
        let view = self.0.store.latest();
        let found = view.get_versioned(&BACKUPS, &user.get()).await?;
        let (Packed(backups), read_at) = found.ok_or(BackupError::NoBackup)?;
        let (current, row) = current(&view, user).await?.ok_or(BackupError::NoBackup)?;
        if number(version) != Some(current) {
            return Err(BackupError::WrongVersion { current: current.to_string() });
        }
        Ok(Opened { backups, read_at, version: current, row })
    }

    async fn was_backup(&self, user: UserNid, version: &str) -> Result<bool, BackupError> {
        let Some(number) = number(version) else { return Ok(false) };
        let found = self.0.store.latest().get(&BACKUPS, &user.get()).await?;
        Ok(found.is_some_and(|Packed(row)| (1..=row.last_version).contains(&number)))
    }
}

impl Opened {
    /// A batch with both rows as they are now.
    pub(super) fn rewritten(&self, user: UserNid, person: &DataKey) -> Batch {
        let mut batch = Batch::default();
        batch.expect_version(&BACKUPS, &user.get(), Some(self.read_at));
        batch.put(&BACKUPS, &user.get(), &Packed(self.backups));
        batch.put_sealed(&BACKUP_VERSIONS, &(user.get(), self.version), &Packed(self.row.clone()), person);
        batch
    }
}

/// A version by its name.
pub(super) async fn version_row(view: &View, user: UserNid, version: &str) -> Result<(u64, VersionRow), BackupError> {
    let number = number(version).ok_or(BackupError::UnknownVersion)?;
    let row = view.get(&BACKUP_VERSIONS, &(user.get(), number)).await?;
    let Packed(row) = row.ok_or(BackupError::UnknownVersion)?;
    Ok((number, row))
}

/// The newest version that is there.
async fn current(view: &View, user: UserNid) -> Result<Option<(u64, VersionRow)>, BackupError> {
    let newest = view.scan(&BACKUP_VERSIONS, Scan::prefix(&user.get()).reverse().limit(1)).await?;
    Ok(newest.into_iter().next().map(|((_, number), Packed(row))| (number, row)))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_version_has_one_name() {
        assert_eq!(number("12"), Some(12));
        for other in ["", "012", "+1", "-1", " 1", "1.0", "x", "99999999999999999999999"] {
            assert_eq!(number(other), None, "{other:?}");
        }
    }
}

//! Key backups: section "Server-side key backups". What devices encrypted for their user's other devices, in versions
//! of which only the newest is written to.
//!
//! Invariants:
//! - Every change to a user's backups rewrites the user's row of `backups` and expects the one that was read: counts
//!   and etags are those of the keys that are there.
//! - A version's number is never given out again, so that a device with an old version writes into nobody's new one.
//! - What goes, goes in the batch that says so: keys of a deleted version are never found again.

mod ending;
mod keys;
mod tables;
mod versions;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{Mutex, MutexGuard};
use wardroom_store::{CommitError, ReadError};

pub(crate) use self::tables::{BACKUP_KEYS, BACKUP_VERSIONS, BACKUPS};
pub use self::{
    keys::{BackupCursor, BackupKey, BackupPage, KeyChoice},
    versions::{BackupInfo, BackupState},
};
use crate::{AccountError, UserNid};

/// Versions that one user may have at the same time.
pub const BACKUP_VERSIONS_MAX: usize = 100;
/// Keys in all versions of one user.
pub const BACKUP_KEYS_PER_USER_MAX: u64 = 500_000;
/// Keys in one request.
pub const BACKUP_KEYS_PER_REQUEST_MAX: usize = 5_000;
/// Largest `session_data` of a key, in bytes of JSON; that of a session which was never forwarded has about 600.
pub const BACKUP_SESSION_BYTES_MAX: usize = 16 * 1_024;
/// Largest `auth_data` of a version, in bytes of JSON.
pub const BACKUP_AUTH_DATA_BYTES_MAX: usize = 32 * 1_024;
/// Longest `algorithm`, room id and session id, in bytes.
pub const BACKUP_NAME_BYTES_MAX: usize = 255;
/// Keys in one page of what is read.
pub const BACKUP_PAGE_KEYS: usize = 256;

/// Users whose backups are written at the same time.
const STRIPES: usize = 64;

/// One writer per user (and others of the same stripe), so that a client's parallel uploads do not conflict.
pub(crate) struct BackupWriters([Mutex<()>; STRIPES]);

impl Default for BackupWriters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl BackupWriters {
    async fn writer(&self, user: UserNid) -> MutexGuard<'_, ()> {
        let stripe = usize::try_from(user.get() % STRIPES as u64).unwrap_or(0);
        self.0[stripe].lock().await
    }
}

/// A key as a client sends and receives it: `KeyBackupData` of the specification.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackupKeyData {
    /// Index of the first message that the key can decrypt.
    pub first_message_index: ruma::UInt,
    /// How many devices passed it on.
    pub forwarded_count: ruma::UInt,
    /// Whether the device that made the backup trusts where it came from.
    pub is_verified: bool,
    /// The encrypted key, opaque to servers.
    pub session_data: Box<RawValue>,
}

/// Why an operation on a key backup failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The user has no backup.
    #[error("No current backup version.")]
    NoBackup,
    /// The user has no such version.
    #[error("Unknown backup version.")]
    UnknownVersion,
    /// Keys were to be written to another version than the newest.
    #[error("version: wrong backup version.")]
    WrongVersion {
        /// The newest.
        current: String,
    },
    /// As for every account.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl From<ReadError> for BackupError {
    fn from(error: ReadError) -> Self {
        Self::Account(error.into())
    }
}

impl From<CommitError> for BackupError {
    fn from(error: CommitError) -> Self {
        Self::Account(error.into())
    }
}

/// Refuses what is longer than a limit in bytes.
fn check_bytes(what: &'static str, bytes: usize, limit: usize) -> Result<(), BackupError> {
    if bytes > limit { Err(AccountError::Limit { what, limit }.into()) } else { Ok(()) }
}

fn raw(json: String) -> Result<Box<RawValue>, BackupError> {
    RawValue::from_string(json).map_err(|_| AccountError::Damaged("key backup").into())
}

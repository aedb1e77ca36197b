//! What goes wrong.

use wardroom_store::{CommitError, ReadError};

/// Why the trail cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store cannot be read.
    #[error("the audit trail cannot be read")]
    Read(#[from] ReadError),
    /// The store cannot be written.
    #[error("the audit trail cannot be written")]
    Commit(#[source] CommitError),
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// A record is no record.
    #[error("record {0} of the audit trail is damaged")]
    Damaged(u64),
}

impl From<CommitError> for AuditError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::DiskFull => Self::DiskFull,
            error => Self::Commit(error),
        }
    }
}

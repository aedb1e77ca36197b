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
    /// A checkpoint is none.
    #[error("the checkpoint at {0} records is damaged")]
    DamagedCheckpoint(u64),
    /// Hashes are missing.
    #[error("the Merkle tree of the audit trail is damaged")]
    DamagedTree,
    /// There are fewer records than a proof is asked for.
    #[error("the audit trail has {0} records")]
    Beyond(u64),
    /// The server stops.
    #[error("the work on the audit trail was interrupted")]
    Interrupted,
}

impl From<CommitError> for AuditError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::DiskFull => Self::DiskFull,
            error => Self::Commit(error),
        }
    }
}

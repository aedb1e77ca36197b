//! What goes wrong.

use wardroom_store::{CommitError, ReadError};

/// Why a hold was not set, shown or released.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// A field is wrong; the sentence names it.
    #[error("{0}")]
    Invalid(String),
    /// There is no such hold.
    #[error("hold_id: there is no such hold.")]
    NoSuchHold,
    /// What is asked does not go together with how things are; the sentence says why.
    #[error("{0}")]
    Conflict(&'static str),
    /// As many holds are in force as there may be.
    #[error("{0} holds are in force, as many as there may be: release some first.")]
    TooMany(usize),
    /// What is being deleted at the moment did not come to a point where holds can change.
    #[error("something is being deleted at the moment: try again.")]
    Busy,
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// The store cannot be read.
    #[error("holds cannot be read")]
    Read(#[from] ReadError),
    /// The store does not take the change.
    #[error("holds cannot be written")]
    Commit(#[source] CommitError),
}

impl From<CommitError> for HoldError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::DiskFull => Self::DiskFull,
            error => Self::Commit(error),
        }
    }
}

//! Why a commit fails.

use std::sync::Arc;

use crate::{ReadError, engine::Fault, internal::KEYS, keyring::Unread, sealing::Unsealable};

/// Why a batch was not committed. Nothing of it is visible then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// A precondition does not hold.
    #[error("a row of table {table:?} is not at the expected version")]
    Conflict {
        /// The row's table.
        table: &'static str,
    },
    /// There is no space for writes; reads go on.
    #[error("the disk is full")]
    DiskFull,
    /// The batch exceeds [`crate::COMMIT_BYTES_MAX`].
    #[error("the batch is too large")]
    TooLarge,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// A data key that the batch uses was destroyed meanwhile.
    #[error("a data key for table {table:?} was destroyed")]
    KeyDestroyed {
        /// The table of the value.
        table: &'static str,
    },
    /// The catalogue does not declare this table, or the batch uses the wrong kind of data key for it.
    #[error("table {table:?} is not declared like this")]
    WrongTable {
        /// The table.
        table: &'static str,
    },
    /// Something that had to be read first could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The engine failed.
    #[error("the storage engine failed: {0}")]
    Engine(Arc<str>),
}

impl From<Fault> for CommitError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoSpace => Self::DiskFull,
            Fault::Incomplete => Self::Engine("a read was not completed".into()),
            Fault::Engine(message) => Self::Engine(message),
        }
    }
}

impl From<Unread> for CommitError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Fault(fault) => fault.into(),
            // Only keys are read by those who have no table to name.
            unread => Self::Read(unread.of(KEYS.spec().name)),
        }
    }
}

impl From<Unsealable> for CommitError {
    fn from(_: Unsealable) -> Self {
        Self::Engine("a value could not be sealed".into())
    }
}

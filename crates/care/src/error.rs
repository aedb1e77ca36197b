//! What can go wrong.

use wardroom_accounts::AccountError;
use wardroom_rooms::RoomError;
use wardroom_store::{CommitError, ReadError};

use crate::role::RoleError;

/// A failure of roles and access.
#[derive(Debug, thiserror::Error)]
pub enum CareError {
    /// A text that names no role.
    #[error("role: {0}")]
    Role(#[from] RoleError),
    /// A value that is not taken; the sentence names the field.
    #[error("{0}")]
    Invalid(String),
    /// There is no such room here.
    #[error("this server is not in that room")]
    NoSuchRoom,
    /// A source would take roles away from more users than is let pass at once.
    #[error(
        "{losing} of {held} users would lose what this source gave them: more than {percent_max} % is not let pass"
    )]
    Brake {
        /// Users who would lose something.
        losing: usize,
        /// Users to whom the source gives something now.
        held: usize,
        /// What is let pass, in percent.
        percent_max: u8,
    },
    /// What other servers have to hear could not be queued.
    #[error("other servers cannot be told: {0}")]
    Teller(String),
    /// What is asked may not be; the sentence says why.
    #[error("{0}")]
    Refused(String),
    /// What is asked does not go together with how things are; the sentence says why.
    #[error("{0}")]
    Conflict(String),
    /// There is no such emergency, or it is over.
    #[error("there is no such emergency access")]
    NoSuchEmergency,
    /// A user began as many emergencies as one may in an hour.
    #[error("you have entered rooms in an emergency too often: try again in {} minutes", retry_ms.div_ceil(60_000))]
    TooOften {
        /// How long to wait, in milliseconds.
        retry_ms: u64,
    },
    /// The rooms failed.
    #[error(transparent)]
    Rooms(#[from] RoomError),
    /// The accounts failed.
    #[error(transparent)]
    Accounts(#[from] AccountError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store did not take a change.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

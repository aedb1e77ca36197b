//! What can go wrong with other servers on this server's side, in this crate's words.

use wardroom_accounts::AccountError;
use wardroom_rooms::RoomError;
use wardroom_store::{CommitError, ReadError};

use crate::PartnerError;

/// Why something that concerns other servers failed.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// Another server could not be asked.
    #[error(transparent)]
    Partner(#[from] PartnerError),
    /// Accounts failed.
    #[error(transparent)]
    Accounts(#[from] AccountError),
    /// Rooms failed.
    #[error(transparent)]
    Rooms(#[from] RoomError),
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A message to other servers is larger than they have to take.
    #[error("the message for another server is {bytes} bytes large; at most {max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        max: usize,
    },
}

//! What can go wrong in a sync, in this crate's words.

use wardroom_accounts::AccountError;
use wardroom_push::PushError;
use wardroom_rooms::RoomError;
use wardroom_store::{CommitError, ReadError};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The user has no filter with this id.
    #[error("filter: you have no filter with this id")]
    UnknownFilter,
    /// The filter in the request is not one.
    #[error("filter: {0}")]
    BadFilter(String),
    /// The connection is not known, or not at the place that the request names: the client has to start anew.
    #[error("pos: this place in the connection is not known any more; start again without it.")]
    UnknownPos,
    /// The user's memberships changed faster than they could be read. The request can be repeated.
    #[error("the user's memberships do not rest")]
    Restless,
    /// Rooms failed.
    #[error(transparent)]
    Rooms(#[from] RoomError),
    /// Accounts failed.
    #[error(transparent)]
    Accounts(#[from] AccountError),
    /// Counting what is unread failed.
    #[error(transparent)]
    Unread(#[from] PushError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// The store could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

//! What can go wrong with notifications, in this crate's words.

use wardroom_accounts::AccountError;
use wardroom_audit::AuditError;
use wardroom_outbound::OutboundError;
use wardroom_rooms::RoomError;
use wardroom_store::{CommitError, ReadError};

/// Why something about notifications failed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// A value that has to have a certain form does not have it.
    #[error("{field}: {problem}")]
    Invalid {
        /// Name of the field in the specification.
        field: &'static str,
        /// What is wrong with it, without repeating the value.
        problem: &'static str,
    },
    /// Rooms failed.
    #[error(transparent)]
    Rooms(#[from] RoomError),
    /// Accounts failed.
    #[error(transparent)]
    Accounts(#[from] AccountError),
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// What a notification gives away could not be recorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The client for requests to push gateways could not be made.
    #[error("push gateways cannot be spoken to")]
    Outbound(#[source] OutboundError),
}

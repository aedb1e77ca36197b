//! What can go wrong in a room, in this crate's words.

use wardroom_audit::AuditError;
use wardroom_event::{BuildError, RoomVersion};
use wardroom_holds::HoldId;
use wardroom_store::{CommitError, ReadError};

/// Why an act on a room did not happen. Nothing of it did: every act is one atomic batch.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RoomError {
    /// No such room, or the asker may not know of it.
    #[error("the room does not exist or you are not in it")]
    NoSuchRoom,
    /// No such event, or the asker may not see it.
    #[error("the event does not exist or you may not see it")]
    NoSuchEvent,
    /// No such thing in a room that the asker may see.
    #[error("{0}")]
    NotFound(&'static str),
    /// The gate or the authorization rules say no; the sentence says why.
    #[error("{0}")]
    Forbidden(String),
    /// The user meets a restricted room's condition, but nobody of this server has the power to let users in.
    #[error("nobody on this server may authorise joins to this room")]
    CannotAuthorizeJoin,
    /// Only rooms that one has left can be forgotten.
    #[error("you are still in this room; leave it first")]
    StillMember,
    /// A new room's state would break the authorization rules.
    #[error("{0}")]
    InvalidRoomState(String),
    /// The event's content, or a request's field, is not as the specification wants it.
    #[error("{0}")]
    BadContent(String),
    /// A value of the right type that cannot be used; the sentence names the field.
    #[error("{0}")]
    InvalidParam(String),
    /// A legal hold keeps it from being destroyed.
    #[error("the legal hold {0} keeps this from being deleted")]
    Held(HoldId),
    /// The user has annotated the event with the same key already.
    #[error("m.relates_to: you have annotated this event with this key already")]
    DuplicateAnnotation,
    /// A thread cannot start off an event that is itself a child of another.
    #[error("m.relates_to: the event has a relation itself and cannot become the root of a thread")]
    NotAThreadRoot,
    /// A thread subscription was to follow from an event that is not in the thread.
    #[error("automatic: the event is not in this thread")]
    NotInThread,
    /// The user has unsubscribed from a thread after the event from which a subscription was to follow.
    #[error("automatic: you have unsubscribed from this thread since")]
    UnsubscribedSince,
    /// The event does not fit in a PDU.
    #[error("the event is {bytes} bytes large; at most 65536 are allowed")]
    TooLarge {
        /// Size as canonical JSON.
        bytes: usize,
    },
    /// A room version this server does not speak.
    #[error("room version {0} is not supported; supported are 6 to 12")]
    UnsupportedVersion(String),
    /// A canonical alias that does not lead to the room.
    #[error("alias: {0} does not lead to this room")]
    BadAlias(String),
    /// The alias names a room already.
    #[error("the alias is in use")]
    AliasInUse,
    /// An event cannot be received: events that it needs are not here.
    #[error("events that this one needs are not here")]
    Lacking,
    /// The room's policy server, without whose signature nothing is sent, could not be asked.
    #[error("the room's policy server could not be asked: {0}")]
    PolicyServer(String),
    /// Too many writes wait for the room.
    #[error("too many requests for this room are waiting; try again")]
    Busy,
    /// The disk is full; reads go on.
    #[error("the server has no room to store this")]
    DiskFull,
    /// The store failed. The text is for the log, not for the client.
    #[error("storage: {0}")]
    Storage(String),
}

impl From<ReadError> for RoomError {
    fn from(error: ReadError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<CommitError> for RoomError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::DiskFull => Self::DiskFull,
            CommitError::Conflict { table } if table == crate::tables::ALIASES.spec().name => Self::AliasInUse,
            other => Self::Storage(other.to_string()),
        }
    }
}

impl From<AuditError> for RoomError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::DiskFull => Self::DiskFull,
            other => Self::Storage(other.to_string()),
        }
    }
}

impl From<BuildError> for RoomError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::TooLarge { bytes } => Self::TooLarge { bytes },
            other => Self::BadContent(other.to_string()),
        }
    }
}

impl RoomError {
    /// An invariant of the store is broken: the operator runs `wardroom fsck`.
    pub(crate) fn inconsistent(what: &'static str) -> Self {
        Self::Storage(format!("inconsistent: {what}"))
    }

    pub(crate) fn unsupported(version: &ruma::RoomVersionId) -> Self {
        debug_assert!(RoomVersion::new(version).is_none());
        Self::UnsupportedVersion(version.to_string())
    }
}

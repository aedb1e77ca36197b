//! What is recorded of answers to other servers: what leaves this server is a disclosure (`federation.send`), whoever asked
//! for it; looking into directories is recorded as it is of users.

use ruma::{RoomId, ServerName, UserId};
use wardroom_audit::{Act, AuditError, Record};
use wardroom_web::ApiError;

use crate::FederationState;

/// A record of something that goes to a server by this endpoint.
pub(crate) fn sent(origin: &ServerName, endpoint: &str) -> Record {
    Record::of(Act::FederationSend).detail(endpoint).servers(vec![origin.to_string()])
}

/// A record of what a server is told for the membership of one of its users: a template, or what the room is like.
pub(crate) fn told_of_room(origin: &ServerName, endpoint: &str, room: &RoomId, user: &UserId) -> Record {
    sent(origin, endpoint).room(room.as_str()).user(user.as_str())
}

/// A record of a server's look into a directory.
pub(crate) fn looked(act: Act, origin: &ServerName, what: &str) -> Record {
    Record::of(act).detail(what).servers(vec![origin.to_string()])
}

impl FederationState {
    /// Records what is about to leave, durably.
    ///
    /// # Errors
    /// When it cannot be recorded: then it does not leave.
    pub(crate) async fn disclose(&self, record: Record) -> Result<(), ApiError> {
        self.audit.write(record).await.map_err(unrecorded)
    }

    /// Records that somebody was refused.
    ///
    /// # Errors
    /// As [`FederationState::disclose`].
    pub(crate) async fn deny(&self, record: Record) -> Result<(), ApiError> {
        self.audit.denied(record).await.map_err(unrecorded)
    }

    /// As [`FederationState::disclose`], for what a server may ask for again and again: the same within five minutes is
    /// counted.
    ///
    /// # Errors
    /// As [`FederationState::disclose`].
    pub(crate) async fn disclose_often(&self, record: Record) -> Result<(), ApiError> {
        self.audit.repeated(record).await.map_err(unrecorded)
    }
}

fn unrecorded(error: AuditError) -> ApiError {
    match error {
        AuditError::DiskFull => ApiError::disk_full(),
        error => ApiError::internal(&error),
    }
}

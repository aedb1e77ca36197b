//! The one place where the errors of rooms and media become answers to administrators. They may know what there is, so
//! that something is missing is told as that.

use std::time::Duration;

use http::StatusCode;
use ruma::api::error::ErrorKind;
use wardroom_audit::AuditError;
use wardroom_care::CareError;
use wardroom_federation::{PartnerError, RemoteError};
use wardroom_rooms::RoomError;
use wardroom_web::ApiError;

/// How long to wait before trying again where too many writes wait for a room.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// What an administrator is told of a failure in a room.
pub(crate) fn of_room(error: RoomError) -> ApiError {
    let sentence = error.to_string();
    match error {
        RoomError::NoSuchRoom | RoomError::NoSuchEvent | RoomError::NotFound(_) => ApiError::not_found(sentence),
        RoomError::Forbidden(_) | RoomError::CannotAuthorizeJoin | RoomError::Held(_) => ApiError::forbidden(sentence),
        RoomError::BadContent(_) => ApiError::bad_json(sentence),
        RoomError::InvalidParam(_) => ApiError::invalid_param(sentence),
        RoomError::TooLarge { .. } => ApiError::too_large(sentence),
        RoomError::PolicyServer(_) => ApiError::new(StatusCode::BAD_GATEWAY, ErrorKind::Unknown, sentence),
        RoomError::Busy => ApiError::limit_exceeded(BUSY_RETRY),
        RoomError::DiskFull => ApiError::disk_full(),
        error @ (RoomError::Storage(_) | RoomError::Lacking) => ApiError::internal(&error),
        _ => ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::Unknown, sentence),
    }
}

/// What an administrator is told of a failure of the audit trail.
pub(crate) fn of_audit(error: AuditError) -> ApiError {
    match error {
        AuditError::DiskFull => ApiError::disk_full(),
        error => ApiError::internal(&error),
    }
}

/// What an administrator is told of a failure of roles and access.
pub(crate) fn of_care(error: CareError) -> ApiError {
    let sentence = error.to_string();
    match error {
        CareError::Role(_) | CareError::Invalid(_) => ApiError::invalid_param(sentence),
        CareError::NoSuchRoom => ApiError::not_found(sentence),
        CareError::Refused(_) => ApiError::forbidden(sentence),
        CareError::Conflict(_) => ApiError::new(StatusCode::CONFLICT, ErrorKind::Unknown, sentence),
        CareError::NoSuchEmergency => ApiError::not_found("There is no such emergency access."),
        CareError::TooOften { retry_ms } => ApiError::limit_exceeded(Duration::from_millis(retry_ms)),
        CareError::Brake { .. } => ApiError::new(StatusCode::CONFLICT, ErrorKind::Unknown, sentence),
        CareError::Rooms(error) => of_room(error),
        CareError::Accounts(error) => error.into(),
        error @ (CareError::Teller(_) | CareError::Read(_) | CareError::Commit(_)) => ApiError::internal(&error),
    }
}

/// What an administrator is told where other servers had to be asked.
pub(crate) fn of_remote(error: RemoteError) -> ApiError {
    let sentence = error.to_string();
    match error {
        RemoteError::Room(error) => of_room(error),
        RemoteError::NoServer => ApiError::not_found(sentence),
        RemoteError::Partner(PartnerError::Denied(_)) => ApiError::forbidden(sentence),
        RemoteError::Partner(PartnerError::Refused { status, .. }) if status.is_client_error() => {
            ApiError::new(StatusCode::FORBIDDEN, ErrorKind::Forbidden, sentence)
        }
        RemoteError::Timeout => ApiError::new(StatusCode::GATEWAY_TIMEOUT, ErrorKind::Unknown, sentence),
        _ => ApiError::new(StatusCode::BAD_GATEWAY, ErrorKind::Unknown, sentence),
    }
}

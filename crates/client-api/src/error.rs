//! The one place where the rooms' errors become statuses, `errcode`s and sentences (client-server API, section
//! "Standard error response"). Those of accounts are told by `wardroom-web`, which every API shares.

use std::time::Duration;

use http::StatusCode;
use ruma::api::error::ErrorKind;
use serde_json::{Map, Value};
use wardroom_audit::AuditError;
use wardroom_care::CareError;
use wardroom_federation::{FederationError, PartnerError, RemoteError};
use wardroom_rooms::RoomError;
use wardroom_sync::SyncError;
use wardroom_web::ApiError;

/// How long a client waits before it tries again to write to a room for which too many writes are waiting.
const BUSY_RETRY_SECONDS: u64 = 1;

/// What a client is told of a failure in a room.
///
/// That a room does not exist and that the asker is no member of it look the same, or anybody could find out which
/// rooms there are.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
pub(crate) fn of_room(error: RoomError) -> ApiError {
    let sentence = error.to_string();
    match error {
        RoomError::NoSuchRoom | RoomError::Forbidden(_) | RoomError::Held(_) => ApiError::forbidden(sentence),
        RoomError::NoSuchEvent | RoomError::NotFound(_) => ApiError::not_found(sentence),
        RoomError::CannotAuthorizeJoin => bad_request(ErrorKind::UnableToAuthorizeJoin, sentence),
        RoomError::StillMember => bad_request(ErrorKind::Unknown, sentence),
        RoomError::BadContent(_) => ApiError::bad_json(sentence),
        RoomError::InvalidParam(_) => ApiError::invalid_param(sentence),
        RoomError::TooLarge { .. } => ApiError::too_large(sentence),
        RoomError::UnsupportedVersion(_) => bad_request(ErrorKind::UnsupportedRoomVersion, sentence),
        RoomError::InvalidRoomState(_) => bad_request(ErrorKind::InvalidRoomState, sentence),
        RoomError::DuplicateAnnotation => bad_request(ErrorKind::DuplicateAnnotation, sentence),
        // The specification has no code of its own for this.
        RoomError::NotAThreadRoot => bad_request(ErrorKind::Unknown, sentence),
        RoomError::NotInThread => bad_request(ErrorKind::NotInThread, sentence),
        RoomError::UnsubscribedSince => {
            ApiError::new(StatusCode::CONFLICT, ErrorKind::ConflictingUnsubscription, sentence)
        }
        RoomError::BadAlias(_) => bad_request(ErrorKind::BadAlias, sentence),
        RoomError::AliasInUse => bad_request(ErrorKind::RoomInUse, sentence),
        RoomError::Lacking => ApiError::internal(&error),
        RoomError::PolicyServer(_) => ApiError::new(StatusCode::BAD_GATEWAY, ErrorKind::Unknown, sentence),
        RoomError::Busy => ApiError::limit_exceeded(Duration::from_secs(BUSY_RETRY_SECONDS)),
        RoomError::DiskFull => ApiError::disk_full(),
        RoomError::Storage(_) => ApiError::internal(&error),
    }
}

/// What a client is told where what it asked for is not given because it cannot be recorded.
pub(crate) fn of_audit(error: AuditError) -> ApiError {
    match error {
        AuditError::DiskFull => ApiError::disk_full(),
        error => ApiError::internal(&error),
    }
}

/// What a client is told of a failure of roles and access.
pub(crate) fn of_care(error: CareError) -> ApiError {
    let sentence = error.to_string();
    match error {
        CareError::Refused(_) => ApiError::forbidden(sentence),
        CareError::Conflict(_) => ApiError::new(StatusCode::CONFLICT, ErrorKind::Unknown, sentence),
        CareError::NoSuchEmergency => ApiError::not_found("You have no emergency access to this room."),
        CareError::TooOften { retry_ms } => ApiError::limit_exceeded(Duration::from_millis(retry_ms)),
        CareError::Role(_) | CareError::Invalid(_) => ApiError::invalid_param(sentence),
        CareError::Rooms(error) => of_room(error),
        CareError::Accounts(error) => error.into(),
        CareError::Commit(error) => error.into(),
        CareError::NoSuchRoom | CareError::Brake { .. } | CareError::Teller(_) | CareError::Read(_) => {
            ApiError::internal(&error)
        }
    }
}

/// What a client is told of a failure in a room of other servers. What their answers say is passed on where it is about
/// the request; where it is about them, this server is a gateway that got no answer.
pub(crate) fn of_remote(error: RemoteError) -> ApiError {
    let sentence = error.to_string();
    match error {
        RemoteError::Room(error) => of_room(error),
        RemoteError::NoServer => ApiError::not_found(sentence),
        RemoteError::UnsupportedVersion(_) => bad_request(ErrorKind::UnsupportedRoomVersion, sentence),
        RemoteError::Unmakeable(_) | RemoteError::BadEvent(_) => ApiError::bad_json(sentence),
        RemoteError::Untrustworthy(_) => ApiError::new(StatusCode::BAD_GATEWAY, ErrorKind::Unknown, sentence),
        RemoteError::Timeout => ApiError::new(StatusCode::GATEWAY_TIMEOUT, ErrorKind::Unknown, sentence),
        RemoteError::Partner(error) => of_partner(error),
    }
}

/// What a client is told where another server could not be asked, or refused.
pub(crate) fn of_partner(error: PartnerError) -> ApiError {
    let sentence = error.to_string();
    match error {
        PartnerError::Denied(_) => ApiError::forbidden(sentence),
        PartnerError::Refused { status, errcode, message, body } if status.is_client_error() => {
            let body = body.as_deref().and_then(|body| serde_json::from_slice::<Map<String, Value>>(body).ok());
            let mut json = Map::new();
            let errcode = if errcode.is_empty() { "M_UNKNOWN".to_owned() } else { errcode };
            json.insert("errcode".to_owned(), errcode.into());
            json.insert("error".to_owned(), if message.is_empty() { sentence } else { message }.into());
            // The version of a room that this server does not speak.
            json.extend(body.and_then(|mut body| body.remove_entry("room_version")));
            // That the other server does not know this one is not the client's lack of a token.
            let status = if status == StatusCode::UNAUTHORIZED { StatusCode::FORBIDDEN } else { status };
            ApiError::json(status, Value::Object(json))
        }
        PartnerError::Setting(_) | PartnerError::Store(_) => ApiError::internal(&error),
        PartnerError::BackingOff
        | PartnerError::Unreachable(_)
        | PartnerError::Refused { .. }
        | PartnerError::Malformed(_)
        | PartnerError::TooLong(_) => ApiError::new(StatusCode::BAD_GATEWAY, ErrorKind::Unknown, sentence),
    }
}

/// What a client is told of a failure in telling what is news.
pub(crate) fn of_sync(error: SyncError) -> ApiError {
    match error {
        SyncError::UnknownFilter | SyncError::BadFilter(_) => ApiError::invalid_param(error.to_string()),
        SyncError::Accounts(error) => error.into(),
        SyncError::Rooms(error) => of_room(error),
        SyncError::Commit(error) => error.into(),
        failure => ApiError::internal(&failure),
    }
}

/// What a client is told of a failure that has to do with other servers.
pub(crate) fn of_federation(error: FederationError) -> ApiError {
    match error {
        FederationError::Rooms(error) => of_room(error),
        FederationError::Accounts(error) => error.into(),
        FederationError::Commit(error) => error.into(),
        failure => ApiError::internal(&failure),
    }
}

fn bad_request(kind: ErrorKind, sentence: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, kind, sentence)
}

#[cfg(test)]
mod tests {
    use wardroom_rooms::RoomError;
    use wardroom_web::ApiError;

    use super::of_room;

    fn code(error: ApiError) -> (u16, String) {
        let ApiError::Matrix(error) = error else { panic!("not a Matrix error") };
        let kind = error.error_kind().expect("errors have a code");
        (error.status_code.as_u16(), kind.errcode().to_string())
    }

    #[test]
    fn rooms_errors_have_the_codes_of_the_specification() {
        let cases = [
            (RoomError::NoSuchRoom, 403, "M_FORBIDDEN"),
            (RoomError::NoSuchEvent, 404, "M_NOT_FOUND"),
            (RoomError::CannotAuthorizeJoin, 400, "M_UNABLE_TO_AUTHORISE_JOIN"),
            (RoomError::StillMember, 400, "M_UNKNOWN"),
            (RoomError::BadContent(String::new()), 400, "M_BAD_JSON"),
            (RoomError::TooLarge { bytes: 70_000 }, 413, "M_TOO_LARGE"),
            (RoomError::UnsupportedVersion("1".to_owned()), 400, "M_UNSUPPORTED_ROOM_VERSION"),
            (RoomError::InvalidRoomState(String::new()), 400, "M_INVALID_ROOM_STATE"),
            (RoomError::BadAlias(String::new()), 400, "M_BAD_ALIAS"),
            (RoomError::AliasInUse, 400, "M_ROOM_IN_USE"),
            (RoomError::DuplicateAnnotation, 400, "M_DUPLICATE_ANNOTATION"),
            (RoomError::NotAThreadRoot, 400, "M_UNKNOWN"),
            (RoomError::NotInThread, 400, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD"),
            (RoomError::UnsubscribedSince, 409, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION"),
            (RoomError::Busy, 429, "M_LIMIT_EXCEEDED"),
            (RoomError::DiskFull, 500, "M_UNKNOWN"),
        ];
        for (error, status, errcode) in cases {
            let name = format!("{error:?}");
            assert_eq!(code(of_room(error)), (status, errcode.to_owned()), "{name}");
        }
    }

    #[test]
    fn what_failed_inside_is_not_told() {
        let error = of_room(RoomError::Storage("secret detail".to_owned()));
        assert!(!format!("{error:?}").contains("secret"));
        assert_eq!(code(error), (500, "M_UNKNOWN".to_owned()));
    }
}

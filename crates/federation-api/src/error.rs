//! The one place where the rooms' errors become what another server is told (server-server API; the codes are those of
//! the client-server API, section "Standard error response").

use std::time::Duration;

use http::StatusCode;
use ruma::{
    RoomVersionId,
    api::error::{ErrorKind, IncompatibleRoomVersionErrorData},
};
use wardroom_event::ParseError;
use wardroom_federation::FederationError;
use wardroom_rooms::RoomError;
use wardroom_web::ApiError;

/// How long a server waits before it tries again to write to a room for which too many writes are waiting.
const BUSY_RETRY_SECONDS: u64 = 5;

/// What a server is told of a failure in a room.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
pub(crate) fn of_room(error: RoomError) -> ApiError {
    let sentence = error.to_string();
    match error {
        RoomError::NoSuchRoom => no_such_room(),
        RoomError::Forbidden(_) | RoomError::Held(_) => ApiError::forbidden(sentence),
        RoomError::NoSuchEvent | RoomError::NotFound(_) => ApiError::not_found(sentence),
        // Another server of the room may have somebody with the power.
        RoomError::CannotAuthorizeJoin => bad_request(ErrorKind::UnableToGrantJoin, sentence),
        RoomError::BadContent(_) => ApiError::bad_json(sentence),
        RoomError::InvalidParam(_) => ApiError::invalid_param(sentence),
        RoomError::Lacking => {
            ApiError::invalid_param("prev_events, auth_events: this server does not have all of these events.")
        }
        RoomError::TooLarge { .. } => ApiError::too_large(sentence),
        RoomError::UnsupportedVersion(_) => bad_request(ErrorKind::UnsupportedRoomVersion, sentence),
        RoomError::PolicyServer(_) => ApiError::new(StatusCode::BAD_GATEWAY, ErrorKind::Unknown, sentence),
        RoomError::Busy => ApiError::limit_exceeded(Duration::from_secs(BUSY_RETRY_SECONDS)),
        RoomError::DiskFull => ApiError::disk_full(),
        RoomError::Storage(_) => ApiError::internal(&error),
        // What only users do with a room.
        _ => bad_request(ErrorKind::Unknown, sentence),
    }
}

/// What a server is told of a failure in what concerns servers.
pub(crate) fn of_federation(error: FederationError) -> ApiError {
    match error {
        FederationError::Rooms(error) => of_room(error),
        FederationError::Accounts(error) => error.into(),
        failure => ApiError::internal(&failure),
    }
}

/// The room does not exist, or this server takes no part in it (any more).
pub(crate) fn no_such_room() -> ApiError {
    ApiError::not_found("This server is not in that room.")
}

/// An event that is not in the format of its room's version; `field` is where it came in.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
pub(crate) fn of_event(field: &str, error: ParseError) -> ApiError {
    ApiError::bad_json(format!("{field}: {error}."))
}

/// The room has a version that one of the two servers does not know.
pub(crate) fn incompatible(version: &RoomVersionId) -> ApiError {
    let sentence = format!("The room has version {version}, which not both servers support.");
    bad_request(ErrorKind::IncompatibleRoomVersion(IncompatibleRoomVersionErrorData::new(version.clone())), sentence)
}

pub(crate) fn bad_request(kind: ErrorKind, sentence: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, kind, sentence)
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, response::IntoResponse as _};
    use ruma::RoomVersionId;
    use serde_json::Value;
    use wardroom_rooms::RoomError;
    use wardroom_web::ApiError;

    use super::{incompatible, of_room};

    async fn told(error: ApiError) -> (u16, Value) {
        let response = error.into_response();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&to_bytes(response.into_body(), 10_000).await.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn rooms_errors_have_the_codes_of_the_specification() {
        for (error, status, errcode) in [
            (RoomError::NoSuchRoom, 404, "M_NOT_FOUND"),
            (RoomError::Forbidden("no".to_owned()), 403, "M_FORBIDDEN"),
            (RoomError::CannotAuthorizeJoin, 400, "M_UNABLE_TO_GRANT_JOIN"),
            (RoomError::Lacking, 400, "M_INVALID_PARAM"),
            (RoomError::BadContent("x".to_owned()), 400, "M_BAD_JSON"),
            (RoomError::Busy, 429, "M_LIMIT_EXCEEDED"),
            (RoomError::Storage("secret".to_owned()), 500, "M_UNKNOWN"),
        ] {
            let (told_status, json) = told(of_room(error)).await;
            assert_eq!((told_status, json["errcode"].as_str()), (status, Some(errcode)));
            assert!(!json.to_string().contains("secret"));
        }
    }

    #[tokio::test]
    async fn a_server_is_told_which_version_it_lacks() {
        let (status, json) = told(incompatible(&RoomVersionId::V12)).await;
        assert_eq!(status, 400);
        assert_eq!(json["errcode"], "M_INCOMPATIBLE_ROOM_VERSION");
        assert_eq!(json["room_version"], "12");
    }
}

//! Faults of the locked ruma release that its callers must step around. Each has a test that fails when it is gone.

use std::any::TypeId;

use bytes::Bytes;
use http::StatusCode;
use ruma::{
    RoomVersionId, UserId,
    api::{
        client::{
            membership::invite_user,
            room::{create_room, upgrade_room},
            session::login,
            typing::create_typing_event,
            uiaa::UiaaResponse,
        },
        error::ErrorKind,
    },
};
use serde_json::{Map, Value};

use crate::ApiError;

/// Refuses bodies that would make ruma panic or say the wrong thing.
pub(crate) fn check<T: 'static>(body: &[u8]) -> Result<(), ApiError> {
    let endpoint = TypeId::of::<T>();
    if endpoint == TypeId::of::<login::v3::Request>() {
        object(body).map_or(Ok(()), |body| login_type(&body))
    } else if endpoint == TypeId::of::<invite_user::v3::Request>() {
        object(body).map_or(Ok(()), |body| invited(&body))
    } else if endpoint == TypeId::of::<create_room::v3::Request>() {
        object(body).map_or(Ok(()), |body| room_version(&body, "room_version"))
    } else if endpoint == TypeId::of::<upgrade_room::v3::Request>() {
        object(body).map_or(Ok(()), |body| room_version(&body, "new_version"))
    } else {
        Ok(())
    }
}

/// An `auth` that names neither a stage nor a session asks for the flows, as one that is absent does; ruma would
/// refuse it. matrix-nio begins its registrations like that.
pub(crate) fn without_empty_auth<E: 'static>(body: Bytes) -> Bytes {
    if TypeId::of::<E>() != TypeId::of::<UiaaResponse>() {
        return body;
    }
    let Some(mut fields) = object(&body) else { return body };
    let is_empty =
        |auth: &Value| auth.as_object().is_some_and(|auth| !auth.contains_key("type") && !auth.contains_key("session"));
    if !fields.get("auth").is_some_and(is_empty) {
        return body;
    }
    fields.remove("auth");
    serde_json::to_vec(&fields).map_or(body, Bytes::from)
}

/// How long somebody types who does not say.
const TYPING_TIMEOUT_MS: u64 = 30_000;

/// A client need not say how long its user will type; ruma wants to know.
pub(crate) fn with_typing_timeout<T: 'static>(body: Bytes) -> Bytes {
    if TypeId::of::<T>() != TypeId::of::<create_typing_event::v3::Request>() {
        return body;
    }
    match object(&body) {
        Some(mut fields) if fields.get("typing") == Some(&Value::Bool(true)) && !fields.contains_key("timeout") => {
            fields.insert("timeout".to_owned(), TYPING_TIMEOUT_MS.into());
            serde_json::to_vec(&fields).map_or(body, Bytes::from)
        }
        _ => body,
    }
}

/// What is no JSON object is reported by the checks before and the parser after these.
fn object(body: &[u8]) -> Option<Map<String, Value>> {
    if body.is_empty() { Some(Map::new()) } else { serde_json::from_slice(body).ok() }
}

/// ruma-client-api 0.25.2 indexes the login body with `type` before it knows that there is one.
fn login_type(body: &Map<String, Value>) -> Result<(), ApiError> {
    match body.get("type") {
        Some(Value::String(_)) => Ok(()),
        Some(_) => Err(ApiError::bad_json("`type` must be a string.")),
        None => Err(ApiError::bad_json("`type` is missing.")),
    }
}

/// To ruma a room version with characters that no version has is no version; to the specification it is one that this
/// server does not support.
fn room_version(body: &Map<String, Value>, field: &str) -> Result<(), ApiError> {
    match body.get(field) {
        Some(Value::String(version)) if RoomVersionId::try_from(version.as_str()).is_err() => {
            let sentence = format!("{field}: this room version is not supported.");
            Err(ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::UnsupportedRoomVersion, sentence))
        }
        _ => Ok(()),
    }
}

/// ruma reads who is invited as one of several shapes, and names none of their fields when none fits.
fn invited(body: &Map<String, Value>) -> Result<(), ApiError> {
    match body.get("user_id") {
        Some(Value::String(id)) => match UserId::parse(id) {
            Ok(_) => Ok(()),
            Err(error) => Err(ApiError::bad_json(format!("`user_id` is wrong: {error}."))),
        },
        Some(_) => Err(ApiError::bad_json("`user_id` must be a string.")),
        None if body.contains_key("address") => Ok(()),
        None => Err(ApiError::bad_json("`user_id` is missing.")),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use bytes::Bytes;
    use http::Request;
    use ruma::api::{
        IncomingRequestExt as _,
        client::{
            room::{create_room, upgrade_room},
            session::login,
            typing::create_typing_event,
            uiaa::UiaaResponse,
        },
    };

    use super::{check, with_typing_timeout, without_empty_auth};

    fn ruma_panics(body: &'static [u8]) -> bool {
        catch_unwind(|| {
            let request = Request::builder().method("POST").uri("/_matrix/client/v3/login").body(body).unwrap();
            let _ = login::v3::Request::try_from_http_request(request, &[]);
        })
        .is_err()
    }

    #[test]
    fn an_auth_that_says_nothing_is_none() {
        let kept = |body: &'static str| without_empty_auth::<UiaaResponse>(Bytes::from_static(body.as_bytes()));
        assert_eq!(kept(r#"{"auth":{"device":"x"},"a":1}"#), r#"{"a":1}"#);
        for body in [r#"{"auth":{"session":"x"}}"#, r#"{"auth":{"type":"x"}}"#, r#"{"auth":1}"#, "{}", ""] {
            assert_eq!(kept(body), body);
        }
        let other = Bytes::from_static(br#"{"auth":{}}"#);
        assert_eq!(without_empty_auth::<ruma::api::error::Error>(other.clone()), other);
    }

    #[test]
    fn a_room_version_that_is_none_is_not_supported() {
        for version in ["my_bad_version", "", "a b", "ü"] {
            let body = serde_json::json!({ "new_version": version, "room_version": version }).to_string();
            for refused in [
                check::<upgrade_room::v3::Request>(body.as_bytes()),
                check::<create_room::v3::Request>(body.as_bytes()),
            ] {
                assert!(format!("{refused:?}").contains("UnsupportedRoomVersion"), "{version}: {refused:?}");
            }
        }
        for body in [r#"{"new_version":"12"}"#, r#"{"new_version":12}"#, "{}", "[]"] {
            check::<upgrade_room::v3::Request>(body.as_bytes()).unwrap();
        }
        let body = br#"{"new_version":"my_bad_version"}"#;
        let request = Request::post("/").body(&body[..]).unwrap();
        assert!(upgrade_room::v3::Request::try_from_http_request(request, &["!a:b"]).is_err(), "ruma reads it by now");
    }

    #[test]
    fn typing_has_a_timeout() {
        let kept = |body: &'static str| {
            with_typing_timeout::<create_typing_event::v3::Request>(Bytes::from_static(body.as_bytes()))
        };
        assert_eq!(kept(r#"{"typing":true}"#), r#"{"timeout":30000,"typing":true}"#);
        for body in [r#"{"typing":false}"#, r#"{"typing":true,"timeout":5}"#, r#"{"typing":1}"#, "[]"] {
            assert_eq!(kept(body), body);
        }
    }

    #[test]
    fn login_without_a_type_is_refused_before_ruma_panics() {
        for body in [&b""[..], b"{}", b"{\"user\":\"x\"}"] {
            assert!(ruma_panics(body), "ruma has fixed this: drop the quirk");
            assert!(check::<login::v3::Request>(body).is_err());
        }
        assert!(check::<login::v3::Request>(b"{\"type\":5}").is_err());
        assert!(check::<login::v3::Request>(b"{\"type\":\"m.login.password\"}").is_ok());
    }
}

//! Faults of the locked ruma release that its callers must step around. Each has a test that fails when it is gone.

use std::any::TypeId;

use ruma::api::client::session::login;
use serde_json::{Map, Value};

use crate::ApiError;

/// Refuses bodies that would make ruma panic or say the wrong thing.
pub(crate) fn check<T: 'static>(body: &[u8]) -> Result<(), ApiError> {
    if TypeId::of::<T>() == TypeId::of::<login::v3::Request>() { login_type(body) } else { Ok(()) }
}

/// ruma-client-api 0.25.2 indexes the login body with `type` before it knows that there is one.
fn login_type(body: &[u8]) -> Result<(), ApiError> {
    // What is no JSON object is reported by the checks before and the parser after this one.
    let object: Map<String, Value> = match body {
        [] => Map::new(),
        body => match serde_json::from_slice(body) {
            Ok(object) => object,
            Err(_) => return Ok(()),
        },
    };
    match object.get("type") {
        Some(Value::String(_)) => Ok(()),
        Some(_) => Err(ApiError::bad_json("`type` must be a string.")),
        None => Err(ApiError::bad_json("`type` is missing.")),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use http::Request;
    use ruma::api::{IncomingRequestExt as _, client::session::login};

    use super::check;

    fn ruma_panics(body: &'static [u8]) -> bool {
        catch_unwind(|| {
            let request = Request::builder().method("POST").uri("/_matrix/client/v3/login").body(body).unwrap();
            let _ = login::v3::Request::try_from_http_request(request, &[]);
        })
        .is_err()
    }

    #[test]
    fn login_without_a_type_is_refused_before_ruma_panics() {
        for body in [&b""[..], b"{}", b"{\"user\":\"x\"}"] {
            assert!(ruma_panics(body), "ruma has fixed this: drop the quirk");
            assert_eq!(check::<login::v3::Request>(body).unwrap_err().status(), 400);
        }
        assert!(check::<login::v3::Request>(b"{\"type\":5}").is_err());
        assert!(check::<login::v3::Request>(b"{\"type\":\"m.login.password\"}").is_ok());
    }
}

//! Who calls an endpoint whose body is no JSON.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, MatchedPath};
use http::{Method, StatusCode, request::Parts};
use ruma::api::{auth_scheme::AccessToken, error::ErrorKind};
use wardroom_accounts::Session;

use crate::{ApiError, ApiState, client_ip, guests, session};

/// The caller of an endpoint that reads its body itself (see [`crate::Routes::plain`]): authenticated before anything
/// of the body is read, as with [`crate::Ruma`].
#[derive(Debug)]
pub struct Caller {
    /// Who.
    pub session: Session,
    /// Where the request comes from, behind trusted proxies too.
    pub client_ip: IpAddr,
}

impl<S: ApiState> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let client_ip = client_ip::of(parts);
        let session = session::authenticate::<AccessToken, S>(parts, client_ip, state).await?;
        // A request for the head alone is one for the whole, as far as permission goes.
        let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
        let path = parts.extensions.get::<MatchedPath>();
        if session.guest && !path.is_some_and(|path| guests::may_use(method, path.as_str())) {
            let sentence = "Guests may not use this endpoint.";
            return Err(ApiError::new(StatusCode::FORBIDDEN, ErrorKind::GuestAccessForbidden, sentence));
        }
        Ok(Self { session, client_ip })
    }
}

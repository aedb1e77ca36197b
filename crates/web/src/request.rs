//! The extractor: one HTTP request to one request of ruma's, with its caller.

use std::net::IpAddr;

use axum::extract::{FromRequestParts as _, RawPathParams, Request};
use bytes::Bytes;
use http::{Method, StatusCode};
use ruma::api::{IncomingRequest, IncomingRequestExt as _, error::ErrorKind};
use wardroom_accounts::Session;

use crate::{
    ApiError, ApiState, Demand,
    body::{self, JSON_BODY_BYTES_MAX},
    client_ip,
    malformed::{self, Refused},
    quirks, session,
};

/// A request that was read whole: the caller is authenticated as the endpoint demands, the body parsed.
#[derive(Debug)]
pub struct Ruma<T>
where
    T: IncomingRequest,
    T::Authentication: Demand,
{
    /// The request.
    pub body: T,
    /// The caller: a [`Session`], an `Option<Session>` or nothing, as the endpoint's authentication scheme says.
    pub session: <T::Authentication as Demand>::Session,
    /// Where the request comes from, behind trusted proxies too.
    pub client_ip: IpAddr,
    /// The body as it was sent, to which user-interactive authentication binds its session. Empty for GET.
    pub json: Bytes,
}

impl<T> Ruma<T>
where
    T: IncomingRequest + 'static,
    T::Authentication: Demand,
{
    /// The caller, if there is one, whatever the endpoint's scheme.
    pub fn caller(&self) -> Option<&Session> {
        <T::Authentication as Demand>::session(&self.session)
    }

    /// Reads a request to an endpoint that is open to guests or not.
    pub(crate) async fn read<S: ApiState>(request: Request, state: &S, guests: bool) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let client_ip = client_ip::of(&parts);
        // Before the body: strangers do not get to send one.
        let session = session::authenticate::<T::Authentication, S>(&parts, client_ip, state).await?;
        if !guests && <T::Authentication as Demand>::refuses(&session) {
            let sentence = "Guests may not use this endpoint.";
            return Err(ApiError::new(StatusCode::FORBIDDEN, ErrorKind::GuestAccessForbidden, sentence));
        }
        let json = match T::METHOD {
            Method::GET => Bytes::new(),
            _ => body::read(body, JSON_BODY_BYTES_MAX).await?,
        };
        // Where every field is optional clients leave the body out; ruma takes that for `{}` in some endpoints only.
        let json = if json.is_empty() && T::METHOD == Method::POST { Bytes::from_static(b"{}") } else { json };
        body::check_object(&json)?;
        quirks::check::<T>(&json)?;
        let json = quirks::with_typing_timeout::<T>(quirks::without_empty_auth::<T::EndpointError>(json));

        let path = RawPathParams::from_request_parts(&mut parts, state).await;
        let path = path.map_err(|_| ApiError::invalid_param("The path is not UTF-8 once it is decoded."))?;
        let names_and_values: Vec<(&str, &str)> = path.iter().collect();
        let values: Vec<&str> = names_and_values.iter().map(|(_, value)| *value).collect();
        let mut request = http::Request::new(json.as_ref());
        *request.method_mut() = parts.method;
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers;
        match T::try_from_http_request(request, &values) {
            Ok(body) => Ok(Self { body, session, client_ip, json }),
            Err(error) => {
                let refused = Refused { uri: &parts.uri, body: &json, path: &names_and_values };
                Err(malformed::explain::<T>(error, &refused))
            }
        }
    }
}

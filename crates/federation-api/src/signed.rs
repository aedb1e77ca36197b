//! The extractor: one signed HTTP request of another server to one request of ruma's.

use std::{future::Future, net::IpAddr};

use axum::{
    extract::{FromRequestParts as _, RawPathParams, Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{Method, StatusCode};
use ruma::{
    OwnedServerName,
    api::{
        IncomingRequest, IncomingRequestExt as _, error::ErrorKind, federation::authentication::ServerSignatures,
        path_builder::PathBuilder as _,
    },
};
use wardroom_audit::origin::authenticated;
use wardroom_federation::{PartnerError, RequestSignature, SignatureError};
use wardroom_web::{ApiError, Class, Quota, Refused, Routes, client_ip, explain, read_body, to_the_end};

use crate::FederationState;

/// Largest body, unless the route says otherwise. A whole event fits twice; the lists of ids and keys that servers ask
/// for do too.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Largest body of a transaction: 50 events of 64 KiB and 100 EDUs as large.
pub const TRANSACTION_BYTES_MAX: usize = 10 * 1024 * 1024;

/// A server that was quiet may make as many requests at once as are allowed in so many seconds.
const BURST_SECONDS: u32 = 10;
const MS_PER_SECOND: u32 = 1_000;

/// A request of another server, whose signature was checked and which the policy admits.
#[derive(Debug)]
pub struct Signed<T> {
    /// The server that asks.
    pub origin: OwnedServerName,
    /// What it asks.
    pub body: T,
    /// Where the request comes from, behind trusted proxies too.
    pub client_ip: IpAddr,
}

impl<T: IncomingRequest + 'static> Signed<T> {
    async fn read(request: Request, state: &FederationState, body_bytes_max: usize) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let client_ip = client_ip(&parts);
        let partners = &state.federation.partners;
        let signatures = RequestSignature::read(&parts.headers).map_err(|error| unauthorized(&error))?;
        let origin = signatures.first().map(|signature| signature.origin.clone());
        let origin = origin.ok_or_else(|| unauthorized(&SignatureError::Missing))?;
        // Before the body and before anything is fetched: who is not admitted causes no work.
        if !partners.admit(&origin).await {
            return Err(ApiError::forbidden(format!("This server does not speak to {origin}.")));
        }
        if !partners.knows_keys_of(&signatures).await.map_err(|error| ApiError::internal(&error))? {
            state.limits.take(Class::UnknownKey, client_ip)?;
        }
        let json = match T::METHOD {
            Method::GET => Bytes::new(),
            _ => read_body(body, body_bytes_max).await?,
        };
        let uri = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let proven = partners.verify_request(&signatures, &parts.method, uri, &json).await;
        proven.map_err(|error| unauthorized(&error))?;
        authenticated(|who| who.server = Some(origin.to_string()));
        if let Some(requests) = partners.requests_per_second(&origin) {
            let burst = requests.saturating_mul(BURST_SECONDS);
            let quota = Quota { burst, one_per_ms: (MS_PER_SECOND / requests).max(1) };
            state.limits.take_of(Class::Partner, quota, origin.as_str())?;
        }
        // That the body is a JSON object has been found out with its signature. How deep it is nested matters where it is
        // read only: one event that nobody can read must not stop what comes with it.

        let path = RawPathParams::from_request_parts(&mut parts, state).await;
        let path = path.map_err(|_| ApiError::invalid_param("The path is not UTF-8 once it is decoded."))?;
        let names_and_values: Vec<(&str, &str)> = path.iter().collect();
        let values: Vec<&str> = names_and_values.iter().map(|(_, value)| *value).collect();
        let mut request = http::Request::new(json.as_ref());
        *request.method_mut() = parts.method;
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers;
        match T::try_from_http_request(request, &values) {
            Ok(body) => Ok(Self { origin, body, client_ip }),
            Err(error) => Err(explain::<T>(error, &Refused { uri: &parts.uri, body: &json, path: &names_and_values })),
        }
    }
}

/// Why a request is not believed to be of its origin: 401 `M_UNAUTHORIZED`, which is the specification's answer to a
/// signature that is missing, wrong, or by a key that is not known.
fn unauthorized(error: &SignatureError) -> ApiError {
    let sentence = error.to_string();
    match error {
        // The body is at fault, not the origin: a 401 would have the sender try again for ever.
        SignatureError::Unsignable(_) => ApiError::bad_json(sentence),
        SignatureError::NoServerName => ApiError::invalid_param(sentence),
        SignatureError::NoKeys(_, PartnerError::Store(_)) => ApiError::internal(error),
        _ => ApiError::new(StatusCode::UNAUTHORIZED, ErrorKind::Unauthorized, sentence),
    }
}

/// Registers handlers of signed requests.
pub trait SignedRoutes: Sized {
    /// Serves `T` to servers that sign, at every path ruma knows for it.
    fn signed<T, F, Fut, R>(self, handler: F) -> Self
    where
        T: IncomingRequest<Authentication = ServerSignatures> + Send + 'static,
        F: Fn(State<FederationState>, Signed<T>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, ApiError>> + Send + 'static,
        R: IntoResponse + 'static,
    {
        self.signed_up_to(BODY_BYTES_MAX, handler)
    }

    /// As [`SignedRoutes::signed`], for bodies of at most so many bytes.
    fn signed_up_to<T, F, Fut, R>(self, body_bytes_max: usize, handler: F) -> Self
    where
        T: IncomingRequest<Authentication = ServerSignatures> + Send + 'static,
        F: Fn(State<FederationState>, Signed<T>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, ApiError>> + Send + 'static,
        R: IntoResponse + 'static;
}

impl SignedRoutes for Routes<FederationState> {
    fn signed_up_to<T, F, Fut, R>(mut self, body_bytes_max: usize, handler: F) -> Self
    where
        T: IncomingRequest<Authentication = ServerSignatures> + Send + 'static,
        F: Fn(State<FederationState>, Signed<T>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, ApiError>> + Send + 'static,
        R: IntoResponse + 'static,
    {
        for path in T::PATH_BUILDER.all_paths() {
            let handler = handler.clone();
            let serve = move |State(state): State<FederationState>, request: Request| {
                answer(state, request, body_bytes_max, handler.clone())
            };
            self = self.plain(T::METHOD, path, serve);
        }
        self
    }
}

/// Reads the request, runs the handler, writes the answer. What changes something runs to its end.
async fn answer<T, F, Fut, R>(state: FederationState, request: Request, body_bytes_max: usize, handler: F) -> Response
where
    T: IncomingRequest + Send + 'static,
    F: Fn(State<FederationState>, Signed<T>) -> Fut,
    Fut: Future<Output = Result<R, ApiError>> + Send + 'static,
    R: IntoResponse,
{
    let request = match Signed::<T>::read(request, &state, body_bytes_max).await {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    let work = handler(State(state), request);
    let answer = async { work.await.into_response() };
    if T::METHOD == Method::GET { answer.await } else { to_the_end(answer).await }
}

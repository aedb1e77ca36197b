//! `/_wardroom/admin/v1/federation/policy`: which other servers may take part.
//!
//! `GET` tells the policy in force, `PUT` puts another in force at once and for good, `DELETE` goes back to the one of
//! the configuration.

use axum::extract::State;
use http::Method;
use ruma::api::{
    IncomingRequest, OutgoingBodyJson, OutgoingResponse,
    auth_scheme::AccessToken,
    error::{DeserializationError, Error as MatrixError, IntoHttpError},
    metadata,
};
use serde::{Deserialize, Serialize};
use wardroom_accounts::{AdminScope, Session};
use wardroom_federation::{Federation, PartnerError, Policy};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::{
    AdminState,
    calls::Call,
    endpoint::{Endpoints, described},
};

const PATH: &str = "/_wardroom/admin/v1/federation/policy";

pub(crate) fn endpoints() -> Endpoints {
    let described = |method, summary| described(method, PATH, AdminScope::Operation, summary);
    Endpoints::new().with(
        Routes::new().endpoint(get).endpoint(put).endpoint(delete),
        vec![
            described(Method::GET, "Tells which other servers may take part."),
            described(Method::PUT, "Says which other servers may take part."),
            described(Method::DELETE, "Goes back to what the configuration says of other servers."),
        ],
    )
}

#[derive(Serialize, OutgoingBodyJson)]
struct Response {
    allow: Vec<String>,
    deny: Vec<String>,
    /// Whether an administrator set it; otherwise it is the configuration's.
    set_by_administrator: bool,
}

impl OutgoingResponse for Response {
    type Body = Self;

    fn try_into_http_response_inner(self) -> Result<http::Response<Self>, IntoHttpError> {
        Ok(http::Response::new(self))
    }
}

/// A request without a body.
macro_rules! bare {
    ($name:ident, $method:ident) => {
        mod $name {
            use super::{AccessToken, DeserializationError, IncomingRequest, MatrixError, Response, metadata};

            metadata! {
                method: $method,
                rate_limited: false,
                authentication: AccessToken,
                path: "/_wardroom/admin/v1/federation/policy",
            }

            #[derive(Debug)]
            pub(super) struct Request;

            impl IncomingRequest for Request {
                type EndpointError = MatrixError;
                type OutgoingResponse = Response;

                fn try_from_http_request_inner(
                    _: http::Request<&[u8]>,
                    _: &[&str],
                ) -> Result<Self, DeserializationError> {
                    Ok(Self)
                }
            }
        }
    };
}

bare!(reading, GET);
bare!(forgetting, DELETE);

mod setting {
    use super::{
        AccessToken, DeserializationError, Deserialize, IncomingRequest, MatrixError, Policy, Response, metadata,
    };

    metadata! {
        method: PUT,
        rate_limited: false,
        authentication: AccessToken,
        path: "/_wardroom/admin/v1/federation/policy",
    }

    #[derive(Debug, Deserialize)]
    pub(super) struct Request {
        pub(super) allow: Vec<String>,
        #[serde(default)]
        pub(super) deny: Vec<String>,
    }

    impl From<Request> for Policy {
        fn from(Request { allow, deny }: Request) -> Self {
            Self { allow, deny }
        }
    }

    impl IncomingRequest for Request {
        type EndpointError = MatrixError;
        type OutgoingResponse = Response;

        fn try_from_http_request_inner(
            request: http::Request<&[u8]>,
            _: &[&str],
        ) -> Result<Self, DeserializationError> {
            let body: &[u8] = request.into_body();
            Ok(serde_json::from_slice(if body.is_empty() { b"{}" } else { body })?)
        }
    }
}

async fn get(
    State(state): State<AdminState>,
    Ruma { session, .. }: Ruma<reading::Request>,
) -> Result<Reply<Response>, ApiError> {
    called(&state, &session, Method::GET, async |federation| Ok(shown(federation))).await
}

async fn put(
    State(state): State<AdminState>,
    Ruma { body, session, .. }: Ruma<setting::Request>,
) -> Result<Reply<Response>, ApiError> {
    called(&state, &session, Method::PUT, async |federation| set(federation, Some(body.into())).await).await
}

async fn delete(
    State(state): State<AdminState>,
    Ruma { session, .. }: Ruma<forgetting::Request>,
) -> Result<Reply<Response>, ApiError> {
    called(&state, &session, Method::DELETE, async |federation| set(federation, None).await).await
}

async fn set(federation: &Federation, policy: Option<Policy>) -> Result<Reply<Response>, ApiError> {
    federation.partners.set_policy(policy).await.map_err(refusal)?;
    federation.outbox.wake();
    Ok(shown(federation))
}

async fn called<F>(state: &AdminState, session: &Session, method: Method, work: F) -> Result<Reply<Response>, ApiError>
where
    F: AsyncFnOnce(&Federation) -> Result<Reply<Response>, ApiError>,
{
    let work = |_| async {
        let federation = state.federation.as_ref();
        work(federation.ok_or_else(|| ApiError::not_found("This server does not speak to others."))?).await
    };
    Call::new(method, PATH, []).carried_out(state, session, AdminScope::Operation, work).await
}

fn shown(federation: &Federation) -> Reply<Response> {
    let (policy, set_by_administrator) = federation.partners.policy();
    Reply(Response { allow: policy.allow.clone(), deny: policy.deny.clone(), set_by_administrator })
}

fn refusal(error: PartnerError) -> ApiError {
    match error {
        PartnerError::Setting(sentence) => ApiError::invalid_param(sentence),
        error => ApiError::internal(&error),
    }
}

//! `GET` and `POST /_synapse/admin/v1/register`: registration by whoever knows the shared secret of the configuration.
//!
//! A script fetches a nonce, and sends it back within a minute with the new user and an HMAC-SHA1 under the secret.
//! Shapes and path are Synapse's ("Shared-Secret Registration" in its admin documentation), for the scripts that exist.

use axum::extract::State;
use ruma::{
    OwnedDeviceId, OwnedServerName, OwnedUserId,
    api::{
        IncomingRequest, OutgoingBodyJson, OutgoingResponse,
        auth_scheme::NoAccessToken,
        error::{DeserializationError, Error as MatrixError, IntoHttpError},
        metadata,
    },
};
use serde::{Deserialize, Serialize};
use wardroom_accounts::{LoginRequest, SharedSecretRegistration};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::{
    AdminState,
    endpoint::{Described, Endpoints},
};

/// Name of the device that a registration signs in on.
const DEVICE_DISPLAY_NAME: &str = "Shared-secret registration";

pub(crate) fn endpoints() -> Endpoints {
    let path = "/_synapse/admin/v1/register";
    let described = |method, summary| Described { method, path, scope: None, summary };
    Endpoints::new().with(
        Routes::new().endpoint(get_nonce).endpoint(register),
        vec![
            described(http::Method::GET, "Gives a nonce for registering with the shared secret."),
            described(http::Method::POST, "Registers a user with the shared secret."),
        ],
    )
}

/// Asking for a nonce.
mod nonce {
    use super::{
        DeserializationError, IncomingRequest, IntoHttpError, MatrixError, NoAccessToken, OutgoingBodyJson,
        OutgoingResponse, Serialize, metadata,
    };

    metadata! {
        method: GET,
        rate_limited: true,
        authentication: NoAccessToken,
        path: "/_synapse/admin/v1/register",
    }

    #[derive(Debug)]
    pub(super) struct Request {}

    impl IncomingRequest for Request {
        type EndpointError = MatrixError;
        type OutgoingResponse = Response;

        fn try_from_http_request_inner(_: http::Request<&[u8]>, _: &[&str]) -> Result<Self, DeserializationError> {
            Ok(Self {})
        }
    }

    #[derive(Serialize, OutgoingBodyJson)]
    pub(super) struct Response {
        pub(super) nonce: String,
    }

    impl OutgoingResponse for Response {
        type Body = Self;

        fn try_into_http_response_inner(self) -> Result<http::Response<Self>, IntoHttpError> {
            Ok(http::Response::new(self))
        }
    }
}

/// Registering with it.
mod with_mac {
    use super::{
        DeserializationError, Deserialize, IncomingRequest, IntoHttpError, MatrixError, NoAccessToken,
        OutgoingBodyJson, OutgoingResponse, OwnedDeviceId, OwnedServerName, OwnedUserId, Serialize, metadata,
    };

    metadata! {
        method: POST,
        rate_limited: true,
        authentication: NoAccessToken,
        path: "/_synapse/admin/v1/register",
    }

    #[derive(Deserialize)]
    pub(super) struct Request {
        pub(super) nonce: String,
        pub(super) username: String,
        pub(super) password: String,
        pub(super) mac: String,
        #[serde(default)]
        pub(super) admin: bool,
        pub(super) user_type: Option<String>,
        pub(super) displayname: Option<String>,
    }

    impl IncomingRequest for Request {
        type EndpointError = MatrixError;
        type OutgoingResponse = Response;

        fn try_from_http_request_inner(
            request: http::Request<&[u8]>,
            _: &[&str],
        ) -> Result<Self, DeserializationError> {
            // As for ruma's own endpoints, no body is an empty object.
            let body = request.into_body();
            Ok(serde_json::from_slice(if body.is_empty() { b"{}" } else { body })?)
        }
    }

    #[derive(Serialize, OutgoingBodyJson)]
    pub(super) struct Response {
        pub(super) user_id: OwnedUserId,
        pub(super) home_server: OwnedServerName,
        pub(super) access_token: String,
        pub(super) device_id: OwnedDeviceId,
    }

    impl OutgoingResponse for Response {
        type Body = Self;

        fn try_into_http_response_inner(self) -> Result<http::Response<Self>, IntoHttpError> {
            Ok(http::Response::new(self))
        }
    }
}

async fn get_nonce(
    State(state): State<AdminState>,
    request: Ruma<nonce::Request>,
) -> Result<Reply<nonce::Response>, ApiError> {
    state.limits.take(Class::RegistrationQuery, request.client_ip)?;
    Ok(Reply(nonce::Response { nonce: state.accounts.shared_secret_nonce()? }))
}

async fn register(
    State(state): State<AdminState>,
    request: Ruma<with_mac::Request>,
) -> Result<Reply<with_mac::Response>, ApiError> {
    state.limits.take(Class::Registration, request.client_ip)?;
    let body = request.body;
    let registration = SharedSecretRegistration {
        nonce: &body.nonce,
        username: &body.username,
        password: &body.password,
        admin: body.admin,
        user_type: body.user_type.as_deref(),
        display_name: body.displayname.as_deref(),
        mac: &body.mac,
    };
    let login = LoginRequest { display_name: Some(DEVICE_DISPLAY_NAME), ..LoginRequest::default() };
    let (user, login) = state.accounts.register_with_shared_secret(&registration, &login).await?;
    tracing::info!(user = user.nid.get(), admin = user.admin, "a user was registered with the shared secret");
    Ok(Reply(with_mac::Response {
        user_id: user.id,
        home_server: state.accounts.settings().server_name.clone(),
        access_token: login.access_token,
        device_id: login.device,
    }))
}

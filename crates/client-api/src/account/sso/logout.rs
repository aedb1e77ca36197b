//! `POST .../oidc/{provider}/backchannel_logout`: an identity provider tells that a session there has ended
//! (OpenID Connect Back-Channel Logout 1.0).

use axum::{
    Json,
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{Method, StatusCode, header};
use serde_json::json;
use url::form_urlencoded;
use wardroom_sso::{LogoutError, Sso};
use wardroom_web::{ApiError, Routes, read_body, to_the_end};

use super::{Provider, configured, log_fault};
use crate::ClientState;

const PATH: &str = "/_matrix/client/unstable/org.wardroom/oidc/{provider}/backchannel_logout";
/// Longest request, in bytes: a token and what else a provider adds.
const REQUEST_BYTES_MAX: usize = 128 * 1_024;

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().plain(Method::POST, PATH, backchannel_logout)
}

/// There is no rate limit: a request that is refused at the change of shifts leaves somebody signed in, and one of a
/// stranger costs a look at a signature.
async fn backchannel_logout(
    State(state): State<ClientState>,
    Provider(provider): Provider,
    body: Body,
) -> Result<Response, ApiError> {
    let sso = configured(&state)?.clone();
    let form = read_body(body, REQUEST_BYTES_MAX).await?;
    let token =
        form_urlencoded::parse(&form).find(|(key, _)| key == "logout_token").map(|(_, value)| value.into_owned());
    // A token is good once: what it ends, it ends also when the provider does not wait.
    Ok(to_the_end(async move { end_sessions(&sso, &provider, token).await }).await)
}

async fn end_sessions(sso: &Sso, provider: &str, token: Option<String>) -> Response {
    let Some(token) = token else {
        return answer(StatusCode::BAD_REQUEST, "logout_token: is missing");
    };
    match sso.end_sessions(provider, &token).await {
        Ok(ended) => {
            tracing::info!(provider, ended, "an identity provider ended a session");
            (StatusCode::OK, [(header::CACHE_CONTROL, "no-store")]).into_response()
        }
        Err(error) => {
            let status = match &error {
                LogoutError::UnknownProvider => StatusCode::NOT_FOUND,
                LogoutError::Token(_) => StatusCode::BAD_REQUEST,
                LogoutError::Provider(fault) => {
                    log_fault(fault);
                    StatusCode::SERVICE_UNAVAILABLE
                }
                LogoutError::Account(error) => {
                    tracing::error!(%error, "sessions of an identity provider could not be ended");
                    return answer(StatusCode::INTERNAL_SERVER_ERROR, "An error inside the server.");
                }
            };
            answer(status, &error.to_string())
        }
    }
}

/// As section 2.8 has it.
fn answer(status: StatusCode, sentence: &str) -> Response {
    let code = if status.is_server_error() { "server_error" } else { "invalid_request" };
    let body = Json(json!({ "error": code, "error_description": sentence }));
    (status, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}

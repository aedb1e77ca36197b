//! Single sign-on (client-server API, sections "SSO client login/authentication" and "SSO during User-Interactive
//! Authentication"), for which browsers come here: answers are pages, not JSON.
//!
//! Where no provider is configured, none of these endpoints exists.

mod confirm;
mod cookies;
mod logout;
mod pages;

use axum::{
    extract::{FromRequestParts, Path, Request, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, Method, StatusCode, header, request::Parts};
use ruma::api::{
    Metadata,
    client::session::{sso_login, sso_login_with_provider},
    path_builder::PathBuilder as _,
};
use url::form_urlencoded;
use wardroom_accounts::AccountError;
use wardroom_audit::{Act, AuditLog, Outcome, Record};
use wardroom_sso::{
    Begun, CallbackAnswer, Finished, ProviderFault, ProviderSettings, Purpose, RedirectUrl, Sso, SsoError,
};
use wardroom_web::{ApiError, Class, Routes, client_ip, to_the_end};

use crate::ClientState;

/// Where a provider sends browsers back to.
const CALLBACK: &str = "/_matrix/client/unstable/org.wardroom/oidc/{provider}/callback";

pub(crate) fn routes() -> Routes<ClientState> {
    let mut routes = Routes::new().plain(Method::GET, CALLBACK, callback);
    for path in sso_login::v3::Request::PATH_BUILDER.all_paths() {
        routes = routes.plain(Method::GET, path, redirect);
    }
    for path in sso_login_with_provider::v3::Request::PATH_BUILDER.all_paths() {
        routes = routes.plain(Method::GET, path, redirect_to);
    }
    routes.merge(confirm::routes()).merge(logout::routes())
}

/// Id of the provider that a path names.
struct Provider(String);

impl<S: Send + Sync> FromRequestParts<S> for Provider {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(id) = path.map_err(|_| ApiError::invalid_param("The path is not UTF-8 once it is decoded."))?;
        Ok(Self(id))
    }
}

/// Single sign-on, where there is any.
fn configured(state: &ClientState) -> Result<&Sso, ApiError> {
    state.sso.as_ref().ok_or_else(ApiError::unrecognized)
}

/// A parameter of the query, decoded; the first of those that are there twice.
fn parameter(parts: &Parts, name: &str) -> Option<String> {
    let query = parts.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

async fn redirect(State(state): State<ClientState>, request: Request) -> Result<Response, ApiError> {
    let sso = configured(&state)?;
    let (parts, _) = request.into_parts();
    let providers: Vec<&ProviderSettings> = sso.providers().collect();
    match providers.as_slice() {
        [only] => begin_login(&state, sso, &only.id, &parts).await,
        several => {
            let wanted = parameter(&parts, "redirectUrl").unwrap_or_default();
            Ok(match RedirectUrl::parse(&wanted) {
                Ok(redirect_url) => pages::choice(several, &redirect_url),
                Err(error) => failed(error),
            })
        }
    }
}

async fn redirect_to(
    State(state): State<ClientState>,
    Provider(provider): Provider,
    request: Request,
) -> Result<Response, ApiError> {
    let sso = configured(&state)?;
    begin_login(&state, sso, &provider, &request.into_parts().0).await
}

async fn begin_login(state: &ClientState, sso: &Sso, provider: &str, parts: &Parts) -> Result<Response, ApiError> {
    state.limits.take(Class::Login, client_ip(parts))?;
    let begun = match RedirectUrl::parse(&parameter(parts, "redirectUrl").unwrap_or_default()) {
        Ok(redirect_url) => sso.begin(provider, Purpose::Login { redirect_url }).await,
        Err(error) => Err(error),
    };
    Ok(begun.map_or_else(failed, |begun| sent_off(sso, &begun)))
}

/// Sends the browser to the provider, with a cookie by which it is known when it comes back.
fn sent_off(sso: &Sso, begun: &Begun) -> Response {
    let cookie = cookies::set(&begun.cookie, &begun.secret, &begun.path, sso.is_secure());
    let headers = [
        (header::LOCATION, begun.location.as_str()),
        (header::SET_COOKIE, &cookie),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (StatusCode::FOUND, headers).into_response()
}

async fn callback(
    State(state): State<ClientState>,
    Provider(provider): Provider,
    request: Request,
) -> Result<Response, ApiError> {
    let sso = configured(&state)?.clone();
    let (parts, _) = request.into_parts();
    // The code is good once: what was begun with it goes on although the browser has left.
    Ok(to_the_end(async move { finish(&sso, &state.audit, &provider, &parts).await }).await)
}

/// Records that somebody was not signed in. They are not, whether that works or not.
async fn record_refusal(audit: &AuditLog, error: &SsoError) {
    let why = match error {
        SsoError::Declined(_) => "declined by the provider",
        SsoError::TooWeak => "too weak",
        SsoError::TooLongAgo => "too long ago",
        SsoError::NoName => "no name",
        SsoError::OtherUser => "other user",
        SsoError::Token(_) => "answer not trusted",
        SsoError::Account(AccountError::Deactivated) => "deactivated",
        SsoError::Account(AccountError::Locked) => "locked",
        SsoError::Account(AccountError::NotLinked) => "not linked",
        // Not refused: it did not work, or was over.
        _ => return,
    };
    let record = Record::of(Act::LoginFailed).outcome(Outcome::Minor).detail("provider").why(why);
    if let Err(error) = audit.repeated(record).await {
        tracing::error!(%error, "a refused sign-in could not be recorded");
    }
}

async fn finish(sso: &Sso, audit: &AuditLog, provider: &str, parts: &Parts) -> Response {
    let [given_state, code, error, issuer] = ["state", "code", "error", "iss"].map(|name| parameter(parts, name));
    let answer = CallbackAnswer {
        state: given_state.as_deref(),
        code: code.as_deref(),
        error: error.as_deref(),
        issuer: issuer.as_deref(),
    };
    let cookie = Sso::cookie_of(&answer);
    let browser = cookie.as_deref().and_then(|name| cookies::get(&parts.headers, name));
    let finished = sso.finish(provider, &answer, browser.as_deref()).await;
    if let Err(error) = &finished {
        record_refusal(audit, error).await;
    }
    let mut response = match finished {
        Ok(Finished::Login { location, trusted: true, .. }) => {
            let headers = [
                (header::LOCATION, location.as_str()),
                (header::CACHE_CONTROL, "no-store"),
                (header::REFERRER_POLICY, "no-referrer"),
            ];
            (StatusCode::FOUND, headers).into_response()
        }
        Ok(Finished::Login { redirect_url, location, user, .. }) => pages::consent(&redirect_url, &location, &user),
        Ok(Finished::Confirmed) => pages::confirmed(),
        Err(error) => failed(error),
    };
    if let Some(cookie) = cookie
        && let Ok(cleared) = cookies::clear(&cookie, &sso.callback_path(provider), sso.is_secure()).parse()
    {
        response.headers_mut().append(header::SET_COOKIE, cleared);
    }
    response
}

/// A page that says why somebody was not signed in.
fn failed(error: SsoError) -> Response {
    let sentence = error.to_string();
    let status = match error {
        SsoError::UnknownProvider => StatusCode::NOT_FOUND,
        SsoError::BadRedirect(_) | SsoError::UnknownAttempt | SsoError::Over => StatusCode::BAD_REQUEST,
        SsoError::Provider(fault) => {
            log_fault(&fault);
            StatusCode::BAD_GATEWAY
        }
        SsoError::Token(fault) => {
            tracing::warn!(error = %fault, "what an identity provider answered cannot be trusted");
            StatusCode::BAD_GATEWAY
        }
        SsoError::Declined(_) | SsoError::TooWeak | SsoError::TooLongAgo | SsoError::NoName | SsoError::OtherUser => {
            StatusCode::FORBIDDEN
        }
        SsoError::Account(error) => {
            let status = ApiError::from(error).status();
            if status.is_server_error() {
                return pages::failure(status, "Something went wrong inside the server. Please try again later.");
            }
            status
        }
    };
    pages::failure(status, &sentence)
}

fn log_fault(fault: &ProviderFault) {
    if matches!(fault, ProviderFault::FailedJustNow(_)) {
        return;
    }
    let cause = std::error::Error::source(fault).map(ToString::to_string).unwrap_or_default();
    tracing::warn!(error = %fault, cause, "an identity provider failed");
}

/// Whether the browser follows a link of a page of ours: the page's secret stands in the link and in a cookie.
fn has_secret(headers: &HeaderMap, cookie: &str, given: Option<&str>) -> bool {
    let known = cookies::get(headers, cookie);
    known.as_deref().zip(given).is_some_and(|(known, given)| !known.is_empty() && known == given)
}

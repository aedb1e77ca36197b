//! `GET /_matrix/client/v3/auth/m.login.sso/fallback/web`: confirming an action by signing in with the identity provider
//! again (client-server API, section "SSO during User-Interactive Authentication").
//!
//! The page comes before the provider, and cannot be passed by: the link on it has a secret that stands in a cookie too,
//! so that nobody is sent to the provider who has not seen what they confirm.

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::Method;
use url::form_urlencoded;
use wardroom_accounts::UserNid;
use wardroom_sso::{Purpose, Sso, SsoError, new_secret};
use wardroom_web::{ApiError, Class, Routes, client_ip};

use super::{Provider, configured, cookies, failed, has_secret, pages, parameter, sent_off};
use crate::ClientState;

/// Where the links of the page lead.
const CONFIRM: &str = "/_matrix/client/unstable/org.wardroom/oidc/{provider}/confirm";
/// The cookie of the page.
const COOKIE: &str = "wardroom_confirm";

pub(super) fn routes() -> Routes<ClientState> {
    let mut routes = Routes::new().plain(Method::GET, CONFIRM, confirm);
    for version in ["r0", "v3"] {
        let path = format!("/_matrix/client/{version}/auth/m.login.sso/fallback/web");
        routes = routes.plain(Method::GET, &path, fallback);
    }
    routes
}

/// Operations as people know them, by the names under which their handlers ask for authentication.
fn in_words(operation: &str) -> &'static str {
    match operation {
        "POST /delete_devices" | "DELETE /devices/{device_id}" => "sign out devices of your account",
        "POST /account/password" => "change the password of your account",
        "POST /account/deactivate" => "close your account for good",
        "POST /keys/device_signing/upload" => "reset the cryptographic identity of your account",
        "POST /login/get_token" => "sign in another device to your account",
        _ => "do something with your account that needs your confirmation",
    }
}

async fn fallback(State(state): State<ClientState>, request: Request) -> Result<Response, ApiError> {
    let sso = configured(&state)?;
    let (parts, _) = request.into_parts();
    state.limits.take(Class::Login, client_ip(&parts))?;
    let session = parameter(&parts, "session").unwrap_or_default();
    let Some((user, operation)) = asked(&state, &session) else { return Ok(failed(SsoError::Over)) };
    let secret = new_secret();
    let links = state.accounts.sso_links(user).await?;
    let base = &state.settings.public_url;
    let mut providers = Vec::new();
    for provider in sso.providers().filter(|provider| links.iter().any(|link| link.issuer == provider.issuer)) {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("session", &session).append_pair("page", &secret);
        let target = format!("{base}{}?{}", CONFIRM.replace("{provider}", &provider.id), query.finish());
        providers.push((provider.name.as_str(), target));
    }
    if providers.is_empty() {
        return Ok(failed(SsoError::OtherUser));
    }
    let cookie = cookies::set(COOKIE, &secret, &cookie_path(base), sso.is_secure());
    Ok(pages::confirmation(in_words(operation), &providers, &cookie))
}

async fn confirm(
    State(state): State<ClientState>,
    Provider(provider): Provider,
    request: Request,
) -> Result<Response, ApiError> {
    let sso: &Sso = configured(&state)?;
    let (parts, _) = request.into_parts();
    state.limits.take(Class::Login, client_ip(&parts))?;
    if !has_secret(&parts.headers, COOKIE, parameter(&parts, "page").as_deref()) {
        return Ok(failed(SsoError::UnknownAttempt));
    }
    let session = parameter(&parts, "session").unwrap_or_default();
    if asked(&state, &session).is_none() {
        return Ok(failed(SsoError::Over));
    }
    let begun = sso.begin(&provider, Purpose::Confirm { session }).await;
    Ok(begun.map_or_else(failed, |begun| sent_off(sso, &begun)))
}

/// Whose dialogue it is, and about what.
fn asked(state: &ClientState, session: &str) -> Option<(UserNid, &'static str)> {
    let request = state.accounts.uia_request(session)?;
    request.user.map(|user| (user, request.operation))
}

/// The path of the links, as a browser sees it.
fn cookie_path(public_url: &str) -> String {
    let path = url::Url::parse(public_url).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
    format!("{path}/_matrix/client/unstable/org.wardroom/oidc/")
}

//! Who calls: access tokens, and which endpoints ask for one.

use std::{fmt, net::IpAddr};

use http::{header::AUTHORIZATION, request::Parts};
use ruma::api::auth_scheme::{
    AccessToken, AccessTokenOptional, AppserviceTokenOptional, AuthScheme, NoAccessToken, NoAuthentication,
};
use wardroom_accounts::{Accounts, Session};
use wardroom_audit::origin;

use crate::{ApiError, RateLimits, client_ip};

/// What the state of an API crate offers to the extractor.
pub trait ApiState: Clone + Send + Sync + 'static {
    /// Whose token is it.
    fn accounts(&self) -> &Accounts;

    /// The rate limits shared by all listeners.
    fn limits(&self) -> &RateLimits;
}

/// What an authentication scheme of ruma's demands of the caller, and so what a handler receives as `session`.
pub trait Demand: AuthScheme {
    /// `Session`, `Option<Session>`, or nothing.
    type Session: Send + fmt::Debug + 'static;

    /// Whether a token is looked for at all.
    const READS_TOKEN: bool;

    /// Turns what was found into what the handler receives.
    fn demand(session: Option<Session>) -> Result<Self::Session, ApiError>;

    /// The session, if the scheme has one.
    fn session(session: &Self::Session) -> Option<&Session>;

    /// Whether this is a guest at an endpoint that asks for a user. Where the token is optional, so is the user.
    fn refuses(_session: &Self::Session) -> bool {
        false
    }
}

impl Demand for AccessToken {
    type Session = Session;
    const READS_TOKEN: bool = true;

    fn demand(session: Option<Session>) -> Result<Session, ApiError> {
        session.ok_or_else(ApiError::missing_token)
    }

    fn session(session: &Session) -> Option<&Session> {
        Some(session)
    }

    fn refuses(session: &Session) -> bool {
        session.guest
    }
}

impl Demand for AccessTokenOptional {
    type Session = Option<Session>;
    const READS_TOKEN: bool = true;

    fn demand(session: Option<Session>) -> Result<Option<Session>, ApiError> {
        Ok(session)
    }

    fn session(session: &Option<Session>) -> Option<&Session> {
        session.as_ref()
    }
}

/// Schemes without a user's token. Application services' tokens come with application services.
macro_rules! demands_nothing {
    ($($scheme:ty),*) => {$(
        impl Demand for $scheme {
            type Session = ();
            const READS_TOKEN: bool = false;

            fn demand(_: Option<Session>) -> Result<(), ApiError> {
                Ok(())
            }

            fn session((): &()) -> Option<&Session> {
                None
            }
        }
    )*};
}

demands_nothing!(NoAuthentication, NoAccessToken, AppserviceTokenOptional);

/// Authenticates the caller of an endpoint with the scheme `A`.
pub(crate) async fn authenticate<A: Demand, S: ApiState>(
    parts: &Parts,
    client_ip: IpAddr,
    state: &S,
) -> Result<A::Session, ApiError> {
    if !A::READS_TOKEN {
        return A::demand(None);
    }
    // The header first, borrowed: it is what today's clients send on every request.
    let session = if let Some(value) = parts.headers.get(AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer).ok_or_else(ApiError::missing_token)?;
        of_token(token, parts, state).await?
    } else if let Some(token) = query_token(parts) {
        of_token(&token, parts, state).await?
    } else {
        return A::demand(None);
    };
    origin::authenticated(|who| {
        match &session.administrator {
            Some(admin) => {
                who.user = Some(admin.to_string());
                who.on_behalf_of = Some(session.user.to_string());
            }
            None => who.user = Some(session.user.to_string()),
        }
        who.device = Some(session.device.to_string());
        who.subject.clone_from(&session.subject);
    });
    state.accounts().note_seen(&session, Some(client_ip), !is_repeated(parts.uri.path()));
    A::demand(Some(session))
}

/// Who calls, for APIs whose requests ruma has no types for.
///
/// # Errors
/// Where nobody signed in, or a guest did.
pub async fn signed_in<S: ApiState>(parts: &Parts, state: &S) -> Result<Session, ApiError> {
    let session = authenticate::<AccessToken, S>(parts, client_ip::of(parts), state).await?;
    if session.guest {
        return Err(ApiError::forbidden("Guests may not use this endpoint."));
    }
    Ok(session)
}

/// Whether clients ask for this by themselves, again and again: that nobody is there does not end it.
fn is_repeated(path: &str) -> bool {
    path.ends_with("/sync") || path.contains("/presence/")
}

/// The session of a token. Users of locked accounts may log out, and nothing else.
async fn of_token<S: ApiState>(token: &str, parts: &Parts, state: &S) -> Result<Session, ApiError> {
    let path = parts.uri.path();
    let logs_out = ["/logout", "/logout/all"].iter().any(|end| path.ends_with(end));
    Ok(if logs_out {
        state.accounts().authenticate_even_locked(token).await?
    } else {
        state.accounts().authenticate(token).await?
    })
}

/// The token of an `Authorization` value of the scheme "Bearer" (RFC 6750, section 2.1; the scheme's case is free).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The query parameter `access_token`, deprecated since Matrix 1.11 and gone with 1.20; old clients still send it.
fn query_token(parts: &Parts) -> Option<String> {
    if !parts.uri.query()?.contains("access_token") {
        return None;
    }
    let mut request = http::Request::new(());
    *request.uri_mut() = parts.uri.clone();
    AccessTokenOptional::extract_authentication(&request).ok().flatten()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{bearer, query_token};

    fn query_of(uri: &str) -> Option<String> {
        let (parts, ()) = Request::builder().uri(uri).body(()).unwrap().into_parts();
        query_token(&parts)
    }

    #[test]
    fn the_bearer_scheme_is_read_in_any_case() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer "), None);
        assert_eq!(bearer("Bearer"), None);
    }

    #[test]
    fn the_query_token_is_decoded() {
        assert_eq!(query_of("/x?a=1&access_token=s%2Bx").as_deref(), Some("s+x"));
        assert_eq!(query_of("/x?a=access_token"), None);
        assert_eq!(query_of("/x"), None);
    }
}

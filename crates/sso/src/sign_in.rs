//! A sign-in from its begin to its end: the authorization code flow (OpenID Connect Core 1.0, section 3.1) with PKCE
//! (RFC 7636).

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::Url;
use wardroom_accounts::{SsoIdentity, SsoNewcomer, User, UserNid, localpart_of};

use crate::{
    ProviderSettings, RedirectUrl, Sso, SsoError, TokenFault,
    attempts::{Attempt, Opened},
    claims,
    jose::{TOKEN_BYTES_MAX, Unchecked},
    provider::{KeysFor, Provider},
    tokens::{IdToken, LEEWAY_SECONDS, ThisSignIn},
};

/// How long a login token is good that goes straight to the client. The specification has "around five seconds"; a
/// telephone on a bad line takes some more.
pub const LOGIN_TOKEN_LIFETIME: Duration = Duration::from_secs(15);
/// The same for one that waits on a page until the user says that the client may have it.
pub const LOGIN_TOKEN_LIFETIME_SHOWN: Duration = Duration::from_mins(2);

/// What somebody signs in for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client wants a login token.
    Login {
        /// Where it wants it.
        redirect_url: RedirectUrl,
    },
    /// An action is to be confirmed (user-interactive authentication).
    Confirm {
        /// The dialogue.
        session: String,
    },
}

/// A sign-in that has begun.
pub struct Begun {
    /// Where the browser goes.
    pub location: String,
    /// Name of the cookie by which the browser is known when it comes back.
    pub cookie: String,
    /// The cookie's value.
    pub secret: String,
    /// The path that the cookie is for.
    pub path: String,
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").field("cookie", &self.cookie).finish_non_exhaustive()
    }
}

/// What a browser brings back from a provider, beside its cookie.
#[derive(Clone, Copy, Default)]
pub struct CallbackAnswer<'a> {
    /// Which sign-in.
    pub state: Option<&'a str>,
    /// What tokens are had for.
    pub code: Option<&'a str>,
    /// Why there is no code.
    pub error: Option<&'a str>,
    /// Who answers (RFC 9207).
    pub issuer: Option<&'a str>,
}

impl fmt::Debug for CallbackAnswer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackAnswer").finish_non_exhaustive()
    }
}

/// How a sign-in ended.
pub enum Finished {
    /// The client may sign in.
    Login {
        /// Where the client wants its token.
        redirect_url: RedirectUrl,
        /// The URL with the token.
        location: String,
        /// Whether the client is one of those that the operator trusts; others get it only if the user agrees.
        trusted: bool,
        /// As whom, for the page that asks.
        user: ruma::OwnedUserId,
    },
    /// The action is confirmed.
    Confirmed,
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login { .. } => "Login",
            Self::Confirmed => "Confirmed",
        })
    }
}

/// What the provider said of a person, checked.
struct Person {
    token: IdToken,
    claims: Map<String, Value>,
}

impl Sso {
    /// Begins a sign-in with a provider.
    ///
    /// # Errors
    /// [`SsoError::UnknownProvider`], [`SsoError::Provider`].
    pub async fn begin(&self, provider: &str, purpose: Purpose) -> Result<Begun, SsoError> {
        let provider = self.provider(provider).ok_or(SsoError::UnknownProvider)?;
        let settings = provider.settings();
        let metadata = provider.metadata().await?;
        let again = matches!(purpose, Purpose::Confirm { .. });
        let opened = self.0.attempts.open(&settings.id, purpose, self.0.clock.now_ms());
        let location = authorization_url(&metadata.authorization, provider, &opened, again);
        let (cookie, path) = (cookie_name(&opened.state), provider.callback_path());
        Ok(Begun { location, cookie, secret: opened.browser, path })
    }

    /// The name of the cookie that goes with an answer.
    pub fn cookie_of(answer: &CallbackAnswer<'_>) -> Option<String> {
        answer.state.map(cookie_name)
    }

    /// Finishes a sign-in. `browser` is the value of the cookie.
    ///
    /// # Errors
    /// [`SsoError`].
    pub async fn finish(
        &self,
        provider: &str,
        answer: &CallbackAnswer<'_>,
        browser: Option<&str>,
    ) -> Result<Finished, SsoError> {
        let provider = self.provider(provider).ok_or(SsoError::UnknownProvider)?;
        let (state, browser) = answer.state.zip(browser).ok_or(SsoError::UnknownAttempt)?;
        let attempt = self.0.attempts.take(state, browser, self.0.clock.now_ms()).ok_or(SsoError::UnknownAttempt)?;
        if attempt.provider != provider.settings().id {
            return Err(SsoError::UnknownAttempt);
        }
        let metadata = provider.metadata().await?;
        match answer.issuer {
            Some(issuer) if issuer != provider.settings().issuer => return Err(TokenFault::Mismatch("iss").into()),
            None if metadata.names_issuer => return Err(TokenFault::Claim("iss").into()),
            _ => {}
        }
        if let Some(error) = answer.error {
            return Err(SsoError::Declined(known_error(error)));
        }
        let code = answer.code.filter(|code| !code.is_empty() && code.len() <= TOKEN_BYTES_MAX);
        let code = code.ok_or(TokenFault::Claim("code"))?;
        let person = person(provider, &attempt, code).await?;
        check_strength(provider.settings(), &person, &attempt, self.0.clock.now_ms() / 1_000)?;
        match attempt.purpose {
            Purpose::Login { redirect_url } => self.log_in(provider.settings(), &person, redirect_url).await,
            Purpose::Confirm { session } => self.confirm(provider.settings(), &person, &session).await,
        }
    }

    async fn log_in(
        &self,
        settings: &ProviderSettings,
        person: &Person,
        redirect_url: RedirectUrl,
    ) -> Result<Finished, SsoError> {
        let email = claims::email(&person.claims, &settings.email_claim);
        let identity = identity(settings, person, email.as_deref());
        let accounts = &self.0.accounts;
        let user = match accounts.sso_user(&identity).await? {
            Some(_) => accounts.sso_account(&identity, None).await?,
            None => {
                let name = claims::text(&person.claims, &settings.localpart_claim).ok_or(SsoError::NoName)?;
                let localpart = localpart_of(&name);
                let display_name = claims::text(&person.claims, &settings.display_name_claim);
                let newcomer = SsoNewcomer {
                    localpart: &localpart,
                    display_name: display_name.as_deref(),
                    link_existing: settings.allow_existing_users,
                };
                accounts.sso_account(&identity, Some(&newcomer)).await?
            }
        };
        self.tell_claims(settings, &user, person).await;
        let trusted = redirect_url.is_among(&self.0.client_allow);
        let lifetime = if trusted { LOGIN_TOKEN_LIFETIME } else { LOGIN_TOKEN_LIFETIME_SHOWN };
        let token = accounts.new_sso_login_token(user.nid, &identity, lifetime);
        let location = redirect_url.with_token(&token);
        Ok(Finished::Login { redirect_url, location, trusted, user: user.id })
    }

    async fn confirm(&self, settings: &ProviderSettings, person: &Person, session: &str) -> Result<Finished, SsoError> {
        let email = claims::email(&person.claims, &settings.email_claim);
        let identity = identity(settings, person, email.as_deref());
        let asked: UserNid =
            self.0.accounts.uia_request(session).and_then(|request| request.user).ok_or(SsoError::Over)?;
        if self.0.accounts.sso_user(&identity).await?.is_none() {
            return Err(SsoError::OtherUser);
        }
        let user = self.0.accounts.sso_account(&identity, None).await?;
        if user.nid != asked {
            return Err(SsoError::OtherUser);
        }
        self.tell_claims(settings, &user, person).await;
        if self.0.accounts.pass_sso_stage(session, user.nid) { Ok(Finished::Confirmed) } else { Err(SsoError::Over) }
    }

    async fn tell_claims(&self, settings: &ProviderSettings, user: &User, person: &Person) {
        self.0.accounts.note_claims(&user.id, &settings.id, &person.claims).await;
    }
}

fn identity<'a>(settings: &'a ProviderSettings, person: &'a Person, email: Option<&'a str>) -> SsoIdentity<'a> {
    let IdToken { subject, session, .. } = &person.token;
    SsoIdentity { issuer: &settings.issuer, subject, session: session.as_deref(), email }
}

/// Exchanges the code, and checks whom the tokens are about.
async fn person(provider: &Provider, attempt: &Attempt, code: &str) -> Result<Person, SsoError> {
    let settings = provider.settings();
    let tokens = provider.exchange(code, &attempt.verifier).await?;
    let unchecked = Unchecked::parse(&tokens.id_token, &settings.algorithms)?;
    if unchecked.kind.as_deref() == Some("logout+jwt") {
        return Err(TokenFault::Mismatch("typ").into());
    }
    let claims = provider.checked_claims(&unchecked, KeysFor::SignIn).await??;
    let access_token = tokens.access_token.as_deref();
    let sign_in = ThisSignIn { nonce: &attempt.nonce, access_token, algorithm: unchecked.algorithm };
    let token = provider.expected().id_token(claims, &sign_in)?;
    let mut claims = token.claims.clone();
    if settings.userinfo {
        let access_token = access_token.ok_or(TokenFault::Claim("access_token"))?;
        claims = claims::merged(claims, provider.userinfo(access_token, &token.subject).await?);
    }
    Ok(Person { token, claims })
}

/// Whether the provider asked the person for as much as this server demands.
fn check_strength(
    settings: &ProviderSettings,
    person: &Person,
    attempt: &Attempt,
    now_seconds: u64,
) -> Result<(), SsoError> {
    let claims = &person.token.claims;
    let met = |wanted: &[String], found: &[&str]| {
        wanted.is_empty() || found.iter().any(|found| wanted.iter().any(|wanted| wanted == found))
    };
    let context: Vec<&str> = claims.get("acr").and_then(Value::as_str).into_iter().collect();
    let methods = claims.get("amr").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let methods: Vec<&str> = methods.iter().filter_map(Value::as_str).collect();
    if !met(&settings.acr_values, &context) || !met(&settings.amr_values, &methods) {
        return Err(SsoError::TooWeak);
    }
    let since = match person.token.auth_time {
        None if settings.max_age_seconds.is_some() => return Err(TokenFault::Claim("auth_time").into()),
        None => return Ok(()),
        Some(since) => since,
    };
    let too_old = settings.max_age_seconds.is_some_and(|max| since.saturating_add(max + LEEWAY_SECONDS) < now_seconds);
    // What confirms an action is a proof that was given for it.
    let confirms = matches!(attempt.purpose, Purpose::Confirm { .. });
    let before = confirms && since.saturating_add(LEEWAY_SECONDS) < attempt.started_ms / 1_000;
    if too_old || before { Err(SsoError::TooLongAgo) } else { Ok(()) }
}

/// Where a browser is sent (OpenID Connect Core 1.0, section 3.1.2.1). With `again` the provider is to ask who it is also
/// where it knows already.
fn authorization_url(endpoint: &Url, provider: &Provider, opened: &Opened, again: bool) -> String {
    let settings = provider.settings();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&opened.verifier));
    let mut url = endpoint.clone();
    let mut query = url.query_pairs_mut();
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &settings.client_id)
        .append_pair("redirect_uri", provider.callback())
        .append_pair("scope", &settings.scopes.join(" "))
        .append_pair("state", &opened.state)
        .append_pair("nonce", &opened.nonce)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    if !settings.acr_values.is_empty() {
        query.append_pair("acr_values", &settings.acr_values.join(" "));
    }
    if let Some(max_age) = settings.max_age_seconds {
        query.append_pair("max_age", &max_age.to_string());
    }
    if again {
        query.append_pair("prompt", "login");
    }
    drop(query);
    url.into()
}

/// A cookie for each attempt: a browser may be in the middle of several.
fn cookie_name(state: &str) -> String {
    let start: String = state.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    format!("wardroom_sso_{start}")
}

/// The codes of RFC 6749 and OpenID Connect Core 1.0; others are not repeated to anybody.
fn known_error(code: &str) -> String {
    const KNOWN: [&str; 13] = [
        "access_denied",
        "invalid_request",
        "unauthorized_client",
        "unsupported_response_type",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
        "interaction_required",
        "login_required",
        "account_selection_required",
        "consent_required",
        "unmet_authentication_requirements",
        "request_not_supported",
    ];
    if KNOWN.contains(&code) { code.to_owned() } else { "for an unknown reason".to_owned() }
}

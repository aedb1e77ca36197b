//! Signing in with an identity provider: OpenID Connect (Core 1.0, Discovery 1.0, Back-Channel Logout 1.0), the
//! authorization code flow with PKCE (RFC 7636).
//!
//! Invariants:
//! - What a provider says is believed only after its token was checked whole: signature, algorithm, issuer, audience,
//!   time, nonce, and what ties it to the code or access token it came with.
//! - A sign-in is finished once, in the browser that began it, with the provider it was begun with.
//! - Nothing that a provider or a browser sends is kept without a bound, and a provider that is slow or down holds up
//!   only those who sign in with it.
//! - No token, code, name or claim gets into the log.
//!
//! Absent on purpose: pages and cookies as HTTP has them (`wardroom-client-api`), where links and sessions are stored
//! (`wardroom-accounts`), what claims mean for anybody's rights (whoever listens to them), encrypted tokens, and every flow
//! but that with a code.

mod attempts;
mod claims;
mod error;
mod jose;
mod logout;
mod provider;
mod redirect_url;
mod settings;
mod sign_in;
mod tokens;

use std::{fmt, sync::Arc};

use wardroom_accounts::Accounts;
use wardroom_clock::SharedClock;
use wardroom_outbound::Outbound;

use self::{attempts::Attempts, logout::Replays, provider::Provider};
pub use self::{
    attempts::{ATTEMPT_LIFETIME_MS, ATTEMPTS_MAX, new_secret},
    claims::is_pointer,
    error::{LogoutError, ProviderFault, SsoError},
    jose::{Algorithm, TokenFault},
    redirect_url::{REDIRECT_URL_BYTES_MAX, RedirectUrl},
    settings::{ClientAuth, Endpoints, ProviderSettings, SsoSettings},
    sign_in::{Begun, CallbackAnswer, Finished, LOGIN_TOKEN_LIFETIME, LOGIN_TOKEN_LIFETIME_SHOWN, Purpose},
};

/// Single sign-on with the configured providers. Clones share everything.
#[derive(Clone)]
pub struct Sso(Arc<Inner>);

struct Inner {
    accounts: Accounts,
    clock: SharedClock,
    providers: Vec<Provider>,
    client_allow: Vec<String>,
    public_url: String,
    attempts: Attempts,
    replays: Replays,
}

impl Sso {
    /// Single sign-on for `accounts`; requests to providers are made with `outbound`, which follows no redirections.
    pub fn new(accounts: Accounts, clock: SharedClock, outbound: &Outbound, settings: SsoSettings) -> Self {
        let SsoSettings { public_url, providers, client_allow, allow_http } = settings;
        let provider =
            |settings| Provider::new(settings, outbound.clone(), Arc::clone(&clock), &public_url, allow_http);
        let providers = providers.into_iter().map(provider).collect();
        let (attempts, replays) = (Attempts::default(), Replays::default());
        Self(Arc::new(Inner { accounts, clock, providers, client_allow, public_url, attempts, replays }))
    }

    /// The providers, in the order of the configuration.
    pub fn providers(&self) -> impl Iterator<Item = &ProviderSettings> {
        self.0.providers.iter().map(Provider::settings)
    }

    /// Issuers of the providers: people whom another issuer knew cannot sign in with it any more.
    pub fn issuers(&self) -> Vec<&str> {
        self.providers().map(|provider| provider.issuer.as_str()).collect()
    }

    /// Whether browsers reach this server over TLS, so that cookies can be kept to it.
    pub fn is_secure(&self) -> bool {
        self.0.public_url.starts_with("https://")
    }

    /// The path at which browsers come back from a provider, as they see it.
    pub fn callback_path(&self, provider: &str) -> String {
        self.provider(provider).map_or_else(|| "/".to_owned(), Provider::callback_path)
    }

    fn provider(&self, id: &str) -> Option<&Provider> {
        self.0.providers.iter().find(|provider| provider.settings().id == id)
    }
}

impl fmt::Debug for Sso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sso").field("providers", &self.0.providers.len()).finish_non_exhaustive()
    }
}

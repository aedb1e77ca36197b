//! One identity provider: where its endpoints are, its keys, and requests to it.

mod metadata;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};
use wardroom_clock::SharedClock;
use wardroom_outbound::Outbound;

use self::metadata::Metadata;
use crate::{
    ClientAuth, ProviderFault, ProviderSettings, TokenFault,
    jose::{KeySet, TOKEN_BYTES_MAX, Unchecked},
    tokens::Expected,
};

/// Longest answer of a provider that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 512 * 1_024;
/// How long metadata and keys are used without a new look: an hour, so that a key that was withdrawn ends by then.
const FRESH_FOR: Duration = Duration::from_hours(1);
/// How long they are used while the provider cannot be reached.
const USED_FOR: Duration = Duration::from_hours(24);
/// After a failure the provider is left alone for this long: people who wait do not each wait for a time-out.
const FAILED_PAUSE: Duration = Duration::from_secs(5);
/// An ID token with an unknown key makes the keys be read anew, but not more often than this.
const KEYS_PAUSE_SIGN_IN: Duration = Duration::from_secs(5);
/// The same for logout tokens, which anybody may send.
const KEYS_PAUSE_LOGOUT: Duration = Duration::from_secs(60);

/// A configured provider and what is known of it.
#[derive(Debug)]
pub(crate) struct Provider {
    settings: ProviderSettings,
    outbound: Outbound,
    clock: SharedClock,
    allow_http: bool,
    callback: String,
    metadata: Mutex<Fetched<Arc<Metadata>>>,
    keys: Mutex<Fetched<Arc<KeySet>>>,
    /// When an unknown key last made the keys be read anew: for an ID token, for a logout token.
    forced: parking_lot::Mutex<[Option<Instant>; 2]>,
}

/// Something that is fetched now and then.
#[derive(Debug)]
struct Fetched<T> {
    value: Option<(T, Instant)>,
    failed: Option<Instant>,
}

impl<T> Default for Fetched<T> {
    fn default() -> Self {
        Self { value: None, failed: None }
    }
}

impl<T: Clone> Fetched<T> {
    /// The value, if it needs no new look.
    fn fresh(&self) -> Option<T> {
        self.value.as_ref().filter(|(_, at)| at.elapsed() < FRESH_FOR).map(|(value, _)| value.clone())
    }

    fn failed_just_now(&self) -> bool {
        self.failed.is_some_and(|at| at.elapsed() < FAILED_PAUSE)
    }

    /// The value after a new look, or the old one where that failed.
    fn settle(&mut self, looked: Result<T, ProviderFault>) -> Result<T, ProviderFault> {
        match looked {
            Ok(value) => {
                *self = Self { value: Some((value.clone(), Instant::now())), failed: None };
                Ok(value)
            }
            Err(fault) => {
                // Nobody asked the provider when it failed a moment ago: the pause does not begin anew.
                if !matches!(fault, ProviderFault::FailedJustNow(_)) {
                    self.failed = Some(Instant::now());
                }
                let old = self.value.as_ref().filter(|(_, at)| at.elapsed() < USED_FOR);
                old.map(|(value, _)| value.clone()).ok_or(fault)
            }
        }
    }
}

/// Why keys are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeysFor {
    SignIn,
    Logout,
}

/// What the token endpoint answers (OpenID Connect Core 1.0, section 3.1.3.3).
#[derive(Deserialize)]
pub(crate) struct Tokens {
    pub(crate) id_token: String,
    #[serde(default)]
    pub(crate) access_token: Option<String>,
}

impl Provider {
    pub(crate) fn new(
        settings: ProviderSettings,
        outbound: Outbound,
        clock: SharedClock,
        public_url: &str,
        allow_http: bool,
    ) -> Self {
        let callback = format!("{public_url}/_matrix/client/unstable/org.wardroom/oidc/{}/callback", settings.id);
        Self {
            settings,
            outbound,
            clock,
            allow_http,
            callback,
            metadata: Mutex::default(),
            keys: Mutex::default(),
            forced: parking_lot::Mutex::default(),
        }
    }

    pub(crate) const fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    /// Where the provider sends browsers back to: an address for each provider, so that the answer of one is never taken
    /// for that of another (RFC 9700, section 4.4).
    pub(crate) fn callback(&self) -> &str {
        &self.callback
    }

    pub(crate) fn callback_path(&self) -> String {
        Url::parse(&self.callback).map_or_else(|_| "/".to_owned(), |url| url.path().to_owned())
    }

    pub(crate) fn expected(&self) -> Expected<'_> {
        Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            now_seconds: self.clock.now_ms() / 1_000,
        }
    }

    /// Where the provider's endpoints are.
    pub(crate) async fn metadata(&self) -> Result<Arc<Metadata>, ProviderFault> {
        let mut metadata = self.metadata.lock().await;
        if let Some(fresh) = metadata.fresh() {
            return Ok(fresh);
        }
        let looked = match &self.settings.endpoints {
            Some(endpoints) => Ok(Arc::new(Metadata::from(endpoints))),
            None if metadata.failed_just_now() => Err(ProviderFault::FailedJustNow("the discovery document")),
            None => self.discover().await.map(Arc::new),
        };
        metadata.settle(looked)
    }

    async fn discover(&self) -> Result<Metadata, ProviderFault> {
        let what = "the discovery document";
        let url = format!("{}/.well-known/openid-configuration", self.settings.issuer.trim_end_matches('/'));
        let url = self.checked(&url).ok_or(ProviderFault::Malformed("issuer"))?;
        let document = self.get(url, None, what).await?;
        Metadata::read(&document, &self.settings.issuer, |url| self.checked(url))
    }

    /// A URL that may be spoken to.
    fn checked(&self, url: &str) -> Option<Url> {
        let url = Url::parse(url).ok()?;
        (url.scheme() == "https" || self.allow_http && url.scheme() == "http").then_some(url)
    }

    /// The claims of a token, whose signature is checked; with a new look at the keys when it is of none of them.
    pub(crate) async fn checked_claims(
        &self,
        token: &Unchecked<'_>,
        purpose: KeysFor,
    ) -> Result<Result<Map<String, Value>, TokenFault>, ProviderFault> {
        let secret = self.settings.client_secret.as_deref();
        if token.algorithm.is_symmetric() {
            return Ok(token.checked(&KeySet::default(), secret));
        }
        let keys = self.keys(None).await?;
        match token.checked(&keys, None) {
            Err(TokenFault::UnknownKey | TokenFault::Signature) if self.may_look_again(purpose) => {
                let keys = self.keys(Some(&keys)).await?;
                Ok(token.checked(&keys, None))
            }
            outcome => Ok(outcome),
        }
    }

    fn may_look_again(&self, purpose: KeysFor) -> bool {
        let (index, pause) = match purpose {
            KeysFor::SignIn => (0, KEYS_PAUSE_SIGN_IN),
            KeysFor::Logout => (1, KEYS_PAUSE_LOGOUT),
        };
        let mut forced = self.forced.lock();
        let may = forced[index].is_none_or(|at| at.elapsed() >= pause);
        if may {
            forced[index] = Some(Instant::now());
        }
        may
    }

    /// The provider's keys, others than `outdated` as far as it has any.
    async fn keys(&self, outdated: Option<&Arc<KeySet>>) -> Result<Arc<KeySet>, ProviderFault> {
        let what = "the keys";
        let mut keys = self.keys.lock().await;
        let fresh = keys.fresh().filter(|fresh| outdated.is_none_or(|outdated| !Arc::ptr_eq(fresh, outdated)));
        if let Some(fresh) = fresh {
            return Ok(fresh);
        }
        if keys.failed_just_now() {
            return keys.settle(Err(ProviderFault::FailedJustNow(what)));
        }
        let looked = async {
            let url = self.metadata().await?.jwks.clone();
            let document = self.get(url, None, what).await?;
            KeySet::parse(&document).map(Arc::new).ok_or(ProviderFault::Malformed(what))
        };
        let looked = looked.await;
        keys.settle(looked)
    }

    /// Exchanges a code for tokens.
    pub(crate) async fn exchange(&self, code: &str, verifier: &str) -> Result<Tokens, ProviderFault> {
        let what = "the token endpoint";
        let metadata = self.metadata().await?;
        let (form, basic) = self.token_request(code, verifier, metadata.client_auth);
        let unreachable = |source| ProviderFault::Unreachable { what, source };
        let mut request = self.outbound.post(metadata.token.clone()).map_err(unreachable)?;
        request =
            request.header("content-type", "application/x-www-form-urlencoded").header("accept", "application/json");
        if let Some(basic) = basic {
            request = request.header("authorization", basic);
        }
        let response = Outbound::send(request.body(form)).await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let answer = Outbound::read(response, ANSWER_BYTES_MAX).await.map_err(unreachable)?;
        if status != 200 {
            return Err(ProviderFault::Status { what, status });
        }
        serde_json::from_slice(&answer).map_err(|_| ProviderFault::Malformed(what))
    }

    /// The body of a token request, and the header `Authorization` where the secret is sent in it.
    fn token_request(&self, code: &str, verifier: &str, announced: ClientAuth) -> (String, Option<String>) {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.callback)
            .append_pair("code_verifier", verifier);
        let mut basic = None;
        let (id, secret) = (self.settings.client_id.as_str(), self.settings.client_secret.as_deref());
        match (secret, self.settings.client_auth.unwrap_or(announced)) {
            (Some(secret), ClientAuth::Basic) => basic = Some(basic_credentials(id, secret)),
            (Some(secret), ClientAuth::Post) => {
                form.append_pair("client_id", id).append_pair("client_secret", secret);
            }
            (None, _) => {
                form.append_pair("client_id", id);
            }
        }
        (form.finish(), basic)
    }

    /// What the userinfo endpoint says of a person (OpenID Connect Core 1.0, section 5.3).
    pub(crate) async fn userinfo(
        &self,
        access_token: &str,
        subject: &str,
    ) -> Result<Map<String, Value>, ProviderFault> {
        let what = "the userinfo endpoint";
        let metadata = self.metadata().await?;
        let url = metadata.userinfo.clone().ok_or(ProviderFault::Malformed("userinfo_endpoint"))?;
        if access_token.len() > TOKEN_BYTES_MAX {
            return Err(ProviderFault::Malformed("access_token"));
        }
        let answer = self.get(url, Some(access_token), what).await?;
        let claims: Map<String, Value> = serde_json::from_slice(&answer).map_err(|_| ProviderFault::Malformed(what))?;
        // Section 5.3.2: or it may be about somebody else.
        if claims.get("sub").and_then(Value::as_str) != Some(subject) {
            return Err(ProviderFault::Malformed(what));
        }
        Ok(claims)
    }

    async fn get(&self, url: Url, token: Option<&str>, what: &'static str) -> Result<Vec<u8>, ProviderFault> {
        let unreachable = |source| ProviderFault::Unreachable { what, source };
        let mut request = self.outbound.get(url).map_err(unreachable)?.header("accept", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = Outbound::send(request).await.map_err(unreachable)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(ProviderFault::Status { what, status });
        }
        Ok(Outbound::read(response, ANSWER_BYTES_MAX).await.map_err(unreachable)?.to_vec())
    }
}

/// Name and secret as RFC 6749, section 2.3.1, has them.
fn basic_credentials(id: &str, secret: &str) -> String {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))))
}

#[cfg(test)]
mod tests {
    use super::{Fetched, basic_credentials};
    use crate::ProviderFault;

    #[test]
    fn credentials_are_encoded_twice() {
        assert_eq!(basic_credentials("a:b", "c d%"), format!("Basic {}", "YSUzQWI6YytkJTI1"));
    }

    #[test]
    fn what_was_fetched_stays_while_the_provider_is_away() {
        let mut fetched = Fetched::default();
        assert!(fetched.settle(Err(ProviderFault::OtherIssuer)).is_err() && fetched.failed_just_now());
        assert_eq!(fetched.settle(Ok(1)).unwrap(), 1);
        assert_eq!((fetched.fresh(), fetched.failed_just_now()), (Some(1), false));
        assert_eq!(fetched.settle(Err(ProviderFault::FailedJustNow(""))).unwrap(), 1);
        assert!(!fetched.failed_just_now(), "nobody asked");
        assert_eq!(fetched.settle(Err(ProviderFault::OtherIssuer)).unwrap(), 1);
        assert!(fetched.failed_just_now());
    }
}

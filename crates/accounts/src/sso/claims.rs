//! Whom to tell what an identity provider says about a user.

use std::{fmt, future::Future, pin::Pin};

use ruma::UserId;
use serde_json::{Map, Value};

use crate::Accounts;

/// Hears of what an identity provider says about a user.
pub trait ClaimsListener: Send + Sync + 'static {
    /// All that the provider said when the user proved to be who they are: the claims of the ID token, and over them
    /// those of the userinfo endpoint where it is asked. `provider` is its id in the configuration. The sign-in waits for
    /// the end, so that what follows from the claims holds when the first request comes.
    fn claims<'a>(
        &'a self,
        user: &'a UserId,
        provider: &'a str,
        claims: &'a Map<String, Value>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

impl fmt::Debug for dyn ClaimsListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimsListener")
    }
}

impl Accounts {
    /// Says who hears of claims from now on. Only the first call counts.
    pub fn tell_claims_to(&self, listener: Box<dyn ClaimsListener>) {
        // A second listener would be that of another composition of the same accounts.
        let _ = self.0.claims_listener.set(listener);
    }

    /// Tells the listener, if there is one, what a provider said about a user.
    pub async fn note_claims(&self, user: &UserId, provider: &str, claims: &Map<String, Value>) {
        if let Some(listener) = self.0.claims_listener.get() {
            listener.claims(user, provider, claims).await;
        }
    }
}

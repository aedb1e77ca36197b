//! The end of sessions that the provider tells of (OpenID Connect Back-Channel Logout 1.0).

use std::collections::{HashSet, VecDeque};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::{LogoutError, Sso, TokenFault, jose::Unchecked, provider::KeysFor};

/// How long a token is remembered: longer than one is good.
const REMEMBERED_MS: u64 = 30 * 60 * 1_000;
/// Tokens that are remembered, about 100 bytes each. Only a provider makes some; it would have to end so many sessions in
/// half an hour before the oldest are forgotten.
const REMEMBERED_MAX: usize = 100_000;

/// Tokens that were used.
#[derive(Default)]
pub(crate) struct Replays(Mutex<Used>);

#[derive(Default)]
struct Used {
    tokens: HashSet<[u8; 32]>,
    by_age: VecDeque<(u64, [u8; 32])>,
}

impl Replays {
    /// Whether the token is new. It is not any more.
    fn is_new(&self, provider: &str, id: &str, now_ms: u64) -> bool {
        let token: [u8; 32] = Sha256::digest(format!("{provider}\0{id}")).into();
        let mut used = self.0.lock();
        let too_old = |(at_ms, _): &(u64, _)| at_ms.saturating_add(REMEMBERED_MS) < now_ms;
        while used.by_age.len() >= REMEMBERED_MAX || used.by_age.front().is_some_and(too_old) {
            if let Some((_, oldest)) = used.by_age.pop_front() {
                used.tokens.remove(&oldest);
            }
        }
        let is_new = used.tokens.insert(token);
        if is_new {
            used.by_age.push_back((now_ms, token));
        }
        is_new
    }

    /// The token had no effect, and may come again.
    fn forget(&self, provider: &str, id: &str) {
        let token: [u8; 32] = Sha256::digest(format!("{provider}\0{id}")).into();
        let mut used = self.0.lock();
        used.tokens.remove(&token);
        used.by_age.retain(|(_, other)| *other != token);
    }
}

impl Sso {
    /// Ends the devices that came from a session at the provider, or from all of a person. Returns how many.
    ///
    /// # Errors
    /// [`LogoutError`].
    pub async fn end_sessions(&self, provider: &str, token: &str) -> Result<usize, LogoutError> {
        let provider = self.provider(provider).ok_or(LogoutError::UnknownProvider)?;
        let settings = provider.settings();
        let token = Unchecked::parse(token, &settings.algorithms)?;
        // Section 2.4: the type is recommended, and other tokens of the provider have other types.
        if token.kind.as_deref().is_some_and(|kind| !matches!(kind, "logout+jwt" | "jwt")) {
            return Err(TokenFault::Mismatch("typ").into());
        }
        let claims = provider.checked_claims(&token, KeysFor::Logout).await??;
        let logout = provider.expected().logout_token(&claims)?;
        if !self.0.replays.is_new(&settings.id, &logout.id, self.0.clock.now_ms()) {
            return Err(TokenFault::Replayed.into());
        }
        let (subject, session) = (logout.subject.as_deref(), logout.session.as_deref());
        match self.0.accounts.end_sso_sessions(&settings.issuer, subject, session).await {
            Ok(ended) => Ok(ended),
            Err(error) => {
                // The provider will try again.
                self.0.replays.forget(&settings.id, &logout.id);
                Err(error.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{REMEMBERED_MS, Replays};

    #[test]
    fn a_token_counts_once() {
        let replays = Replays::default();
        assert!(replays.is_new("clinic", "1", 0) && replays.is_new("other", "1", 0));
        assert!(!replays.is_new("clinic", "1", REMEMBERED_MS));
        replays.forget("clinic", "1");
        assert!(replays.is_new("clinic", "1", REMEMBERED_MS));
        assert!(replays.is_new("clinic", "2", 2 * REMEMBERED_MS));
        let used = replays.0.lock();
        assert_eq!(used.tokens.len(), used.by_age.len());
    }
}

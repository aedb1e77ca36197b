//! Sign-ins in progress: from the moment a browser is sent to a provider until it comes back. In memory: a restart makes
//! people start again, nothing more.

use std::collections::{HashMap, VecDeque};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::Purpose;

/// Attempts at the same time, some 3 KiB each at most; the oldest goes when there are more.
pub const ATTEMPTS_MAX: usize = 10_000;
/// How long a person may take at the provider: ten minutes.
pub const ATTEMPT_LIFETIME_MS: u64 = 10 * 60 * 1_000;

/// What is needed to go on when the browser comes back.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Id of the provider.
    pub(crate) provider: String,
    pub(crate) purpose: Purpose,
    /// What the token must repeat.
    pub(crate) nonce: String,
    /// The secret of PKCE.
    pub(crate) verifier: String,
    pub(crate) started_ms: u64,
    /// Hash of the cookie that the browser got.
    browser: [u8; 32],
}

/// A new attempt, with what goes to the browser.
pub(crate) struct Opened {
    /// Names the attempt in the URLs.
    pub(crate) state: String,
    /// Value of the cookie.
    pub(crate) browser: String,
    pub(crate) nonce: String,
    pub(crate) verifier: String,
}

/// Attempts that are not finished.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<Open>);

#[derive(Default)]
struct Open {
    by_state: HashMap<String, Attempt>,
    /// States in the order in which they were begun; those that are done stay until they are too old.
    by_age: VecDeque<(u64, String)>,
}

impl Attempts {
    pub(crate) fn open(&self, provider: &str, purpose: Purpose, now_ms: u64) -> Opened {
        let [state, browser, nonce, verifier] = [new_secret(), new_secret(), new_secret(), new_secret()];
        let attempt = Attempt {
            provider: provider.to_owned(),
            purpose,
            nonce: nonce.clone(),
            verifier: verifier.clone(),
            started_ms: now_ms,
            browser: Sha256::digest(&browser).into(),
        };
        let mut open = self.0.lock();
        let too_old = |(started_ms, _): &(u64, String)| started_ms.saturating_add(ATTEMPT_LIFETIME_MS) <= now_ms;
        while open.by_age.len() >= ATTEMPTS_MAX || open.by_age.front().is_some_and(too_old) {
            if let Some((_, oldest)) = open.by_age.pop_front() {
                open.by_state.remove(&oldest);
            }
        }
        open.by_age.push_back((now_ms, state.clone()));
        open.by_state.insert(state.clone(), attempt);
        Opened { state, browser, nonce, verifier }
    }

    /// Ends an attempt; it was one when the browser is that which began it.
    pub(crate) fn take(&self, state: &str, browser: &str, now_ms: u64) -> Option<Attempt> {
        let attempt = self.0.lock().by_state.remove(state)?;
        let is_same = bool::from(attempt.browser.ct_eq(&<[u8; 32]>::from(Sha256::digest(browser))));
        let is_alive = attempt.started_ms.saturating_add(ATTEMPT_LIFETIME_MS) > now_ms;
        (is_same && is_alive).then_some(attempt)
    }
}

/// 256 random bits as base64url: also what PKCE wants of a verifier (RFC 7636, section 4.1).
#[expect(clippy::disallowed_methods, reason = "a secret that a test could fix would not be one")]
pub fn new_secret() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill(&mut bytes[..]);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::{ATTEMPT_LIFETIME_MS, ATTEMPTS_MAX, Attempts};
    use crate::Purpose;

    fn purpose() -> Purpose {
        Purpose::Confirm { session: "s".to_owned() }
    }

    #[test]
    fn an_attempt_is_finished_once_in_the_browser_that_began_it() {
        let attempts = Attempts::default();
        let opened = attempts.open("clinic", purpose(), 0);
        let found = attempts.take(&opened.state, &opened.browser, 1).unwrap();
        assert_eq!((found.provider.as_str(), found.nonce), ("clinic", opened.nonce));
        assert!(attempts.take(&opened.state, &opened.browser, 1).is_none(), "once");
        let opened = attempts.open("clinic", purpose(), 0);
        assert!(attempts.take(&opened.state, "another", 1).is_none());
        assert!(attempts.take(&opened.state, &opened.browser, 1).is_none(), "a wrong browser ends it");
        let opened = attempts.open("clinic", purpose(), 0);
        assert!(attempts.take(&opened.state, &opened.browser, ATTEMPT_LIFETIME_MS).is_none(), "too late");
    }

    #[test]
    fn attempts_are_bounded_in_number_and_time() {
        let attempts = Attempts::default();
        let first = attempts.open("clinic", purpose(), 0);
        for _ in 0..ATTEMPTS_MAX {
            attempts.open("clinic", purpose(), 1);
        }
        assert!(attempts.take(&first.state, &first.browser, 1).is_none());
        assert_eq!(attempts.0.lock().by_state.len(), ATTEMPTS_MAX);
        attempts.open("clinic", purpose(), 1 + ATTEMPT_LIFETIME_MS);
        let open = attempts.0.lock();
        assert_eq!((open.by_state.len(), open.by_age.len()), (1, 1));
    }
}

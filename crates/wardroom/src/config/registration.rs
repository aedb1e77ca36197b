//! `[registration]`

use serde::{Deserialize, Serialize};

/// Longest registration token (client-server API, section "Token-authenticated registration").
const TOKEN_BYTES_MAX: usize = 64;

/// Who may register.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Registration {
    /// Anybody.
    pub(crate) open: bool,
    /// Whoever knows one of these.
    pub(crate) tokens: Vec<String>,
    /// Scripts that know this, over the administration API; empty for none.
    pub(crate) shared_secret: String,
    /// Guests, without a password.
    pub(crate) guests: bool,
}

impl Registration {
    pub(super) fn problems(&self) -> Option<String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
        let good = |token: &String| (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(allowed);
        let index = self.tokens.iter().position(|token| !good(token))?;
        Some(format!(
            "registration.tokens: token {} must have 1 to {TOKEN_BYTES_MAX} characters out of A-Z a-z 0-9 . _ ~ -",
            index + 1
        ))
    }
}

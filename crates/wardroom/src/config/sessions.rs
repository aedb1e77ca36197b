//! `[sessions]`

use serde::{Deserialize, Serialize};
use wardroom_accounts::TokenLifetimes;

/// How long sessions last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sessions {
    /// Seconds after which a session ends that nobody uses; 0 for never.
    pub(crate) idle_logout_seconds: u64,
    /// Seconds after which a session ends that somebody began by signing in; 0 for never.
    pub(crate) max_age_seconds: u64,
}

impl Sessions {
    /// As the accounts want it.
    pub(crate) fn lifetimes(self) -> TokenLifetimes {
        let limit = |seconds: u64| (seconds > 0).then(|| seconds.saturating_mul(1_000));
        TokenLifetimes {
            idle_ms: limit(self.idle_logout_seconds),
            session_ms: limit(self.max_age_seconds),
            ..TokenLifetimes::default()
        }
    }
}

//! `[rate_limits]`

use serde::{Deserialize, Serialize};

/// Rate limits.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RateLimits {
    /// Whether there are any.
    pub(crate) enabled: bool,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { enabled: true }
    }
}

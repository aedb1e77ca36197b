//! `[presence]`

use serde::{Deserialize, Serialize};

/// Presence.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Presence {
    /// Whether users see who is there.
    pub(crate) enabled: bool,
}

impl Default for Presence {
    fn default() -> Self {
        Self { enabled: true }
    }
}

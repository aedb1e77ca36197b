//! `[durability]`

use serde::{Deserialize, Serialize};

/// What an acknowledgement means.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Durability {
    /// Whether a message is on stable storage before its sender hears so.
    pub(crate) sync: bool,
}

impl Default for Durability {
    fn default() -> Self {
        Self { sync: true }
    }
}

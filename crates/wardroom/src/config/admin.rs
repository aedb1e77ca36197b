//! `[admin]`

use serde::{Deserialize, Serialize};

/// What administrators may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Admin {
    /// Sign in as other users.
    pub(crate) impersonation: bool,
}

//! `[user_directory]`

use serde::{Deserialize, Serialize};

/// The user directory.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UserDirectory {
    /// Whether a search finds every user of this server.
    pub(crate) search_all_users: bool,
}

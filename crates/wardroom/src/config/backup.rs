//! `[backup]`

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the running server copies what it stores when an administrator asks for it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Backup {
    /// Directory in which each backup of the data gets one of its own; empty for none.
    pub(crate) dir: PathBuf,
    /// Directory of the newest copy of the keys.
    pub(crate) keys_dir: PathBuf,
}

impl Backup {
    pub(super) fn problems(&self) -> Option<String> {
        if self.dir.as_os_str().is_empty() != self.keys_dir.as_os_str().is_empty() {
            return Some("backup.keys_dir: dir and keys_dir must both be given, or neither".to_owned());
        }
        let within = self.is_on() && (self.keys_dir.starts_with(&self.dir) || self.dir.starts_with(&self.keys_dir));
        within.then(|| "backup.keys_dir: must not be within dir, nor dir within it: they are kept apart".to_owned())
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.dir.as_os_str().is_empty()
    }
}

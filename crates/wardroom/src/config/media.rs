//! `[media]`

use serde::{Deserialize, Serialize};

/// Media.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Media {
    /// Largest upload, in bytes.
    pub(crate) max_upload_bytes: u64,
}

impl Default for Media {
    fn default() -> Self {
        Self { max_upload_bytes: 100 * 1024 * 1024 }
    }
}

impl Media {
    pub(super) fn problems(&self) -> Option<String> {
        (self.max_upload_bytes == 0).then(|| "media.max_upload_bytes: must be at least 1".to_owned())
    }
}

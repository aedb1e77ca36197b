//! `[media]` and `[url_previews]`

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use wardroom_media::{Size, THUMBNAIL_SIZES_DEFAULT};

/// Most sizes of thumbnails: each is a file of its own.
const THUMBNAIL_SIZES_MAX: usize = 20;

/// Media.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Media {
    /// Largest upload, in bytes.
    pub(crate) max_upload_bytes: u64,
    /// What one user may store, in bytes; 0 for no limit.
    pub(crate) user_quota_bytes: u64,
    /// Largest content that is taken from another server, in bytes.
    pub(crate) max_remote_bytes: u64,
    /// How long a content of another server is kept that nobody looks at, in days; 0 for ever.
    pub(crate) remote_cache_days: u32,
    /// Whether the old paths serve media without a token.
    pub(crate) allow_unauthenticated: bool,
    /// Sizes of thumbnails, as in "320x240 scale".
    pub(crate) thumbnail_sizes: Vec<String>,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            max_upload_bytes: 100 * 1024 * 1024,
            user_quota_bytes: 0,
            max_remote_bytes: 100 * 1024 * 1024,
            remote_cache_days: 30,
            allow_unauthenticated: false,
            thumbnail_sizes: THUMBNAIL_SIZES_DEFAULT.iter().map(Size::to_string).collect(),
        }
    }
}

impl Media {
    /// The sizes; those that are none were reported when the configuration was read.
    pub(crate) fn sizes(&self) -> Vec<Size> {
        self.thumbnail_sizes.iter().filter_map(|size| size.parse().ok()).collect()
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.max_upload_bytes == 0 {
            problems.push("media.max_upload_bytes: must be at least 1".to_owned());
        }
        if self.thumbnail_sizes.len() > THUMBNAIL_SIZES_MAX {
            problems.push(format!("media.thumbnail_sizes: at most {THUMBNAIL_SIZES_MAX}"));
        }
        let sizes = self.thumbnail_sizes.iter().filter_map(|size| size.parse::<Size>().err());
        problems.extend(sizes.map(|problem| format!("media.thumbnail_sizes: {problem}")));
        problems
    }
}

/// Previews of pages that messages link to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UrlPreviews {
    /// Whether there are any.
    pub(crate) enabled: bool,
    /// Addresses and hosts of which there are none, with `*` and `?`.
    pub(crate) deny: Vec<String>,
    /// Exceptions from `federation.deny_ip_ranges`.
    pub(crate) allow_ip_ranges: Vec<IpNet>,
}

#[cfg(test)]
mod tests {
    use super::Media;

    #[test]
    fn sizes_are_checked() {
        assert_eq!(Media::default().sizes().len(), 6);
        let wrong = Media { thumbnail_sizes: vec!["1x1".to_owned()], ..Media::default() };
        assert!(wrong.problems()[0].starts_with("media.thumbnail_sizes: \"1x1\""), "{:?}", wrong.problems());
    }
}

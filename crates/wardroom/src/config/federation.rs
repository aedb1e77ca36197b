//! `[federation]`

use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Addresses that no partner server has: private, local and special ranges (RFC 6890 and its IPv6 counterparts).
const SPECIAL_RANGES: [&str; 18] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
    "::/127",
    "2001:db8::/32",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

/// Which other servers this one speaks to.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Federation {
    /// Whether to speak to other servers at all.
    pub(crate) enabled: bool,
    /// Server names that are allowed, with `*` and `?`.
    pub(crate) allow: Vec<String>,
    /// Server names that are not, whatever `allow` says.
    pub(crate) deny: Vec<String>,
    /// Whether certificates of other servers are checked.
    pub(crate) verify_certificates: bool,
    /// Whether other servers are shown the directory of published rooms.
    pub(crate) public_rooms: bool,
    /// Certificate authorities beyond the system's.
    pub(crate) extra_ca: Vec<PathBuf>,
    /// Addresses that are never connected to.
    pub(crate) deny_ip_ranges: Vec<IpNet>,
}

impl Default for Federation {
    fn default() -> Self {
        Self {
            enabled: true,
            allow: vec!["*".to_owned()],
            deny: Vec::new(),
            verify_certificates: true,
            public_rooms: true,
            extra_ca: Vec::new(),
            deny_ip_ranges: SPECIAL_RANGES.iter().filter_map(|range| range.parse().ok()).collect(),
        }
    }
}

impl Federation {
    pub(super) fn problems(&self) -> Vec<String> {
        let patterns = [("federation.allow", &self.allow), ("federation.deny", &self.deny)];
        let patterns = patterns.into_iter().flat_map(|(key, patterns)| patterns.iter().map(move |name| (key, name)));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]*?".contains(&byte);
        patterns
            .filter(|(_, name)| name.is_empty() || !name.bytes().all(allowed))
            .map(|(key, name)| format!("{key}: {name:?} is no server name or pattern of one"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Federation, SPECIAL_RANGES};

    #[test]
    fn all_special_ranges_are_ranges() {
        assert_eq!(Federation::default().deny_ip_ranges.len(), SPECIAL_RANGES.len());
    }
}

//! `[federation]`

use std::path::PathBuf;

use ipnet::IpNet;
use ruma::{OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};
use url::Url;
use wardroom_federation::{ListSource, Policy, parse_pin};

use super::listener::Tls;

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

/// A list is not read more often than this.
const LIST_REFRESH_SECONDS_MIN: u64 = 60;

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
    /// Whether users of other servers are erased here when their server says so.
    pub(crate) accept_erasure: bool,
    /// Certificate authorities beyond the system's.
    pub(crate) extra_ca: Vec<PathBuf>,
    /// Addresses that are never connected to.
    pub(crate) deny_ip_ranges: Vec<IpNet>,
    /// Where other servers find this one, told by `/.well-known/matrix/server`; empty for nothing.
    pub(crate) well_known_server: String,
    /// Requests that one server may make in a second; 0 for no limit.
    pub(crate) requests_per_second: u32,
    /// Servers that are asked for the keys of one that is gone.
    pub(crate) notaries: Vec<OwnedServerName>,
    /// Shown to servers that ask for a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_certificate: Option<Tls>,
    /// What was agreed on with single servers.
    pub(crate) partner: Vec<Partner>,
    /// The signed list on which servers must stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) list: Option<List>,
}

/// A signed list of servers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    /// An `https://` URL, or the path of a file.
    pub(crate) source: String,
    /// Certificates of authorities under which its signer's was issued, or the signer's own.
    pub(crate) trust: Vec<PathBuf>,
    /// How often it is read anew.
    #[serde(default = "refresh_default")]
    pub(crate) refresh_seconds: u64,
}

const fn refresh_default() -> u64 {
    60 * 60
}

impl List {
    /// Where it comes from.
    pub(crate) fn source(&self) -> ListSource {
        match Url::parse(&self.source) {
            Ok(url) if url.scheme() == "https" => ListSource::Url(url),
            _ => ListSource::File(PathBuf::from(&self.source)),
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.source.is_empty() || self.source.starts_with("http://") {
            problems.push("federation.list.source: must be an https:// URL or the path of a file".to_owned());
        }
        if self.trust.is_empty() {
            problems.push(
                "federation.list.trust: must name the certificates that its signature is checked with".to_owned(),
            );
        }
        if self.refresh_seconds < LIST_REFRESH_SECONDS_MIN {
            problems.push(format!("federation.list.refresh_seconds: must be {LIST_REFRESH_SECONDS_MIN} at least"));
        }
        problems
    }
}

/// What was agreed on with one server.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Partner {
    /// Its name.
    pub(crate) name: OwnedServerName,
    /// SHA-256 of the public key of its certificate, or of the certificate.
    #[serde(default)]
    pub(crate) pins: Vec<String>,
    /// Requests that it may make in a second.
    pub(crate) requests_per_second: Option<u32>,
}

impl Default for Federation {
    fn default() -> Self {
        Self {
            enabled: true,
            allow: vec!["*".to_owned()],
            deny: Vec::new(),
            verify_certificates: true,
            public_rooms: true,
            accept_erasure: true,
            extra_ca: Vec::new(),
            deny_ip_ranges: SPECIAL_RANGES.iter().filter_map(|range| range.parse().ok()).collect(),
            well_known_server: String::new(),
            requests_per_second: 100,
            notaries: Vec::new(),
            client_certificate: None,
            partner: Vec::new(),
            list: None,
        }
    }
}

impl Federation {
    pub(super) fn problems(&self) -> Vec<String> {
        let policy = Policy { allow: self.allow.clone(), deny: self.deny.clone() };
        let mut problems: Vec<String> =
            policy.problems().into_iter().map(|problem| format!("federation.{problem}")).collect();
        for pin in self.partner.iter().flat_map(|partner| &partner.pins) {
            if parse_pin(pin).is_none() {
                problems.push(format!("federation.partner: {pin:?} is no SHA-256 in base64 or hexadecimal digits"));
            }
        }
        problems.extend(self.list.iter().flat_map(List::problems));
        if !self.well_known_server.is_empty() && ServerName::parse(&self.well_known_server).is_err() {
            problems
                .push("federation.well_known_server: must be a host name, with a port if it is not 8448".to_owned());
        }
        problems
    }

    /// What was agreed on with single servers. Pins that are none were found by [`Federation::problems`].
    pub(crate) fn partners(&self) -> Vec<wardroom_federation::Partner> {
        let partner = |partner: &Partner| wardroom_federation::Partner {
            name: partner.name.clone(),
            pins: partner.pins.iter().filter_map(|pin| parse_pin(pin)).collect(),
            requests_per_second: partner.requests_per_second,
        };
        self.partner.iter().map(partner).collect()
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

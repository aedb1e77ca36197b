//! What an operator decides about other servers.

use ruma::OwnedServerName;
use wardroom_outbound::Ranges;

use super::{ListSettings, OldKey, Pin};
use crate::WitnessSettings;

/// What an operator decides about other servers.
#[derive(Clone, Debug)]
pub struct PartnerSettings {
    /// Whether to speak to other servers at all.
    pub enabled: bool,
    /// Names of servers that may take part, with `*` and `?`.
    pub allow: Vec<String>,
    /// Names of servers that may not, whatever `allow` says.
    pub deny: Vec<String>,
    /// Whether the certificates of other servers are checked.
    pub verify_certificates: bool,
    /// Certificate authorities beyond the system's, PEM files' contents.
    pub extra_ca: Vec<Vec<u8>>,
    /// Where connections may go.
    pub ranges: Ranges,
    /// Requests that a server may make in a second; 0 for as many as it likes.
    pub requests_per_second: u32,
    /// Servers that are asked for the keys of a server that cannot be reached.
    pub notaries: Vec<OwnedServerName>,
    /// Certificate chain and key that are shown to servers which ask for a certificate, as PEM.
    pub client_certificate: Option<(Vec<u8>, Vec<u8>)>,
    /// What was agreed on with single servers.
    pub partners: Vec<Partner>,
    /// A signed list on which servers must stand as well.
    pub list: Option<ListSettings>,
    /// Keys that this server used to sign with.
    pub old_keys: Vec<OldKey>,
    /// Who witnesses whose audit trail.
    pub witness: WitnessSettings,
    /// Whether users of other servers are erased here when their server says so.
    pub accept_erasure: bool,
}

impl Default for PartnerSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            allow: vec!["*".to_owned()],
            deny: Vec::new(),
            verify_certificates: true,
            extra_ca: Vec::new(),
            ranges: Ranges::default(),
            requests_per_second: 0,
            notaries: Vec::new(),
            client_certificate: None,
            partners: Vec::new(),
            list: None,
            old_keys: Vec::new(),
            witness: WitnessSettings::default(),
            accept_erasure: true,
        }
    }
}

/// What was agreed on with one server.
#[derive(Clone, Debug)]
pub struct Partner {
    /// Its name.
    pub name: OwnedServerName,
    /// Its certificate must be one of these; any valid one where there are none.
    pub pins: Vec<Pin>,
    /// Requests that it may make in a second, where that differs from the rule; 0 for as many as it likes.
    pub requests_per_second: Option<u32>,
}

//! `[[listener]]`

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::serves::Serves;

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listener {
    /// IP address and port.
    pub(crate) address: SocketAddr,
    /// With it, HTTPS.
    #[serde(default)]
    pub(crate) tls: Option<Tls>,
    /// What is served here.
    #[serde(default = "serves_default")]
    pub(crate) serves: Vec<Serves>,
    /// Whose `X-Forwarded-For` is believed.
    #[serde(default = "proxies_default")]
    pub(crate) trusted_proxies: Vec<IpNet>,
}

/// Certificate and key, PEM files.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The certificate and those that lead to a known authority.
    pub(crate) cert: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

fn serves_default() -> Vec<Serves> {
    Serves::DEFAULT.to_vec()
}

/// A proxy on the same machine.
fn proxies_default() -> Vec<IpNet> {
    vec![
        IpNet::V4(ipnet::Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
        IpNet::V6(ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128)),
    ]
}

/// The listener of a configuration that names none.
pub(super) fn default() -> Vec<Listener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8_008));
    vec![Listener { address, tls: None, serves: serves_default(), trusted_proxies: proxies_default() }]
}

/// What others on the network could read.
pub(super) fn warnings(listeners: &[Listener]) -> Option<String> {
    let open = |listener: &&Listener| listener.tls.is_none() && !listener.address.ip().is_loopback();
    let open: Vec<String> = listeners.iter().filter(open).map(|listener| listener.address.to_string()).collect();
    (!open.is_empty()).then(|| {
        format!(
            "listener.tls: {} without it, anybody on the way reads what is said unless a proxy has TLS",
            open.join(", ")
        )
    })
}

pub(super) fn problems(listeners: &[Listener]) -> Vec<String> {
    let mut problems = Vec::new();
    if listeners.is_empty() {
        problems.push("listener: at least one is needed".to_owned());
    }
    let mut addresses = HashSet::new();
    for listener in listeners {
        let address = listener.address;
        if address.port() != 0 && !addresses.insert(address) {
            problems.push(format!("listener.address: {address} is there twice"));
        }
        if listener.serves.is_empty() {
            problems.push(format!("listener.serves: the listener {address} serves nothing"));
        }
        if listener.serves.contains(&Serves::Metrics) && listener.serves.iter().any(|part| *part != Serves::Metrics) {
            problems.push(format!("listener.serves: \"metrics\" needs a listener of its own, not {address}"));
        }
    }
    problems
}

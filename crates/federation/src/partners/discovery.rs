//! Where a server is: the specification's [Resolving server names][spec], step by step.
//!
//! [spec]: https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
};

use ruma::{OwnedServerName, ServerName};

use super::dns::{Place, Srv, ordered};

/// The port of a server that names none.
pub(crate) const DEFAULT_PORT: u16 = 8448;

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// What the header `Host` says.
    pub(crate) host: String,
    /// The name that its certificate must have, without brackets around an IPv6 address.
    pub(crate) tls_name: String,
    /// Where to connect.
    pub(crate) reach: Reach,
}

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To an address that the name itself is.
    Address(SocketAddr),
    /// To names that are resolved when a connection is made, in this order.
    Places(Vec<Place>),
}

/// What discovery asks of the network.
pub(crate) trait Lookups: Send + Sync {
    /// The server that `https://HOST/.well-known/matrix/server` delegates to, if it does; else the reason.
    fn well_known(&self, host: &str) -> impl Future<Output = Result<OwnedServerName, String>> + Send;

    /// SRV records; none is no error.
    fn srv(&self, name: &str) -> impl Future<Output = Result<Vec<Srv>, String>> + Send;
}

/// Finds a server. `trail` gets a sentence for each step that was taken.
pub(crate) async fn find(server: &ServerName, lookups: &impl Lookups, trail: &mut Vec<String>) -> Destination {
    if let Some(found) = without_lookup(server) {
        trail.push(format!("the name {server} says itself where to connect: no delegation, no SRV record"));
        return found;
    }
    match lookups.well_known(server.host()).await {
        Ok(delegated) => {
            trail.push(format!("https://{}/.well-known/matrix/server delegates to {delegated}", server.host()));
            match without_lookup(&delegated) {
                Some(found) => found,
                None => by_srv(delegated.host(), lookups, trail).await,
            }
        }
        Err(reason) => {
            trail.push(format!("https://{}/.well-known/matrix/server delegates to nobody: {reason}", server.host()));
            by_srv(server.host(), lookups, trail).await
        }
    }
}

/// Steps 1 and 2 (and 3.1 and 3.2 for a delegated name): an address, or a name with a port.
fn without_lookup(server: &ServerName) -> Option<Destination> {
    let bare = server.host().trim_matches(['[', ']']);
    let host = server.as_str().to_owned();
    if let Ok(address) = bare.parse::<IpAddr>() {
        let reach = Reach::Address(SocketAddr::new(address, server.port().unwrap_or(DEFAULT_PORT)));
        return Some(Destination { host, tls_name: bare.to_owned(), reach });
    }
    let port = server.port()?;
    let reach = Reach::Places(vec![Place { name: bare.to_owned(), port }]);
    Some(Destination { host, tls_name: bare.to_owned(), reach })
}

/// Steps 3.3 to 3.5 and 4 to 6: SRV records, the new name of the service before the old one, else the default port.
async fn by_srv(host: &str, lookups: &impl Lookups, trail: &mut Vec<String>) -> Destination {
    for service in ["_matrix-fed._tcp", "_matrix._tcp"] {
        let name = format!("{service}.{host}");
        match lookups.srv(&name).await {
            Ok(records) if !records.is_empty() => {
                let places = ordered(records);
                let shown: Vec<String> = places.iter().map(|place| format!("{}:{}", place.name, place.port)).collect();
                trail.push(format!("the SRV records of {name} lead to {}", shown.join(", ")));
                return Destination { host: host.to_owned(), tls_name: host.to_owned(), reach: Reach::Places(places) };
            }
            Ok(_) => trail.push(format!("there are no SRV records of {name}")),
            // Some resolvers fail on SRV records altogether; the certificate is checked wherever this leads.
            Err(error) => trail.push(format!("the SRV records of {name} cannot be read: {error}")),
        }
    }
    trail.push(format!("so the server is {host}:{DEFAULT_PORT}"));
    let reach = Reach::Places(vec![Place { name: host.to_owned(), port: DEFAULT_PORT }]);
    Destination { host: host.to_owned(), tls_name: host.to_owned(), reach }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[derive(Default)]
    struct Fake {
        well_known: HashMap<&'static str, &'static str>,
        srv: HashMap<&'static str, Vec<Srv>>,
        broken_srv: bool,
    }

    impl Lookups for Fake {
        async fn well_known(&self, host: &str) -> Result<OwnedServerName, String> {
            let found = self.well_known.get(host).ok_or("404")?;
            Ok(OwnedServerName::try_from(*found).unwrap())
        }

        async fn srv(&self, name: &str) -> Result<Vec<Srv>, String> {
            if self.broken_srv {
                return Err("SERVFAIL".to_owned());
            }
            Ok(self.srv.get(name).cloned().unwrap_or_default())
        }
    }

    fn srv(name: &str, port: u16) -> Vec<Srv> {
        vec![Srv { priority: 1, weight: 1, place: Place { name: name.to_owned(), port } }]
    }

    fn shown(found: &Destination) -> String {
        let reach = match &found.reach {
            Reach::Address(address) => address.to_string(),
            Reach::Places(places) => {
                places.iter().map(|place| format!("{}:{}", place.name, place.port)).collect::<Vec<_>>().join(",")
            }
        };
        format!("{} {} {reach}", found.host, found.tls_name)
    }

    #[tokio::test]
    async fn every_step_of_the_specification_is_taken_in_order() {
        let lookups = Fake {
            well_known: [
                ("delegates.example", "m.example:443"),
                ("bare.example", "srv.example"),
                ("address.example", "[2001:db8::9]:8449"),
                ("plain-address.example", "192.0.2.9"),
                ("default.example", "nothing.example"),
                // A port or an address ends the search: these two are never asked for.
                ("port.example", "wrong.example"),
                ("192.0.2.1", "wrong.example"),
            ]
            .into(),
            srv: [
                ("_matrix-fed._tcp.srv.example", srv("host.example", 8450)),
                ("_matrix._tcp.srv.example", srv("old.example", 1)),
                ("_matrix._tcp.old-srv.example", srv("old.example", 8451)),
            ]
            .into(),
            broken_srv: false,
        };
        for (server, expected) in [
            ("192.0.2.1", "192.0.2.1 192.0.2.1 192.0.2.1:8448"),
            ("192.0.2.1:99", "192.0.2.1:99 192.0.2.1 192.0.2.1:99"),
            ("[2001:db8::1]", "[2001:db8::1] 2001:db8::1 [2001:db8::1]:8448"),
            ("[2001:db8::1]:7", "[2001:db8::1]:7 2001:db8::1 [2001:db8::1]:7"),
            ("port.example:8008", "port.example:8008 port.example port.example:8008"),
            ("delegates.example", "m.example:443 m.example m.example:443"),
            ("bare.example", "srv.example srv.example host.example:8450"),
            ("address.example", "[2001:db8::9]:8449 2001:db8::9 [2001:db8::9]:8449"),
            ("plain-address.example", "192.0.2.9 192.0.2.9 192.0.2.9:8448"),
            ("default.example", "nothing.example nothing.example nothing.example:8448"),
            ("srv.example", "srv.example srv.example host.example:8450"),
            ("old-srv.example", "old-srv.example old-srv.example old.example:8451"),
            ("none.example", "none.example none.example none.example:8448"),
        ] {
            let found = find(server.try_into().unwrap(), &lookups, &mut Vec::new()).await;
            assert_eq!(shown(&found), expected, "{server}");
        }
        let broken = Fake { broken_srv: true, ..Fake::default() };
        let found = find("srv.example".try_into().unwrap(), &broken, &mut Vec::new()).await;
        assert_eq!(shown(&found), "srv.example srv.example srv.example:8448");
    }
}

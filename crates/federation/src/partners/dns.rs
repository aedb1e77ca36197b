//! Names to addresses and SRV records, without a thread per question.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{TokioResolver, config::LookupIpStrategy, proto::rr::RData};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use wardroom_outbound::Ranges;

/// How long one question to the name servers may take, retries included.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(8);
/// Questions at the same time where the system's own resolver is used, which takes a thread for each.
const SYSTEM_LOOKUPS_MAX: usize = 4;
/// SRV records of one name that are looked at.
const SRV_RECORDS_MAX: usize = 16;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// A name and a port to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) port: u16,
}

/// An SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Srv {
    pub(crate) priority: u16,
    pub(crate) weight: u16,
    pub(crate) place: Place,
}

/// A name leads to addresses that this server does not connect to, and to no others.
#[derive(Debug, thiserror::Error)]
#[error("its address is in a range that this server does not connect to (federation.deny_ip_ranges)")]
pub(crate) struct RefusedAddress;

/// Asks the name servers of the system's configuration.
#[derive(Clone)]
pub(crate) struct Dns {
    resolver: Option<TokioResolver>,
    system: Arc<Semaphore>,
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns").field("resolver", &self.resolver.is_some()).finish_non_exhaustive()
    }
}

impl Dns {
    /// The name servers of the system. Where it names none, its own resolver is asked, and there are no SRV records.
    pub(crate) fn new() -> Self {
        let resolver = TokioResolver::builder_tokio().and_then(|mut builder| {
            builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            builder.build()
        });
        Self { resolver: resolver.ok(), system: Arc::new(Semaphore::new(SYSTEM_LOOKUPS_MAX)) }
    }

    /// The addresses of a name; none is an error.
    pub(crate) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let looked_up = tokio::time::timeout(LOOKUP_TIMEOUT, self.ask_addresses(name)).await;
        let found = looked_up.map_err(|_| "the name servers do not answer".to_owned())??;
        if found.is_empty() { Err("the name has no address".to_owned()) } else { Ok(found) }
    }

    async fn ask_addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        if let Some(resolver) = &self.resolver {
            return match resolver.lookup_ip(absolute(name)).await {
                Ok(found) => Ok(found.iter().take(ADDRESSES_MAX).collect()),
                Err(error) if error.is_no_records_found() || error.is_nx_domain() => Ok(Vec::new()),
                Err(error) => Err(error.to_string()),
            };
        }
        let _permit = self.system.acquire().await.map_err(|error| error.to_string())?;
        let found = tokio::net::lookup_host((name, 0)).await.map_err(|error| error.to_string())?;
        Ok(found.take(ADDRESSES_MAX).map(|address| address.ip()).collect())
    }

    /// The SRV records of a name; none is no error.
    pub(crate) async fn srv(&self, name: &str) -> Result<Vec<Srv>, String> {
        let Some(resolver) = &self.resolver else { return Ok(Vec::new()) };
        let looked_up = tokio::time::timeout(LOOKUP_TIMEOUT, resolver.srv_lookup(absolute(name))).await;
        let found = match looked_up.map_err(|_| "the name servers do not answer".to_owned())? {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() || error.is_nx_domain() => return Ok(Vec::new()),
            Err(error) => return Err(error.to_string()),
        };
        let records = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => {
                let name = srv.target.to_ascii().trim_end_matches('.').to_owned();
                // The target "." says that there is no such service (RFC 2782).
                let place = Place { name, port: srv.port };
                (!place.name.is_empty()).then_some(Srv { priority: srv.priority, weight: srv.weight, place })
            }
            _ => None,
        });
        Ok(records.take(SRV_RECORDS_MAX).collect())
    }
}

/// With a dot at the end, so that no search domain is tried.
fn absolute(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

/// SRV records in the order in which they are tried: by priority, and at random by weight within one (RFC 2782).
pub(crate) fn ordered(mut records: Vec<Srv>) -> Vec<Place> {
    // Weight 0 first within a priority, as the RFC's selection wants it.
    records.sort_by_key(|record| (record.priority, record.weight));
    let mut places = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let same = records.iter().take_while(|record| record.priority == first.priority).count();
        let total: u32 = records[..same].iter().map(|record| u32::from(record.weight)).sum();
        let mut drawn = rand::random_range(0..=total);
        let index = records[..same].iter().position(|record| {
            let weight = u32::from(record.weight);
            let hit = drawn <= weight;
            drawn = drawn.saturating_sub(weight);
            hit
        });
        places.push(records.remove(index.unwrap_or(0)).place);
    }
    places
}

/// Resolves for one HTTP client: the names it was made for, or the one that it asks; to admitted addresses only, at the
/// moment of connecting.
#[derive(Debug)]
pub(crate) struct Pinned {
    dns: Dns,
    ranges: Arc<Ranges>,
    /// Where to connect whatever the URL's host is; empty for a client of any host.
    places: Vec<Place>,
}

impl Pinned {
    pub(crate) fn new(dns: Dns, ranges: Arc<Ranges>, places: Vec<Place>) -> Self {
        Self { dns, ranges, places }
    }
}

impl Resolve for Pinned {
    fn resolve(&self, name: Name) -> Resolving {
        let (dns, ranges) = (self.dns.clone(), Arc::clone(&self.ranges));
        let places = match self.places.as_slice() {
            // Port 0 stands for the one of the URL.
            [] => vec![Place { name: name.as_str().to_owned(), port: 0 }],
            places => places.to_vec(),
        };
        Box::pin(async move {
            let (mut admitted, mut refused, mut failure) = (Vec::new(), false, None);
            for Place { name, port } in places {
                match dns.addresses(&name).await {
                    Ok(found) => {
                        let before = admitted.len();
                        let good = found.iter().filter(|address| ranges.admit(**address));
                        admitted.extend(good.map(|address| SocketAddr::new(*address, port)));
                        refused |= admitted.len() - before < found.len();
                    }
                    Err(error) => failure = failure.or(Some(format!("{name}: {error}"))),
                }
            }
            if !admitted.is_empty() {
                return Ok(Box::new(admitted.into_iter()) as Addrs);
            }
            match failure {
                Some(sentence) if !refused => Err(Box::from(sentence)),
                _ => Err(Box::from(RefusedAddress)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Srv, ordered};

    #[test]
    fn srv_records_are_tried_by_priority_and_then_by_weight() {
        let record =
            |priority, weight, name: &str| Srv { priority, weight, place: Place { name: name.into(), port: 1 } };
        let mut first_heavy = 0;
        for _ in 0..1_000 {
            let records =
                vec![record(20, 100, "c"), record(10, 90, "heavy"), record(10, 10, "light"), record(30, 0, "d")];
            let names: Vec<String> = ordered(records).into_iter().map(|place| place.name).collect();
            assert_eq!(names[2..], ["c", "d"]);
            first_heavy += usize::from(names[0] == "heavy");
        }
        assert!((800..1_000).contains(&first_heavy), "{first_heavy}");
        assert!(ordered(Vec::new()).is_empty());
    }
}

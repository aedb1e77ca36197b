//! The address a request comes from.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::extract::ConnectInfo;
use http::request::Parts;

/// Whose `X-Forwarded-For` header is believed. A listener puts it into the extensions of its requests.
#[derive(Clone, Debug)]
pub struct TrustedProxies(pub Arc<[ipnet::IpNet]>);

impl TrustedProxies {
    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(&address))
    }
}

/// The address of the client: the peer of the connection, or, when that is a trusted proxy, the last address in
/// `X-Forwarded-For` that is not one.
pub fn of(parts: &Parts) -> IpAddr {
    // Without a socket (tests on the bare router) all requests come from the unspecified address.
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip().to_canonical());
    let Some(proxies) = parts.extensions.get::<TrustedProxies>() else { return peer };
    if !proxies.contains(peer) {
        return peer;
    }
    let hops = parts.headers.get_all("x-forwarded-for").iter().rev();
    let hops = hops.filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(','));
    for hop in hops {
        // What a stranger wrote is not believed: stop at the first thing that is no address.
        let Ok(address) = hop.trim().parse::<IpAddr>() else { return peer };
        let address = address.to_canonical();
        if !proxies.contains(address) {
            return address;
        }
    }
    peer
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use axum::extract::ConnectInfo;
    use http::{HeaderValue, Request};
    use proptest::prelude::*;

    use super::{TrustedProxies, of};

    proptest! {
        #[test]
        fn any_header_leads_to_an_address(bytes in proptest::collection::vec(any::<u8>(), 0..60), trusted: bool) {
            let peer = if trusted { [10, 0, 0, 1] } else { [192, 0, 2, 1] };
            let mut builder = Request::builder();
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                builder = builder.header("x-forwarded-for", value);
            }
            let (mut parts, ()) = builder.body(()).unwrap().into_parts();
            parts.extensions.insert(ConnectInfo(SocketAddr::from((peer, 1))));
            parts.extensions.insert(TrustedProxies(Arc::from(["10.0.0.0/8".parse().unwrap()])));
            let seen = of(&parts);
            prop_assert!(trusted || seen == std::net::IpAddr::from(peer), "a stranger is not believed");
        }
    }

    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let mut builder = Request::builder();
        for value in forwarded {
            builder = builder.header("X-Forwarded-For", *value);
        }
        let (mut parts, ()) = builder.body(()).unwrap().into_parts();
        parts.extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        parts.extensions.insert(TrustedProxies(Arc::from(["10.0.0.0/8".parse().unwrap()])));
        of(&parts).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(seen("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 198.51.100.7, 10.0.0.2"]), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7, junk"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
    }
}

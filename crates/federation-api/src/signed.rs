//! The extractor: one signed HTTP request of another server to one request of ruma's.

use std::net::IpAddr;

use ruma::OwnedServerName;

/// A request of another server, whose signature was checked and which the policy admits.
#[derive(Debug)]
pub struct Signed<T> {
    /// The server that asks.
    pub origin: OwnedServerName,
    /// What it asks.
    pub body: T,
    /// Where the request comes from, behind trusted proxies too.
    pub client_ip: IpAddr,
}

//! Which addresses this server connects to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Ranges of addresses that are refused, and exceptions from them.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    deny: Vec<IpNet>,
    allow: Vec<IpNet>,
}

impl Ranges {
    /// Refuses what is in `deny` and not in `allow`.
    pub const fn new(deny: Vec<IpNet>, allow: Vec<IpNet>) -> Self {
        Self { deny, allow }
    }

    /// Whether this server may connect to an address.
    pub fn admit(&self, address: IpAddr) -> bool {
        let address = plain(address);
        let among = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&address));
        among(&self.allow) || !among(&self.deny)
    }
}

/// The IPv4 address within an IPv6 address that stands for one, so that no notation leads around a range: mapped
/// addresses (RFC 4291, section 2.5.5.2), NAT64 (RFC 6052) and 6to4 (RFC 3056).
fn plain(address: IpAddr) -> IpAddr {
    let canonical = address.to_canonical();
    let IpAddr::V6(v6) = canonical else { return canonical };
    let within = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match Ipv6Addr::segments(&v6) {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => within(high, low),
        _ => canonical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_for_every_notation_of_an_address() {
        let ranges = Ranges::new(vec!["10.0.0.0/8".parse().unwrap()], vec!["10.0.0.7/32".parse().unwrap()]);
        for (address, admitted) in [
            ("10.0.0.1", false),
            ("10.0.0.7", true),
            ("11.0.0.1", true),
            ("::ffff:10.0.0.1", false),
            ("64:ff9b::a00:1", false),
            ("2002:a00:1::", false),
            ("2002:a00:7::", true),
            ("2001:4860::1", true),
        ] {
            assert_eq!(ranges.admit(address.parse().unwrap()), admitted, "{address}");
        }
    }
}

//! Which addresses are of local hosts, and which packets come from the host itself.

use std::net::IpAddr;

use ipnet::IpNet;

/// Addresses whose hosts are devices of ours: private (RFC 1918), unique local (RFC 4193) and
/// link-local ones (RFC 3927, RFC 4291), and those in the prefixes that the user names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalNetworks {
    more: Vec<IpNet>,
}

impl LocalNetworks {
    /// These prefixes too.
    #[must_use]
    pub fn with(more: Vec<IpNet>) -> Self {
        Self { more }
    }

    /// Whether it is one host's, and local.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        let is_by_itself = match address {
            IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
        };
        is_by_itself
            || (!self.more.is_empty()
                && !address.is_unspecified()
                && !address.is_multicast()
                && self.more.iter().any(|network| network.contains(&address)))
    }
}

/// Time to live, or hop limit, that hosts send packets with. A router leaves less of it.
const INITIAL_TTLS: [u8; 3] = [64, 128, 255];

/// Whether packets from `source` to `destination`, which arrived with from `ttl.0` to `ttl.1` to
/// live, cannot have come through a router: nothing is missing of what hosts begin with; or one of
/// the addresses is good on one link only, so that no router passes them on (RFC 3927 section 2.7,
/// RFC 4291 section 2.5.6, RFC 5771 section 4).
#[must_use]
pub fn is_straight(source: IpAddr, destination: IpAddr, ttl: (u8, u8)) -> bool {
    let is_whole = ttl.0 == ttl.1 && INITIAL_TTLS.contains(&ttl.0);
    is_whole || is_of_one_link(source) || is_of_one_link(destination)
}

fn is_of_one_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_link_local() || v4.is_broadcast() || matches!(v4.octets(), [224, 0, 0, _])
        }
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments()[0] & 0xff0f == 0xff02,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn private_and_link_local_addresses_are_local_and_what_the_user_names() {
        let more = ["192.0.2.0/25", "2001:db8:7::/48", "0.0.0.0/0"];
        let named = LocalNetworks::with(more[..2].iter().map(|p| p.parse().unwrap()).collect());
        for (address, by_itself, is_named) in [
            ("10.1.2.3", true, true),
            ("172.31.0.1", true, true),
            ("172.32.0.1", false, false),
            ("192.168.255.255", true, true),
            ("169.254.7.7", true, true),
            ("fe80::1", true, true),
            ("fd00::1", true, true),
            ("192.0.2.127", false, true),
            ("192.0.2.128", false, false),
            ("2001:db8:7::1", false, true),
            ("2001:db8:8::1", false, false),
            ("127.0.0.1", false, false),
            ("224.0.0.251", false, false),
            ("ff02::fb", false, false),
        ] {
            assert_eq!(LocalNetworks::default().is_local(ip(address)), by_itself, "{address}");
            assert_eq!(named.is_local(ip(address)), is_named, "{address}");
        }
        let all = LocalNetworks::with(vec![more[2].parse().unwrap()]);
        assert!(all.is_local(ip("8.8.8.8")) && !all.is_local(ip("8:8::8")));
        assert!(!all.is_local(ip("0.0.0.0")) && !all.is_local(ip("239.1.1.1")));
    }

    #[test]
    fn a_packet_is_straight_if_no_router_can_have_passed_it_on() {
        for (source, destination, ttl, want) in [
            ("10.0.0.1", "10.0.0.2", (64, 64), true),
            ("10.0.0.1", "10.0.0.2", (128, 128), true),
            ("fd00::1", "fd00::2", (255, 255), true),
            ("10.0.0.1", "10.0.0.2", (63, 63), false),
            ("10.0.0.1", "10.0.0.2", (63, 64), false),
            ("10.0.0.1", "10.0.0.2", (1, 1), false),
            ("10.0.0.1", "224.0.0.251", (1, 1), true),
            ("10.0.0.1", "239.255.255.250", (4, 4), false),
            ("10.0.0.1", "255.255.255.255", (9, 9), true),
            ("fe80::1", "ff05::1", (1, 1), true),
            ("fd00::1", "ff02::fb", (7, 7), true),
            ("fd00::1", "ff05::fb", (7, 7), false),
            ("169.254.0.1", "8.8.8.8", (1, 1), true),
        ] {
            let is = is_straight(ip(source), ip(destination), ttl);
            assert_eq!(is, want, "{source} {destination} {ttl:?}");
        }
    }
}

//! Which addresses are of local hosts, and which packets come from the host itself.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// Addresses whose hosts are devices of ours: private (RFC 1918), unique local (RFC 4193) and
/// link-local ones (RFC 3927, RFC 4291), and those in the prefixes that the user names. Others are
/// local as of when they are seen on the link itself, which [the table](super::table) knows.
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

/// Time to live that hosts send to [`SSDP_GROUP`] with: what sockets have for all groups (RFC 1112
/// section 6.1), and what UPnP 1.1 and 1.0 prescribe (UPnP Device Architecture, section 1.1).
const SSDP_TTLS: [u8; 3] = [1, 2, 4];

/// Where UPnP looks for devices of a site.
const SSDP_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250));

/// Whether packets from `source` to `destination`, which arrived with from `ttl.0` to `ttl.1` to
/// live, cannot have come through a router: nothing is missing of what hosts begin with; or one of
/// the addresses is good on one link only, so that no router passes them on (RFC 3927 section 2.7,
/// RFC 4291 section 2.5.6, RFC 5771 section 4). Likewise what a private address sends to
/// [`SSDP_GROUP`] with what hosts begin with there.
#[must_use]
pub fn is_straight(source: IpAddr, destination: IpAddr, ttl: (u8, u8)) -> bool {
    let is_whole = ttl.0 == ttl.1
        && (INITIAL_TTLS.contains(&ttl.0)
            || destination == SSDP_GROUP && is_private(source) && SSDP_TTLS.contains(&ttl.0));
    is_whole || is_of_one_link(source) || is_of_one_link(destination)
}

/// The port of multicast DNS, whose messages count with all of 255 to live only (RFC 6762
/// section 11).
const MDNS_PORT: u16 = 5_353;

/// Whether a datagram from `source` to a port of `destination`, which arrived with so much to live,
/// shows that its source is a host of this link: it is for all of it, or for a group of hosts, and
/// cannot have come through a router.
#[must_use]
pub fn speaks_to_link(source: IpAddr, destination: (IpAddr, u16), ttl: u8) -> bool {
    let (address, port) = destination;
    let is_to_many =
        address.is_multicast() || matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    is_to_many && is_straight(source, address, (ttl, ttl)) && (port != MDNS_PORT || ttl == 255)
}

fn is_private(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_private())
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
    fn who_speaks_to_all_of_a_link_is_on_it() {
        for (destination, port, ttl, want) in [
            ("224.0.0.251", 5_353, 255, true),
            ("224.0.0.251", 5_353, 254, false),
            ("ff02::fb", 5_353, 255, true),
            ("ff02::fb", 5_353, 64, false),
            ("224.0.0.252", 5_355, 1, true),
            ("ff02::1:3", 5_355, 1, true),
            ("ff02::c", 1_900, 4, true),
            ("239.255.255.250", 1_900, 64, true),
            ("239.255.255.250", 1_900, 4, false),
            ("ff05::c", 1_900, 63, false),
            ("255.255.255.255", 137, 9, true),
            ("2001:db8::2", 5_353, 255, false),
        ] {
            let source = if destination.contains(':') { "2001:db8::1" } else { "192.0.2.1" };
            let is = speaks_to_link(ip(source), (ip(destination), port), ttl);
            assert_eq!(is, want, "{destination} {port} {ttl}");
        }
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
            ("10.0.0.1", "239.255.255.250", (4, 4), true),
            ("10.0.0.1", "239.255.255.250", (2, 2), true),
            ("10.0.0.1", "239.255.255.250", (1, 1), true),
            ("10.0.0.1", "239.255.255.250", (3, 3), false),
            ("10.0.0.1", "239.255.255.250", (2, 4), false),
            ("10.0.0.1", "239.255.255.251", (4, 4), false),
            ("192.0.2.1", "239.255.255.250", (4, 4), false),
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

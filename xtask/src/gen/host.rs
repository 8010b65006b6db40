//! Who talks: side A are clients, side B are servers, each host with one MAC, one IPv4, one IPv6
//! address, and servers with a name. A host is a number; all else follows from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which end of the link a host is on, and so its networks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// Clients: 10.1.0.0/16 and fd00:1::/64.
    A,
    /// Servers: 10.2.0.0/16 and fd00:2::/64.
    B,
}

/// One machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Host {
    /// Where it is.
    pub(crate) side: Side,
    /// Its number there.
    pub(crate) number: u16,
}

/// The server that answers DNS queries.
pub(crate) const RESOLVER: Host = Host { side: Side::B, number: 53 };
/// The server that tells the time.
pub(crate) const CLOCK: Host = Host { side: Side::B, number: 123 };

impl Host {
    /// Locally administered, unicast.
    pub(crate) fn mac(self) -> [u8; 6] {
        let [high, low] = self.number.to_be_bytes();
        [0x02, 0x00, 0x00, self.network(), high, low]
    }

    /// The address of the IP version asked for.
    pub(crate) fn ip(self, ipv6: bool) -> IpAddr {
        if ipv6 { self.ipv6().into() } else { self.ipv4().into() }
    }

    pub(crate) fn ipv4(self) -> Ipv4Addr {
        let [high, low] = self.number.to_be_bytes();
        Ipv4Addr::new(10, self.network(), high, low)
    }

    pub(crate) fn ipv6(self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, self.network().into(), 0, 0, 0, 0, 0, self.number)
    }

    /// The names on the way to a server's address: the one asked for first, then its aliases'
    /// targets. The last one owns the address.
    pub(crate) fn names(self) -> Vec<String> {
        const WORDS: [&str; 8] = ["shop", "mail", "api", "news", "video", "static", "git", "bank"];
        let number = self.number;
        let word = WORDS[usize::from(number % 8)];
        let mut names = vec![format!("www.{word}{number}.example")];
        if number.is_multiple_of(3) {
            names.push(format!("{word}{number}.edge.cdn.example"));
        }
        if number.is_multiple_of(9) {
            names.push(format!("e{number}.pop{}.cdn.example", number % 4));
        }
        names
    }

    fn network(self) -> u8 {
        match self.side {
            Side::A => 1,
            Side::B => 2,
        }
    }
}

//! What the host itself uses an interface for. A tap takes all of that from it.
//!
//! An interface is in use if it has an address (but IPv6 link-local ones, which every
//! interface has), if a default route leaves by it, or if an established TCP session's packets
//! do; and if that is so of what stands on it: its bridge or bond, a VLAN. Sessions count by
//! where the kernel sends their packets now, and not by their address: that may be another
//! interface's (an unnumbered link).

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::host::netlink::{self, Kernel, Link};
use crate::limits::SESSION_ROUTES;
use crate::xdp::interface;

/// One thing that the host would lose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// The host is reached by this address.
    Address(IpAddr),
    /// Packets to anywhere leave by it.
    DefaultRoute,
    /// A TCP session with this host is established over it.
    Session(IpAddr),
    /// The same of an interface that stands on it, by name.
    Upper(String, Box<Use>),
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "it has the address {address}"),
            Self::DefaultRoute => f.write_str("it carries the default route"),
            Self::Session(peer) => write!(f, "a TCP session with {peer} goes over it"),
            Self::Upper(name, upper) => {
                let what = upper.to_string();
                write!(f, "it carries {name}, and {}", what.replacen("it ", "that ", 1))
            }
        }
    }
}

/// What the host uses the interface called `name` for.
///
/// # Errors
/// If there is no such interface, or the kernel does not say.
pub fn uses_of(name: &str) -> Result<Vec<Use>> {
    let mut kernel = Kernel::new();
    let links = kernel.links()?;
    let link = netlink::find(&links, name)?;
    uses(&mut kernel, &links, link)
}

/// What the host uses `link` for, and what stands on it.
pub(super) fn uses(kernel: &mut Kernel, links: &[Link], link: &Link) -> Result<Vec<Use>> {
    let peers = session_routes(kernel);
    let mut all = Vec::new();
    for used in with_uppers(links, link) {
        let own = own_uses(used, &peers)?;
        let is_itself = used.index == link.index;
        let wrap = |one| if is_itself { one } else { Use::Upper(used.name.clone(), Box::new(one)) };
        all.extend(own.into_iter().map(wrap));
    }
    Ok(all)
}

fn own_uses(link: &Link, peers: &[(IpAddr, u32)]) -> Result<Vec<Use>> {
    let interface = interface::Interface::find(&link.name)?;
    let mut uses: Vec<Use> = interface.service_addresses().map(Use::Address).collect();
    uses.extend(interface.has_default_route().then_some(Use::DefaultRoute));
    let over_it = peers.iter().filter(|(_, index)| *index == link.index);
    uses.extend(over_it.map(|&(peer, _)| Use::Session(peer)));
    Ok(uses)
}

/// `link`, and all that stands on it, on that, and so on.
fn with_uppers<'a>(links: &'a [Link], link: &'a Link) -> Vec<&'a Link> {
    let mut all = vec![link];
    let mut next = 0;
    while let Some(&lower) = all.get(next) {
        next += 1;
        let is_upper =
            |upper: &&Link| lower.master == Some(upper.index) || upper.lower == Some(lower.index);
        for upper in links.iter().filter(is_upper) {
            // Two ends of a pair name each other.
            let is_pair = lower.lower == Some(upper.index);
            if !is_pair && !all.contains(&upper) {
                all.push(upper);
            }
        }
    }
    all
}

/// The other ends of established TCP sessions, with the interface that leads to each.
fn session_routes(kernel: &mut Kernel) -> Vec<(IpAddr, u32)> {
    let table = |file| fs::read_to_string(format!("/proc/thread-self/net/{file}"));
    let mut peers = BTreeSet::new();
    for file in ["tcp", "tcp6"] {
        peers.extend(table(file).as_deref().map(established_peers).unwrap_or_default());
    }
    let peers = peers.into_iter().filter(|peer| !peer.is_loopback()).take(SESSION_ROUTES);
    peers.filter_map(|peer| Some((peer, kernel.route(peer)?))).collect()
}

/// `sl local_address rem_address st ...`, addresses as words in the machine's order.
fn established_peers(table: &str) -> Vec<IpAddr> {
    const ESTABLISHED: &str = "01";
    let peer = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(2);
        let (remote, state) = (fields.next()?, fields.next()?);
        let (address, _) = remote.split_once(':')?;
        (state == ESTABLISHED).then(|| parse_address(address))?
    };
    table.lines().skip(1).filter_map(peer).collect()
}

fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match hex.len() {
        8 => word(0).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes))),
        32 => {
            let mut bytes = [0; 16];
            for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn established_sessions_are_told_from_others() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
             0: 0100007F:0016 00000000:0000 0A 00000000:00000000\n\
             1: 0A00000A:0016 0100000A:D431 01 00000000:00000000\n\
             2: 0A00000A:0016 0200000A:D431 06 00000000:00000000\n";
        let expected = if cfg!(target_endian = "little") { [10, 0, 0, 1] } else { [1, 0, 0, 10] };
        assert_eq!(established_peers(table), [IpAddr::from(expected)]);
        let mapped = "0000000000000000FFFF00000100000A";
        let v6 = format!("header\n 0: {mapped}:0016 {mapped}:D431 01 0:0\n");
        if cfg!(target_endian = "little") {
            assert_eq!(established_peers(&v6), [IpAddr::from([10, 0, 0, 1])]);
        }
        for damaged in ["", "x", "x\n1:", "x\n1: a b 01", "x\n1: 00:0 0000000G:0 01"] {
            assert_eq!(established_peers(damaged), [] as [IpAddr; 0], "{damaged}");
        }
    }

    #[test]
    fn what_stands_on_an_interface_is_found_through_bridges_and_vlans() {
        let link = |index, master, lower| Link { index, master, lower, ..Link::default() };
        let links = [
            link(1, Some(3), None),
            link(2, None, None),
            link(3, None, None),
            link(4, None, Some(3)),
            // A veth pair in one network namespace.
            link(5, None, Some(6)),
            link(6, None, Some(5)),
        ];
        let uppers = |of: &Link| -> Vec<u32> {
            with_uppers(&links, of).iter().map(|link| link.index).collect()
        };
        assert_eq!(uppers(&links[0]), [1, 3, 4]);
        assert_eq!(uppers(&links[1]), [2]);
        assert_eq!(uppers(&links[3]), [4]);
        assert_eq!(uppers(&links[4]), [5]);
    }

    #[test]
    fn a_use_says_what_would_be_lost() {
        let address = Use::Address([192, 0, 2, 1].into());
        assert_eq!(address.to_string(), "it has the address 192.0.2.1");
        let upper = Use::Upper("br0".into(), Box::new(address));
        assert_eq!(upper.to_string(), "it carries br0, and that has the address 192.0.2.1");
    }
}

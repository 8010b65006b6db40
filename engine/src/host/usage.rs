//! What the host itself uses an interface for. A tap takes all of that from it.
//!
//! An interface is in use if it has an address (but IPv6 link-local ones, which every interface
//! has), if a default route of any table leaves by it, be it one of several next hops, or if an
//! established TCP session's packets do; and if that is so of what stands on it: its bridge or
//! bond, a VLAN. That something stands on it is a use by itself: others may be reached through it
//! (containers of a bridge). Sessions count by where the kernel sends their packets now, from their
//! own address, and not by their address: that may be another interface's (an unnumbered link). But
//! those of a link-local address count by it: the same peer may be on any link, so that there is no
//! one route to it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::host::netlink::{self, Kernel, Link};
use crate::host::routes::DefaultRoutes;
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
    /// The same, perhaps: the kernel does not say by which interface they leave.
    PossibleDefaultRoute,
    /// A TCP session with this host is established over it.
    Session(IpAddr),
    /// The same, perhaps: the kernel does not say by which interface its packets leave.
    PossibleSession(IpAddr),
    /// The same of an interface that stands on it, by name.
    Upper(String, Box<Use>),
    /// Something stands on it that has no such use itself: a bridge between others, a bond.
    Carries(String),
    /// Something stands on it that is not in this network namespace, and has this address.
    Elsewhere(String),
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "it has the address {address}"),
            Self::DefaultRoute => f.write_str("it carries the default route"),
            Self::PossibleDefaultRoute => {
                f.write_str("it may carry the default route, by a next hop that is not known")
            }
            Self::Session(peer) => write!(f, "a TCP session with {peer} goes over it"),
            Self::PossibleSession(peer) => write!(f, "a TCP session with {peer} may go over it"),
            Self::Carries(name) => write!(f, "it carries {name}"),
            Self::Elsewhere(address) => {
                write!(f, "it carries an interface of another network namespace ({address})")
            }
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
    Host::look(&mut kernel)?.uses(&links, netlink::find(&links, name)?)
}

/// Where the host's packets go now.
pub(super) struct Host {
    sessions: Vec<(Session, Option<u32>)>,
    default_routes: DefaultRoutes,
    /// Addresses that interfaces take packets for, by their indexes.
    taken: Vec<(u32, Vec<u8>)>,
    /// Interfaces that PPPoE sessions go over.
    pppoe: Vec<String>,
}

impl Host {
    /// Looks at all that matters for any interface.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(super) fn look(kernel: &mut Kernel) -> Result<Self> {
        let sessions = routed_sessions(kernel);
        let default_routes = kernel.default_routes()?;
        let pppoe = fs::read_to_string("/proc/thread-self/net/pppoe").unwrap_or_default();
        let pppoe = pppoe_interfaces(&pppoe).collect();
        Ok(Self { sessions, default_routes, taken: kernel.taken_addresses(), pppoe })
    }

    /// What the host uses `link` for, and what stands on it.
    ///
    /// # Errors
    /// If one is gone, or the kernel does not say.
    pub(super) fn uses(&self, links: &[Link], link: &Link) -> Result<Vec<Use>> {
        let mut all = Vec::new();
        for used in with_uppers(links, link) {
            let own = self.own_uses(used)?;
            let is_itself = used.index == link.index;
            let wrap =
                |one| if is_itself { one } else { Use::Upper(used.name.clone(), Box::new(one)) };
            all.extend(own.into_iter().map(wrap));
        }
        all.extend(self.carried(links, link));
        Ok(all)
    }

    /// What would lose its packets with `link`, whatever that is used for. All that is told from
    /// here: interfaces of other namespaces that have this one's address (VLAN, ipvlan) are not.
    fn carried(&self, links: &[Link], link: &Link) -> Vec<Use> {
        let all = with_uppers(links, link);
        let uppers = all.iter().skip(1);
        let mut uses: Vec<_> = uppers.map(|upper| Use::Carries(upper.name.clone())).collect();
        let is_listed = |index| links.iter().any(|other| other.index == index);
        if link.master.is_some_and(|index| !is_listed(index)) {
            uses.push(Use::Carries("another interface".to_owned()));
        }
        if self.pppoe.contains(&link.name) {
            uses.push(Use::Carries("a PPPoE session".to_owned()));
        }
        // Those of what is here count by that.
        let is_known = |address: &Vec<u8>| {
            all.iter().any(|one| [&one.address, &one.own_address].contains(&address))
        };
        let others = self.taken.iter();
        let others = others.filter(|(index, address)| *index == link.index && !is_known(address));
        uses.extend(others.map(|(_, address)| {
            let bytes: Vec<_> = address.iter().map(|byte| format!("{byte:02x}")).collect();
            Use::Elsewhere(bytes.join(":"))
        }));
        uses
    }

    fn own_uses(&self, link: &Link) -> Result<Vec<Use>> {
        let interface = interface::Interface::find(&link.name)?;
        let mut uses: Vec<Use> = interface.service_addresses().map(Use::Address).collect();
        match self.default_routes.leave_by(link.index) {
            Some(true) => uses.push(Use::DefaultRoute),
            Some(false) => {}
            None => uses.push(Use::PossibleDefaultRoute),
        }
        let over_it = self.sessions.iter();
        uses.extend(over_it.filter_map(|(session, route)| session.over(&interface, *route)));
        // What is certain comes first.
        uses.sort_by_key(|one| matches!(one, Use::PossibleSession(_)));
        Ok(uses)
    }
}

/// An established TCP session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Session {
    /// The other end.
    peer: IpAddr,
    /// This end.
    local: IpAddr,
}

impl Session {
    /// Whether it counts by its address: it is link-local.
    fn is_by_address(&self) -> bool {
        matches!(self.local, IpAddr::V6(local) if local.is_unicast_link_local())
    }

    /// What it means for `interface`, if the kernel sends its packets by the one of index `route`.
    /// What the kernel does not say may be so: rules that it does not know of may choose (marks).
    fn over(&self, interface: &interface::Interface, route: Option<u32>) -> Option<Use> {
        let is_over = if self.is_by_address() {
            interface.addresses.contains(&self.local)
        } else {
            let Some(route) = route else { return Some(Use::PossibleSession(self.peer)) };
            route == interface.index
        };
        is_over.then_some(Use::Session(self.peer))
    }
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

/// `Id Address Dev`, of each session.
fn pppoe_interfaces(table: &str) -> impl Iterator<Item = String> {
    let interface = |line: &str| line.split_ascii_whitespace().nth(2).map(str::to_owned);
    table.lines().skip(1).filter_map(interface)
}

/// Established TCP sessions, with the interface that leads to each peer.
fn routed_sessions(kernel: &mut Kernel) -> Vec<(Session, Option<u32>)> {
    let table = |file| fs::read_to_string(format!("/proc/thread-self/net/{file}"));
    let tables = ["tcp", "tcp6"].map(|file| table(file).unwrap_or_default());
    let sessions = some_of_each_family(tables.iter().flat_map(|table| established(table)));
    let routed = sessions.into_iter().map(|session| {
        let is_asked = !session.is_by_address();
        let route = is_asked.then(|| kernel.route(session.local, session.peer)).flatten();
        (session, route)
    });
    routed.collect()
}

/// Each that is not within this host once: so many of IPv4, and as many of IPv6.
fn some_of_each_family(sessions: impl Iterator<Item = Session>) -> Vec<Session> {
    let sessions: BTreeSet<_> = sessions.filter(|one| !one.peer.is_loopback()).collect();
    let (v4, v6): (Vec<_>, Vec<_>) = sessions.into_iter().partition(|one| one.peer.is_ipv4());
    let some = |family: Vec<_>| family.into_iter().take(SESSION_ROUTES);
    some(v4).chain(some(v6)).collect()
}

/// `sl local_address rem_address st ...`, addresses as words in the machine's order.
fn established(table: &str) -> impl Iterator<Item = Session> {
    const ESTABLISHED: &str = "01";
    let session = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let mut address = || parse_address(fields.next()?.split_once(':')?.0);
        let (local, peer) = (address()?, address()?);
        let session = Session { peer, local };
        (fields.next()? == ESTABLISHED).then_some(session)
    };
    table.lines().skip(1).filter_map(session)
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
        let peers = |table: &str| -> Vec<IpAddr> {
            established(table).map(|session| session.peer).collect()
        };
        let expected = if cfg!(target_endian = "little") { [10, 0, 0, 1] } else { [1, 0, 0, 10] };
        assert_eq!(peers(table), [IpAddr::from(expected)]);
        let mapped = "0000000000000000FFFF00000100000A";
        let v6 = format!("header\n 0: {mapped}:0016 {mapped}:D431 01 0:0\n");
        if cfg!(target_endian = "little") {
            assert_eq!(peers(&v6), [IpAddr::from([10, 0, 0, 1])]);
        }
        for damaged in ["", "x", "x\n1:", "x\n1: a b 01", "x\n1: 00:0 0000000G:0 01"] {
            assert_eq!(peers(damaged), [] as [IpAddr; 0], "{damaged}");
        }
    }

    #[test]
    fn a_link_local_session_counts_where_its_address_is() {
        if cfg!(target_endian = "big") {
            return;
        }
        // fe80::1 with fe80::2; fd00::1 with fd00::2.
        let table = "header\n\
             0: 000080FE000000000000000001000000:0016 000080FE000000000000000002000000:D431 01\n\
             1: 000000FD000000000000000001000000:0016 000000FD000000000000000002000000:D431 01\n";
        let sessions: Vec<_> = established(table).collect();
        let interface = |index, address: &str| {
            let addresses = vec![address.parse().unwrap()];
            interface::Interface {
                name: "x".into(),
                index,
                is_up: true,
                addresses,
                link_kind: None,
            }
        };
        let peers: [IpAddr; 2] = ["fe80::2", "fd00::2"].map(|peer| peer.parse().unwrap());
        let local = || Some(Use::Session(peers[0]));
        let routed = || Some(Use::Session(peers[1]));
        let possible = || Some(Use::PossibleSession(peers[1]));
        // Whichever interface the kernel would send to such a peer by: it is not asked.
        for (index, address, route, expected) in [
            (7, "fe80::1", Some(7), [local(), routed()]),
            (8, "fe80::1", Some(7), [local(), None]),
            (7, "fe80::9", Some(7), [None, routed()]),
            (8, "fd00::1", Some(7), [None, None]),
            (8, "fd00::1", None, [None, possible()]),
        ] {
            let over = |session: &Session| session.over(&interface(index, address), route);
            let over: Vec<_> = sessions.iter().map(over).collect();
            assert_eq!(over, expected, "{index} with {address}, by {route:?}");
        }
    }

    #[test]
    fn many_peers_of_one_family_do_not_hide_those_of_the_other() {
        let session = |peer| Session { peer, local: [10, 0, 0, 1].into() };
        let many = (0..20_000_u32).map(|n| session(Ipv4Addr::from(0x0a00_0000 + n).into()));
        let peer: IpAddr = "fd00::2".parse().unwrap();
        let here = session("::1".parse().unwrap());
        let kept = some_of_each_family(many.chain([session(peer), here, session(peer)]));
        assert_eq!(kept.len(), SESSION_ROUTES + 1);
        assert_eq!(kept.last().map(|session| session.peer), Some(peer));
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
    fn what_it_carries_is_a_use_of_its_own() {
        let link = |index, name: &str, master, last| Link {
            index,
            name: name.to_owned(),
            master,
            address: vec![2, 0, 0, 0, 0, last],
            ..Link::default()
        };
        let links = [
            link(1, "port", Some(2), 1),
            link(2, "br0", None, 1),
            link(3, "free", None, 3),
            link(4, "unlisted", Some(9), 4),
            link(5, "dsl", None, 5),
            link(6, "lower", None, 6),
        ];
        let table = "Id       Address              Dev\n00000001 02:00:00:00:00:77      dsl\n";
        let mac = |last| vec![2, 0, 0, 0, 0, last];
        let host = Host {
            sessions: Vec::new(),
            default_routes: DefaultRoutes::default(),
            taken: vec![(6, mac(6)), (6, mac(0x1e)), (1, mac(1))],
            pppoe: pppoe_interfaces(table).collect(),
        };
        let carried = |idx: usize| {
            let uses = host.carried(&links, &links[idx]);
            uses.iter().map(Use::to_string).collect::<Vec<_>>().join("; ")
        };
        for (idx, expected) in [
            (0, "it carries br0"),
            (2, ""),
            (3, "it carries another interface"),
            (4, "it carries a PPPoE session"),
            (5, "it carries an interface of another network namespace (02:00:00:00:00:1e)"),
        ] {
            assert_eq!(carried(idx), expected, "{}", links[idx].name);
        }
    }

    #[test]
    fn a_use_says_what_would_be_lost() {
        let address = Use::Address([192, 0, 2, 1].into());
        assert_eq!(address.to_string(), "it has the address 192.0.2.1");
        let upper = Use::Upper("br0".into(), Box::new(address));
        assert_eq!(upper.to_string(), "it carries br0, and that has the address 192.0.2.1");
    }
}

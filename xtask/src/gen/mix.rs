//! Named mixes of traffic: which kinds of flows in which shares, and drafts of flows, which
//! become packets only when their time comes. A new mix is one more entry of [`MIXES`].
//! Drafts are made by [`super::deal`].

use super::datagram;
use super::flow::{Ends, Flow, Life};
use super::host::Host;
use super::number::share;
use super::rng::Rng;
use super::session;
use super::tcp::{self, Story};

/// Unix time of the first packet: 2026-01-01T00:00:00Z.
pub(crate) const EPOCH_NS: u64 = 1_767_225_600_000_000_000;

/// A kind of flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Tcp(Story),
    Tls,
    Udp,
    Dns,
    Ntp,
    Fragments,
    Echo,
    Sctp,
    Arp,
    Lldp,
}

/// A recipe.
pub(crate) struct Mix {
    pub(crate) name: &'static str,
    /// Kinds drawn for most flows, with their weights.
    pub(crate) shares: &'static [(Kind, u64)],
    /// Flows that are there once, if there is room: kind, IPv6, number of tags.
    pub(crate) once: &'static [(Kind, bool, u8)],
    pub(crate) ipv6_percent: u32,
    pub(crate) vlan_percent: u32,
    pub(crate) qinq_percent: u32,
}

/// All mixes.
pub(crate) const MIXES: &[Mix] = &[DEMO, DNS_HEAVY, TLS_MIX, WEB];

const TLS_MIX: Mix = Mix {
    name: "tls-mix",
    shares: &[(Kind::Tls, 80), (Kind::Dns, 20)],
    once: &[],
    ipv6_percent: 30,
    vlan_percent: 10,
    qinq_percent: 1,
};

/// Two look-ups for each session: with 35 packets a flow, one packet in twenty is of DNS, and one
/// in twenty of a handshake of TLS.
const WEB: Mix = Mix { name: "web", shares: &[(Kind::Tls, 1), (Kind::Dns, 2)], ..TLS_MIX };

const DNS_HEAVY: Mix = Mix {
    name: "dns-heavy",
    shares: &[
        (Kind::Dns, 850),
        (Kind::Tcp(Story::Fin), 80),
        (Kind::Udp, 40),
        (Kind::Ntp, 20),
        (Kind::Echo, 10),
    ],
    once: &[(Kind::Tcp(Story::Fin), false, 0), (Kind::Udp, false, 0)],
    ipv6_percent: 25,
    vlan_percent: 0,
    qinq_percent: 0,
};

const DEMO: Mix = Mix {
    name: "demo",
    shares: &[
        (Kind::Tcp(Story::Fin), 400),
        (Kind::Tcp(Story::Reset), 40),
        (Kind::Tcp(Story::Refused), 25),
        (Kind::Tcp(Story::HalfOpen), 40),
        (Kind::Tcp(Story::Midstream), 30),
        (Kind::Tcp(Story::Open), 35),
        (Kind::Dns, 230),
        (Kind::Udp, 110),
        (Kind::Ntp, 30),
        (Kind::Echo, 40),
        (Kind::Fragments, 20),
    ],
    once: &[
        (Kind::Tcp(Story::Fin), false, 0),
        (Kind::Dns, false, 0),
        (Kind::Tcp(Story::Fin), true, 0),
        (Kind::Udp, false, 1),
        (Kind::Sctp, false, 0),
        (Kind::Echo, false, 0),
        (Kind::Echo, true, 0),
        (Kind::Fragments, false, 0),
        (Kind::Fragments, true, 0),
        (Kind::Tcp(Story::Fin), false, 1),
        (Kind::Tcp(Story::Fin), false, 2),
        (Kind::Tcp(Story::HalfOpen), false, 0),
        (Kind::Tcp(Story::Reset), false, 0),
        (Kind::Tcp(Story::Refused), false, 0),
        (Kind::Tcp(Story::Midstream), false, 0),
        (Kind::Tcp(Story::Open), true, 1),
        (Kind::Dns, true, 0),
        (Kind::Udp, true, 0),
        (Kind::Ntp, false, 0),
    ],
    ipv6_percent: 25,
    vlan_percent: 12,
    qinq_percent: 2,
};

/// A flow before it has packets: small, because there are as many as flows.
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) ends: Ends,
    /// Time since [`EPOCH_NS`].
    pub(crate) start_ns: u64,
    /// When it must be over, likewise.
    pub(crate) end_ns: u64,
    pub(crate) packets: u64,
    /// The server a DNS query is about.
    pub(crate) about: Host,
    pub(crate) seed: u64,
    pub(crate) index: u64,
}

impl Draft {
    /// The whole flow; the same one each time.
    pub(crate) fn make(&self) -> Flow {
        let mut rng = Rng::new(self.seed, self.index);
        let (ends, count) = (&self.ends, self.packets);
        let mut packets = match self.kind {
            Kind::Tcp(story) => tcp::packets(story, ends, count, &mut rng),
            Kind::Tls => session::packets(ends, count, &mut rng),
            Kind::Udp => datagram::udp(ends, count, &mut rng),
            Kind::Dns => datagram::dns(self.about, ends.ipv6, count, &mut rng),
            Kind::Ntp => datagram::ntp(EPOCH_NS + self.start_ns, count, &mut rng),
            Kind::Fragments => datagram::fragmented(ends, count, &mut rng),
            Kind::Echo => datagram::echo(count, &mut rng),
            Kind::Sctp => datagram::sctp(count, &mut rng),
            Kind::Arp => datagram::arp(ends, count, &mut rng),
            Kind::Lldp => datagram::lldp(ends, count, &mut rng),
        };
        assert_eq!(packets.len() as u64, count, "{:?} keeps to its number of packets", self.kind);
        let (life, cause) = match self.kind {
            Kind::Tcp(story) => (story.life(), None),
            Kind::Tls => (Life::Fin, None),
            Kind::Arp => (Life::Open, Some("arp")),
            Kind::Lldp => (Life::Open, Some("lldp")),
            _ => (Life::Open, None),
        };
        // What would last too long goes faster.
        let room_ns = self.end_ns - self.start_ns;
        let last_ns = packets.last().map_or(0, |packet| packet.at_ns);
        if last_ns > room_ns {
            for packet in &mut packets {
                packet.at_ns = share(room_ns, packet.at_ns, last_ns);
            }
        }
        let sni = (self.kind == Kind::Tls).then(|| session::name(ends.server));
        Flow { ends: *ends, life, sni, cause, packets }
    }
}

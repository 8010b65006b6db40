//! Random packets of few flows, with gaps around every timeout.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use flowtap::decode::{Macs, Packet, TcpHeader};
use flowtap::flow::protocol::{ICMP, TCP, UDP};
use flowtap::flow::{Direction, Endpoint, FlowKey, KeyHasher, PortKind, Timeouts};
use flowtap::limits::REORDER_NS;
use flowtap::table::prefix_bytes;
use flowtap::time::{SECOND_NS, Timestamp};

use crate::rng::{HashSeed, Rng};
use crate::setting::timeouts;

/// Generic Routing Encapsulation: a protocol without ports and without rules of its own.
const GRE: u8 = 47;

/// FIN, SYN, RST and ACK as they come in pairs.
const FLAGS: [u8; 9] = [0x02, 0x02, 0x12, 0x10, 0x10, 0x11, 0x11, 0x04, 0x14];

/// Few, so that segments follow each other, leave gaps and fill them, across the wrap too.
const SEQUENCES: [u32; 8] = [u32::MAX - 1, u32::MAX, 0, 1, 2, 3, 11, 12];

/// The packets of a seed, in the order of the wire.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) timeouts: Timeouts,
    pub(crate) hasher: KeyHasher,
    pub(crate) sent: Vec<Sent>,
    /// Whether some do not fit beside what a slot has counted and not published.
    pub(crate) has_unfit: bool,
    conversations: Vec<Conversation>,
}

/// A packet before its decoder has given it a tick and an ordinal: both are 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) packet: Packet,
    /// Says which queue it arrives on, where there are several.
    pub(crate) queue: usize,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Packet { key, direction, timestamp, bytes, .. } = self.packet;
        let end = |way: Direction| {
            let port = key.source_port(way).map(|port| format!(":{port}"));
            format!("{}{}", key.source_ip(way), port.unwrap_or_default())
        };
        write!(f, "{timestamp:?} {} > {}", end(direction), end(direction.opposite()))?;
        write!(f, " protocol {} vlan {:?}, {bytes} bytes", key.protocol(), key.vlan())?;
        let tcp = self.packet.tcp;
        if tcp.is_there() {
            write!(f, ", flags {:#04x}, sequence {}", tcp.flags(), tcp.sequence())?;
        }
        write!(f, ", queue {}", self.queue)
    }
}

#[derive(Debug, Clone, Copy)]
struct Conversation {
    ends: [Endpoint; 2],
    protocol: u8,
    version: u8,
    vlan: u16,
    /// Of each direction.
    queues: [usize; 2],
}

impl Traffic {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let timeouts = timeouts(rng);
        let hash_seed = rng.next();
        let hasher = KeyHasher::seeded(&HashSeed((!rng.one_in(6)).then_some(hash_seed)));
        let has_giants = rng.one_in(6);
        let conversations: Vec<_> =
            (0..rng.between(1, 7)).map(|number| Conversation::random(rng, number)).collect();
        // Many fragments at one moment: what a slot counts in few bits runs full.
        let is_burst = rng.one_in(32);
        let longest = if is_burst { 1_500 } else { rng.pick(&[5, 30, 100, 250]) };
        let (turns_in, fragments_in) = if is_burst { (500, 1) } else { (2, 20) };
        let mut clock = Clock { stands: is_burst, ..Clock::random(rng, &timeouts) };
        let mut latest = conversations[0];
        let sent = (0..rng.between(1, longest))
            .map(|_| {
                if rng.one_in(turns_in) {
                    latest = rng.pick(&conversations);
                }
                let timestamp = clock.next(rng);
                let later_fragment = rng.one_in(fragments_in);
                let mut sent = latest.packet(rng, timestamp, later_fragment, &hasher);
                if has_giants && rng.one_in(8) {
                    sent.packet.bytes = rng.pick(&[u32::MAX, u32::MAX / 2, u32::MAX - 1_000]);
                    sent.packet.frame_bytes = sent.packet.bytes;
                }
                sent
            })
            .collect();
        Self { timeouts, hasher, sent, has_unfit: has_giants || is_burst, conversations }
    }

    /// Different keys.
    pub(crate) fn conversations(&self) -> usize {
        self.conversations.len()
    }

    /// The most overflow aggregates that one core can have.
    pub(crate) fn aggregates(&self) -> usize {
        let all = self.sent.iter().map(|Sent { packet, .. }| {
            let mut prefix = match packet.key.source_ip(packet.direction.opposite()) {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            prefix.truncate(prefix_bytes(packet.key.ip_version()));
            (prefix, packet.key.protocol(), packet.key.vlan())
        });
        all.collect::<HashSet<_>>().len()
    }
}

impl Conversation {
    fn random(rng: &mut Rng, number: usize) -> Self {
        let number = u8::try_from(number).expect("few conversations");
        let protocol = rng.pick(&[TCP, TCP, TCP, UDP, ICMP, GRE]);
        let version = if rng.one_in(5) { 6 } else { 4 };
        let mut end = |host: u8| {
            let mut address = [0; 16];
            address[..3].copy_from_slice(&[10, 0, u8::from(rng.one_in(4))]);
            // Behind the prefix that overflow aggregates keep.
            address[if version == 4 { 3 } else { 15 }] = host;
            let port = match protocol {
                GRE => 0,
                // Both ends of a query have its identifier.
                ICMP => number.into(),
                // Well known, or not.
                _ => 1_018 + u16::from(host),
            };
            Endpoint { address, port }
        };
        let mut ends = [end(2 * number), end(2 * number + 1)];
        match rng.below(12) {
            // A host that talks to itself has one direction only.
            0 => ends[1] = ends[0],
            1..6 => ends.reverse(),
            _ => {}
        }
        Self {
            ends,
            protocol,
            version,
            vlan: if rng.one_in(5) { 7 } else { 0 },
            queues: [rng.below(12), rng.below(12)],
        }
    }

    fn packet(
        &self,
        rng: &mut Rng,
        timestamp: Option<Timestamp>,
        later_fragment: bool,
        hasher: &KeyHasher,
    ) -> Sent {
        let from = rng.below(2);
        let kind = match self.protocol {
            GRE => PortKind::None,
            ICMP => PortKind::IcmpId,
            _ => PortKind::Ports,
        };
        let (key, direction) = FlowKey::canonical(
            self.ends[from],
            self.ends[1 - from],
            self.version,
            self.protocol,
            kind,
            [self.vlan, 0],
        );
        let bytes = u32::try_from(rng.between(20, 1_500)).expect("in range");
        let header = TcpHeader::new(
            rng.pick(&FLAGS),
            rng.pick(&SEQUENCES),
            rng.pick(&SEQUENCES),
            rng.pick(&[0, 1, u16::MAX]),
        );
        let packet = Packet {
            key,
            hash: hasher.hash(&key),
            direction,
            timestamp,
            tick: 0,
            ordinal: 0,
            interface: 0,
            encapsulation: None,
            bytes,
            frame_bytes: bytes + 14,
            payload_bytes: if self.protocol == TCP {
                rng.pick(&[0, 0, 1, 2, 9])
            } else {
                bytes - 20
            },
            later_fragment,
            ttl: rng.pick(&[0, 63, 64, u8::MAX]),
            dscp: rng.pick(&[0, 46, 63]),
            tcp: if self.protocol == TCP && !later_fragment { header } else { TcpHeader::NONE },
            icmp: (self.protocol == ICMP).then(|| (rng.pick(&[0, 8]), 0)),
            macs: Macs::new([Some([from.try_into().expect("0 or 1"); 6]), None]),
        };
        Sent { packet, queue: self.queues[direction.idx()] }
    }
}

/// The times of packets: mostly forward by little, at times by about one of the timeouts;
/// late, without time, or far away where the seed says so.
struct Clock {
    now: Timestamp,
    /// Whether it stands, but for jumps.
    stands: bool,
    gaps: Vec<i64>,
    has_late: bool,
    has_untimed: bool,
    has_jumps: bool,
}

impl Clock {
    fn random(rng: &mut Rng, timeouts: &Timeouts) -> Self {
        let edges = [
            timeouts.idle_ns,
            timeouts.datagram_idle_ns,
            timeouts.half_open_idle_ns,
            timeouts.linger_ns,
            timeouts.active_ns,
            SECOND_NS,
            REORDER_NS,
        ];
        let gaps = edges.iter().filter_map(|&edge| i64::try_from(edge).ok());
        let gaps = gaps.flat_map(|edge| [edge - 1, edge, edge + 1, edge / 2]);
        let start = rng.pick(&[1_700_000_000_000_000_000, 0, -5_000_000_000]);
        Self {
            now: start,
            stands: false,
            gaps: gaps.map(|gap| gap.max(0)).collect(),
            has_late: rng.one_in(2),
            has_untimed: rng.one_in(3),
            has_jumps: rng.one_in(8),
        }
    }

    fn next(&mut self, rng: &mut Rng) -> Option<Timestamp> {
        const SECOND: i64 = 1_000_000_000;
        let small = |rng: &mut Rng| i64::try_from(rng.below(50)).expect("small") * SECOND / 100;
        match rng.below(32) {
            0..30 if self.stands => {}
            0..12 => self.now = self.now.saturating_add(small(rng)),
            12..16 => {}
            16..26 => self.now = self.now.saturating_add(rng.pick(&self.gaps)),
            26 if self.has_untimed => return None,
            27..30 if self.has_late => {
                let late = rng.pick(&[1, SECOND / 10, SECOND, 20 * SECOND, 60 * SECOND]);
                return Some(self.now.saturating_sub(late));
            }
            30 if self.has_jumps => {
                let jump = rng.pick(&[60 * SECOND + 1, 61 * SECOND, 3_600 * SECOND, i64::MAX]);
                let jump = if rng.one_in(2) { -jump } else { jump };
                self.now = self.now.saturating_add(jump);
            }
            _ => self.now = self.now.saturating_add(SECOND),
        }
        Some(self.now)
    }
}

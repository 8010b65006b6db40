//! Decoded packets of many flows, ten million a second of packet time unless said otherwise.

use std::net::IpAddr;
use std::ops::Range;

use flowtap::decode::{Macs, Packet, TcpHeader};
use flowtap::flow::{Endpoint, FlowKey, KeyHasher, PortKind};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};

/// Between two packets.
const GAP_NS: u64 = 100;

const TCP: u8 = 6;
const ACK: u8 = 0x10;
const RST: u8 = 0x04;

/// How packets are spread over flows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// Each flow as likely as any other.
    Uniform,
    /// Few flows have most packets: exponent 1.1.
    Zipf,
}

/// A seeded source of packets.
#[derive(Debug)]
pub(crate) struct Traffic {
    random: SmallRng,
    zipf: Option<Zipf<f64>>,
    flows: usize,
    /// Flows that were made up in an attack.
    scanned: usize,
    hasher: KeyHasher,
    tick: u64,
    gap_ns: u64,
}

impl Traffic {
    pub(crate) fn new(load: Load, flows: usize, hasher: &KeyHasher) -> Self {
        let zipf = match load {
            Load::Uniform => None,
            Load::Zipf => Some(Zipf::new(flows as f64, 1.1).expect("there are flows")),
        };
        let random = SmallRng::seed_from_u64(1);
        Self {
            random,
            zipf,
            flows,
            scanned: flows,
            hasher: hasher.clone(),
            tick: 0,
            gap_ns: GAP_NS,
        }
    }

    /// One packet of each of these flows.
    pub(crate) fn each_of(&mut self, flows: Range<usize>) -> Vec<Packet> {
        flows.map(|flow| self.packet(flow)).collect()
    }

    /// Two packets of each of these flows, the second a thousand flows later.
    pub(crate) fn pairs(&mut self, flows: Range<usize>) -> Vec<Packet> {
        let mut packets = Vec::with_capacity(2 * flows.len());
        let (start, end) = (flows.start, flows.end);
        for flow in start..end + 1_000 {
            if flow < end {
                packets.push(self.packet(flow));
            }
            if let Some(earlier) = flow.checked_sub(1_000).filter(|&flow| flow >= start) {
                packets.push(self.packet(earlier));
            }
        }
        packets
    }

    /// Packets of any flows.
    pub(crate) fn some(&mut self, packets: usize) -> Vec<Packet> {
        (0..packets)
            .map(|_| {
                let flow = self.any();
                self.packet(flow)
            })
            .collect()
    }

    /// Packets of any flows, every other one of a new flow.
    pub(crate) fn attacked(&mut self, packets: usize) -> Vec<Packet> {
        (0..packets)
            .map(|number| {
                if number % 2 == 0 {
                    let flow = self.any();
                    return self.packet(flow);
                }
                self.scanned += 1;
                self.packet(self.scanned)
            })
            .collect()
    }

    fn any(&mut self) -> usize {
        match &self.zipf {
            None => self.random.random_range(0..self.flows),
            Some(zipf) => {
                #[expect(clippy::cast_possible_truncation, reason = "a whole number, and small")]
                let rank = zipf.sample(&mut self.random) as usize - 1;
                // Neighbours in rank are not neighbours in memory.
                rank.wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.flows
            }
        }
    }

    fn packet(&mut self, flow: usize) -> Packet {
        self.tick += self.gap_ns;
        let end = |address: [u8; 4], port| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address);
            Endpoint { address: bytes, port }
        };
        let [a, b, c, d, ..] = flow.to_le_bytes();
        let client = end([10, c, b, a], 1_024 + u16::from(d));
        let server = end([192, 0, 2, a % 16], 443);
        let (from, to) = if self.random.random() { (client, server) } else { (server, client) };
        let (key, direction) = FlowKey::canonical(from, to, 4, TCP, PortKind::Ports, [0; 2]);
        Packet {
            key,
            hash: self.hasher.hash(&key),
            direction,
            timestamp: i64::try_from(self.tick).ok(),
            tick: self.tick,
            ordinal: 0,
            interface: 0,
            encapsulation: None,
            bytes: 400,
            frame_bytes: 414,
            // Without payload each is the next one in its sequence.
            payload_bytes: 0,
            later_fragment: false,
            ttl: 64,
            dscp: 0,
            tcp: TcpHeader::new(ACK, 1, 1, 512),
            icmp: None,
            macs: Macs::new([Some([2, 0, 0, 0, 0, 1]), Some([2, 0, 0, 0, 0, 2])]),
        }
    }
}

/// A seeded source of packets whose flows end, each by RST after so many packets, and are
/// replaced by new ones.
#[derive(Debug)]
pub(crate) struct Turnover {
    traffic: Traffic,
    life: Option<u32>,
    /// Flows that have packets to come: number, and how many.
    active: Vec<(u32, u32)>,
    /// Of these, how many have had their first packet.
    opened: usize,
    begun: u32,
    /// The number of the flow that came last.
    newest: u32,
}

impl Turnover {
    /// For a table in which `flows` are at one time, if what is over stays for as long as so
    /// many packets take.
    pub(crate) fn new(
        flows: usize,
        life: Option<u32>,
        hasher: &KeyHasher,
        packets_per_s: usize,
    ) -> Self {
        let mut traffic = Traffic::new(Load::Uniform, flows, hasher);
        traffic.gap_ns = 1_000_000_000 / packets_per_s as u64;
        // One in `life` packets leaves a flow that is over.
        let active = flows - life.map_or(0, |life| flows / life as usize);
        let mut left = || match life {
            // As if they had begun at any time before.
            Some(life) => traffic.random.random_range(1..life.max(2)),
            None => u32::MAX,
        };
        let active: Vec<_> = (1..).map(|flow| (flow, left())).take(active).collect();
        let newest = u32::try_from(active.len()).expect("few flows");
        Self { traffic, life, active, opened: 0, begun: 0, newest }
    }

    /// Flows that have had their first packet.
    pub(crate) fn begun(&self) -> usize {
        self.begun as usize
    }

    /// The next first packets of active flows, so many at most; `None` if all have begun.
    pub(crate) fn firsts(&mut self, packets: usize) -> Option<Vec<Packet>> {
        let end = self.active.len().min(self.opened + packets);
        let flows = self.opened..end;
        (!flows.is_empty()).then(|| {
            self.opened = end;
            self.begun += u32::try_from(flows.len()).expect("few flows");
            let active = &self.active[flows];
            active.iter().map(|&(flow, _)| self.traffic.packet(flow as usize)).collect()
        })
    }

    /// Packets of any active flows, and of those that take the place of one that has ended.
    pub(crate) fn some(&mut self, packets: usize) -> Vec<Packet> {
        (0..packets).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Packet {
        if self.active.is_empty() {
            self.begun += 1;
            return self.last(self.begun);
        }
        let at = self.traffic.random.random_range(0..self.active.len());
        let (flow, left) = self.active[at];
        // A flow that has yet to begin does so now.
        self.begun += u32::from(self.life == Some(left));
        self.active[at].1 = left.saturating_sub(u32::from(self.life.is_some()));
        if left > 1 || self.life.is_none() {
            return self.traffic.packet(flow as usize);
        }
        self.newest += 1;
        self.active[at] = (self.newest, self.life.expect("flows end"));
        self.last(flow)
    }

    fn last(&mut self, flow: u32) -> Packet {
        let packet = self.traffic.packet(flow as usize);
        Packet { tcp: TcpHeader::new(RST | ACK, packet.tcp.sequence(), 1, 512), ..packet }
    }
}

/// A frame that a decoder makes this packet of, but for its lengths.
pub(crate) fn frame(packet: &Packet) -> [u8; 60] {
    let key = &packet.key;
    let ends = [packet.direction, packet.direction.opposite()].map(|way| {
        let IpAddr::V4(address) = key.source_ip(way) else { panic!("all are IPv4") };
        (address.octets(), key.source_port(way).unwrap_or(0).to_be_bytes())
    });
    let [([a, b, c, d], [e, f]), ([g, h, i, j], [k, l])] = ends;
    let mut frame = [0; 60];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    let ip = [0x45, 0, 0, 46, 0, 0, 0, 0, 64, TCP, 0, 0, a, b, c, d, g, h, i, j];
    frame[14..34].copy_from_slice(&ip);
    frame[34..38].copy_from_slice(&[e, f, k, l]);
    frame[46..48].copy_from_slice(&[0x50, ACK]);
    frame
}

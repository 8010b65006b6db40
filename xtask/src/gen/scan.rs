//! A scan: any number of flows of one packet each, beside a few long-lived ones that begin
//! before it and go on to its end. Frames are made as they are written, so that it may be
//! as long as one likes. Called by [`super::run`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::deal::Budget;
use super::flow::{Body, Ends, Flow, Life, Options, Packet, Segment, TCP, Tags, UDP, flags};
use super::frame::{Facts, Framer};
use super::host::{Host, Side};
use super::mix::EPOCH_NS;
use super::number::{low16, low32, share};
use super::truth::{FlowTruth, ScanTruth, Truth};
use crate::live::orders::Spread;

/// The name of this mix.
pub(crate) const NAME: &str = "scan";

/// Flows that live long, unless there are fewer flows than twice that.
const LONG_FLOWS: u64 = 1_000;
/// Packets that each of them sends before the scan begins, if it has as many.
const BEFORE: u64 = 4;
/// Hosts that are scanned: 16 prefixes of 256 addresses.
const TARGETS: u64 = 4_096;
const FIRST_TARGET: u16 = 0x1000;
/// Hosts that scan, each from so many ports.
const SCANNERS: u64 = 64;
const SCANNER_PORTS: u64 = 32_768;
const FIRST_SCANNER: u16 = 0x8000;
/// Long-lived flows are in prefixes of their own.
const FIRST_LONG: u16 = 0x4000;
/// Of the time, what passes before the scan begins.
const LEAD_PERCENT: u64 = 5;

/// The most flows of one packet: each from another port, or to another host.
const MAX_FLOWS: u64 = TARGETS * SCANNERS * SCANNER_PORTS;

/// A long-lived flow under way.
struct Long {
    flow: Flow,
    sent: u64,
    truth: FlowTruth,
}

/// Writes frames and counts them.
struct Play<S> {
    framer: Framer,
    frame: Vec<u8>,
    truth: Truth,
    sink: S,
}

/// Whether there can be such a scan.
///
/// # Errors
/// A text, if not.
pub(crate) fn check(budget: &Budget) -> Result<(), String> {
    let (packets, flows) = (budget.packets, budget.flows);
    if packets < flows || flows > MAX_FLOWS {
        return Err(format!(
            "scan with {packets} packets in {flows} flows: ask for a packet for each flow, and \
             {MAX_FLOWS} flows at most"
        ));
    }
    Ok(())
}

/// Gives every frame with its Unix time in nanoseconds to `sink` and returns what they were.
/// The budget is one that [`check`] found right.
///
/// # Errors
/// The first error of `sink`.
pub(crate) fn play<E>(
    budget: &Budget,
    sink: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<Truth, E> {
    let framer = Framer::new(budget.seed);
    Play { framer, frame: Vec::with_capacity(2_048), truth: Truth::default(), sink }.run(budget)
}

impl<E, S: FnMut(u64, &[u8]) -> Result<(), E>> Play<S> {
    fn run(mut self, budget: &Budget) -> Result<Truth, E> {
        let long_flows = LONG_FLOWS.min(budget.flows / 2);
        let probes = budget.flows - long_flows;
        let long_packets = budget.packets - probes;
        let mut long: Vec<_> = (0..long_flows).map(long_flow).collect();
        let mut scanned = BTreeMap::new();
        let before = (long_flows * BEFORE).min(long_packets);
        let lead_ns = share(budget.duration_ns, LEAD_PERCENT, 100);
        for step in 0..before {
            let at_ns = share(lead_ns, step, before);
            self.long_packet(&mut long, step, at_ns)?;
        }
        let (mut sent, rest) = (before, long_packets - before);
        for probe in 0..probes {
            let at_ns = lead_ns + share(budget.duration_ns - lead_ns, probe, probes);
            self.probe(probe, budget.seed, at_ns, &mut scanned)?;
            while sent - before < share(rest, probe + 1, probes) {
                self.long_packet(&mut long, sent, at_ns)?;
                sent += 1;
            }
        }
        self.truth.flows = long.into_iter().map(|long| long.truth).collect();
        self.truth.totals.flows = budget.flows;
        self.truth.scanned = scanned
            .into_iter()
            .map(|((protocol, prefix), [packets, bytes])| ScanTruth {
                protocol,
                prefix,
                packets,
                bytes,
            })
            .collect();
        Ok(self.truth)
    }

    /// The next packet of the flow whose turn it is.
    fn long_packet(&mut self, long: &mut [Long], step: u64, at_ns: u64) -> Result<(), E> {
        let turn = usize::try_from(step % long.len() as u64).expect("an index");
        let Long { flow, sent, truth } = &mut long[turn];
        let packet = long_body(flow.ends.protocol, *sent);
        *sent += 1;
        let index = low16(*sent);
        let facts = self.framer.write(&mut self.frame, &flow.ends, &packet, index);
        truth.count(packet.from_client, EPOCH_NS + at_ns, self.frame.len() as u64, &facts);
        self.truth.totals.count(&facts);
        self.send(at_ns)
    }

    fn probe(
        &mut self,
        probe: u64,
        seed: u64,
        at_ns: u64,
        scanned: &mut BTreeMap<(u8, IpAddr), [u64; 2]>,
    ) -> Result<(), E> {
        let ends = probe_ends(probe, seed);
        let body = match ends.protocol {
            TCP => segment(flags::SYN, low32(probe), 0, 0),
            _ => Body::Udp { len: 20 },
        };
        let packet = Packet { at_ns, from_client: true, body };
        let facts: Facts = self.framer.write(&mut self.frame, &ends, &packet, 0);
        let number = ends.server.number & 0xff00;
        let prefix = Host { side: Side::B, number }.ip(false);
        let [packets, bytes] = scanned.entry((ends.protocol, prefix)).or_default();
        *packets += 1;
        *bytes += facts.ip_bytes;
        self.truth.totals.count(&facts);
        self.send(at_ns)
    }

    fn send(&mut self, at_ns: u64) -> Result<(), E> {
        self.truth.frames += 1;
        self.truth.frame_bytes += self.frame.len() as u64;
        (self.sink)(EPOCH_NS + at_ns, &self.frame)
    }
}

/// The ends of the scan, for who makes it elsewhere.
pub(crate) fn spread() -> Spread {
    Spread {
        to: (FIRST_TARGET, low32(TARGETS)),
        from: (FIRST_SCANNER, low32(SCANNERS)),
        ports: (0x8000, low32(SCANNER_PORTS)),
    }
}

/// Who probes whom: each number another flow; targets come in an order that does not look
/// counted.
fn probe_ends(probe: u64, seed: u64) -> Ends {
    let target = (probe * 2_741 + seed * 97) % TARGETS;
    let round = probe / TARGETS;
    let scanner = round / SCANNER_PORTS;
    let host = |side, first: u16, number: u64| Host { side, number: first + low16(number) };
    Ends {
        client: host(Side::A, FIRST_SCANNER, scanner),
        server: host(Side::B, FIRST_TARGET, target),
        ipv6: false,
        protocol: if (probe / 3).is_multiple_of(2) { TCP } else { UDP },
        client_port: 0x8000 | low16(round % SCANNER_PORTS),
        server_port: 1 + low16((probe * 31 + seed) % 1_024),
        tags: Tags::None,
    }
}

fn long_flow(index: u64) -> Long {
    let host = |side| Host { side, number: FIRST_LONG + low16(index) };
    let ends = Ends {
        client: host(Side::A),
        server: host(Side::B),
        ipv6: false,
        protocol: if index.is_multiple_of(2) { TCP } else { UDP },
        client_port: 40_000 + low16(index),
        server_port: 443,
        tags: Tags::None,
    };
    let flow = Flow { ends, life: Life::Open, sni: None, cause: None, packets: vec![] };
    let truth = FlowTruth::new(&flow, true);
    Long { flow, sent: 0, truth }
}

/// The packet number `sent` of a long-lived flow: requests and answers, by turns.
fn long_body(protocol: u8, sent: u64) -> Packet {
    const LEN: u16 = 100;
    let turn = low32(sent / 2 * u64::from(LEN));
    let body = match (protocol, sent) {
        (UDP, _) => Body::Udp { len: LEN + low16(sent % 7) },
        (_, 0) => segment(flags::SYN, 0, 0, 0),
        (_, 1) => segment(flags::SYN | flags::ACK, 0, 1, 0),
        _ => segment(flags::ACK, turn, turn, LEN),
    };
    Packet { at_ns: 0, from_client: sent.is_multiple_of(2), body }
}

fn segment(flags: u8, sequence: u32, acknowledged: u32, len: u16) -> Body {
    let options = Options::None;
    Body::Tcp(Segment { flags, sequence, acknowledged, window: 64_240, len, options })
}

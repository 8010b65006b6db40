//! What is in a generated capture, counted while it is written: the truth for tests.
//! One flow has one entry whatever a meter's timeouts are; no flow has a gap that a default
//! timeout would cut. Called by [`super::run`].

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;

use super::flow::{Ends, Flow, ICMP, ICMPV6, Life, TCP, flags};
use super::frame::Facts;

/// One flow; arrays are [from `src`, from `dst`], where `src` sent the first packet.
#[derive(Clone, Serialize)]
pub(crate) struct FlowTruth {
    protocol: u8,
    src: IpAddr,
    dst: IpAddr,
    sport: u16,
    dport: u16,
    /// Identifier of an ICMP echo, whose ports are 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_id: Option<u16>,
    vlan: Vec<u16>,
    pub(crate) packets: [u64; 2],
    /// IP length.
    bytes: [u64; 2],
    pub(crate) frame_bytes: [u64; 2],
    payload_bytes: [u64; 2],
    /// Fragments but the first of each datagram.
    fragments: [u64; 2],
    tcp_flags: [u8; 2],
    first_ns: u64,
    last_ns: u64,
    life: Life,
    /// The server's name, if it is there to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sni: Option<String>,
}

impl FlowTruth {
    /// An entry without packets. The first packet goes from the client if `from_client`.
    pub(crate) fn new(flow: &Flow, from_client: bool) -> Self {
        let Ends { client, server, ipv6, protocol, client_port, server_port, tags } = flow.ends;
        let icmp = matches!(protocol, ICMP | ICMPV6);
        let client_end = (client.ip(ipv6), if icmp { 0 } else { client_port });
        let server_end = (server.ip(ipv6), server_port);
        let (src, dst) =
            if from_client { (client_end, server_end) } else { (server_end, client_end) };
        Self {
            protocol,
            src: src.0,
            dst: dst.0,
            sport: src.1,
            dport: dst.1,
            icmp_id: icmp.then_some(client_port),
            vlan: tags.ids(),
            packets: [0; 2],
            bytes: [0; 2],
            frame_bytes: [0; 2],
            payload_bytes: [0; 2],
            fragments: [0; 2],
            tcp_flags: [0; 2],
            first_ns: u64::MAX,
            last_ns: 0,
            life: flow.life,
            sni: flow.sni.clone(),
        }
    }

    /// Counts a packet; `from_src` says which way it goes.
    pub(crate) fn count(&mut self, from_src: bool, at_ns: u64, frame_bytes: u64, facts: &Facts) {
        let way = usize::from(!from_src);
        self.packets[way] += 1;
        self.bytes[way] += facts.ip_bytes;
        self.frame_bytes[way] += frame_bytes;
        self.payload_bytes[way] += facts.payload_bytes;
        self.fragments[way] += facts.later_fragments;
        self.tcp_flags[way] |= facts.tcp_flags;
        self.first_ns = self.first_ns.min(at_ns);
        self.last_ns = self.last_ns.max(at_ns);
    }

    /// Says how the flow lived from the flags that were seen.
    pub(crate) fn look_at_life(&mut self) {
        let [src, dst] = self.tcp_flags;
        self.life = match self.protocol {
            TCP if (src | dst) & flags::RST != 0 => Life::Rst,
            TCP if src & dst & flags::FIN != 0 => Life::Fin,
            TCP if src == flags::SYN && self.packets[1] == 0 => Life::HalfOpen,
            _ => Life::Open,
        };
    }
}

/// Flows of one packet each, of one protocol and to one prefix (/24 for IPv4).
#[derive(Clone, Serialize)]
pub(crate) struct ScanTruth {
    pub(crate) protocol: u8,
    pub(crate) prefix: IpAddr,
    pub(crate) packets: u64,
    /// IP length.
    pub(crate) bytes: u64,
}

/// What all flows add up to.
#[derive(Default, Serialize)]
pub(crate) struct Totals {
    pub(crate) flows: u64,
    pub(crate) packets: u64,
    /// IP length.
    pub(crate) bytes: u64,
}

impl Totals {
    /// Adds a packet of a flow.
    pub(crate) fn count(&mut self, facts: &Facts) {
        self.packets += 1;
        self.bytes += facts.ip_bytes;
    }
}

/// A whole capture.
#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) frames: u64,
    pub(crate) frame_bytes: u64,
    /// What is in flows.
    pub(crate) totals: Totals,
    /// Frames that are in no flow, by cause.
    pub(crate) not_in_flow: BTreeMap<&'static str, u64>,
    /// In the order of their first packet.
    pub(crate) flows: Vec<FlowTruth>,
    /// Flows that are too many to be named.
    pub(crate) scanned: Vec<ScanTruth>,
}

impl Truth {
    /// Writes JSON with one flow a line.
    ///
    /// # Errors
    /// If `out` does not take it.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let causes = serde_json::to_string(&self.not_in_flow)?;
        writeln!(out, "{{\"frames\": {}, \"frame_bytes\": {},", self.frames, self.frame_bytes)?;
        writeln!(out, "\"totals\": {},", serde_json::to_string(&self.totals)?)?;
        if !self.scanned.is_empty() {
            writeln!(out, "\"scanned\": {},", serde_json::to_string(&self.scanned)?)?;
        }
        write!(out, "\"not_in_flow\": {causes},\n\"flows\": [")?;
        for (position, flow) in self.flows.iter().enumerate() {
            out.write_all(if position == 0 { b"\n" } else { b",\n" })?;
            serde_json::to_writer(&mut *out, flow)?;
        }
        writeln!(out, "\n]}}")
    }
}

//! Records out, read back by readers that are not ours.

mod foreign;
mod labels;
mod schema;
mod sinks;

use std::net::IpAddr;

use crate::export::Rows;
use crate::flow::{
    Delta, Direction, EndReason, Endpoint, FlowKey, FlowRecord, Opening, PortKind, RecordKind,
    RoundTrip, Sampling, SideCounts,
};
use crate::time::Timestamp;

/// No records, of a run without anything to say of them.
pub(super) const ROWS: Rows<'static> = Rows {
    records: &[],
    features: None,
    labels: &[],
    transactions: &[],
    interfaces: &[],
    encapsulations: None,
    sampling: Sampling::ALL,
};

/// 2024-02-29 23:59:59.5 UTC.
const START: Timestamp = 1_709_251_199_500_000_000;

fn endpoint(address: &str, port: u16) -> Endpoint {
    let mut bytes = [0; 16];
    match address.parse().unwrap() {
        IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes = address.octets(),
    }
    Endpoint { address: bytes, port }
}

/// A record of packets from `source`, the initiator, to `destination`. What the source sent
/// counts 1, 2, 3 and so on; what the destination sent counts 11, 12, 13.
fn record(
    protocol: u8,
    kind: PortKind,
    (source, source_port): (&str, u16),
    (destination, destination_port): (&str, u16),
    vlan: [u16; 2],
    icmp: Option<(u8, u8)>,
) -> FlowRecord {
    let version = if source.contains(':') { 6 } else { 4 };
    let (key, direction) = FlowKey::canonical(
        endpoint(source, source_port),
        endpoint(destination, destination_port),
        version,
        protocol,
        kind,
        vlan,
    );
    let side = |base: u8| SideCounts {
        packets: u64::from(base) + 1,
        bytes: u64::from(base) + 2,
        frame_bytes: u64::from(base) + 3,
        payload_bytes: u64::from(base) + 4,
        fragments: u64::from(base) + 5,
        retransmits: u32::from(base) + 6,
        out_of_order: u32::from(base) + 7,
        zero_windows: u32::from(base) + 8,
        tcp_flags: base + 0x10,
        ttl_min: base + 50,
        ttl_max: base + 54,
        dscp: base + 20,
    };
    let mut sides = [side(0), side(10)];
    if direction == Direction::Reverse {
        sides.swap(0, 1);
    }
    let opening = Opening {
        flow_start: Some(START),
        ordinal: 7,
        initiator: direction,
        macs: [Some([2, 0, 0, 0, 0, 0xa]), Some([2, 0, 0, 0, 0, 0xb])],
        first_packet: direction,
        icmp,
        interface: 1,
        encapsulation: None,
    };
    let total = Delta {
        sides,
        first: START,
        last: START + 1_500_000_001,
        part: 2,
        opening: Some(opening),
        handshake: if protocol == 6 {
            [25_000, 0].map(RoundTrip::measured)
        } else {
            [RoundTrip::UNKNOWN; 2]
        },
        end: Some(EndReason::Idle),
        ..Delta::EMPTY
    };
    FlowRecord { kind: RecordKind::Flow, key, total }
}

/// A TCP flow between two ports, whose initiator has the higher address.
pub(super) fn tcp_record() -> FlowRecord {
    record(6, PortKind::Ports, ("192.0.2.9", 5_000), ("192.0.2.1", 443), [7, 9], None)
}

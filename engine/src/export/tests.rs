//! Records out, read back by readers that are not ours.

mod collectors;
mod foreign;
mod labels;
mod schema;
mod sinks;

use std::net::IpAddr;

use crate::devices::label::Identity;
use crate::devices::{DeviceLabel, HostNameSource, Sighting};
use crate::export::{Context, Rows};
use crate::flow::features::{Features, SideFeatures, Spread};
use crate::flow::{
    Delta, Direction, Encapsulation, Encapsulations, EndReason, Endpoint, FeaturesSet, FlowKey,
    FlowRecord, MplsLabels, Opening, PortKind, RecordKind, RoundTrip, Sampling, SideCounts, Tunnel,
    TunnelKind,
};
use crate::names::addresses::{AddressName, Doubt};
use crate::names::facts::FlowFacts;
use crate::names::{App, Labels, NameService};
use crate::sync::Arc;
use crate::time::Timestamp;

/// A run of no interface, without anything to say of it.
pub(super) fn empty_context() -> Context {
    Context {
        interfaces: Arc::from([]),
        interface_indexes: Arc::from([]),
        encapsulations: Arc::default(),
        sampling: Sampling::ALL,
        features_set: FeaturesSet::Basic,
        ignored_packets: Arc::default(),
    }
}

/// No records, of a run without anything to say of them.
pub(super) const ROWS: Rows<'static> = Rows {
    records: &[],
    flow_ids: None,
    features: None,
    labels: &[],
    transactions: &[],
    intervals: &[],
    interfaces: &[],
    interface_indexes: &[],
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
    FlowRecord::flow(key, total)
}

/// A TCP flow between two ports, whose initiator has the higher address.
pub(super) fn tcp_record() -> FlowRecord {
    record(6, PortKind::Ports, ("192.0.2.9", 5_000), ("192.0.2.1", 443), [7, 9], None)
}

/// Gives four records with all that there is in one or the other: labels with hostile names, what
/// carried them, statistics; an overflow aggregate, and ICMP.
pub(super) fn records_with_all_fields<T>(give: impl FnOnce(&Rows<'_>) -> T) -> T {
    let list = Encapsulations::default();
    let mut labels = MplsLabels::default();
    [16, 0x000f_ffff].into_iter().for_each(|label| labels.push(label));
    let ends = ["192.0.2.200", "2001:db8::1"].map(|end| end.parse().unwrap());
    let mut carried = tcp_record();
    carried.key = carried.key.in_tunnel(Tunnel::of(TunnelKind::Gre));
    carried.total.opening.as_mut().unwrap().encapsulation =
        list.number(&Encapsulation { ends: Some(ends), id: Some(7), labels, third_vlan: 0 });
    let ends = (("fe80::a", 9), ("fe80::b", 9));
    let icmp = record(58, PortKind::IcmpId, ends.0, ends.1, [0; 2], Some((128, 3)));
    let ends = (("0.0.0.0", 0), ("198.51.100.0", 0));
    let mut overflow = record(17, PortKind::None, ends.0, ends.1, [0; 2], None);
    overflow.kind = RecordKind::Overflow;
    overflow.total.opening.as_mut().unwrap().macs = [None; 2];
    overflow.total.end = Some(EndReason::Resources);
    let ends = (("192.0.2.7", 1), ("192.0.2.8", 65_535));
    let mut last = record(6, PortKind::Ports, ends.0, ends.1, [4_095, 0], None);
    last.total.sides[0].bytes = u64::MAX;
    last.total.sides[0].retransmits = u32::MAX;
    let side = |base: u64| SideFeatures {
        lengths: Spread {
            min: 40,
            max: 1_500,
            squares: 2_251_600 + u128::from(base),
            histogram: [0, 0, 1, 0, 0, 0, base, 1],
        },
        gaps: Spread { min: 7, max: 7, squares: 49, histogram: [1, 0, 0, 0, 0, 0, 0, 0] },
        gap_sum_ns: 7,
    };
    let features = [Features([side(1), side(2)]), Features::EMPTY, Features::EMPTY];
    let facts = |name: &str| FlowFacts {
        sni: Some(name.into()),
        is_quic: true,
        alpn: Some("h3".into()),
        ja4: Some("q13d".into()),
        chosen_version: Some(0x0304),
        chosen_cipher: Some(0x1301),
        has_ech: true,
        cert_subject: Some("O=A, CN=d.example".into()),
        cert_name: Some("d.example".into()),
        spoken: Some(App::Quic),
        http_host: Some("c.example".into()),
        http_user_agent: Some("curl/8.5.0".into()),
        is_inside: false,
    };
    let name = AddressName {
        name: "-1 \u{9b}31m\u{7f}\u{202e}\u{2028}".into(),
        service: NameService::Mdns,
        age_ns: u64::MAX,
        doubt: Some(Doubt::Ambiguous),
    };
    let hostile = "=a\r\n\t\"b\",'c'; \\ \u{1b}]0;x\u{7}\0 b\u{fc}cher \u{1f600}";
    let hostname = Some(("a;b\u{1b}\"c".into(), HostNameSource::DhcpFqdn));
    let identity = Some(Arc::new(Identity { vendor: Some("=Acme, Inc.".into()), hostname }));
    let device = DeviceLabel { mac: [0, 0x11, 0x22, 0, 0, 9], sighting: Sighting::Arp, identity };
    let labels = [
        (0, Labels { facts: Some(Arc::new(facts(hostile))), ..Labels::default() }),
        (1, Labels { name: Some(name), devices: [None, Some(device)], ..Labels::default() }),
        (3, Labels { facts: Some(Arc::new(facts("@\u{202e}x"))), ..Labels::default() }),
    ];
    let interfaces = ["lo".to_owned(), "-eth0, \"é\"".to_owned()];
    give(&Rows {
        records: &[carried, icmp, overflow, last],
        features: Some(&features),
        labels: &labels,
        interfaces: &interfaces,
        encapsulations: Some(&list),
        sampling: "100:packet".parse().unwrap(),
        ..ROWS
    })
}

//! The generator against a foreign reader (etherparse): what the truth says is in the file, and
//! every length and checksum is right.

mod tls;
mod wishes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use etherparse::{
    Icmpv4Slice, Icmpv6Slice, IpDscp, LinkExtSlice, NetSlice, SlicedPacket, TcpSlice,
    TransportSlice, UdpSlice,
};

use super::args::parse_duration;
use super::deal::Budget;
use super::mix::MIXES;
use super::pcap;
use super::plan::{Plan, Traffic};
use super::stream::{SHAPES, Wishes};
use super::truth::Truth;

const SECOND_NS: u64 = 1_000_000_000;

fn make(packets: u64, flows: u64, seed: u64) -> (Vec<u8>, Truth) {
    let budget = Budget { packets, flows, seed, duration_ns: 10 * SECOND_NS };
    write(&Traffic::Mix(&MIXES[0]), Wishes::default(), budget)
}

/// The capture and its truth.
fn write(traffic: &Traffic, wishes: Wishes, budget: Budget) -> (Vec<u8>, Truth) {
    let plan = Plan::new(traffic, wishes, budget).expect("a budget that suffices");
    let mut file = vec![];
    let truth = plan.write(true, &mut file).expect("memory takes everything");
    (file, truth)
}

fn frames(file: &[u8]) -> Vec<Vec<u8>> {
    let mut input = file;
    pcap::read_header(&mut input).unwrap();
    let (mut frames, mut frame) = (vec![], vec![]);
    while pcap::read_frame(&mut input, &mut frame).unwrap() {
        frames.push(frame.clone());
    }
    frames
}

#[test]
fn the_same_seed_makes_the_same_bytes() {
    let text = |truth: &Truth| {
        let mut text = vec![];
        truth.write(&mut text).unwrap();
        text
    };
    let (one, two, other) = (make(4_000, 150, 7), make(4_000, 150, 7), make(4_000, 150, 8));
    assert!(one.0 == two.0 && text(&one.1) == text(&two.1));
    assert!(one.0 != other.0);
}

#[test]
fn the_budget_is_kept_exactly() {
    for (packets, flows, seed) in [(60, 4, 1), (500, 1, 2), (5_000, 900, 3), (9_999, 25, 4)] {
        let (file, truth) = make(packets, flows, seed);
        assert_eq!((truth.frames, truth.flows.len() as u64), (packets, flows), "seed {seed}");
        let frames = frames(&file);
        let bytes: usize = frames.iter().map(Vec::len).sum();
        assert_eq!((frames.len() as u64, bytes as u64), (truth.frames, truth.frame_bytes));
        let sum = |ways: fn(&super::truth::FlowTruth) -> [u64; 2]| -> u64 {
            truth.flows.iter().flat_map(ways).sum()
        };
        let outside: u64 = truth.not_in_flow.values().sum();
        assert_eq!(sum(|flow| flow.packets) + outside, packets);
        assert!(sum(|flow| flow.frame_bytes) < truth.frame_bytes);
    }
    for traffic in [Traffic::Mix(&MIXES[0]), Traffic::Stream(&SHAPES[0]), Traffic::Scan] {
        let tight = Budget { packets: 20, flows: 100, seed: 1, duration_ns: SECOND_NS };
        assert!(Plan::new(&traffic, Wishes::default(), tight).is_err());
    }
}

#[test]
fn time_does_not_go_back() {
    let (file, _) = make(6_000, 300, 5);
    let (mut at, mut last) = (24, (0, 0));
    while at < file.len() {
        let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        let now = (number(at), number(at + 4));
        assert!(now >= last && now.1 < 1_000_000_000);
        last = now;
        at += 16 + number(at + 8) as usize;
    }
}

#[test]
fn every_checksum_is_right() {
    let (file, _) = make(20_000, 1_200, 11);
    let mut kinds = HashSet::new();
    let mut parts: BTreeMap<(IpAddr, IpAddr, u32), Vec<u8>> = BTreeMap::new();
    for frame in frames(&file) {
        assert!((60..=1_518).contains(&frame.len()), "{} bytes", frame.len());
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let tags = packet.link_exts.iter().filter(|ext| matches!(ext, LinkExtSlice::Vlan(_)));
        assert!(frame.len() <= if tags.clone().count() == 1 { 1_518 } else { 1_514 });
        kinds.insert(format!("{} tags", tags.count()));
        let (from, to, protocol, payload, fragment) = match packet.net.as_ref() {
            Some(NetSlice::Ipv4(ip)) => {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                assert!(header.dscp == IpDscp::ZERO || header.dscp.value() == 46);
                let last = !header.more_fragments;
                let id = ip.payload().fragmented.then_some((header.identification.into(), last));
                let (from, to) = (header.source.into(), header.destination.into());
                (from, to, ip.payload().ip_number.0, ip.payload().payload, id)
            }
            Some(NetSlice::Ipv6(ip)) => {
                let header = ip.header();
                let raw = ip.extensions().slice();
                let id = ip.payload().fragmented.then(|| {
                    let id = u32::from_be_bytes(raw[4..8].try_into().unwrap());
                    (id, raw[3] & 1 == 0)
                });
                let (from, to) = (header.source_addr().into(), header.destination_addr().into());
                (from, to, ip.payload().ip_number.0, ip.payload().payload, id)
            }
            _ => {
                kinds.insert("not IP".into());
                continue;
            }
        };
        let Some((id, last)) = fragment else {
            kinds.insert(check_transport(from, to, protocol, payload));
            continue;
        };
        parts.entry((from, to, id)).or_default().extend_from_slice(payload);
        if last {
            let datagram = parts.remove(&(from, to, id)).unwrap();
            kinds.insert(format!("fragmented {}", check_transport(from, to, protocol, &datagram)));
        }
    }
    assert!(parts.is_empty(), "every datagram is complete");
    // Three numbers of tags, frames without IP, and these of IPv4 and IPv6; SCTP once.
    let transports = ["tcp", "udp", "icmp", "fragmented udp"];
    for kind in transports.iter().flat_map(|kind| [format!("{kind} 4"), format!("{kind} 6")]) {
        assert!(kinds.contains(&kind), "no {kind} in {kinds:?}");
    }
    assert_eq!(kinds.len(), 4 + 8 + 1, "{kinds:?}");
}

/// Checks the checksum of a whole packet and names what it is.
fn check_transport(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> String {
    let right = match (protocol, from, to) {
        (6, IpAddr::V4(from), IpAddr::V4(to)) => {
            let tcp = TcpSlice::from_slice(payload).unwrap();
            Ok(tcp.checksum()) == tcp.calc_checksum_ipv4(from.octets(), to.octets())
        }
        (6, IpAddr::V6(from), IpAddr::V6(to)) => {
            let tcp = TcpSlice::from_slice(payload).unwrap();
            Ok(tcp.checksum()) == tcp.calc_checksum_ipv6(from.octets(), to.octets())
        }
        (17, from, to) => {
            let udp = UdpSlice::from_slice(payload).unwrap();
            assert_eq!(usize::from(udp.length()), payload.len());
            let (header, data) = (udp.to_header(), udp.payload());
            let sum = match (from, to) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    header.calc_checksum_ipv4_raw(from.octets(), to.octets(), data)
                }
                (IpAddr::V6(from), IpAddr::V6(to)) => {
                    header.calc_checksum_ipv6_raw(from.octets(), to.octets(), data)
                }
                _ => panic!("two IP versions in one packet"),
            };
            Ok(udp.checksum()) == sum
        }
        (1, _, _) => {
            let icmp = Icmpv4Slice::from_slice(payload).unwrap();
            icmp.checksum() == icmp.icmp_type().calc_checksum(icmp.payload())
        }
        (58, IpAddr::V6(from), IpAddr::V6(to)) => {
            let icmp = Icmpv6Slice::from_slice(payload).unwrap();
            icmp.is_checksum_valid(from.octets(), to.octets())
        }
        (132, _, _) => return "sctp".into(),
        _ => panic!("protocol {protocol} from {from}"),
    };
    let name = match protocol {
        6 => "tcp",
        17 => "udp",
        _ => "icmp",
    };
    assert!(right, "{name} from {from} to {to}");
    format!("{name} {}", if from.is_ipv4() { 4 } else { 6 })
}

#[test]
fn a_scan_has_the_flows_that_it_says() {
    let budget = Budget { packets: 30_000, flows: 20_000, seed: 3, duration_ns: 10 * SECOND_NS };
    let (file, truth) = write(&Traffic::Scan, Wishes::default(), budget);
    let frames = frames(&file);
    assert_eq!((truth.frames, frames.len()), (30_000, 30_000));
    let mut packets: HashMap<_, u64> = HashMap::new();
    for frame in frames {
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(NetSlice::Ipv4(ip)) = packet.net else { panic!("not IPv4") };
        let header = ip.header().to_header();
        let ports = u32::from_be_bytes(ip.payload().payload[..4].try_into().unwrap());
        let (from, to) = ((header.source, ports >> 16), (header.destination, ports & 0xffff));
        *packets.entry((header.protocol.0, from.min(to), from.max(to))).or_default() += 1;
        let payload = ip.payload().payload;
        let addresses = (header.source.into(), header.destination.into());
        check_transport(addresses.0, addresses.1, header.protocol.0, payload);
    }
    assert_eq!(packets.len(), 20_000);
    assert_eq!(packets.values().filter(|&&packets| packets == 1).count(), 19_000);
    let long: Vec<u64> = truth.flows.iter().map(|flow| flow.packets.iter().sum()).collect();
    assert_eq!((long.len(), long.iter().sum()), (1_000, 11_000));
    assert_eq!(truth.scanned.iter().map(|scan| scan.packets).sum::<u64>(), 19_000);
    assert_eq!(truth.scanned.len(), 2 * 16);
}

#[test]
fn durations() {
    assert_eq!(parse_duration("500ms"), Ok(SECOND_NS / 2));
    assert_eq!(parse_duration("5m"), Ok(300 * SECOND_NS));
    for wrong in ["", "5", "s", "-1s", "1.5s", "0s", "200h", "99999999999999999999s"] {
        assert!(parse_duration(wrong).is_err(), "{wrong}");
    }
}

/// Every mix that draws packet by packet, plain and with everything that can be wished for: the
/// file has what the truth says, in exactly so many frames and flows, and again the same.
#[test]
fn streams_are_what_their_truth_says() {
    let all = Wishes {
        zipf: Some(110),
        ipv6_percent: 30,
        vlan_percent: 20,
        loss_permille: 50,
        reorder_permille: 50,
        ..Wishes::default()
    };
    for (shape, wishes) in
        SHAPES.iter().flat_map(|shape| [(shape, Wishes::default()), (shape, all.clone())])
    {
        let make = || {
            let budget = Budget { packets: 5_000, flows: 400, seed: 9, duration_ns: SECOND_NS };
            write(&Traffic::Stream(shape), wishes.clone(), budget)
        };
        let (file, truth) = make();
        assert!(file == make().0, "{}: the same seed makes other bytes", shape.name);
        let mut found = HashMap::<_, (u64, u64)>::new();
        for frame in frames(&file) {
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            let ends: [IpAddr; 2] = match packet.net.as_ref().unwrap() {
                NetSlice::Ipv4(ip) => {
                    [ip.header().source(), ip.header().destination()].map(Into::into)
                }
                NetSlice::Ipv6(ip) => {
                    [ip.header().source(), ip.header().destination()].map(Into::into)
                }
                other => panic!("{other:?}"),
            };
            let (protocol, ports) = match packet.transport.as_ref().unwrap() {
                TransportSlice::Tcp(tcp) => (6, [tcp.source_port(), tcp.destination_port()]),
                TransportSlice::Udp(udp) => (17, [udp.source_port(), udp.destination_port()]),
                other => panic!("{other:?}"),
            };
            let (one, two) = ((ends[0], ports[0]), (ends[1], ports[1]));
            let entry = found.entry((protocol, one.min(two), one.max(two))).or_default();
            entry.0 += 1;
            entry.1 += frame.len() as u64;
        }
        assert_eq!((truth.frames, truth.flows.len(), found.len()), (5_000, 400, 400));
        assert_eq!((truth.totals.packets, truth.totals.flows), (5_000, 400));
        let text = serde_json::to_value(&truth.flows).unwrap();
        for flow in text.as_array().unwrap() {
            let end = |ip: &str, port: &str| {
                let port = u16::try_from(flow[port].as_u64().unwrap()).unwrap();
                (flow[ip].as_str().unwrap().parse::<IpAddr>().unwrap(), port)
            };
            let (one, two) = (end("src", "sport"), end("dst", "dport"));
            let sum =
                |name: &str| flow[name].as_array().unwrap().iter().filter_map(|n| n.as_u64()).sum();
            let key = (flow["protocol"].as_u64().unwrap(), one.min(two), one.max(two));
            assert_eq!(found[&key], (sum("packets"), sum("frame_bytes")), "{}: {flow}", shape.name);
        }
    }
}

//! Rates and frame lengths that the user chooses, and the lives of flows.

use std::collections::HashMap;

use etherparse::{SlicedPacket, TransportSlice};

use super::super::args::{parse_rate, parse_sizes};
use super::super::stream::Sizes;
use crate::live::pace::Rate;

use super::{Budget, MIXES, Plan, SECOND_NS, SHAPES, Traffic, Wishes, frames, write};

fn make(mix: &str, wishes: Wishes) -> Vec<u8> {
    let shape = SHAPES.iter().find(|shape| shape.name == mix).unwrap();
    let budget = Budget { packets: 24_000, flows: 800, seed: 2, duration_ns: SECOND_NS };
    write(&Traffic::Stream(shape), wishes, budget).0
}

/// Lengths of frames, how often.
fn lengths(file: &[u8]) -> HashMap<usize, u64> {
    let mut lengths = HashMap::new();
    for frame in frames(file) {
        *lengths.entry(frame.len()).or_default() += 1;
    }
    lengths
}

/// Handshakes and ends have no payload, and yet a third of the frames is of the middle size.
#[test]
fn sizes_have_their_shares() {
    let found = lengths(&make("imix", Wishes::default()));
    for (len, share) in [(60, 7), (590, 4), (1_514, 1)] {
        let want = 24_000 * share / 12;
        assert!(found[&len].abs_diff(want) < want / 20 + 120, "{len}: {found:?}");
    }
    let wishes = Wishes { sizes: Some(parse_sizes("100:3,9014").unwrap()), ..Wishes::default() };
    let found = lengths(&make("small64", wishes));
    assert!(found[&9_014].abs_diff(6_000) < 500 && found[&100] > 10_000, "{found:?}");
    assert!(parse_sizes("60:7,590:4,1514:1").is_ok_and(|Sizes(sizes)| sizes.len() == 3));
    for wrong in ["", "59", "9015", "60:0", "60:x", "60,,70", "60:1:2"] {
        assert!(parse_sizes(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn bits_a_second_make_the_times() {
    let wishes = Wishes { bits_per_second: Some(1_000_000_000), ..Wishes::default() };
    let file = make("imix", wishes);
    let (mut at, mut bits) = (24, 0u64);
    while at < file.len() {
        let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!(u64::from(number(at + 4)), bits, "a bit takes a nanosecond");
        bits += 8 * u64::from(number(at + 8));
        at += 16 + number(at + 8) as usize;
    }
    assert!(bits > 60_000_000);
}

#[test]
fn rates() {
    assert_eq!(parse_rate("20000"), Ok(Rate::Packets(20_000)));
    assert_eq!(parse_rate("1.5Mpps"), Ok(Rate::Packets(1_500_000)));
    assert_eq!(parse_rate("100Mbps"), Ok(Rate::Bits(100_000_000)));
    for wrong in ["", "0", "-1", "1e3", "10mbps", "pps", "nan", "2Tbps", "2000000Mbps"] {
        assert!(parse_rate(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_mix_that_cannot_be_wished_for_says_so() {
    let wishes = Wishes { ipv6_percent: 1, ..Wishes::default() };
    for traffic in [Traffic::Mix(&MIXES[0]), Traffic::Scan] {
        let budget = Budget { packets: 9_000, flows: 100, seed: 1, duration_ns: SECOND_NS };
        assert!(Plan::new(&traffic, wishes.clone(), budget).is_err());
    }
}

/// FIN, FIN or RST is the last that is seen of a flow, also out of order; most flows end.
#[test]
fn nothing_comes_after_the_end_of_a_flow() {
    let wishes = Wishes { reorder_permille: 200, zipf: Some(90), ..Wishes::default() };
    /// Flags of FIN by direction, whether it was over, and packets.
    type Seen = ([bool; 2], bool, u64);
    let mut flows = HashMap::<_, Seen>::new();
    for frame in frames(&make("elephants", wishes)) {
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else { continue };
        let from_client = tcp.destination_port() < 1_024 || tcp.destination_port() == 8_080;
        let (client, way) = if from_client { (6..12, 0) } else { (0..6, 1) };
        let port = if from_client { tcp.source_port() } else { tcp.destination_port() };
        let (fin, is_over, packets) = flows.entry((frame[client].to_vec(), port)).or_default();
        assert!(!*is_over, "a packet after the end of {port}");
        fin[way] |= tcp.fin();
        *is_over = tcp.rst() || (fin[0] && fin[1]);
        *packets += 1;
    }
    let long = flows.values().filter(|flow| flow.2 >= 4).count();
    let over = flows.values().filter(|flow| flow.1).count();
    assert!(long > 300 && over * 10 > long * 8 && over < long + 20, "{over} of {long} end");
}

/// Their payloads are no messages, and meters look for those on port 53.
#[test]
fn no_flow_of_a_stream_is_on_the_port_of_dns() {
    for frame in frames(&make("small64", Wishes::default())) {
        if let Some(TransportSlice::Udp(udp)) =
            SlicedPacket::from_ethernet(&frame).unwrap().transport
        {
            assert!(udp.source_port() != 53 && udp.destination_port() != 53);
        }
    }
}

//! What TCP's handshake and sequence, and IP's headers, show of a flow: one row for each rule.
//!
//! Segments are written `MILLISECOND FROM>TO FLAGS SEQUENCE+PAYLOAD [aACK] [wWINDOW]`, or with `?`
//! for a packet without timestamp; what a side has counted as `RETRANSMITS/OUT OF ORDER/ZERO
//! WINDOWS`, the initiator's first, and then the round trips in microseconds.

use super::{CONFIG, TCP, Tray, UDP, hasher, packets, parse, records, run};
use crate::decode::Packet;
use crate::decode::TcpHeader;
use crate::flow::{FlowRecord, TcpState, Timeouts};
use crate::table::{CoreTable, TableConfig, TableCounters};
use crate::time::SECOND_NS;

fn segment(text: &str) -> Packet {
    let words: Vec<_> = text.split_whitespace().collect();
    let (sequence, payload) = words[3].split_once('+').unwrap();
    let flagged = words[2].replace('-', "");
    let mut sent = parse(&format!("0 {} {flagged}", words[1]), TCP);
    sent.timestamp = words[0].parse().ok().map(|ms: i64| ms * 1_000_000);
    let mut packet = packets(&[sent])[0];
    let (mut acknowledgment, mut window) = (0, packet.tcp.window());
    for word in &words[4..] {
        match word.split_at(1) {
            ("a", number) => acknowledgment = number.parse().unwrap(),
            ("w", number) => window = number.parse().unwrap(),
            other => panic!("{other:?}"),
        }
    }
    let sequence = sequence.parse().unwrap();
    packet.tcp = TcpHeader::new(packet.tcp.flags(), sequence, acknowledgment, window);
    packet.payload_bytes = payload.parse().unwrap();
    packet
}

fn shown(record: &FlowRecord) -> String {
    let (source, destination) = (record.initiator(), record.initiator().opposite());
    let side = |way: crate::flow::Direction| {
        let side = &record.total.sides[way.idx()];
        format!("{}/{}/{}", side.retransmits, side.out_of_order, side.zero_windows)
    };
    let trip = |step: usize| match record.total.handshake[step].ns() {
        Some(ns) => (ns / 1_000).to_string(),
        None => "-".to_owned(),
    };
    format!("{} {} {} {}", side(source), side(destination), trip(0), trip(1))
}

/// Segments of one flow through a table, however they are batched.
fn check(name: &str, segments: &str, want: &str) {
    let mut packets: Vec<_> = segments.split(';').map(segment).collect();
    (0..).zip(&mut packets).for_each(|(ordinal, packet)| packet.ordinal = ordinal);
    for batch in [1, 2, 64] {
        let records = records(&run(CONFIG, &packets, batch, 1, 0));
        let shown: Vec<_> = records.iter().map(shown).collect();
        assert_eq!(shown, [want], "{name}, in batches of {batch}");
    }
}

/// SYN, SYN/ACK and ACK, 20 ms from the server and 5 ms from the client.
const OPEN: &str = "0 a>b S 99+0; 20 b>a SA 499+0 a100; 25 a>b A 100+0 a500";

#[test]
fn round_trips_are_those_of_an_unambiguous_handshake() {
    let rows = [
        ("whole", OPEN, "20000 5000"),
        (
            "with data in the ACK",
            "0 a>b S 99+0; 20 b>a SA 499+0 a100; 27 a>b A 100+9 a500",
            "20000 7000",
        ),
        (
            "with data in the SYN",
            "0 a>b S 99+9; 20 b>a SA 499+0 a109; 25 a>b A 109+0 a500",
            "20000 5000",
        ),
        (
            "of which that data was refused",
            "0 a>b S 99+9; 20 b>a SA 499+0 a100; 25 a>b A 100+9 a500",
            "20000 5000",
        ),
        ("at once", "0 a>b S 99+0; 0 b>a SA 499+0 a100; 0 a>b A 100+0 a500", "0 0"),
        (
            "across the wrap",
            "0 a>b S 4294967295+0; 20 b>a SA 4294967295+0 a0; 25 a>b A 0+0 a0",
            "20000 5000",
        ),
        ("refused", "0 a>b S 99+0; 20 b>a RA 0+0 a100", "- -"),
        ("reset by the client", "0 a>b S 99+0; 20 b>a SA 499+0 a100; 21 a>b R 100+0", "20000 -"),
        ("SYN sent again after all", &format!("{OPEN}; 30 a>b S 99+0"), "- -"),
        ("SYN/ACK sent again after all", &format!("{OPEN}; 30 b>a SA 499+0 a100"), "- -"),
        ("another SYN after all", &format!("{OPEN}; 30 a>b S 7000+0"), "20000 5000"),
        ("another acknowledged", "0 a>b S 99+0; 20 b>a SA 499+0 a7; 25 a>b A 100+0 a500", "- -"),
        (
            "SYN/ACK not acknowledged",
            "0 a>b S 99+0; 20 b>a SA 499+0 a100; 25 a>b A 100+0 a499",
            "20000 -",
        ),
        (
            "both begin",
            "0 a>b S 99+0; 1 b>a S 499+0; 20 a>b SA 99+0 a500; 21 b>a SA 499+0 a100; 22 a>b A 100+0 a500",
            "- -",
        ),
        ("SYN/ACK first", "0 b>a SA 499+0 a100; 1 a>b S 99+0; 25 a>b A 100+0 a500", "- -"),
        ("midstream", "0 a>b A 100+9 a500; 1 b>a A 500+0 a109", "- -"),
        (
            "SYN/ACK before the SYN in time",
            "20 a>b S 99+0; 19 b>a SA 499+0 a100; 25 a>b A 100+0 a500",
            "- -",
        ),
        (
            "ACK before the SYN/ACK in time",
            "0 a>b S 99+0; 20 b>a SA 499+0 a100; 19 a>b A 100+0 a500",
            "20000 -",
        ),
        (
            "no timestamp of the SYN",
            "? a>b S 99+0; 20 b>a SA 499+0 a100; 25 a>b A 100+0 a500",
            "- -",
        ),
        (
            "no timestamp of the ACK",
            "0 a>b S 99+0; 20 b>a SA 499+0 a100; ? a>b A 100+0 a500",
            "20000 -",
        ),
        (
            "longer than may be",
            "0 a>b S 99+0; 4295 b>a SA 499+0 a100; 4296 a>b A 100+0 a500",
            "- -",
        ),
    ];
    for (name, segments, want) in rows {
        let odd = match name {
            "SYN sent again after all" | "of which that data was refused" => "1/0/0 0/0/0",
            "SYN/ACK sent again after all" => "0/0/0 1/0/0",
            _ => "0/0/0 0/0/0",
        };
        check(name, segments, &format!("{odd} {want}"));
    }
    let again = [
        (
            "SYN",
            "0 a>b S 99+0; 9 a>b S 99+0; 20 b>a SA 499+0 a100; 25 a>b A 100+0 a500",
            "1/0/0 0/0/0",
        ),
        (
            "SYN/ACK",
            "0 a>b S 99+0; 9 b>a SA 499+0 a100; 20 b>a SA 499+0 a100; 25 a>b A 100+0 a500",
            "0/0/0 1/0/0",
        ),
        (
            "SYN/ACK where both begin",
            "0 a>b S 99+0; 1 b>a S 499+0; 20 a>b SA 99+0 a500; 21 a>b SA 99+0 a500; 22 a>b S 99+0",
            "2/0/0 0/0/0",
        ),
        (
            "another SYN",
            "0 a>b S 99+0; 9 a>b S 77+0; 20 b>a SA 499+0 a78; 25 a>b A 78+0 a500",
            "0/0/0 0/0/0",
        ),
    ];
    for (name, segments, want) in again {
        check(name, segments, &format!("{want} - -"));
    }
}

#[test]
fn segments_are_judged_by_their_sequence() {
    let rows = [
        ("in order", "30 a>b A 100+10; 31 a>b A 110+10; 32 a>b FA 120+0; 33 b>a FA 500+0", "0/0/0"),
        ("sent again", "30 a>b A 100+10; 80 a>b A 100+10; 81 a>b A 110+5", "1/0/0"),
        ("a part of it again", "30 a>b A 100+10; 80 a>b A 104+3", "1/0/0"),
        ("again, with something new", "30 a>b A 100+10; 80 a>b A 100+20; 81 a>b A 120+5", "0/0/0"),
        ("overtaken", "30 a>b A 100+10; 31 a>b A 120+10; 32 a>b A 110+10; 33 a>b A 130+1", "0/1/0"),
        (
            "overtaken, and again",
            "30 a>b A 100+10; 31 a>b A 120+10; 32 a>b A 110+10; 33 a>b A 110+10",
            "1/1/0",
        ),
        (
            "two overtaken, in order",
            "30 a>b A 100+10; 31 a>b A 130+10; 32 a>b A 110+10; 33 a>b A 120+10",
            "0/2/0",
        ),
        (
            "two overtaken, the other way",
            "30 a>b A 100+10; 31 a>b A 130+10; 32 a>b A 120+10; 33 a>b A 110+10",
            "0/2/0",
        ),
        (
            "two gaps",
            "30 a>b A 100+10; 31 a>b A 120+10; 32 a>b A 140+10; 33 a>b A 110+10; 34 a>b A 130+10",
            "0/2/0",
        ),
        (
            "after the round trip of 25 ms",
            "30 a>b A 100+10; 31 a>b A 120+10; 56 a>b A 110+10",
            "0/1/0",
        ),
        ("after more than that", "30 a>b A 100+10; 31 a>b A 120+10; 57 a>b A 110+10", "1/0/0"),
        ("beside the gap", "30 a>b A 100+10; 31 a>b A 120+10; 32 a>b A 120+10", "1/0/0"),
        (
            "a gap for ever",
            "30 a>b A 100+10; 31 a>b A 120+10; 60 a>b A 140+10; 61 a>b A 130+10; 62 a>b A 110+10",
            "1/1/0",
        ),
        ("the gap of the other side", "30 a>b A 100+10; 31 b>a A 520+10; 32 a>b A 100+10", "1/0/0"),
        ("an ACK overtakes", "30 a>b A 110+0; 31 a>b A 100+10; 32 a>b A 110+5", "0/1/0"),
        ("a late ACK", "30 a>b A 100+10; 31 a>b A 100+0", "0/0/0"),
        ("keep-alives", "30 a>b A 100+10; 90 a>b A 109+0; 91 a>b A 109+1; 92 a>b A 110+1", "0/0/0"),
        (
            "probes of a closed window",
            "30 a>b A 100+10; 90 a>b A 110+1; 190 a>b A 110+1; 390 a>b A 110+10",
            "0/0/0",
        ),
        ("FIN again", "30 a>b FA 100+0; 80 a>b FA 100+0", "1/0/0"),
        ("FIN with data again", "30 a>b FA 100+9; 80 a>b FA 100+9", "1/0/0"),
        ("RST anywhere", "30 a>b A 100+10; 31 a>b RA 7+0; 32 a>b RA 900+0", "0/0/0"),
        (
            "windows of 0",
            "30 a>b A 100+10 w0; 31 a>b A 110+10 w0; 32 a>b A 120+0 w1; 33 a>b FA 120+0 w0",
            "0/0/3",
        ),
        (
            "one segment beyond any window",
            "30 a>b A 100+10; 31 a>b A 1073741934+10; 32 a>b A 110+10; 33 a>b A 120+10; 80 a>b A 110+10",
            "1/0/0",
        ),
        (
            "one within",
            "30 a>b A 100+10; 31 a>b A 1073741834+10; 32 a>b A 110+10; 60 a>b A 120+10",
            "1/1/0",
        ),
        (
            "one before any window",
            "30 a>b A 100+10; 31 a>b A 3221225582+10; 32 a>b A 110+10; 33 a>b A 120+10",
            "0/0/0",
        ),
        (
            "a part that was not captured",
            "30 a>b A 100+10; 31 a>b A 3000000000+10; 32 a>b A 3000000010+10; 80 a>b A 3000000010+10",
            "1/0/0",
        ),
        (
            "a stray SYN",
            "30 a>b A 100+10; 31 a>b S 500000+0; 32 a>b A 110+10; 33 a>b A 120+10; 80 a>b A 110+10",
            "1/0/0",
        ),
        (
            "and two",
            "30 a>b A 100+10; 31 a>b S 500000+0; 32 a>b S 700000+0; 33 a>b A 110+10; 34 a>b A 120+10",
            "0/0/0",
        ),
        ("no window in a RST", "30 a>b R 100+0 w0", "0/0/0"),
        ("again with a window of 0", "30 a>b A 100+10; 80 a>b A 100+10 w0", "1/0/1"),
        ("no timestamps", "? a>b A 100+10; ? a>b A 120+10; ? a>b A 110+10", "1/0/0"),
    ];
    for (name, segments, want) in rows {
        check(name, &format!("{OPEN}; {segments}"), &format!("{want} 0/0/0 20000 5000"));
    }
}

#[test]
fn sequences_go_across_the_wrap() {
    let open = "0 a>b S 4294967289+0; 20 b>a SA 499+0 a4294967290; 25 a>b A 4294967290+0 a500";
    for (segments, want) in [
        ("30 a>b A 4294967290+10; 31 a>b A 4+10; 32 a>b A 14+10", "0/0/0"),
        ("30 a>b A 4294967290+10; 80 a>b A 4294967290+10", "1/0/0"),
        ("30 a>b A 4294967290+2; 31 a>b A 4+10; 32 a>b A 4294967292+8; 33 a>b A 14+1", "0/1/0"),
    ] {
        check(segments, &format!("{open}; {segments}"), &format!("{want} 0/0/0 20000 5000"));
    }
}

#[test]
fn midstream_the_first_segment_is_where_it_begins() {
    let picked_up = "0 a>b A 700+10; 1 b>a A 300+10; 2 a>b A 710+10";
    check("in order", picked_up, "0/0/0 0/0/0 - -");
    check("again", &format!("{picked_up}; 50 a>b A 700+10; 51 b>a A 300+10"), "1/0/0 1/0/0 - -");
    // Without a round trip 3 ms are soon.
    let gap = format!("{picked_up}; 3 a>b A 730+10");
    check("overtaken", &format!("{gap}; 6 a>b A 720+10"), "0/1/0 0/0/0 - -");
    check("lost", &format!("{gap}; 7 a>b A 720+10"), "1/0/0 0/0/0 - -");
    check("a SYN after it", &format!("{picked_up}; 9 a>b S 5+0; 10 a>b A 6+10"), "0/0/0 0/0/0 - -");
}

#[test]
fn ends_in_sequence_close_a_connection_and_others_do_too() {
    let state = |segments: &str| {
        let packets: Vec<_> = format!("{OPEN}; {segments}").split(';').map(segment).collect();
        let [record] = records(&run(CONFIG, &packets, 1, 1, 0))[..] else { panic!("one flow") };
        record.tcp_state()
    };
    let closed = Some(TcpState::Closed);
    assert_eq!(state("30 a>b FA 100+9 a500; 31 b>a FA 500+9 a110; 32 a>b A 110+0 a510"), closed);
    // The responder's comes again.
    assert_eq!(state("30 a>b FA 100+0 a500; 31 b>a FA 500+0 a101; 60 b>a FA 500+0 a101"), closed);
    assert_eq!(state("30 a>b FA 109+9 a500; 31 b>a FA 505+0 a100"), closed, "after gaps");
    let open = Some(TcpState::Established);
    assert_eq!(state("30 a>b FA 100+9 a500; 31 b>a A 500+9 a110"), open, "on one side");
}

#[test]
fn counts_of_segments_that_do_not_fit_are_published_first() {
    let mut packets = vec![segment("0 a>b A 100+10")];
    packets.resize(70_000, segment("9 a>b A 100+10 w0"));
    let [record] = &records(&run(CONFIG, &packets, 64, 0, 0))[..] else { panic!("one flow") };
    let side = &record.total.sides[record.initiator().idx()];
    assert_eq!([side.retransmits, side.zero_windows], [69_999; 2]);
    assert_eq!(side.packets, 70_000);
}

/// TTL, least and greatest, and DSCP of one direction.
type Headers = Option<(u8, u8, u8)>;

/// Time to live and code point of each packet; what the sides show of them.
fn check_headers(active_s: u64, sent: &[(&str, u8, u8)], want: &[[Headers; 2]]) {
    let parsed: Vec<_> = sent.iter().map(|(text, ..)| parse(text, UDP)).collect();
    let mut packets = packets(&parsed);
    for (packet, (_, ttl, dscp)) in packets.iter_mut().zip(sent) {
        (packet.ttl, packet.dscp) = (*ttl, *dscp);
    }
    let timeouts = Timeouts { active_ns: active_s * SECOND_NS, ..CONFIG.timeouts };
    for batch in [1, 64] {
        let end = packets.last().unwrap().tick;
        let run = run(TableConfig { timeouts, ..CONFIG }, &packets, batch, 1, end);
        let shown: Vec<_> = records(&run)
            .iter()
            .map(|record| {
                let initiator = record.initiator();
                [initiator, initiator.opposite()].map(|way| {
                    let side = &record.total.sides[way.idx()];
                    side.ttl().map(|(min, max)| (min, max, side.dscp))
                })
            })
            .collect();
        assert_eq!(shown, want, "{sent:?}");
    }
}

#[test]
fn times_to_live_are_of_the_part_and_code_points_of_the_first_packet() {
    check_headers(1_800, &[("0 a>b", 64, 46)], &[[Some((64, 64, 46)), None]]);
    let sent = [
        ("0 b>a", 64, 46),
        ("1 b>a", 60, 0),
        ("2 a>b", 0, 0),
        ("3 a>b", 255, 63),
        ("10 b>a", 63, 1),
        ("21 a>b", 9, 2),
    ];
    check_headers(1_800, &sent, &[[Some((60, 64, 46)), Some((0, 255, 0))]]);
    check_headers(
        9,
        &sent,
        &[
            [Some((60, 64, 46)), Some((0, 255, 0))],
            [Some((63, 63, 46)), None],
            [None, Some((9, 9, 0))],
        ],
    );
}

#[test]
fn what_is_known_of_a_flow_stays_with_its_later_parts() {
    let timeouts = Timeouts { active_ns: SECOND_NS, ..CONFIG.timeouts };
    let text = format!("{OPEN}; 30 a>b A 100+10; 2000 a>b A 110+10; 2001 a>b A 110+10");
    let mut packets: Vec<_> = text.split(';').map(segment).collect();
    for (ordinal, packet) in (0..).zip(&mut packets) {
        packet.ordinal = ordinal;
        packet.tick = packet.timestamp.unwrap().cast_unsigned();
    }
    let end = packets.last().unwrap().tick;
    let run = run(TableConfig { timeouts, ..CONFIG }, &packets, 1, 1, end);
    let shown: Vec<_> = records(&run).iter().map(shown).collect();
    assert_eq!(shown, ["0/0/0 0/0/0 20000 5000", "1/0/0 0/0/0 20000 5000"]);
}

/// Where nothing can be published, counts of segments that do not fit are an aggregate's.
#[test]
fn a_full_ring_loses_no_packet_of_a_full_slot() {
    let counters = TableCounters::default();
    let mut table = CoreTable::new(CONFIG, hasher(), &counters).unwrap();
    let mut tray = Tray { room: 0, published: Vec::new() };
    let packets = vec![segment("0 a>b A 100+10 w0"); 64];
    for _ in 0..1_100 {
        table.count(&packets, &mut tray);
    }
    tray.room = 1_000;
    assert!(table.drain(0, &mut tray));
    let counted: u64 = tray.published.iter().map(|record| record.total.packets()).sum();
    assert_eq!(counted, 64 * 1_100);
    assert!(counters.in_overflow.get() > 0);
}

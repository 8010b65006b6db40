//! One row for each rule of what a flow is.

use super::{
    CONFIG, GRE, ICMP, Sent, TCP, Tray, UDP, check, check_with, hasher, packets, parse, records,
    run,
};
use crate::flow::{EndReason, Endpoint, FlowKey, PortKind, RecordKind, Timeouts};
use crate::limits::{BATCH_PACKETS, HAND_SLOTS, OVERFLOW_AGGREGATES};
use crate::table::{CoreTable, TableConfig, TableCounters};
use crate::time::SECOND_NS;

fn with_active(seconds: u64) -> TableConfig {
    let timeouts = Timeouts { active_ns: seconds * SECOND_NS, ..CONFIG.timeouts };
    TableConfig { timeouts, ..CONFIG }
}

#[test]
fn a_gap_longer_than_the_idle_timeout_begins_another_flow() {
    let want = |gap: f64| format!("f1 a>b 1/0 {gap}-{gap} forced");
    for (protocol, idle) in
        [(UDP, 30.0), (136, 30.0), (ICMP, 30.0), (58, 30.0), (GRE, 60.0), (132, 60.0)]
    {
        let packets = format!("0 a>b; {idle} b>a");
        check(protocol, &packets, &[&format!("f0 a>b 1/1 0-{idle} forced")]);
        let packets = format!("0 a>b; {} a>b", idle + 0.1);
        check(protocol, &packets, &["f0 a>b 1/0 0-0 idle", &want(idle + 0.1)]);
    }
    check(
        UDP,
        "0 a>b; 10 c>d; 40.1 c>d",
        &["f0 a>b 1/0 0-0 idle", "f1 c>d 1/0 10-10 idle", "f2 c>d 1/0 40.1-40.1 forced"],
    );
}

#[test]
fn the_first_sender_is_the_initiator_also_against_the_order_of_the_key() {
    check(UDP, "0 b>a; 1 a>b; 2 a>b", &["f0 b>a 1/2 0-2 forced"]);
    check(ICMP, "0 b>a; 1 a>b", &["f0 b>a 1/1 0-1 forced"]);
}

#[test]
fn a_half_open_connection_idles_out_after_ten_seconds() {
    check(
        TCP,
        "0 a>b S:1; 10 a>b S:1; 20.1 a>b S:1",
        &["f0 a>b 2/0 0-10 idle halfopen", "f1 a>b 1/0 20.1-20.1 forced halfopen"],
    );
    check(
        TCP,
        "0 a>b S:1; 1 b>a SA; 11.1 b>a SA",
        &["f0 a>b 1/1 0-1 idle halfopen", "f1 a>b 0/1 11.1-11.1 forced halfopen"],
    );
    check(
        TCP,
        "0 a>b S; 1 b>a SA; 2 a>b A; 62 b>a A; 122.1 a>b A",
        &["f0 a>b 2/2 0-62 idle established", "f1 a>b 1/0 122.1-122.1 forced midstream"],
    );
}

#[test]
fn syns_of_an_unfinished_connection_are_one_flow() {
    check(TCP, "0 a>b S:1; 1 a>b S:1; 3 a>b S:1", &["f0 a>b 3/0 0-3 forced halfopen"]);
    check(TCP, "0 a>b S:1; 1 a>b S:2", &["f0 a>b 2/0 0-1 forced halfopen"]);
}

#[test]
fn a_flow_that_begins_with_a_syn_ack_was_initiated_by_its_receiver() {
    check(TCP, "0 b>a SA; 1 a>b A; 2 b>a A", &["f0 a>b 1/2 0-2 forced established"]);
    check(TCP, "0 b>a A; 1 a>b A", &["f0 b>a 1/1 0-1 forced midstream"]);
}

/// The source port of the initiator, where the first packet goes from one port to another; the
/// same in the second part of the flow, which begins with the answer.
fn check_initiator(protocol: u8, flags: &str, ports: [u16; 2], want: u16) {
    let sent = format!("0 a>b {flags}; 1 b>a {}; 60 b>a", if flags.is_empty() { "" } else { "A" });
    let sent: Vec<_> = sent.split(';').map(|text| parse(text, protocol)).collect();
    let mut packets = packets(&sent);
    for packet in &mut packets {
        let end = |letter: u8, port| {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&[10, 0, 0, letter]);
            Endpoint { address, port }
        };
        let (a, b) = (end(b'a', ports[0]), end(b'b', ports[1]));
        let (from, to) = if packet.ordinal == 0 { (a, b) } else { (b, a) };
        let (key, direction) = FlowKey::canonical(from, to, 4, protocol, PortKind::Ports, [0; 2]);
        (packet.key, packet.direction) = (key, direction);
        packet.hash = hasher().hash(&key);
    }
    let long_idle = Timeouts {
        idle_ns: 70 * SECOND_NS,
        datagram_idle_ns: 70 * SECOND_NS,
        half_open_idle_ns: 70 * SECOND_NS,
        active_ns: 50 * SECOND_NS,
        ..CONFIG.timeouts
    };
    let config = TableConfig { timeouts: long_idle, ..CONFIG };
    let records = records(&run(config, &packets, 64, 1, packets[2].tick));
    let initiators: Vec<_> =
        records.iter().map(|record| record.key.source_port(record.initiator()).unwrap()).collect();
    assert_eq!(initiators, [want; 2], "{protocol} {flags} {ports:?}");
    assert_eq!(records[0].flow_id(), records[1].flow_id());
}

#[test]
fn the_initiator_is_corrected_once_and_in_all_parts() {
    for (flags, ports, want) in [
        // By the SYN, whatever the ports.
        ("S", [80, 5_000], 80),
        ("S", [5_000, 80], 5_000),
        ("SA", [80, 5_000], 5_000),
        ("SA", [5_000, 80], 80),
        // Midstream by well-known ports, if only one is.
        ("A", [80, 5_000], 5_000),
        ("A", [1_023, 1_024], 1_024),
        ("A", [1_024, 1_023], 1_024),
        ("A", [5_000, 80], 5_000),
        ("A", [80, 443], 80),
        ("A", [443, 80], 443),
        ("A", [5_000, 6_000], 5_000),
        ("A", [6_000, 5_000], 6_000),
    ] {
        check_initiator(TCP, flags, ports, want);
    }
    // Nothing says that these go on.
    check_initiator(UDP, "", [53, 5_000], 53);
    check_initiator(132, "", [80, 5_000], 80);
}

#[test]
fn an_active_cut_keeps_flow_and_direction() {
    check_with(
        with_active(50),
        UDP,
        "0 a>b; 20 b>a; 50 a>b; 50.1 b>a; 75 b>a; 100.1 b>a; 101 a>b",
        &[
            "f0 a>b 2/1 0-50 active",
            "f0 part 1 a>b 0/3 50.1-100.1 active",
            "f0 part 2 a>b 1/0 101-101 forced",
        ],
    );
    check_with(
        with_active(50),
        TCP,
        "0 a>b S; 0 b>a SA; 0 a>b A; 55 b>a A; 56 a>b FA; 57 b>a FA; 70 c>d A",
        &[
            "f0 a>b 2/1 0-0 active established",
            "f0 part 1 a>b 1/2 55-57 end closed",
            "f1 c>d 1/0 70-70 forced midstream",
        ],
    );
}

#[test]
fn the_state_of_a_part_knows_of_those_before() {
    check_with(
        with_active(50),
        TCP,
        "0 a>b S; 0 b>a SA; 0 a>b A; 55 b>a A; 110 a>b A; 115 c>d A",
        &[
            "f0 a>b 2/1 0-0 active established",
            "f0 part 1 a>b 0/1 55-55 active established",
            "f0 part 2 a>b 1/0 110-110 forced established",
            "f1 c>d 1/0 115-115 forced midstream",
        ],
    );
    check_with(
        with_active(9),
        TCP,
        "0 a>b S:1; 8 a>b S:1; 10 b>a SA; 18 b>a SA; 20 b>a SA; 21 c>d A; 29 c>d A; 31 c>d A",
        &[
            "f0 a>b 2/0 0-8 active halfopen",
            "f0 part 1 a>b 0/2 10-18 active halfopen",
            "f0 part 2 a>b 0/1 20-20 idle halfopen",
            "f1 c>d 2/0 21-29 active midstream",
            "f1 part 1 c>d 1/0 31-31 forced midstream",
        ],
    );
}

#[test]
fn a_finished_flow_that_goes_on_is_cut_too() {
    check_with(
        with_active(10),
        TCP,
        "0 a>b S; 0 b>a SA; 0 a>b A; 9 b>a R; 13 a>b A; 15 a>b A",
        &["f0 a>b 4/2 0-15 end reset"],
    );
    check_with(
        with_active(10),
        TCP,
        "0 a>b S; 0 b>a SA; 0 a>b A; 9 b>a R; 13 a>b A; 15.1 a>b A; 20 a>b A; 25 a>b A; 30 a>b A",
        &["f0 a>b 3/2 0-13 active reset", "f0 part 1 a>b 4/0 15.1-30 end reset"],
    );
}

#[test]
fn a_flow_is_cut_only_if_it_goes_on() {
    check_with(
        with_active(50),
        UDP,
        "0 a>b; 25 a>b; 45 a>b; 60 c>d; 75.1 a>b",
        &["f0 a>b 3/0 0-45 idle", "f1 c>d 1/0 60-60 forced", "f2 a>b 1/0 75.1-75.1 forced"],
    );
    check_with(
        with_active(50),
        UDP,
        "0 a>b; 19 a>b; 90 a>b",
        &["f0 a>b 2/0 0-19 idle", "f1 a>b 1/0 90-90 forced"],
    );
    check_with(
        with_active(50),
        UDP,
        "0 a>b; 21 a>b; 90 c>d",
        &["f0 a>b 2/0 0-21 idle", "f1 c>d 1/0 90-90 forced"],
    );
}

const HANDSHAKE: &str = "0 a>b S:1; 0 b>a SA:5; 0 a>b A";

#[test]
fn a_flow_ends_when_both_sides_have_and_late_packets_join_it() {
    let closed = format!("{HANDSHAKE}; 1 a>b FA; 1 b>a FA");
    check(
        TCP,
        &format!("{closed}; 2 a>b A; 7 b>a A; 12.1 a>b A"),
        &["f0 a>b 4/3 0-7 end closed", "f1 a>b 1/0 12.1-12.1 forced midstream"],
    );
    // One FIN, or two from one side, end nothing.
    check(
        TCP,
        &format!("{HANDSHAKE}; 1 a>b FA; 1 a>b FA; 30 b>a A"),
        &["f0 a>b 4/2 0-30 forced established"],
    );
}

#[test]
fn a_reset_ends_a_flow() {
    let rest = "6.2 c>d A";
    let other = "f1 c>d 1/0 6.2-6.2 forced midstream";
    check(TCP, &format!("0 a>b S; 1 b>a RA; {rest}"), &["f0 a>b 1/1 0-1 end reset", other]);
    let packets = format!("{HANDSHAKE}; 1 b>a R; 1 a>b A; {rest}");
    check(TCP, &packets, &["f0 a>b 3/2 0-1 end reset", other]);
    // After both FINs it changes nothing.
    let packets = format!("{HANDSHAKE}; 1 a>b FA; 1 b>a FA; 1 a>b R; {rest}");
    check(TCP, &packets, &["f0 a>b 4/2 0-1 end closed", other]);
}

#[test]
fn a_syn_with_a_new_sequence_begins_another_flow_on_a_finished_one() {
    let closed = format!("{HANDSHAKE}; 1 a>b FA; 1 b>a FA");
    check(
        TCP,
        &format!("{closed}; 2 a>b S:9"),
        &["f0 a>b 3/2 0-1 end closed", "f1 a>b 1/0 2-2 forced halfopen"],
    );
    check(
        TCP,
        &format!("{closed}; 2 b>a S:9"),
        &["f0 a>b 3/2 0-1 end closed", "f1 b>a 1/0 2-2 forced halfopen"],
    );
    check(TCP, &format!("{closed}; 2 a>b S:1"), &["f0 a>b 4/2 0-2 end closed"]);
    check(TCP, &format!("{closed}; 2 b>a SA:5"), &["f0 a>b 3/3 0-2 end closed"]);
}

#[test]
fn an_echo_request_and_its_reply_are_one_flow() {
    check(ICMP, "0 a>b; 0.1 b>a; 1 a>b; 1.1 b>a", &["f0 a>b 2/2 0-1.1 forced"]);
}

#[test]
fn packets_without_timestamps_are_counted_now() {
    check(UDP, "? a>b; ? b>a", &["f0 a>b 1/1 - forced"]);
    check(
        UDP,
        "0 a>b; 29 c>d; ? b>a; 58 a>b; 89 a>b",
        &["f0 a>b 2/1 0-58 idle", "f1 c>d 1/0 29-29 idle", "f2 a>b 1/0 89-89 forced"],
    );
}

#[test]
fn timestamps_may_go_back() {
    check(UDP, "100 a>b; 90 b>a; 130 a>b", &["f0 a>b 2/1 90-130 forced"]);
    // More than reordering: another recording, which no flow reaches into.
    let two = ["f0 a>b 1/0 1000-1000 idle", "f1 b>a 1/1 10-30 forced"];
    check(UDP, "1000 a>b; 10 b>a; 30 a>b", &two);
}

#[test]
fn a_packet_behind_its_time_counts_now_and_moves_only_the_start() {
    // Bursts and seconds back: one flow, whatever the order.
    check(UDP, "0 a>b; 20 a>b; 5 a>b; 4 b>a; 21 a>b", &["f0 a>b 4/1 0-21 forced"]);
    check(UDP, "20 a>b; 19 b>a; 18 a>b; 17 b>a; 0 a>b", &["f0 a>b 3/2 0-20 forced"]);
    // The time out does not wait for it, nor does it keep a flow alive in the past: it counts now.
    check(
        UDP,
        "0 a>b; 40 c>d; 1 a>b; 69 a>b",
        &["f0 a>b 1/0 0-0 idle", "f1 c>d 1/0 40-40 forced", "f2 a>b 2/0 1-69 forced"],
    );
    // Of two parts the later one has it.
    check_with(
        with_active(50),
        UDP,
        "0 a>b; 25 a>b; 50 a>b; 51 a>b; 49.5 b>a",
        &["f0 a>b 3/0 0-50 active", "f0 part 1 a>b 1/1 49.5-51 forced"],
    );
    // Within the linger of a connection it is not another one.
    let closed = format!("{HANDSHAKE}; 10 a>b FA; 10 b>a FA");
    let late = format!("{closed}; 12 b>a A; 9 b>a A; 11 a>b A");
    check(TCP, &late, &["f0 a>b 4/4 0-12 end closed"]);
}

#[test]
fn timers_run_without_packets() {
    let counters = TableCounters::default();
    let mut table = CoreTable::new(CONFIG, hasher(), &counters).unwrap();
    let mut tray = Tray::unlimited();
    table.count(&packets(&[parse("0 a>b", UDP), parse("0 c>d S", TCP)]), &mut tray);
    // By the clock of a capture, or by that of the packets of others.
    let mut ended = Vec::new();
    for second in 1..40 {
        table.advance(second * SECOND_NS, &mut tray);
        let published = tray.published.drain(..).map(|published| published.total.end);
        ended.extend(published.flatten().map(|end| (second, end)));
    }
    // 10 s and 30 s are not over at the moment that they reach.
    assert_eq!(ended, [(11, EndReason::Idle), (31, EndReason::Idle)]);
}

/// As many flows as several steps of the hand, and then no packet: all end within a round.
#[test]
fn a_hand_that_is_behind_says_so_until_its_round_is_made() {
    let counters = TableCounters::default();
    let config = TableConfig { capacity: 4_096, ..CONFIG };
    let mut table = CoreTable::new(config, hasher(), &counters).unwrap();
    let mut tray = Tray::unlimited();
    let sent = parse("0 a>b", UDP);
    let ends = (0..50).flat_map(|from| (100..140).map(move |to| (from, to)));
    let sent: Vec<_> = ends.map(|(from, to)| Sent { from, to, ..sent }).collect();
    packets(&sent).chunks(BATCH_PACKETS).for_each(|batch| table.count(batch, &mut tray));
    let end = 31 * SECOND_NS;
    tray.room = 100;
    assert!(!table.advance(end, &mut tray), "without room it is not to be called again at once");
    tray.room = usize::MAX;
    let steps = (1..100).take_while(|_| table.advance(end, &mut tray)).count();
    assert!(steps > sent.len() / HAND_SLOTS as usize, "{steps}");
    assert_eq!(tray.published.len(), sent.len());
}

#[test]
fn without_room_one_packet_flows_are_given_up_and_then_packets_added_up() {
    let with_slots = |capacity| TableConfig { capacity, ..CONFIG };
    check_with(
        with_slots(1),
        UDP,
        "0 a>b; 1 c>d; 2 d>c",
        &["f0 a>b 1/0 0-0 resources", "f1 c>d 1/1 1-2 forced"],
    );
    check_with(
        with_slots(1),
        UDP,
        "0 a>b; 1 b>a; 2 c>d; 3 e>f; 4 a>b",
        &["f0 a>b 2/1 0-4 forced", "overflow 2 2-3 resources"],
    );
}

#[test]
fn flows_that_are_over_make_room_before_any_is_given_up() {
    // All packets come in one batch, so that the hand comes by only at its end.
    let full = TableConfig { capacity: 2, ..CONFIG };
    check_with(
        full,
        UDP,
        "0 a>b; 0 b>a; 39 c>d; 40 e>f; 41 c>d",
        &["f0 a>b 1/1 0-0 idle", "f1 c>d 2/0 39-41 forced", "f2 e>f 1/0 40-40 forced"],
    );
}

#[test]
fn a_flow_that_is_over_or_finished_is_not_given_up() {
    let with_slots = |capacity| TableConfig { capacity, ..CONFIG };
    check_with(
        with_slots(3),
        UDP,
        "1 a>b; 1.5 c>d; 5 e>f; 25 f>e; 30.9 g>h; 31.6 i>j",
        &[
            "f0 a>b 1/0 1-1 resources",
            "f1 c>d 1/0 1.5-1.5 idle",
            "f2 e>f 1/1 5-25 forced",
            "f3 g>h 1/0 30.9-30.9 forced",
            "f4 i>j 1/0 31.6-31.6 forced",
        ],
    );
    check_with(
        with_slots(1),
        TCP,
        "0 a>b R; 1 c>d A",
        &["f0 a>b 1/0 0-0 end reset", "f1 c>d 1/0 1-1 forced midstream"],
    );
}

#[test]
fn counts_that_do_not_fit_are_published_first() {
    let sent: Vec<_> = (0..600).map(|_| parse("0 a>b", UDP)).collect();
    let mut packets = packets(&sent);
    for packet in &mut packets {
        (packet.bytes, packet.frame_bytes, packet.later_fragment) = (1 << 30, u32::MAX, true);
    }
    let [record] = &records(&run(CONFIG, &packets, 64, 0, 0))[..] else { panic!("one flow") };
    let side = record.total.sides[record.initiator().idx()];
    assert_eq!((side.packets, side.fragments), (600, 600));
    assert_eq!((side.bytes, side.frame_bytes), (600 << 30, 600 * u64::from(u32::MAX)));
}

#[test]
fn a_flow_takes_at_most_216_bytes() {
    let counters = TableCounters::default();
    let config = TableConfig { capacity: 1_000_000, ..CONFIG };
    CoreTable::new(config, hasher(), &counters).unwrap();
    let memory = counters.memory.get().unwrap();
    assert_eq!(memory.slots, 1_000_000);
    assert!(memory.bytes <= 216_000_000, "{} bytes", memory.bytes);
}

#[test]
fn destinations_beyond_the_aggregates_share_the_last_one() {
    const PREFIXES: u16 = 1_000;
    let mut packets = packets(&[parse("0 a>b", UDP), parse("0 a>b", UDP)]);
    for prefix in 0..PREFIXES {
        let [high, low] = prefix.to_be_bytes();
        let end = |start: [u8; 4]| {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&start);
            Endpoint { address, port: 9 }
        };
        let (from, to) = (end([10, 0, 0, 1]), end([11, high, low, 1]));
        let (key, direction) = FlowKey::canonical(from, to, 4, UDP, PortKind::Ports, [0; 2]);
        packets.push(crate::decode::Packet { key, direction, hash: prefix.into(), ..packets[0] });
    }
    let full = TableConfig { capacity: 1, ..CONFIG };
    let published = run(full, &packets, 64, 0, 0);
    let aggregates: Vec<_> =
        published.iter().filter(|published| published.kind == RecordKind::Overflow).collect();
    assert_eq!(aggregates.len(), OVERFLOW_AGGREGATES);
    let (rest, own) = aggregates.split_last().unwrap();
    assert!(own.iter().all(|aggregate| aggregate.total.packets() == 1));
    assert_eq!(rest.total.packets() + own.len() as u64, u64::from(PREFIXES));
}

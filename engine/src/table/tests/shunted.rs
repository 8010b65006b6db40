//! Packets that the kernel has counted: by the rules of those that were counted here.

use super::{CONFIG, Sent, TCP, Tray, hasher, packets, records};
use crate::decode::{Packet, TcpHeader};
use crate::flow::record::tcp_flags::{ACK, FIN, SYN};
use crate::flow::{EndReason, Features, FeaturesSet, FlowRecord, SideCounts, Timeouts};
use crate::table::outbox::outbox;
use crate::table::{CoreTable, Shunted, TableConfig, TableCounters};
use crate::time::SECOND_NS;

/// A packet from `a` or `b` at a second.
fn sent(second: i64, is_back: bool, flags: u8) -> Sent {
    let (from, to) = if is_back { (2, 1) } else { (1, 2) };
    // Behind both SYNs.
    let number = if flags & SYN == 0 { 2 } else { 1 };
    let tcp = TcpHeader::new(flags, number, number, 1);
    Sent { timestamp: Some(second * 1_000_000_000), from, to, protocol: TCP, tcp }
}

/// What the kernel says of some packets that follow each other.
fn shunted(packets: &[Packet]) -> Shunted {
    let mut sides = [SideCounts::default(); 2];
    for packet in packets {
        let side = &mut sides[packet.direction.idx()];
        side.packets += 1;
        side.bytes += u64::from(packet.bytes);
        side.frame_bytes += u64::from(packet.frame_bytes);
        side.payload_bytes += u64::from(packet.payload_bytes);
        side.tcp_flags |= packet.tcp.flags();
    }
    let last = packets.last().unwrap();
    Shunted { sides, last_tick: last.tick, last: last.timestamp.unwrap(), interface: 0 }
}

/// The records of `packets`, of which those in `by_kernel` were shunted.
fn play(
    config: TableConfig,
    packets: &[Packet],
    by_kernel: std::ops::Range<usize>,
) -> Vec<FlowRecord> {
    let counters = TableCounters::default();
    let mut table = CoreTable::new(config, hasher(), &counters).unwrap();
    let mut tray = Tray::unlimited();
    for packet in &packets[..by_kernel.start] {
        table.count(std::slice::from_ref(packet), &mut tray);
    }
    if !by_kernel.is_empty() {
        let shunted = shunted(&packets[by_kernel.clone()]);
        table.bring_home(&packets[by_kernel.start].key, &shunted, &mut tray);
    }
    for packet in &packets[by_kernel.end..] {
        table.count(std::slice::from_ref(packet), &mut tray);
    }
    assert!(table.drain(packets.last().unwrap().tick, &mut tray));
    assert_eq!(counters.brought_home.get(), by_kernel.len() as u64);
    assert_eq!(counters.in_flows.get(), (packets.len() - by_kernel.len()) as u64);
    records(&tray.published)
}

/// Packets that follow each other in their direction's sequence too, as the kernel's are not looked
/// at.
fn in_order(mut all: Vec<Sent>) -> Vec<Packet> {
    let mut next = [1_u32; 2];
    for sent in &mut all {
        if sent.tcp.is_there() {
            let next = &mut next[usize::from(sent.from > sent.to)];
            sent.tcp = TcpHeader::new(sent.tcp.flags(), *next, sent.tcp.acknowledgment(), 1);
            *next += sent.tcp.sequence_bytes(60);
        }
    }
    packets(&all)
}

/// A connection with data each way for some seconds.
fn connection(seconds: i64) -> Vec<Packet> {
    let mut all = vec![sent(0, false, SYN), sent(0, true, SYN | ACK), sent(0, false, ACK)];
    all.extend((0..seconds).map(|second| sent(second, second % 3 == 0, ACK)));
    all.extend([sent(seconds, false, FIN | ACK), sent(seconds, true, FIN | ACK)]);
    in_order(all)
}

#[test]
fn records_are_those_of_all_packets() {
    let packets = connection(20);
    let want = play(CONFIG, &packets, 3..3);
    assert_eq!(want.len(), 1);
    for by_kernel in [3..4, 3..23, 10..20, 22..23] {
        assert_eq!(play(CONFIG, &packets, by_kernel.clone()), want, "{by_kernel:?}");
    }
}

#[test]
fn shunted_packets_keep_a_flow_from_idling_out() {
    // The last of them comes 50 s after what was counted here, and the next again.
    let all = vec![sent(0, false, ACK), sent(50, false, ACK), sent(100, true, ACK)];
    let packets = in_order(all);
    let found = play(CONFIG, &packets, 1..2);
    assert_eq!(found, play(CONFIG, &packets, 1..1));
    assert_eq!(found.len(), 1);
}

#[test]
fn the_active_timeout_cuts_shunted_packets_off() {
    let timeouts = Timeouts { active_ns: 10 * SECOND_NS, ..CONFIG.timeouts };
    let config = TableConfig { timeouts, ..CONFIG };
    let packets = connection(15);
    let found = play(config, &packets, 6..18);
    let of = |record: &FlowRecord| (record.total.packets(), record.total.end.unwrap());
    let want = [(6, EndReason::Active), (14, EndReason::EndDetected)];
    assert_eq!(found.iter().map(of).collect::<Vec<_>>(), want);
}

#[test]
fn what_comes_home_to_no_slot_is_a_flow_of_its_own() {
    let packets = packets(&[sent(0, false, ACK), sent(1, true, ACK), sent(1, true, ACK)]);
    let found = play(CONFIG, &packets, 0..3);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].total.packets(), found[0].total.end), (3, Some(EndReason::Idle)));
}

#[test]
fn what_comes_home_to_no_slot_has_statistics_where_they_are_kept() {
    let config = TableConfig { features_set: FeaturesSet::Extended, ..CONFIG };
    let packets = packets(&[sent(0, false, ACK), sent(1, true, ACK)]);
    let counters = TableCounters::default();
    let mut table = CoreTable::new(config, hasher(), &counters).unwrap();
    let (mut outbox, mut inboxes) = outbox(1, 2, 4, config.features_set);
    table.bring_home(&packets[0].key, &shunted(&packets), &mut outbox);
    assert!(outbox.flush());
    let batch = inboxes[0].take().unwrap();
    assert_eq!((batch.deltas.len(), batch.features), (1, Some(vec![Features::EMPTY])));
}

#[test]
fn a_connection_is_an_elephant_once_it_has_enough_until_it_ends() {
    let counters = TableCounters::default();
    let mut table = CoreTable::new(CONFIG, hasher(), &counters).unwrap();
    let mut tray = Tray::unlimited();
    // All in one second: what is slower is published between.
    let mut all = vec![sent(0, false, SYN), sent(0, true, SYN | ACK)];
    all.extend([sent(0, false, ACK); 20]);
    all.extend([sent(0, false, FIN | ACK), sent(0, true, FIN | ACK)]);
    let packets = packets(&all);
    let mut becomes = None;
    for (at, packet) in packets.iter().enumerate() {
        table.count(std::slice::from_ref(packet), &mut tray);
        if table.is_elephant(packet, 8) && becomes.is_none() {
            becomes = Some(at);
        }
    }
    assert_eq!(becomes, Some(7));
    assert!(!table.is_elephant(packets.last().unwrap(), 8), "it has ended");
}

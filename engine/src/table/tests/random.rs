//! Random packets, ticks, room and capacity. A failure prints its input, and proptest its
//! seed.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{CONFIG, ICMP, Sent, TCP, Tray, UDP, hasher, packets, records, run};
use crate::decode::TcpHeader;
use crate::flow::{FlowRecord, RecordKind, Timeouts};
use crate::table::{CoreTable, TableConfig, TableCounters};
use crate::time::SECOND_NS;

/// Packets of few flows, with gaps around every timeout, mostly forward in time.
pub(super) fn traffic(max: usize) -> impl Strategy<Value = Vec<Sent>> {
    let gap = prop_oneof![
        8 => 0i64..50,
        4 => prop::sample::select(vec![49, 50, 51, 99, 100, 101, 299, 300, 301, 599, 600, 601]),
        1 => -1_000i64..0,
    ];
    let flags = prop::sample::select(vec![0x02, 0x12, 0x10, 0x10, 0x10, 0x11, 0x11, 0x04]);
    let packet = (
        gap,
        prop::bool::weighted(0.95),
        (0u8..4, 1u8..4),
        prop::sample::select(vec![TCP, TCP, UDP, ICMP]),
        (flags, 0u32..3, 0u32..3, 0u16..2),
    );
    vec(packet, 1..max).prop_map(|rows| {
        let mut now = 1_000_000_000_000;
        let sent = |(gap, stamped, (from, further), protocol, header)| {
            now += gap * 100_000_000;
            let (flags, sequence, acknowledgment, window) = header;
            let header = TcpHeader::new(flags, sequence, acknowledgment, window);
            Sent {
                timestamp: bool::then_some(stamped, now),
                from: b'a' + from,
                to: b'a' + (from + further) % 4,
                protocol,
                tcp: if protocol == TCP { header } else { TcpHeader::NONE },
            }
        };
        rows.into_iter().map(sent).collect()
    })
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    let active = prop::sample::select(vec![3, 30, 60, 100, 1_800]);
    active.prop_map(|s| Timeouts { active_ns: s * SECOND_NS, ..CONFIG.timeouts })
}

/// What happens besides packets.
#[derive(Debug, Clone, Copy)]
enum Event {
    Room(usize),
    Advance,
    Drain,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Room(0)),
        3 => (0usize..8).prop_map(Event::Room),
        3 => Just(Event::Room(1_000)),
        4 => Just(Event::Advance),
        1 => Just(Event::Drain),
    ]
}

/// Each flow is opened once and closed once, in this order, and nothing is counted outside.
fn check_parts(published: &[FlowRecord]) -> Result<(), TestCaseError> {
    let mut open = HashSet::new();
    let mut opened = HashSet::new();
    for published in published.iter().filter(|p| p.kind == RecordKind::Flow) {
        let FlowRecord { key, total: delta, .. } = published;
        if let Some(o) = delta.opening {
            prop_assert!(opened.insert((*key, o.flow_start, o.ordinal)), "opened twice");
            prop_assert!(open.insert(*key), "opened before the last was closed");
        }
        prop_assert!(open.contains(key), "counted outside of any flow");
        if delta.is_complete() {
            open.remove(key);
        }
    }
    prop_assert!(open.is_empty(), "never closed");
    Ok(())
}

proptest! {
    #[test]
    fn every_packet_is_published_once(
        sent in traffic(300),
        capacity in prop_oneof![Just(1usize), 1usize..5, Just(100)],
        timeouts in timeouts(),
        steps in vec((1usize..20, event()), 1..60),
    ) {
        let packets = packets(&sent);
        let counters = TableCounters::default();
        let mut table = CoreTable::new(TableConfig { capacity, timeouts, ..CONFIG }, hasher(), &counters).unwrap();
        let mut tray = Tray { room: 1_000, published: Vec::new() };
        let (mut rest, mut now) = (&packets[..], 0);
        for (batch, event) in steps.into_iter().cycle() {
            let (head, tail) = rest.split_at(batch.min(rest.len()));
            rest = tail;
            now = head.last().map_or(now, |packet| packet.tick);
            table.count(head, &mut tray);
            match event {
                Event::Room(room) => tray.room = room,
                Event::Advance => _ = table.advance(now, &mut tray),
                Event::Drain => _ = table.drain(now, &mut tray),
            }
            if rest.is_empty() {
                break;
            }
        }
        let counted = packets.len();
        while !table.drain(now, &mut tray) {
            tray.room += 1;
        }
        let sum = |overflow, get: fn(&FlowRecord) -> u64| -> u64 {
            tray.published.iter().filter(|p| (p.kind == RecordKind::Overflow) == overflow).map(get).sum()
        };
        let flows = sum(false, |p| p.total.packets());
        let overflow = sum(true, |p| p.total.packets());
        prop_assert_eq!(flows + overflow, counted as u64);
        prop_assert_eq!(counters.in_flows.get(), flows);
        prop_assert_eq!(counters.in_overflow.get(), overflow);
        let bytes = |p: &FlowRecord| p.total.sides[0].bytes + p.total.sides[1].bytes;
        prop_assert_eq!(sum(false, bytes) + sum(true, bytes), counted as u64 * 100);
        check_parts(&tray.published)?;
        let ended = records(&tray.published);
        let ended: u64 = ended.iter().map(|record| record.total.packets()).sum();
        prop_assert_eq!(ended, counted as u64);
    }

    #[test]
    fn when_the_hand_comes_by_does_not_matter(
        sent in traffic(300), timeouts in timeouts(),
        batch in 1usize..=64, extra in 0usize..4, cores in 1usize..5,
    ) {
        let packets = packets(&sent);
        let end = packets.last().unwrap().tick;
        let config = TableConfig { timeouts, ..CONFIG };
        let one_by_one = run(config, &packets, 1, 0, end);
        check_parts(&one_by_one)?;
        let want = records(&one_by_one);
        let batched = run(config, &packets, batch, extra, end);
        prop_assert_eq!(&records(&batched), &want);

        // Several workers, each with its share of the keys.
        let mut published = Vec::new();
        for core in 0..cores {
            let mut share = packets.clone();
            share.retain(|packet| packet.hash % cores as u64 == core as u64);
            published.extend(run(config, &share, batch, extra, end));
        }
        prop_assert_eq!(records(&published), want);
    }
}

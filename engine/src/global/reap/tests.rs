//! What `reap` finds by itself.

use std::collections::HashSet;

use super::*;
use crate::flow::{Direction, Endpoint, FlowRecord, Opening, PortKind, Published};
use crate::sync::ring::ring;

/// Keeps the keys of ended records.
struct Keep<'a>(&'a mut Vec<FlowKey>);

impl Ended for Keep<'_> {
    fn ended(&mut self, record: FlowRecord) {
        self.0.push(record.key);
    }

    fn flush(&mut self) {}
}

/// One packet of flow `number`, which `closes` with it or stays open.
fn delta(number: u16, closes: bool) -> Published {
    let end = |port| Endpoint { address: [1; 16], port };
    let (key, _) = FlowKey::canonical(end(number), end(0), 6, 17, PortKind::Ports, [0; 2]);
    let mut delta = Delta::EMPTY;
    delta.sides[0].packets = 1;
    delta.open_halves = i32::from(!closes);
    delta.end = closes.then_some(EndReason::Idle);
    delta.opening = Some(Opening {
        is_midstream: false,
        flow_start: None,
        ordinal: 0,
        initiator: Direction::Forward,
        macs: [None; 2],
        first_packet: Direction::Forward,
        icmp: None,
        interface: 0,
    });
    Published { key, hash: 0, core: 0, delta, overflow: false }
}

#[test]
fn a_round_ends_all_complete_records_that_no_hint_came_for_and_the_end_ends_the_rest() {
    // More than there can be hints, and an even number of open ones among them.
    const FLOWS: u16 = 10_000;
    assert!(usize::from(FLOWS) / 2 > HINTS);
    let (map, counters) = (GlobalMap::default(), GlobalCounters::default());
    for number in 1..=FLOWS {
        map.merge(&delta(number, number % 2 == 0), |_| panic!("nothing to evict"));
    }
    let mut keys = Vec::new();
    let (hints, finished) = ring(HINTS);
    let mut reap = Reap {
        finished: vec![finished],
        map: &map,
        symmetric: true,
        active_ns: 0,
        ended: Keep(&mut keys),
        counters: &counters,
        agenda: Agenda::default(),
    };
    assert_eq!(reap.step(ROUND / 2), Step::Idle);
    assert_eq!((counters.ended.get(), map.len()), (0, usize::from(FLOWS)));
    assert_eq!(reap.step(ROUND), Step::Idle);
    assert_eq!((counters.ended.get(), map.len()), (u64::from(FLOWS / 2), usize::from(FLOWS / 2)));
    drop(hints);
    assert_eq!(reap.step(ROUND), Step::Done);
    reap.finalise();
    assert!(map.is_empty());
    let all: HashSet<_> = keys.iter().copied().collect();
    assert_eq!((keys.len(), all.len()), (usize::from(FLOWS), usize::from(FLOWS)), "each once");
}

//! The map against a plain `HashMap`, and with threads that merge, evict and read at once.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::flow::{Delta, Direction, EndReason, Endpoint, Opening, PortKind};
use crate::sync::{AtomicBool, Ordering, thread};

fn key(number: u8) -> FlowKey {
    let end = |last| {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[10, 0, number, last]);
        Endpoint { address, port: 9 }
    };
    FlowKey::canonical(end(1), end(2), 4, 17, PortKind::Ports, [0; 2]).0
}

/// `packets` of ten bytes each, in one direction; the first and the last of a flow say so.
fn delta(
    number: u8,
    way: usize,
    ordinal: u32,
    packets: u64,
    opens: bool,
    closes: bool,
) -> (FlowKey, Delta) {
    let mut delta = Delta::EMPTY;
    delta.sides[way].packets = packets;
    delta.sides[way].bytes = packets * 10;
    if opens {
        delta.opening = Some(Opening {
            flow_start: None,
            ordinal,
            initiator: Direction::Forward,
            macs: [None; 2],
            first_packet: Direction::Forward,
            icmp: None,
            interface: 0,
            encapsulation: None,
        });
    }
    if closes {
        delta.end = Some(EndReason::Idle);
    }
    (key(number), delta)
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Merge { key: u8, way: usize, packets: u64, closes: bool },
    Evict { key: u8, complete_only: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..3, 0usize..2, 1u64..9, any::<bool>())
            .prop_map(|(key, way, packets, closes)| Step::Merge { key, way, packets, closes }),
        1 => (0u8..3, prop::bool::weighted(0.8))
            .prop_map(|(key, complete_only)| Step::Evict { key, complete_only }),
    ]
}

/// The map without threads: a `HashMap` of records.
#[derive(Default)]
struct Twin(HashMap<FlowKey, FlowRecord>);

impl Twin {
    fn merge(&mut self, key: &FlowKey, delta: &Delta, evicted: &mut Vec<FlowRecord>) -> Merged {
        if let Some(record) = self.0.get_mut(key) {
            if record.total.end.is_none() {
                record.total.combine(delta);
                return Merged::Folded {
                    complete: record.total.is_complete(),
                    part: record.total.part,
                };
            }
            evicted.extend(self.0.remove(key));
        }
        let record = FlowRecord::flow(*key, *delta);
        let complete = record.total.is_complete();
        self.0.insert(*key, record);
        Merged::Created { complete }
    }
}

proptest! {
    #[test]
    fn it_does_what_a_hash_map_does(steps in vec(step(), 1..80)) {
        let map = GlobalMap::default();
        let (mut twin, mut open) = (Twin::default(), HashSet::new());
        let (mut evicted, mut twins_evicted) = (Vec::new(), Vec::new());
        for (ordinal, step) in (0..).zip(steps) {
            match step {
                Step::Merge { key, way, packets, closes } => {
                    // A flow is opened before anything is added to it.
                    let opens = open.insert(key);
                    if closes {
                        open.remove(&key);
                    }
                    let (key, delta) = delta(key, way, ordinal, packets, opens, closes);
                    prop_assert_eq!(
                        map.merge(&key, &delta, |record| evicted.push(record)),
                        twin.merge(&key, &delta, &mut twins_evicted)
                    );
                }
                Step::Evict { key: number, complete_only } => {
                    let when = |total: &Delta| !complete_only || total.is_complete();
                    let key = key(number);
                    evicted.extend(map.evict(&key, when));
                    if twin.0.get(&key).is_some_and(|record| when(&record.total)) {
                        twins_evicted.extend(twin.0.remove(&key));
                    }
                }
            }
            prop_assert_eq!(&evicted, &twins_evicted);
            let mut seen = HashMap::new();
            map.for_each(|key, total| _ = seen.insert(*key, FlowRecord::flow(*key, *total)));
            prop_assert_eq!(&seen, &twin.0);
            prop_assert_eq!((map.len(), map.is_empty()), (seen.len(), seen.is_empty()));
            for number in 0..3 {
                prop_assert_eq!(map.contains(&key(number)), seen.contains_key(&key(number)));
            }
        }
    }
}

/// One thread merges flows of few keys, one evicts them when complete, one reads.
#[test]
fn three_threads_lose_nothing_and_see_whole_records() {
    const KEYS: u8 = 4;
    let map = GlobalMap::default();
    let is_over = AtomicBool::new(false);
    let whole = |total: &Delta| {
        let bytes = total.sides[0].bytes + total.sides[1].bytes;
        assert_eq!(bytes, total.packets() * 10, "a torn record");
    };
    let (merged, mut ended, reads) = thread::scope(|scope| {
        let merge = scope.spawn(|| {
            let (mut packets, mut evicted) = (0, Vec::new());
            let deadline = Instant::now() + Duration::from_secs(1);
            let mut flow = 0;
            while Instant::now() < deadline {
                for _ in 0..256 {
                    flow += 1;
                    let number = u8::try_from(flow % u32::from(KEYS)).unwrap();
                    let mut send = |way, packet, opens, closes| {
                        packets += packet;
                        let (key, delta) = delta(number, way, flow, packet, opens, closes);
                        map.merge(&key, &delta, |record| evicted.push(record));
                    };
                    // Of one, two or three deltas.
                    send(0, 1, true, flow % 3 == 0);
                    if flow % 3 == 2 {
                        send(1, 2, false, false);
                    }
                    if flow % 3 > 0 {
                        send(1, 4, false, true);
                    }
                }
            }
            // Release: `evict` and `read` see all merges before they look for the last time.
            is_over.store(true, Ordering::Release);
            (packets, evicted)
        });
        let evict = scope.spawn(|| {
            let mut evicted = Vec::new();
            loop {
                // Acquire: pairs with the store of the merging thread.
                let last = is_over.load(Ordering::Acquire);
                for number in 0..KEYS {
                    evicted.extend(map.evict(&key(number), Delta::is_complete));
                }
                if last {
                    return evicted;
                }
            }
        });
        let read = scope.spawn(|| {
            let mut reads = 0u64;
            // Acquire: as above.
            while !is_over.load(Ordering::Acquire) {
                map.for_each(|_, total| {
                    whole(total);
                    reads += 1;
                });
            }
            reads
        });
        let (merged, mut ended) = merge.join().unwrap();
        ended.extend(evict.join().unwrap());
        (merged, ended, read.join().unwrap())
    });
    assert!(reads > 0, "nothing was read");
    map.for_each(|_, total| assert!(!total.is_complete(), "a complete record was left"));
    for number in 0..KEYS {
        ended.extend(map.evict(&key(number), |_| true));
    }
    assert!(map.is_empty());
    ended.iter().for_each(|record| whole(&record.total));
    let packets: u64 = ended.iter().map(|record| record.total.packets()).sum();
    assert_eq!(packets, merged, "of {} records", ended.len());
    // A record that ended twice would count twice.
    let flows: HashSet<_> = ended.iter().map(|record| record.flow_id()).collect();
    assert_eq!(flows.len(), ended.len(), "flows that ended twice");
}

#[test]
fn a_cut_takes_what_was_counted_and_the_flow_goes_on_as_the_next_part() {
    let map = GlobalMap::default();
    let key = key(1);
    let merge = |way, packets, opens, closes| {
        let (key, delta) = delta(1, way, 0, packets, opens, closes);
        map.merge(&key, &delta, |_| panic!("nothing to evict"));
    };
    merge(0, 3, true, false);
    merge(1, 4, false, false);
    let first = map.cut(&key).expect("it was long");
    merge(0, 2, false, false);
    assert!(map.evict(&key, Delta::is_complete).is_none(), "the flow goes on");
    merge(1, 0, false, true);
    let second = map.evict(&key, Delta::is_complete).expect("complete");
    assert_eq!((first.total.part, first.total.packets()), (0, 7));
    assert_eq!((second.total.part, second.total.packets()), (1, 2));
    assert_eq!(first.flow_id(), second.flow_id());
    assert_eq!(map.cut(&key), None, "gone");
}

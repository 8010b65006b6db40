//! A map of one flow: a cell that is replaced while its predecessor is evicted, so that every
//! packet ends in one record, whoever is faster.

#![expect(unsafe_code, reason = "the interface of the epoch collector, which is checked here")]

use loom::thread;

use super::*;
use crate::flow::{Direction, EndReason, Endpoint, Opening, PortKind};
use crate::sync::epoch::{Atomic, Owned, Shared};
use crate::sync::model::explore::Model;
use crate::sync::model::fault::{self, Fault};
use crate::sync::{Arc, Ordering};

/// A concurrent map with one place, in the place of papaya's: an entry is published to who
/// finds it, and nothing else is ordered.
#[derive(Default)]
struct OnePlace(Atomic<FlowCell>);

impl Cells for OnePlace {
    type Guard<'a> = Guard;

    fn guard(&self) -> Guard {
        pin()
    }

    fn with<R>(&self, _: &FlowKey, guard: &Guard, look: impl FnOnce(&FlowCell) -> R) -> Option<R> {
        let cell = self.0.load(Ordering::Acquire, guard);
        // SAFETY: the guard keeps what it was loaded under.
        (!cell.is_null()).then(|| look(unsafe { cell.deref() }))
    }

    fn insert(&self, _: FlowKey, cell: FlowCell, guard: &Guard) {
        let replaced = self.0.swap(Owned::new(cell), Ordering::AcqRel, guard);
        if !replaced.is_null() {
            // SAFETY: it was just replaced, by this thread alone.
            unsafe { guard.defer_destroy(replaced) };
        }
    }

    #[track_caller]
    fn remove_if(&self, _: &FlowKey, guard: &Guard, condition: impl Fn(&FlowCell) -> bool) {
        let always = fault::is_broken(Fault::Condition);
        loop {
            let cell = self.0.load(Ordering::Acquire, guard);
            // SAFETY: the guard keeps what it was loaded under.
            if cell.is_null() || !(always || condition(unsafe { cell.deref() })) {
                return;
            }
            let gone = Shared::<FlowCell>::null();
            let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
            if self.0.compare_exchange(cell, gone, acquire, relaxed, guard).is_ok() {
                // SAFETY: as in `insert`.
                unsafe { guard.defer_destroy(cell) };
                return;
            }
        }
    }

    fn for_each(&self, _: usize, guard: &Guard, mut each: impl FnMut(&FlowKey, &FlowCell)) {
        self.with(&key(), guard, |cell| each(&key(), cell));
    }

    fn count(&self) -> usize {
        let guard = pin();
        usize::from(!self.0.load(Ordering::Acquire, &guard).is_null())
    }
}

fn key() -> FlowKey {
    let end = Endpoint { address: [1; 16], port: 1 };
    FlowKey::canonical(end, end, 4, 17, PortKind::Ports, [0; 2]).0
}

/// `n` packets of a flow, which begins and ends with them if it is `whole`.
fn delta(n: u64, whole: bool) -> Delta {
    let mut delta = Delta::EMPTY;
    delta.sides[0].packets = n;
    delta.sides[1].bytes = n * 10;
    if whole {
        delta.end = Some(EndReason::Idle);
        delta.opening = Some(Opening {
            flow_start: None,
            ordinal: 1,
            initiator: Direction::Forward,
            macs: [None; 2],
            first_packet: Direction::Forward,
            icmp: None,
            interface: 0,
            encapsulation: None,
        });
    }
    delta
}

/// The packets of a record, which must be whole.
fn packets(record: &Delta) -> u64 {
    assert_eq!(record.sides[1].bytes, record.packets() * 10, "a torn record");
    record.packets()
}

/// A thread that merges two deltas meets threads that evict and that read.
fn meet(evictions: usize, reads: usize, whole: bool) {
    let map = Arc::new(GlobalMap::over(OnePlace::default()));
    map.merge(&key(), &delta(1, whole), |_| unreachable!("the map was empty"));
    let begin = |run: fn(&GlobalMap<OnePlace>, bool) -> (u64, Vec<FlowRecord>)| {
        let map = Arc::clone(&map);
        thread::spawn(move || run(&map, whole))
    };
    let merging = begin(|map, whole| {
        let (mut created, mut ended) = (0, Vec::new());
        for n in [2, 4] {
            let merged = map.merge(&key(), &delta(n, whole), |record| ended.push(record));
            created += u64::from(matches!(merged, Merged::Created { .. }));
        }
        (created, ended)
    });
    let mut threads = vec![merging];
    for _ in 0..evictions {
        threads.push(begin(|map, _| (0, map.evict(&key(), |_| true).into_iter().collect())));
    }
    for _ in 0..reads {
        threads.push(begin(|map, _| {
            map.for_each(|_, record| _ = packets(record));
            (0, Vec::new())
        }));
    }
    let (mut created, mut ended) = (1, Vec::new());
    for thread in threads {
        let (by_it, from_it) = thread.join().unwrap();
        created += by_it;
        ended.extend(from_it);
    }
    ended.extend(map.evict(&key(), |_| true));
    assert!(map.is_empty(), "a closed cell was left");
    assert_eq!(ended.iter().map(|record| packets(&record.total)).sum::<u64>(), 7, "packets");
    assert_eq!(ended.len() as u64, created, "records that ended, and that were created");
}

const RECREATION: Model = Model { run: || meet(1, 1, false), preemptions: Some(2) };

const TWO_EVICTIONS: Model = Model { run: || meet(2, 0, false), ..RECREATION };

const NEW_FLOWS: Model = Model { run: || meet(1, 1, true), ..RECREATION };

#[test]
fn a_flow_is_created_again_while_it_is_evicted() {
    RECREATION.holds(1_000);
}

#[test]
fn a_flow_is_created_again_while_two_evict_it() {
    TWO_EVICTIONS.holds(1_000);
}

#[test]
fn a_flow_of_the_same_key_begins_while_the_first_is_evicted() {
    NEW_FLOWS.holds(1_000);
}

#[test]
fn an_eviction_needs_to_leave_a_new_cell_alone() {
    RECREATION.needs(&[Fault::Condition], "global/map.rs", 1);
}

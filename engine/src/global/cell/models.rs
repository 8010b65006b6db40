//! Threads that meet at one cell, each with one thing to do: nothing is lost, the record ends
//! once, and is whole wherever it is seen.

use loom::thread;

use super::*;
use crate::sync::Arc;
use crate::sync::epoch::pin;
use crate::sync::model::explore::Model;
use crate::sync::model::fault::{Fault, ORDERINGS};

/// What a thread does with the cell.
#[derive(Clone, Copy)]
enum Task {
    /// Merges so many packets.
    Merge(u64),
    Evict,
    Cut,
    Read,
}

/// What a thread came away with.
#[derive(Default)]
struct Outcome {
    /// Packets in what it cut or evicted.
    taken: u64,
    /// Packets that the cell refused, and that begin a new record.
    refused: u64,
    /// Times that it ended the record.
    ended: u64,
}

fn delta(packets: u64) -> Delta {
    let mut delta = Delta::EMPTY;
    delta.sides[0].packets = packets;
    delta.sides[1].bytes = packets * 10;
    delta
}

/// The packets of a record, which must be whole.
fn packets(record: &Delta) -> u64 {
    assert_eq!(record.sides[1].bytes, record.packets() * 10, "a torn record");
    record.packets()
}

impl Task {
    fn run(self, cell: &FlowCell) -> Outcome {
        let guard = pin();
        let mut outcome = Outcome::default();
        match self {
            Self::Merge(n) => match cell.merge(&delta(n), &guard) {
                Ok(record) => assert!(packets(record) >= n),
                Err(_) => outcome.refused = n,
            },
            Self::Evict => {
                if let Some(record) = cell.close(|_| true, &guard) {
                    outcome.taken = packets(&record);
                    outcome.ended = 1;
                    assert!(cell.is_closed(&guard), "closed, and open again");
                    assert!(cell.read(&guard).is_none(), "closed, and still read");
                }
            }
            Self::Cut => outcome.taken = cell.cut(&guard).as_ref().map_or(0, packets),
            Self::Read => _ = cell.read(&guard).map(packets),
        }
        outcome
    }
}

/// Lets `tasks` meet, each in a thread.
fn meet(tasks: &[Task]) {
    let cell = Arc::new(FlowCell::new(delta(1)));
    let mut merged = 1;
    let spawn = |&task: &Task| {
        let cell = Arc::clone(&cell);
        if let Task::Merge(n) = task {
            merged += n;
        }
        thread::spawn(move || task.run(&cell))
    };
    let threads: Vec<_> = tasks.iter().map(spawn).collect();
    let mut outcomes: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    outcomes.push(Task::Evict.run(&cell));
    let sum = |get: fn(&Outcome) -> u64| outcomes.iter().map(get).sum::<u64>();
    assert_eq!(sum(|o| o.ended), 1, "times that the record ended");
    assert_eq!(sum(|o| o.taken) + sum(|o| o.refused), merged, "packets");
}

const TWO_MERGES: Model = Model {
    run: || meet(&[Task::Merge(2), Task::Merge(4), Task::Evict, Task::Read]),
    preemptions: Some(2),
};

const TWO_EVICTIONS: Model =
    Model { run: || meet(&[Task::Merge(2), Task::Evict, Task::Evict, Task::Read]), ..TWO_MERGES };

const A_CUT: Model =
    Model { run: || meet(&[Task::Merge(2), Task::Cut, Task::Evict, Task::Read]), ..TWO_MERGES };

#[test]
fn two_merges_an_eviction_and_a_read() {
    TWO_MERGES.holds(1_000);
}

#[test]
fn a_merge_two_evictions_and_a_read() {
    TWO_EVICTIONS.holds(1_000);
}

#[test]
fn a_merge_a_cut_an_eviction_and_a_read() {
    A_CUT.holds(1_000);
}

#[test]
fn a_cell_needs_its_tags() {
    A_CUT.needs(&[Fault::Tag], "global/cell.rs", 5);
}

#[test]
fn a_cell_needs_its_orderings() {
    A_CUT.needs(ORDERINGS, "global/cell.rs", 3);
}

#[test]
fn a_cell_needs_a_guard() {
    A_CUT.needs(&[Fault::Guard], "cell/models.rs", 1);
}

//! Two threads that want the one entry that there is, for the same thing or for two that differ
//! in a word that is 0, as unwritten words are; and one that reads.

use loom::thread;

use super::*;
use crate::flow::encapsulation::MplsLabels;
use crate::sync::Arc;
use crate::sync::model::explore::Model;
use crate::sync::model::fault::ORDERINGS;

/// The first label is all that tells these apart. There are so many that the last one is in
/// another word.
fn labelled(label: u32) -> Encapsulation {
    let mut labels = MplsLabels::default();
    [label, 0, 0, 1].into_iter().for_each(|label| labels.push(label));
    Encapsulation { labels, ..Encapsulation::default() }
}

fn threads_meet(first: u32, second: u32) {
    let table = Arc::new(Encapsulations::with_entries(2));
    let entering = [first, second].map(|label| {
        let table = Arc::clone(&table);
        thread::spawn(move || {
            let number = table.number(&labelled(label))?;
            // The number is handed on to whoever reads it.
            assert_eq!(table.get(number), Some(labelled(label)), "another's number");
            Some(number)
        })
    });
    let reading = thread::spawn({
        let table = Arc::clone(&table);
        move || {
            if let Some(seen) = table.get(Number::MIN) {
                assert!(seen == labelled(first) || seen == labelled(second), "half of one");
            }
        }
    });
    let numbers = entering.map(|thread| thread.join().unwrap());
    reading.join().unwrap();
    assert!(numbers.iter().any(Option::is_some), "nobody had the entry");
}

const DIFFERENT: Model = Model { run: || threads_meet(5, 0), preemptions: Some(3) };
const SAME: Model = Model { run: || threads_meet(5, 5), preemptions: Some(3) };

#[test]
fn an_entry_is_one_threads_and_is_whole_when_seen() {
    DIFFERENT.holds(100);
    SAME.holds(100);
}

#[test]
fn the_table_needs_each_of_its_orderings() {
    DIFFERENT.needs(ORDERINGS, "encapsulation/table.rs", 4);
}

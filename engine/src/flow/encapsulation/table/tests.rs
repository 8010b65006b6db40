//! Against a map, from one thread and from several.

use std::collections::HashMap;

use super::*;
use crate::flow::encapsulation::MplsLabels;
use crate::sync::{Arc, thread};

/// Different for each `n`.
fn nth(n: u32) -> Encapsulation {
    let mut labels = MplsLabels::default();
    (0..n % 4).for_each(|label| labels.push(label));
    let address = |last: u32| std::net::Ipv4Addr::from_bits(0x0a00_0000 | last).into();
    let third_vlan = 0;
    Encapsulation { ends: Some([address(n), address(7)]), id: Some(n), labels, third_vlan }
}

#[test]
fn each_is_kept_once_under_its_number() {
    let table = Encapsulations::default();
    let mut known = HashMap::new();
    for n in (0..2_000).chain(0..2_000) {
        let number = table.number(&nth(n)).expect("there is room");
        assert_eq!(*known.entry(number).or_insert(n), n);
        assert_eq!(table.get(number), Some(nth(n)));
    }
    assert_eq!(known.len(), 2_000);
    assert!((1..=u16::MAX).filter_map(Number::new).any(|number| table.get(number).is_none()));
}

#[test]
fn a_full_one_keeps_what_it_has() {
    let table = Encapsulations::with_entries(64);
    let fill = |kind: &dyn Fn(u32) -> Encapsulation| {
        let numbers: Vec<_> = (0..1_000).map(|n| table.number(&kind(n))).collect();
        for (n, number) in (0..).zip(&numbers) {
            assert_eq!(table.number(&kind(n)), *number);
            assert_eq!(number.and_then(|number| table.get(number)), number.map(|_| kind(n)));
        }
        numbers.iter().flatten().count()
    };
    assert_eq!(fill(&nth), 31, "half of the room is for those with an identifier, but number 0");
    assert_eq!(fill(&|n| Encapsulation { id: None, ..nth(n) }), 32, "and half for the others");
}

#[test]
fn without_memory_there_is_no_room() {
    let table = Encapsulations { words: None };
    assert_eq!(table.number(&nth(1)), None);
    assert_eq!(table.get(Number::MIN), None);
}

#[test]
fn threads_enter_the_same_things_at_once() {
    let table = Arc::new(Encapsulations::default());
    let threads: Vec<_> = (0..4_u32)
        .map(|_| {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                for n in 0..2_000 {
                    let number = table.number(&nth(n)).expect("there is room");
                    assert_eq!(table.get(number), Some(nth(n)));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

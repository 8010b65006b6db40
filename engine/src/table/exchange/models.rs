//! Two senders and the receiver of both: what comes first is taken first.

use loom::thread;

use super::*;
use crate::sync::model::explore::Model;
use crate::sync::model::fault::ORDERINGS;
use crate::table::exchange::tests::packet;

/// Sends packets, one in a batch, as far as there is room; then says that it is at 9.
fn send(mut senders: Senders, numbers: &[u64]) {
    for &number in numbers {
        while !senders.send(0, &packet(number)) {
            thread::yield_now();
        }
    }
    while !senders.flush(9) {
        thread::yield_now();
    }
}

fn what_comes_first_is_taken_first() {
    let (one, from_one) = senders(1, Order::Place, 1, 1);
    let (two, from_two) = senders(1, Order::Place, 1, 1);
    let from: Vec<_> = from_one.into_iter().chain(from_two).collect();
    let mut exchange = Exchange {
        to: None,
        heads: vec![None; from.len()],
        from,
        order: Order::Place,
        taken: Vec::new(),
        newest: 0,
    };
    let threads = [
        thread::spawn(move || send(one, &[2])),
        thread::spawn(move || send(two, &[1])),
        thread::spawn(move || {
            let mut taken = Vec::new();
            while taken.len() < 2 {
                let packets = exchange.receive(2);
                if packets.is_empty() {
                    thread::yield_now();
                }
                taken.extend(packets.iter().map(|packet| packet.ordinal));
            }
            assert_eq!(taken, [1, 2], "not in order");
        }),
    ];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

const MODEL: Model = Model { run: what_comes_first_is_taken_first, preemptions: Some(2) };

#[test]
fn what_comes_first_is_taken_first_whoever_is_faster() {
    MODEL.holds(1_000);
}

#[test]
fn an_exchange_needs_its_orderings() {
    MODEL.needs(ORDERINGS, "table/exchange.rs", 2);
}

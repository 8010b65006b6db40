//! A lane of one batch of one item, which three items go through: so one batch is filled while
//! another is under way, and the third item needs the first one's buffer back.

use std::collections::BTreeSet;

use loom::thread;

use super::*;
use crate::sync::model::explore::Model;

const ITEMS: usize = 3;

fn everything_comes_out_once_and_in_order() {
    passed_by(Sender::room, Receiver::is_finished);
}

fn passed_by(room: fn(&Sender<usize>) -> usize, is_finished: fn(&Receiver<usize>) -> bool) {
    let (mut sender, mut receiver) = lane(1, 1);
    let sending = thread::spawn(move || {
        let mut next = 0;
        while next < ITEMS {
            // What fits for sure fits whatever the receiver does: `push` asserts it.
            let fits = room(&sender).min(ITEMS - next);
            for _ in 0..fits {
                sender.push(next);
                next += 1;
            }
            if fits == 0 {
                thread::yield_now();
            }
        }
        while !sender.flush() {
            thread::yield_now();
        }
    });
    let receiving = thread::spawn(move || {
        let (mut next, mut buffers) = (0, BTreeSet::new());
        while !is_finished(&receiver) {
            let received = receiver.receive(|batch| {
                buffers.insert(batch.as_ptr().addr());
                for &item in batch {
                    assert_eq!(item, next);
                    next += 1;
                }
            });
            if !received {
                thread::yield_now();
            }
        }
        (next, buffers.len())
    });
    sending.join().unwrap();
    let (received, buffers) = receiving.join().unwrap();
    assert_eq!(received, ITEMS, "not everything was received");
    assert!(buffers <= 2, "{buffers} buffers: they do not come back");
}

const MODEL: Model = Model { run: everything_comes_out_once_and_in_order, preemptions: Some(3) };

#[test]
fn everything_comes_out_once_and_in_order_over_two_buffers() {
    MODEL.holds(1_000);
}

#[test]
fn a_receiver_that_looks_for_items_first_ends_too_early() {
    let run = || {
        let items_first =
            |receiver: &Receiver<_>| receiver.waiting() == 0 && receiver.full.is_abandoned();
        passed_by(Sender::room, items_first);
    };
    Model { run, ..MODEL }.fails("not everything was received");
}

#[test]
fn room_for_batches_that_are_not_back_is_overstated() {
    let run = || {
        let places = |sender: &Sender<_>| {
            sender.batch_len - sender.filling.len() + sender.full.slots() * sender.batch_len
        };
        passed_by(places, Receiver::is_finished);
    };
    Model { run, ..MODEL }.fails("pushed without room");
}

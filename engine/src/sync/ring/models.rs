//! A ring of two places that three items go through, so that it is full, empty, and comes
//! round; the producer goes, and the consumer must have seen its last item by then.

use loom::thread;

use super::*;
use crate::sync::model::explore::Model;
use crate::sync::model::fault::ORDERINGS;

const ITEMS: u32 = 3;

fn items_come_out_once_and_in_order() {
    let (mut producer, mut consumer) = ring(2);
    let producing = thread::spawn(move || {
        for item in 0..ITEMS {
            while producer.slots() == 0 {
                thread::yield_now();
            }
            // What fits for sure fits whatever the consumer does.
            assert_eq!(producer.push(Box::new(item)), Ok(()));
        }
    });
    let consuming = thread::spawn(move || {
        let mut next = 0;
        loop {
            let is_last = consumer.is_abandoned();
            while let Some(item) = consumer.pop() {
                assert_eq!(*item, next);
                next += 1;
            }
            if is_last {
                return next;
            }
            thread::yield_now();
        }
    });
    producing.join().unwrap();
    assert_eq!(consuming.join().unwrap(), ITEMS, "not everything was received");
}

const MODEL: Model = Model { run: items_come_out_once_and_in_order, preemptions: Some(3) };

#[test]
fn items_come_out_once_and_in_order_and_the_last_before_the_end() {
    MODEL.holds(1_000);
}

#[test]
fn the_ring_needs_each_of_its_orderings() {
    MODEL.needs(ORDERINGS, "sync/ring.rs", 6);
}

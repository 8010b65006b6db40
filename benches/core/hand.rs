//! One round of the hand, for each slot.

use divan::Bencher;

use crate::locked::on_locked;
use crate::once;
use crate::pieces::table::{Find, Round};

#[divan::bench(args = [Find::Dirty, Find::Clean, Find::Over])]
fn ours(bencher: Bencher<'_, '_>, find: Find) {
    once(bencher, || Round::new(find));
}

/// Takes out what is over, all at once and under the lock.
#[divan::bench(args = [Find::Over])]
fn mutex_hashbrown(bencher: Bencher<'_, '_>, _: Find) {
    on_locked(bencher, |map| {
        let mut packets = 0;
        map.lock().expect("not poisoned").retain(|_, delta| {
            let is_over = delta.last < 1_000;
            packets += if is_over { delta.packets() } else { 0 };
            !is_over
        });
        packets
    });
}

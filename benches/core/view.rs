//! The busiest of all flows.

use divan::Bencher;

use crate::again;
use crate::locked::on_locked;
use crate::pieces::global::Busiest;

#[divan::bench]
fn ours_busiest(bencher: Bencher<'_, '_>) {
    again(bencher, Busiest::new());
}

/// The busiest of all, under the lock.
#[divan::bench]
fn mutex_hashbrown_busiest(bencher: Bencher<'_, '_>) {
    on_locked(bencher, |map| {
        let map = map.lock().expect("not poisoned");
        let mut bytes: Vec<u64> = map.values().map(|delta| delta.sides[0].bytes).collect();
        bytes.select_nth_unstable_by(9, |one, two| two.cmp(one));
        bytes[..10].iter().sum()
    });
}

//! Complete records out of the map.

use divan::Bencher;

use crate::locked::{later, on_locked};
use crate::once;
use crate::pieces::global::Evict;

#[divan::bench]
fn ours(bencher: Bencher<'_, '_>) {
    once(bencher, Evict::new);
}

#[divan::bench]
fn mutex_hashbrown(bencher: Bencher<'_, '_>) {
    let later = later();
    on_locked(bencher, |map| {
        let evict = |key| map.lock().expect("not poisoned").remove(key);
        let records = later.iter().filter_map(|published| evict(&published.key));
        records.map(|record| record.packets()).sum()
    });
}

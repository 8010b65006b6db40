//! Deltas over a lane and into records.

use divan::Bencher;
use flowtap::flow::Delta;

use crate::locked::{later, on_locked};
use crate::once;
use crate::pieces::global::PublishAndMerge;

#[divan::bench]
fn ours_whole(bencher: Bencher<'_, '_>) {
    once(bencher, PublishAndMerge::whole);
}

#[divan::bench]
fn ours_new_record(bencher: Bencher<'_, '_>) {
    once(bencher, PublishAndMerge::new_records);
}

#[divan::bench]
fn ours_fold(bencher: Bencher<'_, '_>) {
    once(bencher, PublishAndMerge::fold);
}

#[divan::bench]
fn ours_last(bencher: Bencher<'_, '_>) {
    once(bencher, PublishAndMerge::last);
}

/// Without the lane: a lock for each delta instead.
#[divan::bench]
fn mutex_hashbrown_fold(bencher: Bencher<'_, '_>) {
    let later = later();
    on_locked(bencher, |map| {
        for published in &later {
            let mut map = map.lock().expect("not poisoned");
            map.entry(published.key).or_insert(Delta::EMPTY).combine(&published.total);
        }
        later.len() as u64
    });
}

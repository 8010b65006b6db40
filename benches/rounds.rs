//! Work that is done again and again, for a figure of each piece of it.

use std::hint::black_box;

use crate::clock::own_ns;

/// Nanoseconds of this thread's own time for each of `items` that `work` goes over: the median
/// of `rounds`, after one that is not counted.
pub(crate) fn ns_each<R>(rounds: usize, items: usize, mut work: impl FnMut() -> R) -> f64 {
    black_box(work());
    let mut round = || {
        let start = own_ns();
        black_box(work());
        (own_ns() - start) as f64 / items as f64
    };
    let mut times: Vec<f64> = (0..rounds).map(|_| round()).collect();
    times.sort_by(f64::total_cmp);
    times[rounds / 2]
}

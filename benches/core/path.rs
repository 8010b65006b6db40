//! The packet path of one core, on sessions of TLS and the look-ups before them.

use std::thread;

use divan::Bencher;
use flowtap::names::NamesThread;

use crate::again;
use crate::pieces::path::Path;

/// With names, which another thread reads.
#[divan::bench]
fn ours_web(bencher: Bencher<'_, '_>) {
    let beside = |names: NamesThread| _ = thread::spawn(move || names.run());
    again(bencher, Path::with_names(beside));
}

/// What names cost: the packet path keeps so much of its rate.
#[divan::bench]
fn without_names_web(bencher: Bencher<'_, '_>) {
    again(bencher, Path::bare());
}

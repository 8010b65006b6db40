//! What one would write first, as the rival of what happens to flows: one map behind one lock.

use std::sync::Mutex;

use divan::Bencher;
use divan::counter::ItemsCount;
use flowtap::flow::{Delta, FlowKey, FlowRecord};
use hashbrown::HashMap;

use crate::pieces::ITEMS;
use crate::pieces::global::delta;

/// One map behind one lock.
pub(crate) type Locked = Mutex<HashMap<FlowKey, Delta, foldhash::fast::RandomState>>;

/// With all flows in it.
fn locked() -> Locked {
    let flows = (0..ITEMS).map(|number| delta(number, true, false));
    Mutex::new(flows.map(|published| (published.key, published.total)).collect())
}

/// Measures what one does with all flows, on a map of its own each time.
pub(crate) fn on_locked(bencher: Bencher<'_, '_>, run: impl Fn(&Locked) -> u64) {
    let bencher = bencher.counter(ItemsCount::new(ITEMS)).with_inputs(locked);
    bencher.bench_local_refs(|map| run(map));
}

/// Later deltas of all flows.
pub(crate) fn later() -> Vec<FlowRecord> {
    (0..ITEMS).map(|number| delta(number, false, true)).collect()
}

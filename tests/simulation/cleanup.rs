//! Clean-up at any moment: a second thread that evicts any key at any time, with merges
//! between its look at a record and its compare-and-swap.

use std::cell::{Cell, RefCell};

use flowtap::flow::FlowKey;
use flowtap::global::merge::Merge;
use flowtap::global::{Ended, Step};

use crate::sink::{Evictor, Recorder};
use crate::world::{Shared, say};

/// Merges inside of one eviction at most.
const MERGES_INSIDE: usize = 2;

pub(crate) struct CleanUp<'a> {
    evictor: Evictor<'a>,
    keys: Vec<FlowKey>,
    ended: Recorder<'a>,
}

impl<'a> CleanUp<'a> {
    pub(crate) fn new(evictor: Evictor<'a>, keys: Vec<FlowKey>, ended: Recorder<'a>) -> Self {
        Self { evictor, keys, ended }
    }

    /// Evicts a key if its record is complete.
    pub(crate) fn step(
        &mut self,
        merges: &mut [Option<Merge<'_, Recorder<'_>>>],
        shared: &mut Shared,
    ) {
        if self.keys.is_empty() {
            return;
        }
        let key = shared.rng.pick(&self.keys);
        let merge = shared.rng.below(merges.len());
        let left = Cell::new(shared.rng.below(MERGES_INSIDE + 1));
        let merges = RefCell::new(merges);
        let merge_inside = || {
            if left.get() > 0 {
                left.set(left.get() - 1);
                let merge = &mut merges.borrow_mut()[merge];
                if merge.as_mut().is_some_and(|merge| merge.step() == Step::Done) {
                    *merge = None;
                }
            }
        };
        if let Some(record) = self.evictor.evict(&key, merge_inside) {
            say!(shared, "clean-up takes {} packets of {key:?}", record.total.packets());
            self.ended.ended(record);
        }
    }

    /// Hands on what it has taken.
    pub(crate) fn finish(&mut self) {
        self.keys.clear();
        self.ended.flush();
    }
}

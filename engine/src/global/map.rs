//! The global map: from a flow's key to a cell that holds its immutable record.
//!
//! Cells are lock-free. The map around them ([`cells`]) is papaya's: lock-free but while a
//! part of it grows. Only `cells` names it.
//!
//! # Why papaya
//!
//! Measured under this very protocol by `cargo bench -p flowtap --bench merge`, with 100,000
//! live flows, flurry = 1 (less is better):
//!
//! | | fill | create, merge, evict | read | the same under a reader | bytes a live flow |
//! |---|---|---|---|---|---|
//! | papaya in parts | 0.45 | 0.87 | 0.16 | 0.71 | 272 |
//! | flurry | 1 | 1 | 1 | 1 | 483 |
//! | dashmap | 0.53 | 0.69 | 0.28 | 185 | 272 |
//! | scc | 0.56 | 0.51 | 0.10 | 0.90 | 294 |
//!
//! flurry cannot leave a value alone when asked to remove it on a condition, so cells need an
//! `Arc`; with that and its nodes a live flow takes more than the 400 bytes that it may.
//! dashmap and scc create and evict faster, by locks around shards or buckets: who reads the
//! map holds up who merges. papaya with the records in its nodes and no cells was no faster,
//! and larger.

pub mod cells;

use crate::flow::{Delta, FlowKey, FlowRecord};
use crate::global::cell::{FlowCell, Refused};
use crate::global::map::cells::{Cells, Papaya};
use crate::sync::epoch::{Guard, pin};

/// What became of a delta.
#[derive(Debug, PartialEq, Eq)]
pub enum Merged {
    /// It began a record, which is (or is not) complete with it.
    Created {
        /// Whether no packet of the record is missing any more.
        complete: bool,
    },
    /// It was folded into a record, which is (or is not) complete with it.
    Folded {
        /// Whether no packet of the record is missing any more.
        complete: bool,
        /// Which part of its flow the record is.
        part: u32,
    },
}

/// All live records.
pub struct GlobalMap<C = Papaya> {
    cells: C,
}

impl Default for GlobalMap {
    fn default() -> Self {
        Self::over(Papaya::default())
    }
}

impl<C: Cells> std::fmt::Debug for GlobalMap<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GlobalMap").field("len", &self.len()).finish()
    }
}

/// What keeps cells and records from being freed while one call looks at them. Taking it
/// for a batch of merges instead was no faster.
struct Pinned<'a, C: Cells + 'a> {
    cells: C::Guard<'a>,
    epoch: Guard,
}

impl<C: Cells> GlobalMap<C> {
    /// A global map over a concurrent map of its own.
    pub fn over(cells: C) -> Self {
        Self { cells }
    }

    fn pin(&self) -> Pinned<'_, C> {
        Pinned { cells: self.cells.guard(), epoch: pin() }
    }

    /// Folds a delta into its flow's record. A complete record of an earlier flow is evicted on
    /// the way and passed to `evicted`.
    ///
    /// Only one thread may merge deltas of one key: it is the only one to enter cells.
    pub fn merge(&self, key: &FlowKey, delta: &Delta, evicted: impl FnOnce(FlowRecord)) -> Merged {
        let mut displaced = None;
        let merged = self.merge_pinned(key, delta, &mut displaced);
        // Not pinned any more: the sinks may make this thread wait.
        if let Some(record) = displaced {
            evicted(record);
        }
        merged
    }

    fn merge_pinned(
        &self,
        key: &FlowKey,
        delta: &Delta,
        displaced: &mut Option<FlowRecord>,
    ) -> Merged {
        let Pinned { cells, epoch } = self.pin();
        let folded = self.cells.with(key, &cells, |cell| match cell.merge(delta, &epoch) {
            Ok(total) => Some((total.is_complete(), total.part)),
            Err(Refused::Closed) => None,
            Err(Refused::Complete) => {
                // `reap` may be faster; then the record is its to hand on.
                let total = cell.close(|_| true, &epoch);
                *displaced = total.map(|total| FlowRecord::flow(*key, total));
                None
            }
        });
        if let Some(Some((complete, part))) = folded {
            return Merged::Folded { complete, part };
        }
        // No cell, or a closed one that whoever closed it has not taken out yet: a new
        // cell takes its place, and `evict` leaves the new one alone.
        self.cells.insert(*key, FlowCell::new(*delta), &cells);
        Merged::Created { complete: delta.is_complete() }
    }

    /// Takes the record of `key` out of the map, if it is there and `when` holds for it.
    /// Of all callers exactly one gets a record.
    pub fn evict(&self, key: &FlowKey, when: impl Fn(&Delta) -> bool) -> Option<FlowRecord> {
        let Pinned { cells, epoch } = self.pin();
        let total = self.cells.with(key, &cells, |cell| cell.close(when, &epoch))??;
        // A merge may have put another cell in this one's place by now. If that one is closed
        // too it may as well go: it is nobody's any more.
        self.cells.remove_if(key, &cells, |cell| cell.is_closed(&epoch));
        Some(FlowRecord::flow(*key, total))
    }

    /// Whether the map holds a record of this key that has not been evicted.
    pub fn contains(&self, key: &FlowKey) -> bool {
        let Pinned { cells, epoch } = self.pin();
        self.cells.with(key, &cells, |cell| cell.read(&epoch).is_some()).unwrap_or(false)
    }

    /// What `read` makes of what the record of `key` counts, if there is one that is not complete.
    pub fn look<T>(&self, key: &FlowKey, read: impl FnOnce(&Delta) -> T) -> Option<T> {
        let Pinned { cells, epoch } = self.pin();
        let look =
            |cell: &FlowCell| cell.read(&epoch).filter(|total| !total.is_complete()).map(read);
        self.cells.with(key, &cells, look)?
    }

    /// Takes what the record of `key` has counted so far as a part of its own. The flow goes
    /// on.
    pub fn cut(&self, key: &FlowKey) -> Option<FlowRecord> {
        let Pinned { cells, epoch } = self.pin();
        let total = self.cells.with(key, &cells, |cell| cell.cut(&epoch))??;
        Some(FlowRecord::flow(*key, total))
    }

    /// Passes what every live record counts to `each`: each consistent in itself, not all
    /// of one moment.
    pub fn for_each(&self, mut each: impl FnMut(&FlowKey, &Delta)) {
        (0..self.parts()).for_each(|part| self.for_each_in(part, &mut each));
    }

    /// Parts of the map, by the hash of the key: a flow stays in its part.
    pub fn parts(&self) -> usize {
        self.cells.parts()
    }

    /// As [`GlobalMap::for_each`], for one of the [`GlobalMap::parts`].
    pub fn for_each_in(&self, part: usize, mut each: impl FnMut(&FlowKey, &Delta)) {
        let Pinned { cells, epoch } = self.pin();
        self.cells.for_each(part, &cells, |key, cell| {
            if let Some(total) = cell.read(&epoch) {
                each(key, total);
            }
        });
    }

    /// Records in the map, about.
    pub fn len(&self) -> usize {
        self.cells.count()
    }

    /// Whether [`GlobalMap::len`] is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;

#[cfg(all(test, loom))]
mod models;

//! The global map: from a flow's key to a cell that holds its immutable record.
//!
//! Cells are lock-free. The map around them is not: flurry's readers are wait-free, and
//! its writers take a lock per bin when a cell comes or goes. Only this file names flurry.

use crossbeam_epoch::pin;

use crate::flow::{FlowKey, FlowRecord, Published};
use crate::global::cell::{FlowCell, Refused};
use crate::sync::Arc;

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
    },
}

/// All live records.
pub struct GlobalMap {
    cells: flurry::HashMap<FlowKey, Arc<FlowCell>, ahash::RandomState>,
}

impl Default for GlobalMap {
    fn default() -> Self {
        Self { cells: flurry::HashMap::with_hasher(ahash::RandomState::new()) }
    }
}

impl std::fmt::Debug for GlobalMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GlobalMap").field("len", &self.len()).finish()
    }
}

impl GlobalMap {
    /// Folds a delta into its flow's record. A complete record that the delta does not
    /// belong to is evicted on the way and passed to `evicted`.
    ///
    /// Only one thread may merge deltas of one key: it is the only one to enter cells.
    pub fn merge(&self, published: &Published, evicted: impl FnOnce(FlowRecord)) -> Merged {
        let cells = self.cells.guard();
        let guard = pin();
        if let Some(cell) = self.cells.get(&published.key, &cells) {
            match cell.merge(published, &guard) {
                Ok(record) => return Merged::Folded { complete: record.total.is_complete() },
                Err(Refused::Closed) => {}
                Err(Refused::BeginsAnew) => {
                    // `reap` may be faster; then the record is its to hand on.
                    if let Some(record) = cell.close(|_| true, &guard) {
                        evicted(record);
                    }
                }
            }
        }
        // No cell, or a closed one that whoever closed it has not taken out yet: a new
        // cell takes its place, and `remove` leaves the new one alone.
        let record = FlowRecord::new(published);
        let complete = record.total.is_complete();
        self.cells.insert(published.key, Arc::new(FlowCell::new(record)), &cells);
        Merged::Created { complete }
    }

    /// Whether the map holds a record of this key that has not been evicted.
    pub fn contains(&self, key: &FlowKey) -> bool {
        let cells = self.cells.guard();
        let guard = pin();
        self.cells.get(key, &cells).is_some_and(|cell| cell.read(&guard).is_some())
    }

    /// Takes the record of `key` out of the map, if it is there and `when` holds for it.
    /// Of all callers exactly one gets a record.
    pub fn evict(&self, key: &FlowKey, when: impl Fn(&FlowRecord) -> bool) -> Option<FlowRecord> {
        let cells = self.cells.guard();
        let guard = pin();
        let cell = self.cells.get(key, &cells)?;
        let record = cell.close(when, &guard)?;
        // A merge may have put another cell in this one's place by now.
        self.cells.compute_if_present(
            key,
            |_, present| (!Arc::ptr_eq(present, cell)).then(|| Arc::clone(present)),
            &cells,
        );
        Some(record)
    }

    /// Takes what the record of `key` has counted so far as a part of its own, if `when`
    /// holds for it. The flow goes on.
    pub fn cut(&self, key: &FlowKey, when: impl Fn(&FlowRecord) -> bool) -> Option<FlowRecord> {
        let cells = self.cells.guard();
        let guard = pin();
        self.cells.get(key, &cells)?.cut(when, &guard)
    }

    /// Passes every live record to `each`: each consistent in itself, not all of one
    /// moment.
    pub fn for_each(&self, mut each: impl FnMut(&FlowRecord)) {
        let cells = self.cells.guard();
        for cell in self.cells.values(&cells) {
            let guard = pin();
            if let Some(record) = cell.read(&guard) {
                each(record);
            }
        }
    }

    /// Records in the map, about.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether [`GlobalMap::len`] is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;

//! The global map: from a flow's key to a cell that holds its immutable record.
//!
//! A record is never changed in place. The protocol of a cell:
//! - **merge**: load `p`; if `p` is closed, start over with a new cell; else
//!   CAS(`p` -> a new record). The replaced record is retired to the epoch collector.
//! - **evict**: CAS(`p` -> `p` with the tag CLOSED). Who succeeds owns the final value,
//!   with every merge before it; a merge after it finds the cell closed and makes a new
//!   one. Then the cell is taken out of the map.
//! - **cut**: CAS(`p` -> a record without counts): what was replaced is a part by itself.
//! - **read**: pin, load: a consistent record, never torn; nobody blocks anybody.
//!
//! So a record ends exactly once, and no delta is lost: either its CAS came before the
//! closing CAS and is in the final value, or it failed and begins a new record.
//!
//! Cells are lock-free. The map around them is not: flurry's readers are wait-free, and
//! its writers take a lock per bin when a cell comes or goes. Only this file names flurry.

#![expect(unsafe_code, reason = "the epoch cell dereferences epoch-protected pointers")]

use crossbeam_epoch::{Atomic, Guard, Owned, Shared, pin};

use crate::flow::{FlowKey, FlowRecord, Published};
use crate::sync::{Arc, Ordering};

/// The tag of a pointer whose record has been evicted.
const CLOSED: usize = 1;

const _: () = assert!(align_of::<FlowRecord>() > CLOSED, "the tag needs a free pointer bit");

/// Holds one record, from the first merge to the eviction.
struct FlowCell {
    /// Never null; tagged [`CLOSED`] once, and never stored to after that.
    record: Atomic<FlowRecord>,
}

/// Why a merge into a cell did nothing.
enum Refused {
    /// The cell was closed before.
    Closed,
    /// The record says that the delta begins another flow.
    BeginsAnew,
}

impl FlowCell {
    fn new(record: FlowRecord) -> Self {
        Self { record: Atomic::new(record) }
    }

    /// The pointer and the record behind it.
    fn load<'g>(&self, guard: &'g Guard) -> (Shared<'g, FlowRecord>, &'g FlowRecord) {
        // Acquire: pairs with the release of the CAS in `merge` (and with the release of
        // the map's insertion for the first record); without it the record's fields could
        // be read from before they were written.
        let pointer = self.record.load(Ordering::Acquire, guard);
        // SAFETY: the pointer is never null (`new` stores a record, `merge` only replaces
        // it by another), and is aligned and initialised as `Owned` made it. It is freed
        // only through the epoch collector after being replaced or after the cell's drop,
        // both of which a guard pinned before this load holds off for 'g.
        let record = unsafe { pointer.deref() };
        (pointer, record)
    }

    /// Folds `published` into the record, unless the cell is closed or the record is
    /// complete and the delta begins another one.
    fn merge<'g>(
        &self,
        published: &Published,
        guard: &'g Guard,
    ) -> Result<&'g FlowRecord, Refused> {
        loop {
            let (current, record) = self.load(guard);
            if current.tag() == CLOSED {
                return Err(Refused::Closed);
            }
            if begins_anew(record, published) {
                return Err(Refused::BeginsAnew);
            }
            let merged = Owned::new(record.merged(&published.delta));
            // AcqRel: the release publishes the new record's fields to the acquire in
            // `load` on every thread; the acquire orders this merge behind the one or the
            // closing that it follows. On failure nothing is published, and the next
            // `load` acquires anew.
            match self.record.compare_exchange(
                current,
                merged,
                Ordering::AcqRel,
                Ordering::Relaxed,
                guard,
            ) {
                Ok(new) => {
                    // SAFETY: `current` was just replaced, so no new reader can reach it;
                    // this thread won the CAS, so it alone retires it.
                    unsafe { guard.defer_destroy(current) };
                    // SAFETY: as in `load`; `new` is what was stored.
                    return Ok(unsafe { new.deref() });
                }
                Err(_) => continue,
            }
        }
    }

    /// Cuts the record if `when` holds for it: puts a record without counts in its place,
    /// with the same beginning, open halves and one part more, and returns what it
    /// replaced. Both are whole: a merge comes before the CAS or after it.
    fn cut(&self, when: impl Fn(&FlowRecord) -> bool, guard: &Guard) -> Option<FlowRecord> {
        loop {
            let (current, record) = self.load(guard);
            if current.tag() == CLOSED || !when(record) {
                return None;
            }
            let rest = Owned::new(record.continued());
            // AcqRel, and Relaxed on failure: as in `merge`.
            let cut = self.record.compare_exchange(
                current,
                rest,
                Ordering::AcqRel,
                Ordering::Relaxed,
                guard,
            );
            if cut.is_ok() {
                let part = record.clone();
                // SAFETY: as in `merge`: replaced by this thread, which alone retires it.
                unsafe { guard.defer_destroy(current) };
                return Some(part);
            }
        }
    }

    /// Closes the cell if `when` holds for its record. The one caller that succeeds gets
    /// the final record.
    fn close(&self, when: impl Fn(&FlowRecord) -> bool, guard: &Guard) -> Option<FlowRecord> {
        loop {
            let (current, record) = self.load(guard);
            if current.tag() == CLOSED || !when(record) {
                return None;
            }
            // AcqRel: whoever wins sees all of the record (acquire, also by `load`), and a
            // merge that finds the tag sees that everything before it is decided (release).
            let closed = self.record.compare_exchange(
                current,
                current.with_tag(CLOSED),
                Ordering::AcqRel,
                Ordering::Relaxed,
                guard,
            );
            if closed.is_ok() {
                return Some(record.clone());
            }
        }
    }
}

impl Drop for FlowCell {
    fn drop(&mut self) {
        let guard = pin();
        // Relaxed: `&mut self`, so no other thread stores to the cell any more.
        let last = self.record.load(Ordering::Relaxed, &guard);
        // SAFETY: the cell is going, so no new reader can reach the record; a reader that
        // still holds it has pinned an epoch that the collector waits for. Replaced
        // records were retired by `merge`; this one is only retired here.
        unsafe { guard.defer_destroy(last) };
    }
}

/// Whether a delta cannot belong to a complete record: a core opens its half again that
/// had closed it before.
fn begins_anew(record: &FlowRecord, published: &Published) -> bool {
    record.total.is_complete()
        && published.delta.opening.is_some()
        && record.total.closed_cores & (1 << published.core) != 0
}

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
        self.cells.get(key, &cells).is_some_and(|cell| cell.load(&guard).0.tag() != CLOSED)
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
            let (pointer, record) = cell.load(&guard);
            if pointer.tag() != CLOSED {
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

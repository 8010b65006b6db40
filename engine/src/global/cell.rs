//! The epoch cell: holds what one record counts, from the first merge to the eviction. The
//! record's key stands beside the cell, in the map.
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

#![expect(unsafe_code, reason = "the epoch cell dereferences epoch-protected pointers")]

use crate::flow::Delta;
use crate::sync::Ordering;
use crate::sync::epoch::{Atomic, Guard, Owned, Shared};

/// The tag of a pointer whose record has been evicted.
const CLOSED: usize = 1;

const _: () = assert!(align_of::<Delta>() > CLOSED, "the tag needs a free pointer bit");

/// Holds one record, from the first merge to the eviction.
pub struct FlowCell {
    /// Never null; tagged [`CLOSED`] once, and never stored to after that.
    record: Atomic<Delta>,
}

/// Why a merge into a cell did nothing.
pub(super) enum Refused {
    /// The cell was closed before.
    Closed,
    /// The record is complete: the delta begins another flow.
    Complete,
}

impl FlowCell {
    pub(super) fn new(record: Delta) -> Self {
        Self { record: Atomic::new(record) }
    }

    /// The record, if the cell is not closed.
    pub(super) fn read<'g>(&'g self, guard: &'g Guard) -> Option<&'g Delta> {
        let (pointer, record) = self.load(guard);
        (pointer.tag() != CLOSED).then_some(record)
    }

    /// Whether the record has been evicted. Never false again after it was true.
    pub(super) fn is_closed(&self, guard: &Guard) -> bool {
        // Relaxed: the record is not looked at. Whoever closed the cell and now takes it out
        // sees its own CAS; for others a late answer leaves the cell to the one that did.
        self.record.load(Ordering::Relaxed, guard).tag() == CLOSED
    }

    /// The pointer and the record behind it.
    fn load<'g>(&'g self, guard: &'g Guard) -> (Shared<'g, Delta>, &'g Delta) {
        // Acquire: pairs with the release of the CAS in `merge` (and with the release of
        // the map's insertion for the first record); without it the record's fields could
        // be read from before they were written.
        let pointer = self.record.load(Ordering::Acquire, guard);
        // SAFETY: the pointer is never null (`new` stores a record, `merge` only replaces
        // it by another), and is aligned and initialised as `Owned` made it. It is freed
        // through the epoch collector after being replaced, which a guard pinned before this
        // load holds off for 'g; or by the cell's drop, which cannot come while the cell is
        // borrowed, as it is for 'g.
        let record = unsafe { pointer.deref() };
        (pointer, record)
    }

    /// Folds `delta` into the record, unless the cell is closed or the record is complete.
    pub(super) fn merge<'g>(
        &'g self,
        delta: &Delta,
        guard: &'g Guard,
    ) -> Result<&'g Delta, Refused> {
        loop {
            let (current, record) = self.load(guard);
            if current.tag() == CLOSED {
                return Err(Refused::Closed);
            }
            if record.is_complete() {
                return Err(Refused::Complete);
            }
            let merged = Owned::new(sum(record, delta));
            // Release: pairs with the acquire in `load`; without it the new record could be
            // read from before it was written. Nothing is to be acquired: `load` has acquired
            // what is replaced, and does so anew after a failure.
            match self.record.compare_exchange(
                current,
                merged,
                Ordering::Release,
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

    /// Cuts the record: puts a record without counts in its place, with the same beginning and
    /// one part more, and returns what it replaced. Both are whole: a merge comes before the
    /// CAS or after it. None if the cell is closed.
    pub(super) fn cut(&self, guard: &Guard) -> Option<Delta> {
        loop {
            let (current, record) = self.load(guard);
            if current.tag() == CLOSED {
                return None;
            }
            let rest = Owned::new(record.continued());
            // Release, and Relaxed on failure: as in `merge`.
            let cut = self.record.compare_exchange(
                current,
                rest,
                Ordering::Release,
                Ordering::Relaxed,
                guard,
            );
            if cut.is_ok() {
                let part = *record;
                // SAFETY: as in `merge`: replaced by this thread, which alone retires it.
                unsafe { guard.defer_destroy(current) };
                return Some(part);
            }
        }
    }

    /// Closes the cell if `when` holds for its record. The one caller that succeeds gets
    /// the final record.
    pub(super) fn close(&self, when: impl Fn(&Delta) -> bool, guard: &Guard) -> Option<Delta> {
        loop {
            let (current, record) = self.load(guard);
            if current.tag() == CLOSED || !when(record) {
                return None;
            }
            // Relaxed: no record is published, and `load` has acquired the one that is closed.
            // Who loads the tagged pointer acquires the record all the same: a
            // read-modify-write passes on the release that it follows.
            let closed = self.record.compare_exchange(
                current,
                current.with_tag(CLOSED),
                Ordering::Relaxed,
                Ordering::Relaxed,
                guard,
            );
            if closed.is_ok() {
                return Some(*record);
            }
        }
    }
}

impl Drop for FlowCell {
    fn drop(&mut self) {
        let last = std::mem::take(&mut self.record);
        // SAFETY: never null, and `&mut self`: no thread has the cell any more, and readers of
        // the record borrow the cell (`load`). Replaced records were retired by `merge` and
        // `cut`; this one is only freed here.
        drop(unsafe { last.into_owned() });
    }
}

/// `record` with one more delta folded in.
fn sum(record: &Delta, delta: &Delta) -> Delta {
    let mut sum = *record;
    sum.combine(delta);
    sum
}

#[cfg(all(test, loom))]
mod models;

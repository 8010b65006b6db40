//! How a model is broken on purpose: each place where the shipped code asks for an ordering
//! or a check is a *site*, by its line; a test breaks one site after the other and expects
//! each of them to fail the model. So the shipped code has no switches of its own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::Location;

use crate::sync::Ordering;

/// What is taken away at a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The acquire half of an atomic operation.
    Acquire,
    /// The release half of an atomic operation.
    Release,
    /// The tag of a pointer: it reads 0.
    Tag,
    /// What a guard does: it protects nothing.
    Guard,
    /// The condition of a conditional removal: it is taken to hold.
    Condition,
}

/// A place in the code and what is taken away there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// The source file.
    pub file: &'static str,
    line: u32,
    column: u32,
    /// What is taken away.
    pub fault: Fault,
}

/// Both halves of what atomic operations order.
pub const ORDERINGS: &[Fault] = &[Fault::Acquire, Fault::Release];

// loom runs all threads of a model on the thread that explores it.
thread_local! {
    static SEEN: RefCell<BTreeSet<Site>> = const { RefCell::new(BTreeSet::new()) };
    static BROKEN: Cell<Option<Site>> = const { Cell::new(None) };
}

/// Whether `fault` is broken at the caller's site.
#[track_caller]
pub fn is_broken(fault: Fault) -> bool {
    let caller = Location::caller();
    let (file, line, column) = (caller.file(), caller.line(), caller.column());
    let site = Site { file, line, column, fault };
    SEEN.with_borrow_mut(|seen| seen.insert(site));
    BROKEN.get() == Some(site)
}

/// `asked`, less what is broken at the caller's site.
#[track_caller]
pub fn ordering(asked: Ordering) -> Ordering {
    let acquire = matches!(asked, Ordering::Acquire | Ordering::AcqRel);
    let release = matches!(asked, Ordering::Release | Ordering::AcqRel);
    let acquire = acquire && !is_broken(Fault::Acquire);
    let release = release && !is_broken(Fault::Release);
    match (acquire, release) {
        (true, true) => Ordering::AcqRel,
        (true, false) => Ordering::Acquire,
        (false, true) => Ordering::Release,
        (false, false) => Ordering::Relaxed,
    }
}

/// The sites that were come by since the last call on this thread.
pub fn take_seen() -> BTreeSet<Site> {
    SEEN.take()
}

/// Breaks this site and no other on this thread; none if `None`.
pub fn break_only(site: Option<Site>) {
    BROKEN.set(site);
}

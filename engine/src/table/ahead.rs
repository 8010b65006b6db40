//! Memory ahead of need: the pages that a growing table comes to next are taken from the kernel
//! before it touches them, on a thread that `read` has for it where a processor is free.
//!
//! It changes nothing but time, and takes little more than the table uses: a quarter of that.
//! Zeroing pages is a quarter of the work of a table that fills with new flows.

use std::time::Duration;

use crate::memory::Share;
use crate::sync::thread;
use crate::table::TableCounters;

/// Slots whose memory is taken at once: 2 MiB of slots, a huge page.
const STEP: usize = 1 << 14;

/// Slots that are taken ahead, at most: what the fastest flood fills in some milliseconds.
const MOST_AHEAD: usize = 16 * STEP;

/// How long to wait when there is enough.
const LOOK: Duration = Duration::from_micros(300);

/// Follows one table.
#[derive(Debug)]
pub struct Ahead<'a> {
    pub(super) slots: Share,
    pub(super) origins: Share,
    /// Two places for each slot, if there are any.
    pub(super) features: Option<Share>,
    pub(super) counters: &'a TableCounters,
    pub(super) capacity: usize,
}

impl Ahead<'_> {
    /// Follows the table until it is full or gone, or there is no more memory to take.
    pub fn run(self) {
        let mut taken = 0;
        while taken < self.capacity {
            let used = usize::try_from(self.counters.slots_used.get()).unwrap_or(usize::MAX);
            let wanted = used.saturating_add((used / 4).clamp(STEP, MOST_AHEAD));
            let next = (taken + STEP).min(self.capacity);
            if next > wanted.max(STEP) {
                if self.slots.is_gone() {
                    return;
                }
                thread::park_timeout(LOOK);
            } else if self.populate(taken, next) {
                taken = next;
            } else {
                return;
            }
        }
    }

    fn populate(&self, from: usize, to: usize) -> bool {
        let features = self.features.as_ref();
        self.slots.populate(from..to)
            && self.origins.populate(from..to)
            && features.is_none_or(|features| features.populate(2 * from..2 * to))
    }
}

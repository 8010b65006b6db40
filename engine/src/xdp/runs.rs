//! Runs of the XDP program that are under way, and waiting for their end.

use std::time::Duration;

use crate::sync::{AtomicBool, AtomicU64, Ordering, thread};

/// `MEMBARRIER_CMD_GLOBAL` of linux/membarrier.h.
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// Longer than any run takes, where the kernel does not tell.
const LONG: Duration = Duration::from_millis(10);

/// Waiting for the end of runs on behalf of threads that must not wait themselves.
///
/// Whoever has taken its [turn](Quiescence::try_take) asks and looks; another thread, the waiter,
/// waits from time to time.
#[derive(Debug, Default)]
pub struct Quiescence {
    is_taken: AtomicBool,
    asked: AtomicU64,
    reached: AtomicU64,
}

impl Quiescence {
    /// Begins a turn, if nobody else is in one. Never waits.
    pub fn try_take(&self) -> bool {
        // Acquire: pairs with the release in `release`; what the last turn did is seen by this
        // one. Without it two turns could take out and put in at the same time.
        self.is_taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Ends the turn.
    pub fn release(&self) {
        // Release: pairs with the acquire in `try_take`.
        self.is_taken.store(false, Ordering::Release);
    }

    /// Asks for the end of all runs that are under way now. What to look for then.
    pub fn ask(&self) -> u64 {
        // Relaxed: there is one asker at a time, and its turn began after the last one's end.
        let number = self.asked.load(Ordering::Relaxed) + 1;
        // Release: pairs with the acquire in `wait`; the waiter waits for no run that began
        // before what the asker has done.
        self.asked.store(number, Ordering::Release);
        number
    }

    /// Whether what was asked for under this number has come.
    #[must_use]
    pub fn is_reached(&self, number: u64) -> bool {
        // Acquire: pairs with the release in `wait`; what those runs have done is seen.
        self.reached.load(Ordering::Acquire) >= number
    }

    /// Waits, if somebody has asked. For one thread.
    pub(super) fn wait(&self) {
        // Acquire: pairs with the release in `ask`.
        let asked = self.asked.load(Ordering::Acquire);
        // Relaxed: there is one waiter, who stored it.
        if asked > self.reached.load(Ordering::Relaxed) {
            wait_for_those_under_way();
            // Release: pairs with the acquire in `is_reached`.
            self.reached.store(asked, Ordering::Release);
        }
    }
}

/// Waits until all runs that were under way are over. What this process did before is seen by
/// all that begin later.
///
/// Runs are RCU readers, and this command is `synchronize_rcu()`
/// (<https://github.com/torvalds/linux/blob/v6.12/kernel/sched/membarrier.c>).
pub(super) fn wait_for_those_under_way() {
    // SAFETY: no pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        // Not to be had (nohz_full); runs end by themselves in microseconds.
        thread::sleep(LONG);
    }
}

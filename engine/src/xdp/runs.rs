//! Runs of the XDP program that are under way, and waiting for their end.

use std::{thread, time::Duration};

/// `MEMBARRIER_CMD_GLOBAL` of linux/membarrier.h.
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// Longer than any run takes, where the kernel does not tell.
const LONG: Duration = Duration::from_millis(10);

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

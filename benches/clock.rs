//! A thread's own time on the processor: others use the machine too.

use nix::time::ClockId;

/// Time on the processor that this thread has had, in ns.
pub(crate) fn own_ns() -> u64 {
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("Linux has it");
    u64::try_from(time.tv_sec() * 1_000_000_000 + time.tv_nsec()).expect("it is past 0")
}

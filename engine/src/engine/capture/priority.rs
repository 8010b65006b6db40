//! Who goes first where threads share a processor: those that receive. What the others do can wait
//! for the next moment in which no packets come, and packets cannot.
//!
//! Measured with all threads on one processor, 1.2 M packets/s of 300,000 flows on a veth (six runs
//! each by turns): lost without this 0.05 to 0.58 %, median 0.15; with it none in four runs, 0.06
//! and 0.51 % in two.

#![expect(unsafe_code, reason = "system calls")]

use std::fs;

/// How much nicer the others are: a tenth of the time that a thread gets which receives, if both
/// always have something to do.
const NICER: libc::c_int = 10;

/// Has all threads of this process go behind those that are started after this, but for the one
/// that calls it: these have its priority.
pub(super) fn put_others_behind() {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let threads = threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    let own = nix::unistd::gettid().as_raw().unsigned_abs();
    threads.filter(|thread| *thread != own).for_each(put_behind);
}

/// The same of the thread that calls it, once it has started those that receive.
pub(super) fn go_behind() {
    put_behind(nix::unistd::gettid().as_raw().unsigned_abs());
}

/// Nothing is lost where the system refuses it.
fn put_behind(thread: libc::id_t) {
    // SAFETY: no pointers.
    let now = unsafe { libc::getpriority(libc::PRIO_PROCESS, thread) };
    // SAFETY: likewise. It takes the lowest priority for one that is lower.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, now + NICER) };
}

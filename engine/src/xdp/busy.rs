//! Waiting for what the kernel tears down late: links and sockets of a process that has just
//! ended are let go of by work that it does in its own time. Not while a capture runs: who finds
//! something busy then tries again later, and goes on meanwhile.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use crate::limits::BUSY_PATIENCE;

/// Whether to wait for what is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBusy {
    /// For [`BUSY_PATIENCE`].
    Wait,
    /// It is refused at once.
    Refuse,
}

/// How often to try again.
const AGAIN: Duration = Duration::from_millis(20);

impl WhenBusy {
    /// Does `step`; again while it is refused as busy, if it is to wait, for a bounded time.
    pub(super) fn attempt<T>(self, mut step: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let end = Instant::now() + BUSY_PATIENCE;
        loop {
            match step() {
                Err(error) if self == Self::Wait && is_busy(&error) && Instant::now() < end => {
                    thread::sleep(AGAIN);
                }
                result => return result,
            }
        }
    }
}

fn is_busy(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_busy_is_tried_again_and_what_is_refused_is_not() {
        use WhenBusy::{Refuse, Wait};
        for (how, code, expected) in [
            (Wait, libc::EBUSY, 3),
            (Wait, libc::EEXIST, 3),
            (Wait, libc::EPERM, 1),
            (Refuse, libc::EBUSY, 1),
        ] {
            let mut tries = 0;
            let result = how.attempt(|| {
                tries += 1;
                if tries == 3 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
            });
            assert_eq!((tries, result.is_ok()), (expected, expected == 3), "{code}");
        }
    }
}

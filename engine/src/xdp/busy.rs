//! Waiting for what the kernel tears down late: links and sockets of a process that has just
//! ended are let go of by work that it does in its own time.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use crate::limits::BUSY_PATIENCE;

/// How often to try again.
const AGAIN: Duration = Duration::from_millis(20);

/// Does `step` again while it is refused as busy, for a bounded time.
pub(super) fn retry_while_busy<T>(mut step: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let end = Instant::now() + BUSY_PATIENCE;
    loop {
        match step() {
            Err(error) if is_busy(&error) && Instant::now() < end => thread::sleep(AGAIN),
            result => return result,
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
        for (code, expected) in [(libc::EBUSY, 3), (libc::EEXIST, 3), (libc::EPERM, 1)] {
            let mut tries = 0;
            let result = retry_while_busy(|| {
                tries += 1;
                if tries == 3 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
            });
            assert_eq!((tries, result.is_ok()), (expected, expected == 3), "{code}");
        }
    }
}

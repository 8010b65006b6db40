//! How many frames a queue gets where little memory may be locked: fewer than asked for, rather
//! than none.
//!
//! The limit is the user's for all processes (`xdp_umem_account_pages`), and nothing says what
//! others have used of it: what is too much all the same is refused where it is locked.

use crate::limits::LOCKED_QUEUE_FRAMES;
use crate::xdp::socket::Layout;

/// The layout with as many frames as fit `lockable_bytes` (`None`: no limit), and what is to be
/// said of that. As it is, if not even the fewest that are of use fit: the kernel's refusal
/// says it best.
pub(super) fn fit(layout: Layout, queues: u32, lockable_bytes: Option<u64>) -> (Layout, String) {
    let Some(limit) = lockable_bytes else { return (layout, String::new()) };
    let room = limit / u64::from(queues.max(1)) / u64::from(layout.frame_bytes);
    // Bits that do not fit are more frames than any queue may hold.
    let room = u32::try_from(room).unwrap_or(u32::MAX);
    if room >= layout.frames || room < LOCKED_QUEUE_FRAMES {
        return (layout, String::new());
    }
    // A power of two, as the rings want it.
    let frames = 1 << room.ilog2();
    let said = format!(", {frames} frames each, as {} KiB may be locked", limit >> 10);
    (Layout { frames, rx_entries: frames, ..layout }, said)
}

/// How much of what may be locked is for an interface with so many `queues`, of `all_queues` that
/// share it (0: there is no other interface).
pub(super) fn share(lockable_bytes: u64, queues: u32, all_queues: u32) -> u64 {
    lockable_bytes / u64::from(all_queues.max(queues).max(1)) * u64::from(queues)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_share_by_their_queues() {
        for (bytes, queues, all_queues, expected) in [
            (u64::MAX, 2, 2, u64::MAX - 1),
            (900, 3, 0, 900),
            (900, 1, 3, 300),
            (900, 2, 3, 600),
            (900, 4, 3, 900),
            (900, 0, 0, 0),
        ] {
            assert_eq!(share(bytes, queues, all_queues), expected, "{queues} of {all_queues}");
        }
    }

    #[test]
    fn frames_are_as_many_as_fit_or_all_if_too_few_would() {
        const MIB: u64 = 1 << 20;
        let frames = |queues, bytes| {
            let layout = Layout { frames: 4096, frame_bytes: 4096, rx_entries: 4096 };
            let (fitted, said) = fit(layout, queues, bytes);
            assert_eq!(fitted.rx_entries, fitted.frames);
            assert_eq!(said.is_empty(), fitted.frames == 4096, "{said}");
            fitted.frames
        };
        for (queues, bytes, expected) in [
            (1, None, 4096),
            (2, Some(u64::MAX), 4096),
            (1, Some(16 * MIB), 4096),
            (1, Some(16 * MIB - 1), 2048),
            (2, Some(8 * MIB), 1024),
            (3, Some(8 * MIB), 512),
            (8, Some(8 * MIB), 256),
            (9, Some(8 * MIB), 4096),
            (1, Some(64 << 10), 4096),
            (0, Some(0), 4096),
        ] {
            assert_eq!(frames(queues, bytes), expected, "{queues} queues, {bytes:?} bytes");
        }
    }
}

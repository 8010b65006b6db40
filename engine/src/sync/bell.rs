//! A bell for a thread that sleeps in poll(2): whoever has something for it rings.
//!
//! The descriptor stays readable once it was rung, until the thread has woken: to ring before
//! it sleeps is as good as while it does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{AtomicBool, Ordering};

/// One thread's bell.
#[derive(Debug)]
pub struct Bell {
    event: EventFd,
    /// Between a ring and the thread's next look: it need not be rung again.
    is_rung: AtomicBool,
    is_asleep: AtomicBool,
}

impl Bell {
    /// A bell that nobody has rung.
    ///
    /// # Errors
    /// If the kernel gives no more descriptors.
    pub fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { event, is_rung: AtomicBool::new(false), is_asleep: AtomicBool::new(false) })
    }

    /// Ends the thread's sleep, or its next one. What was sent to it before is seen after that.
    pub fn ring(&self) {
        // Acquire and release: pairs with the swap in `sleep`. If this is the one of two rings that
        // writes nothing, what was sent before it is seen by whoever the other wakes.
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            // It fails where the number is at its end, which takes more rings than there are.
            let _ = self.event.write(1);
        }
    }

    /// Ends the thread's sleep. If it is only just about to sleep that may be overlooked: for what
    /// comes again and again, by whom system calls are saved for a thread that is awake.
    pub fn ring_if_asleep(&self) {
        // Relaxed: a hint.
        if self.is_asleep.load(Ordering::Relaxed) {
            self.ring();
        }
    }

    /// Has the thread, which is this one, sleep until the descriptor is readable at the latest.
    pub fn sleep<T>(&self, sleep: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        // Relaxed: a hint.
        self.is_asleep.store(true, Ordering::Relaxed);
        let slept = sleep(self.event.as_fd());
        self.is_asleep.store(false, Ordering::Relaxed);
        // Relaxed: what was sent is seen by the swap. Who has rung may not have written yet: then
        // the next sleep ends at once. First the number, then the mark: a ring in between writes
        // nothing, and is seen by the swap; without that order its write would be taken back.
        if self.is_rung.load(Ordering::Relaxed) && self.event.read().is_ok() {
            // Acquire: pairs with the swap in `ring`.
            self.is_rung.swap(false, Ordering::AcqRel);
        }
        slept
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::socket::poll;
    use crate::sync::{Arc, thread};

    const LONG: Duration = Duration::from_secs(20);

    /// Sleeps; whether that was cut short.
    fn is_woken(bell: &Bell, longest: Duration) -> bool {
        let before = Instant::now();
        bell.sleep(|event| poll(event, None, longest)).unwrap();
        before.elapsed() < longest
    }

    #[test]
    fn a_ring_ends_one_sleep_whether_it_comes_before_or_in_it() {
        let bell = Arc::new(Bell::new().unwrap());
        bell.ring();
        bell.ring();
        assert!(is_woken(&bell, LONG), "before");
        assert!(!is_woken(&bell, Duration::from_millis(1)), "once");
        bell.ring_if_asleep();
        assert!(!is_woken(&bell, Duration::from_millis(1)), "it was awake");
        let rings = thread::spawn({
            let bell = Arc::clone(&bell);
            move || {
                while !bell.is_asleep.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                bell.ring_if_asleep();
            }
        });
        assert!(is_woken(&bell, LONG), "in it");
        rings.join().unwrap();
    }

    /// A thousand things that are said once each are all heard, without a sleep to its end.
    #[test]
    fn no_ring_is_lost() {
        let bell = Arc::new(Bell::new().unwrap());
        let (say, hear) = std::sync::mpsc::channel();
        let speaker = thread::spawn({
            let bell = Arc::clone(&bell);
            move || {
                for number in 0..1_000 {
                    say.send(number).unwrap();
                    bell.ring();
                    if number % 3 == 0 {
                        thread::yield_now();
                    }
                }
            }
        });
        let mut heard = 0;
        while heard < 1_000 {
            heard += hear.try_iter().count();
            assert!(heard == 1_000 || is_woken(&bell, LONG), "{heard}");
        }
        speaker.join().unwrap();
    }
}

//! A steady rate of packets or bits by absolute times, so that errors do not add up.

use std::thread;
use std::time::{Duration, Instant};

/// A pause longer than this is not made up for: the rate is a bound, for receivers' sake.
const FORGIVEN: Duration = Duration::from_millis(10);

/// How fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rate {
    /// Packets a second.
    Packets(u64),
    /// Bits of frames a second, as long as they are in a capture.
    Bits(u64),
}

impl Rate {
    /// How long a frame of so many bytes takes, rounded up: the rate is an upper bound.
    pub(crate) fn interval_ns(self, bytes: u64) -> u64 {
        match self {
            Self::Packets(per_second) => nanoseconds(1, per_second),
            Self::Bits(per_second) => nanoseconds(8 * bytes, per_second),
        }
    }
}

/// How long so many take, rounded up.
fn nanoseconds(count: u64, per_second: u64) -> u64 {
    let ns = (u128::from(count) * 1_000_000_000).div_ceil(u128::from(per_second));
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// When what may go.
pub(crate) struct Pace {
    rate: Rate,
    began: Instant,
    /// How many packets or bits have gone since then.
    done: u64,
}

impl Pace {
    /// A pace that begins now, at a rate of at least one.
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, began: Instant::now(), done: 0 }
    }

    /// Returns when the next `frames` frames, `bytes` bytes in all, may go.
    pub(crate) fn wait(&mut self, frames: u64, bytes: u64) {
        let now = Instant::now();
        let (Rate::Packets(per_second) | Rate::Bits(per_second)) = self.rate;
        let due = self.began + Duration::from_nanos(nanoseconds(self.done, per_second));
        if let Some(early) = due.checked_duration_since(now) {
            thread::sleep(early);
        } else if now - due > FORGIVEN {
            (self.began, self.done) = (now, 0);
        }
        self.done += match self.rate {
            Rate::Packets(_) => frames,
            Rate::Bits(_) => 8 * bytes,
        };
    }
}

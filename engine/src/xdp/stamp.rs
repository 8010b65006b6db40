//! The time stamps that the XDP program puts in front of packets (`ebpf/src/stamp.rs`), and UTC
//! out of them.
//!
//! The program can ask for international atomic time (TAI) and not for UTC. In the kernel the
//! two are apart by whole seconds: 37 where a time daemon has said so, 0 where none has. Hence
//! [`Tai`], which asks for both now and then.

use std::io;

use super::program::shared::{Stamp, stamp};
use crate::time::Timestamp;

/// Where the time of a packet comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamps {
    /// From the kernel's clock, as the program sees the packet.
    Packet,
    /// From ours, as its batch is received: all of a batch have the same.
    #[default]
    Batch,
}

impl Timestamps {
    /// The clock's name.
    #[must_use]
    pub fn clock(self) -> &'static str {
        match self {
            Self::Packet => "tai, kernel, per packet",
            Self::Batch => "realtime, batch",
        }
    }
}

/// The time in a stamp, if it is one.
#[inline]
pub(super) fn time_of(stamp: Stamp) -> Option<u64> {
    (stamp[stamp::MARK] == stamp::KERNEL_TAI).then_some(stamp[stamp::TIME_NS])
}

const SECOND_NS: i64 = crate::time::SECOND_NS.cast_signed();

/// Both clocks must be read within this for what is between them to be known.
const LONGEST_LOOK_NS: i64 = SECOND_NS / 10;

/// UTC from TAI, for one queue.
///
/// Its time does not go back by up to a second, but stands still: at a leap second, and between
/// processors. Where the clock was put back by more it follows.
#[derive(Debug)]
pub struct Tai {
    ahead_ns: i64,
    last: Timestamp,
}

impl Tai {
    /// As the clocks are now.
    #[must_use]
    pub fn now() -> Self {
        let mut tai = Self { ahead_ns: 0, last: Timestamp::MIN };
        tai.set();
        tai
    }

    /// Asks again how far TAI is ahead: a time daemon may have said so, or a leap second come.
    pub fn set(&mut self) {
        let look = || Some([libc::CLOCK_TAI, libc::CLOCK_REALTIME, libc::CLOCK_TAI].map(read));
        let Some([Ok(before), Ok(utc), Ok(after)]) = look() else { return };
        self.ahead_ns = ahead(before, utc, after).unwrap_or(self.ahead_ns);
    }

    /// The UTC of a stamp.
    #[inline]
    pub fn utc(&mut self, tai_ns: u64) -> Timestamp {
        let tai = Timestamp::try_from(tai_ns).unwrap_or(Timestamp::MAX);
        let utc = tai.saturating_sub(self.ahead_ns);
        if utc >= self.last || self.last.saturating_sub(utc) > SECOND_NS {
            self.last = utc;
        }
        self.last
    }
}

/// Whole seconds, in ns, by which TAI is ahead, if nothing came in between.
fn ahead(before: i64, utc: i64, after: i64) -> Option<i64> {
    let took = after - before;
    let middle = before + took / 2;
    let is_known = (0..=LONGEST_LOOK_NS).contains(&took);
    is_known.then(|| (middle - utc + SECOND_NS / 2).div_euclid(SECOND_NS) * SECOND_NS)
}

fn read(clock: libc::clockid_t) -> io::Result<i64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(time.tv_sec * SECOND_NS + time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_are_whole_seconds_apart() {
        for (clocks, want) in [
            ([37_000_000_000, 0, 37_000_000_900], Some(37)),
            // The wall's clock read late, but within the bound.
            ([37_000_000_000, 90_000_000, 37_100_000_000], Some(37)),
            ([5, 10, 20], Some(0)),
            // A clock that is behind.
            ([0, 2_000_000_000, 1_000], Some(-2)),
            // Something came in between: too long, or the clock was put back.
            ([0, 500_000_000, 900_000_000], None),
            ([10, 5, 0], None),
        ] {
            let [before, utc, after] = clocks;
            assert_eq!(ahead(before, utc, after), want.map(|s| s * SECOND_NS), "{clocks:?}");
        }
        let mut tai = Tai::now();
        let (stamp, utc) = (read(libc::CLOCK_TAI).unwrap(), read(libc::CLOCK_REALTIME).unwrap());
        let from_stamp = tai.utc(stamp.try_into().unwrap());
        assert!(utc.abs_diff(from_stamp) < 100_000_000, "{utc} is {from_stamp} by its stamp");
    }

    #[test]
    fn time_stands_still_rather_than_go_back_a_little() {
        let at = |tenths: i64| 1_000 * SECOND_NS + tenths * (SECOND_NS / 10);
        let mut tai = Tai { ahead_ns: 0, last: Timestamp::MIN };
        let utc = |tai: &mut Tai, tenths: i64| tai.utc(at(tenths).unsigned_abs()) - at(0);
        assert_eq!(utc(&mut tai, 0), 0);
        assert_eq!(utc(&mut tai, -1), 0, "another processor's clock");
        assert_eq!(utc(&mut tai, 5), SECOND_NS / 2);
        // A leap second.
        tai.ahead_ns = SECOND_NS;
        assert_eq!(utc(&mut tai, 6), SECOND_NS / 2, "stands still");
        assert_eq!(utc(&mut tai, 16), SECOND_NS * 6 / 10, "and goes on");
        assert_eq!(utc(&mut tai, -100), -11 * SECOND_NS, "the clock was put back");
        assert_eq!(tai.utc(u64::MAX), Timestamp::MAX - SECOND_NS, "no such time, and no panic");
    }

    #[test]
    fn only_what_has_the_mark_is_a_stamp() {
        assert_eq!(time_of([7, stamp::KERNEL_TAI]), Some(7));
        for mark in [0, 1, u64::MAX, stamp::KERNEL_TAI ^ 1, stamp::KERNEL_TAI.swap_bytes()] {
            assert_eq!(time_of([7, mark]), None);
        }
    }
}

//! Nanoseconds, and the clock that packets drive.

use crate::limits::REORDER_NS;

/// Nanoseconds since 1970-01-01 00:00:00 UTC. 64 bits with a sign reach from 1677 to 2262.
pub type Timestamp = i64;

/// Nanoseconds of [`PacketClock`] time.
pub type Tick = u64;

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// The time that timeouts are measured in: how far packet time has moved forward.
///
/// It is a function of the packets' timestamps in their order and of nothing else, so
/// that a timeout is decided the same way however threads run. It never goes back:
/// within [`REORDER_NS`] a late packet leaves it where it is. A larger step back is taken
/// as the start of another recording: a gap like one forward, so that no flow reaches from
/// one recording into the other.
///
/// Where packets are captured live the capture's own clock is set instead, which nobody can
/// put back, and on which several queues agree.
#[derive(Debug, Clone, Default)]
pub struct PacketClock {
    newest: Option<Timestamp>,
    tick: Tick,
    is_set: bool,
    /// Ticks have the remainder of their times by this; 0 if nobody asks for that.
    every_ns: Tick,
}

/// Packet time in intervals of the same length: which one a tick is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    every_ns: Tick,
    /// How far into an interval tick 0 is.
    phase_ns: Tick,
}

impl Grid {
    /// One interval, which has all time there is.
    pub const OFF: Self = Self { every_ns: Tick::MAX, phase_ns: 0 };

    /// Intervals of `every_ns`, which must not be 0, where tick 0 is so far into one of them.
    #[must_use]
    pub fn new(every_ns: Tick, phase_ns: Tick) -> Self {
        assert!(every_ns > 0, "an interval takes time");
        Self { every_ns, phase_ns: phase_ns % every_ns }
    }

    /// Whether there is more than one interval.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.every_ns < Tick::MAX
    }

    /// How long one is.
    #[must_use]
    pub fn every_ns(self) -> Tick {
        self.every_ns
    }

    /// How far into an interval tick 0 is.
    #[must_use]
    pub fn phase_ns(self) -> Tick {
        self.phase_ns
    }

    /// The number of the interval that a tick is in. The last number stands for all that follow.
    #[must_use]
    pub fn number(self, tick: Tick) -> u32 {
        if !self.is_on() {
            return 0;
        }
        u32::try_from(tick.saturating_add(self.phase_ns) / self.every_ns).unwrap_or(u32::MAX)
    }

    /// The first tick of an interval, and the first behind it.
    #[must_use]
    pub fn bounds(self, number: u32) -> (Tick, Tick) {
        let first =
            |number: u64| number.saturating_mul(self.every_ns).saturating_sub(self.phase_ns);
        let end = if number == u32::MAX { Tick::MAX } else { first(u64::from(number) + 1) };
        (first(number.into()), end)
    }
}

impl PacketClock {
    /// A clock whose ticks have the same remainder by `every_ns` as the times that they stand for:
    /// so an interval of ticks is one of times.
    #[must_use]
    pub fn aligned(every_ns: Tick) -> Self {
        Self { every_ns, ..Self::default() }
    }

    /// Sets the clock, which from then on stands still but for being set.
    pub fn set(&mut self, tick: Tick) {
        self.tick = self.tick.max(tick);
        self.is_set = true;
    }

    /// The tick of a packet with this timestamp, or of now for a packet without one.
    pub fn advance(&mut self, timestamp: Option<Timestamp>) -> Tick {
        let Some(timestamp) = timestamp.filter(|_| !self.is_set) else { return self.tick };
        let Some(newest) = self.newest else { return self.begin(0, timestamp) };
        let step = newest.abs_diff(timestamp);
        if timestamp >= newest {
            // Saturating: timestamps may jump there and back as often as they like.
            self.tick = self.tick.saturating_add(step);
            self.newest = Some(timestamp);
        } else if step > REORDER_NS {
            return self.begin(step, timestamp);
        }
        self.tick
    }

    /// Begins with a recording, whose first packet has this timestamp, so long after the last one.
    #[cold]
    fn begin(&mut self, step: Tick, timestamp: Timestamp) -> Tick {
        self.newest = Some(timestamp);
        self.tick = self.tick.saturating_add(step);
        if self.every_ns > 0 {
            // Below the divisor, which is positive.
            let of = |number: i128| number.rem_euclid(i128::from(self.every_ns));
            let behind = of(i128::from(timestamp) - i128::from(self.tick));
            self.tick = self.tick.saturating_add(Tick::try_from(behind).unwrap_or_default());
        }
        self.tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(timestamps: &[i64]) -> Vec<u64> {
        let mut clock = PacketClock::default();
        timestamps.iter().map(|&t| clock.advance(Some(t * 1_000_000_000)) / SECOND_NS).collect()
    }

    #[test]
    fn the_clock_moves_forward_only_and_by_packet_time() {
        assert_eq!(ticks(&[100, 101, 105]), [0, 1, 5]);
        assert_eq!(ticks(&[100, 105, 101, 106]), [0, 5, 5, 6], "reordering");
        assert_eq!(ticks(&[1000, 1005, 10, 12]), [0, 5, 1000, 1002], "another recording");
        assert_eq!(ticks(&[-5, 5]), [0, 10], "before 1970");
        let ends = [i64::MIN, i64::MAX, i64::MIN, i64::MAX];
        let mut clock = PacketClock::default();
        let last = ends.map(|end| clock.advance(Some(end)))[3];
        assert_eq!(last, Tick::MAX, "jumps do not overflow");
        let mut clock = PacketClock::default();
        clock.advance(Some(7));
        assert_eq!(clock.advance(None), 0, "no timestamp");
        clock.set(5);
        clock.set(3);
        assert_eq!(clock.advance(Some(1_000)), 5, "set, and never back");
    }

    #[test]
    fn intervals_of_ticks_are_those_of_times() {
        let every = 10 * SECOND_NS;
        let mut clock = PacketClock::aligned(every);
        let grid = Grid::new(every, 0);
        let seconds = [1_003, 1_009, 1_010, 1_005, 17, 25, 999, 3, -107, -102];
        let mut last = 0;
        for second in seconds {
            let tick = clock.advance(Some(second * 1_000_000_000));
            let is_late = second == 1_005;
            let want = second.rem_euclid(10) as u64 * SECOND_NS;
            assert!(is_late || tick % every == want, "{second}: {tick}");
            assert!(tick >= last, "{second}");
            last = tick;
        }
        let mut clock = PacketClock::aligned(every);
        let numbers = [1_003, 1_009, 1_010, 1_005, 1_031]
            .map(|second: i64| grid.number(clock.advance(Some(second * 1_000_000_000))));
        assert_eq!(numbers, [0, 0, 1, 1, 3]);
    }

    #[test]
    fn a_grid_has_bounds() {
        let grid = Grid::new(10, 13);
        assert_eq!([0, 6, 7, 16, 17].map(|tick| grid.number(tick)), [0, 0, 1, 1, 2]);
        assert_eq!([0, 1, 2].map(|number| grid.bounds(number)), [(0, 7), (7, 17), (17, 27)]);
        assert_eq!(grid.number(Tick::MAX), u32::MAX);
        assert_eq!(grid.bounds(u32::MAX).1, Tick::MAX);
        assert_eq!(Grid::OFF.number(Tick::MAX), 0);
    }
}

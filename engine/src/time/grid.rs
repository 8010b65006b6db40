//! Packet time in intervals of the same length, which have numbers that only go up.

use super::Tick;

/// Which interval a tick is in.
///
/// Where the clock that intervals are aligned to is put ([`Grid::put`]), one is shorter or longer.
/// What was before the last but one time that this happened counts in the first interval of those
/// that are still known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    every_ns: Tick,
    /// Up to the first tick of the other.
    before: Stretch,
    now: Stretch,
}

/// Intervals that are all as long as they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    /// Its first tick.
    from: Tick,
    /// How far into an interval that is.
    phase_ns: Tick,
    /// The number of that interval.
    number: u32,
}

impl Default for Grid {
    fn default() -> Self {
        Self::OFF
    }
}

impl Grid {
    /// One interval, which has all time there is.
    pub const OFF: Self = Self::from_start(Tick::MAX, 0);

    /// Intervals of `every_ns`, which must not be 0, where tick 0 is so far into one of them.
    #[must_use]
    pub fn new(every_ns: Tick, phase_ns: Tick) -> Self {
        assert!(every_ns > 0, "an interval takes time");
        Self::from_start(every_ns, phase_ns % every_ns)
    }

    const fn from_start(every_ns: Tick, phase_ns: Tick) -> Self {
        let now = Stretch { from: 0, phase_ns, number: 0 };
        Self { every_ns, before: now, now }
    }

    /// The same up to `at`, which is so far into an interval: that in which it was, or the next.
    #[must_use]
    pub fn put(self, at: Tick, phase_ns: Tick, is_next: bool) -> Self {
        let number = self.number(at).saturating_add(u32::from(is_next));
        let now = Stretch { from: at, phase_ns: phase_ns % self.every_ns, number };
        Self { before: self.now, now, ..self }
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

    /// The number of the interval that a tick is in. The last number stands for all that follow.
    #[must_use]
    pub fn number(self, tick: Tick) -> u32 {
        if !self.is_on() {
            return 0;
        }
        if tick >= self.now.from {
            self.now.number(tick, self.every_ns)
        } else {
            self.before.number(tick, self.every_ns).min(self.now.number)
        }
    }

    /// The first tick of an interval, and the first behind it.
    #[must_use]
    pub fn bounds(self, number: u32) -> (Tick, Tick) {
        let end = number.checked_add(1).map_or(Tick::MAX, |next| self.first(next));
        (self.first(number), end)
    }

    /// The first tick with this number or a later one.
    fn first(self, number: u32) -> Tick {
        if number > self.now.number {
            self.now.first(number, self.every_ns)
        } else {
            self.before.first(number, self.every_ns).min(self.now.from)
        }
    }
}

impl Stretch {
    fn number(self, tick: Tick, every_ns: Tick) -> u32 {
        let into_ns = tick.saturating_sub(self.from).saturating_add(self.phase_ns);
        u32::try_from(into_ns / every_ns).unwrap_or(u32::MAX).saturating_add(self.number)
    }

    fn first(self, number: u32, every_ns: Tick) -> Tick {
        let after = Tick::from(number.saturating_sub(self.number)).saturating_mul(every_ns);
        self.from.saturating_add(after.saturating_sub(self.phase_ns))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_grid_has_bounds() {
        let grid = Grid::new(10, 13);
        assert_eq!([0, 6, 7, 16, 17].map(|tick| grid.number(tick)), [0, 0, 1, 1, 2]);
        assert_eq!([0, 1, 2].map(|number| grid.bounds(number)), [(0, 7), (7, 17), (17, 27)]);
        assert_eq!(grid.number(Tick::MAX), u32::MAX);
        assert_eq!(grid.bounds(u32::MAX).1, Tick::MAX);
        assert_eq!(Grid::OFF.number(Tick::MAX), 0);
    }

    #[test]
    fn where_a_clock_is_put_an_interval_is_shorter_or_longer() {
        let numbers = |grid: Grid| [0, 9, 14, 15, 16, 19, 24, 34].map(|tick| grid.number(tick));
        let grid = Grid::new(10, 0);
        assert_eq!(numbers(grid), [0, 0, 1, 1, 1, 1, 2, 3]);
        let shorter = grid.put(15, 6, false);
        assert_eq!(numbers(shorter), [0, 0, 1, 1, 1, 2, 2, 3]);
        assert_eq!([1, 2].map(|number| shorter.bounds(number)), [(10, 19), (19, 29)]);
        let longer = grid.put(15, 0, false);
        assert_eq!(numbers(longer), [0, 0, 1, 1, 1, 1, 1, 2]);
        assert_eq!([1, 2].map(|number| longer.bounds(number)), [(10, 25), (25, 35)]);
        let cut = grid.put(15, 9, true);
        assert_eq!(numbers(cut), [0, 0, 1, 2, 3, 3, 3, 4]);
        let bounds = [1, 2, 3].map(|number| cut.bounds(number));
        assert_eq!(bounds, [(10, 15), (15, 16), (16, 26)]);
        let again = cut.put(24, 0, true);
        assert_eq!(numbers(again), [2, 2, 2, 2, 3, 3, 4, 5], "older than what is known");
    }

    proptest! {
        #[test]
        fn numbers_go_up_and_bounds_are_theirs(
            phase_ns in 0_u64..10,
            puts in prop::collection::vec((0_u64..40, 0_u64..10, any::<bool>()), 0..4),
        ) {
            let (mut grid, mut at) = (Grid::new(10, phase_ns), 0);
            for (after, phase_ns, is_next) in puts {
                at += after;
                let (then, number) = (grid, grid.number(at));
                grid = grid.put(at, phase_ns, is_next);
                prop_assert_eq!(grid.number(at), number + u32::from(is_next));
                for tick in at.saturating_sub(after)..at {
                    prop_assert_eq!(grid.number(tick), then.number(tick), "{} of {:?}", tick, grid);
                }
            }
            for tick in 0..at + 50 {
                let number = grid.number(tick);
                prop_assert!(number <= grid.number(tick + 1));
                let (first, end) = grid.bounds(number);
                // What is older than all that is known is in the first interval.
                let is_known = tick >= grid.before.from;
                prop_assert!(!is_known || first <= tick, "{} of {:?}", tick, grid);
                prop_assert!(tick < end, "{} of {:?}", tick, grid);
                prop_assert!(grid.number(end) > number && grid.number(end - 1) <= number);
            }
        }
    }
}

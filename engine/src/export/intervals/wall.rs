//! Keeps the intervals of a capture aligned to the clock on the wall, which may be put (by hand, by
//! a first answer of NTP, by a machine that was asleep) while the clock that packets are counted by
//! goes on evenly.
//!
//! **The rule.** A line has what came while the wall's clock showed a time in its interval. Where
//! that is put forward, the interval is over early, and those that were skipped have no lines. Where
//! it is put back within an interval, that takes longer; further, a recording begins
//! ([`Calendar`](crate::time::Calendar)), as those intervals have had their lines. So a line's
//! interval is always one of the wall's, whole and aligned, and in a recording none is there twice.
//!
//! `main` looks at both clocks every 50 ms, and says what it finds to the cores. What they count
//! before they hear of it counts as before.

use std::time::{Instant, SystemTime};

use crate::export::intervals::IntervalsPlan;
use crate::sync::snapshot::Snapshot;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::{Grid, Tick, Timestamp};

/// So much the clocks may differ from what they were before it counts as put: 1 ms. That one is made
/// faster or slower makes no difference, as the system does so with both.
const PUT_NS: u64 = 1_000_000;

/// Longer than this it must not take to look at both: 0.2 ms.
const LOOK_NS: Tick = 200_000;

/// Intervals as they are from now on. One thread writes it, any may read it.
#[derive(Debug, Default)]
pub struct LatestGrid {
    number: AtomicU64,
    grid: Snapshot<Grid>,
}

impl LatestGrid {
    fn publish(&self, grid: Grid) {
        self.grid.publish(grid);
        // One thread writes it. Release: pairs with the acquire in `number`; without it a core could
        // see that there is another grid, take the old one for it, and never look again.
        self.number.store(self.number.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Another one each time that the grid is.
    pub(super) fn number(&self) -> u64 {
        // Acquire: pairs with the release in `publish`.
        self.number.load(Ordering::Acquire)
    }

    pub(super) fn latest(&self) -> Grid {
        *self.grid.latest()
    }
}

/// Looks after the wall's clock.
#[derive(Debug)]
pub struct WallWatch {
    plan: Arc<IntervalsPlan>,
    start: Instant,
    grid: Grid,
    /// What the wall's clock would have said at the start.
    origin: Timestamp,
}

impl WallWatch {
    /// Of a capture whose packet clock begins at `start`. Before any packet is counted.
    #[must_use]
    pub fn begin(plan: &Arc<IntervalsPlan>, start: Instant) -> Self {
        let (tick, wall) = look(start);
        Self::begin_at(plan, start, wall.saturating_sub_unsigned(tick))
    }

    fn begin_at(plan: &Arc<IntervalsPlan>, start: Instant, origin: Timestamp) -> Self {
        let (place, phase_ns) = place_of(origin, plan.every_ns);
        let grid = Grid::new(plan.every_ns, phase_ns);
        plan.calendar.begin(grid.number(0), place, false);
        plan.grid.publish(grid);
        Self { plan: Arc::clone(plan), start, grid, origin }
    }

    /// Looks whether it was put.
    pub fn look(&mut self) {
        let (tick, wall) = look(self.start);
        self.see(tick, wall);
    }

    /// The wall's clock says this at `tick`.
    fn see(&mut self, tick: Tick, wall: Timestamp) {
        let origin = wall.saturating_sub_unsigned(tick);
        if origin.abs_diff(self.origin) < PUT_NS {
            return;
        }
        let every_ns = self.plan.every_ns;
        let (before, _) = place_of(self.origin.saturating_add_unsigned(tick), every_ns);
        let (place, phase_ns) = place_of(wall, every_ns);
        let is_next = place != before;
        self.grid = self.grid.put(tick, phase_ns, is_next);
        self.origin = origin;
        if is_next {
            // Before a core can count in it.
            self.plan.calendar.begin(self.grid.number(tick), place, place < before);
        }
        self.plan.grid.publish(self.grid);
    }
}

/// How many intervals after 1970 the one that a time is in began, and how far it is into that.
fn place_of(time: Timestamp, every_ns: Tick) -> (i64, Tick) {
    let every = i64::try_from(every_ns).unwrap_or(i64::MAX);
    (time.div_euclid(every), time.rem_euclid(every).unsigned_abs())
}

/// The time since `start`, and what the wall's clock says then. Where this thread is kept from
/// looking at both at once it looks again, a few times.
fn look(start: Instant) -> (Tick, Timestamp) {
    let tick = || Tick::try_from(start.elapsed().as_nanos()).unwrap_or(Tick::MAX);
    let mut best = (Tick::MAX, 0, 0);
    for _ in 0..5 {
        let before = tick();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = Timestamp::try_from(wall.as_nanos()).unwrap_or(Timestamp::MAX);
        let took_ns = tick() - before;
        if took_ns < best.0 {
            best = (took_ns, before + took_ns / 2, wall);
        }
        if took_ns < LOOK_NS {
            break;
        }
    }
    (best.1, best.2)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::time::Dated;

    const MS: i64 = 1_000_000;
    /// 100 ms.
    const EVERY: Tick = 100 * MS.unsigned_abs();

    /// Where the wall's clock is put so far forward (or back) at these ticks, in ms, and seen at once:
    /// what each ms from the start to `end` counts in, and what the clock said then.
    fn counted(puts: &[(u64, i64)], end: u64) -> Vec<(u32, Dated, Timestamp)> {
        let plan = Arc::new(IntervalsPlan::new(EVERY, 0, 0));
        let mut wall = 1_700_000_000_030 * MS;
        let mut watch = WallWatch::begin_at(&plan, Instant::now(), wall);
        let mut all = Vec::new();
        for ms in 0..end {
            for (_, by) in puts.iter().filter(|(at, _)| *at == ms) {
                wall += by * MS;
            }
            let tick = ms * MS.unsigned_abs();
            watch.see(tick, wall);
            let number = plan.grid.latest().number(tick);
            all.push((number, plan.calendar.date(number).unwrap(), wall));
            wall += MS;
        }
        all
    }

    /// The lines that there would be: when each began after the first, in ms, of which recording, and
    /// how many ms it has.
    fn lines(puts: &[(u64, i64)]) -> Vec<(i64, u32, usize)> {
        let all = counted(puts, 350);
        let first = all[0].1.place;
        let mut lines = BTreeMap::new();
        for (_, Dated { recording, place }, _) in all {
            *lines.entry((recording, (place - first) * 100)).or_insert(0) += 1;
        }
        lines.into_iter().map(|((recording, start), ms)| (start, recording, ms)).collect()
    }

    #[test]
    fn lines_are_of_the_walls_intervals() {
        // It begins 30 ms into one.
        assert_eq!(lines(&[]), [(0, 0, 70), (100, 0, 100), (200, 0, 100), (300, 0, 80)]);
        let forward = lines(&[(100, 1_000)]);
        assert_eq!(
            forward,
            [(0, 0, 70), (100, 0, 30), (1_100, 0, 70), (1_200, 0, 100), (1_300, 0, 80)]
        );
        let within = lines(&[(100, 40)]);
        assert_eq!(within, [(0, 0, 70), (100, 0, 60), (200, 0, 100), (300, 0, 100), (400, 0, 20)]);
        let longer = lines(&[(100, -20)]);
        assert_eq!(longer, [(0, 0, 70), (100, 0, 120), (200, 0, 100), (300, 0, 60)]);
        let back = lines(&[(100, -1_000)]);
        let of_back = [(-900, 1, 70), (-800, 1, 100), (-700, 1, 80)];
        assert_eq!(back, [&[(0, 0, 70), (100, 0, 30)], &of_back[..]].concat());
    }

    proptest! {
        #[test]
        fn what_comes_counts_when_the_wall_says_it_came(
            puts in prop::collection::vec((0_u64..400, -500_i64..500), 0..6),
        ) {
            let all = counted(&puts, 500);
            let mut by_number = BTreeMap::new();
            for (number, is, wall) in &all {
                prop_assert_eq!(is.place, wall.div_euclid(EVERY.cast_signed()), "{:?}", is);
                prop_assert_eq!(by_number.entry(number).or_insert(is), &is);
            }
            let dates: Vec<_> = by_number.into_values().collect();
            prop_assert!(dates.is_sorted_by(|one, other| one < other), "{:?}", dates);
        }
    }
}

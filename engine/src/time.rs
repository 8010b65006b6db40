//! Nanoseconds, the clock that packets drive, and intervals of it.

mod calendar;
mod grid;

use crate::limits::REORDER_NS;
use crate::sync::Arc;

pub use self::calendar::{Calendar, Dated};
pub use self::grid::Grid;

/// Nanoseconds since 1970-01-01 00:00:00 UTC. 64 bits with a sign reach from 1677 to 2262.
pub type Timestamp = i64;

/// Nanoseconds of [`PacketClock`] time.
pub type Tick = u64;

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// A longer step counts as no more where ticks make intervals, whose numbers would not last: a capture
/// may begin in 1970, with a clock that was not set yet. A year, which no timeout is worth telling
/// from 50.
const LEAP_NS: Tick = 366 * 86_400 * SECOND_NS;

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
    /// Steps back that began another recording and were not taken note of.
    steps_back: u64,
    /// Steps forward that are shorter than this move the clock as far: 0 while it does not go by
    /// timestamps.
    simple_below: Tick,
    /// If somebody asks for that.
    alignment: Option<Alignment>,
}

/// Ticks have the remainder of their times by the length of an interval.
#[derive(Debug, Clone)]
struct Alignment {
    every_ns: Tick,
    /// Where it is said which times intervals are of.
    calendar: Arc<Calendar>,
}

impl PacketClock {
    /// A clock whose ticks have the same remainder by `every_ns` as the times that they stand for:
    /// so an interval of ticks, of [`Grid::new`] without a phase, is one of times, and `calendar`
    /// says which. Where another recording begins, an interval does.
    #[must_use]
    pub fn aligned(every_ns: Tick, calendar: &Arc<Calendar>) -> Self {
        let calendar = Arc::clone(calendar);
        Self { alignment: Some(Alignment { every_ns, calendar }), ..Self::default() }
    }

    /// Sets the clock, which from then on stands still but for being set.
    pub fn set(&mut self, tick: Tick) {
        self.tick = self.tick.max(tick);
        self.is_set = true;
        self.simple_below = 0;
    }

    /// The tick of a packet with this timestamp, or of now for a packet without one.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what nearly all packets need is short")]
    pub fn advance(&mut self, timestamp: Option<Timestamp>) -> Tick {
        if let (Some(timestamp), Some(newest)) = (timestamp, self.newest)
            && timestamp >= newest
        {
            let step = timestamp.wrapping_sub(newest).cast_unsigned();
            if step < self.simple_below
                && let Some(tick) = self.tick.checked_add(step)
            {
                (self.newest, self.tick) = (Some(timestamp), tick);
                return tick;
            }
        }
        self.advance_any(timestamp)
    }

    #[inline(never)]
    fn advance_any(&mut self, timestamp: Option<Timestamp>) -> Tick {
        let Some(timestamp) = timestamp.filter(|_| !self.is_set) else { return self.tick };
        let Some(newest) = self.newest else { return self.begin(0, timestamp) };
        let step = newest.abs_diff(timestamp);
        if timestamp >= newest {
            if step > LEAP_NS && self.leaps() {
                return self.begin(step, timestamp);
            }
            // Saturating: timestamps may jump there and back as often as they like.
            self.tick = self.tick.saturating_add(step);
            self.newest = Some(timestamp);
        } else if step > REORDER_NS {
            self.steps_back += 1;
            return self.begin(step, timestamp);
        }
        self.tick
    }

    /// How often another recording began, by a step back, since the last call.
    pub fn take_steps_back(&mut self) -> u64 {
        std::mem::take(&mut self.steps_back)
    }

    /// Whether a long step counts as a shorter one, which is at least as long as an interval.
    #[cold]
    fn leaps(&self) -> bool {
        self.alignment.as_ref().is_some_and(|alignment| alignment.every_ns <= LEAP_NS)
    }

    /// Goes on, so long after the last packet, with one of this timestamp: with the first one, after a
    /// step back into another recording, or after a long one forward.
    #[cold]
    fn begin(&mut self, step: Tick, timestamp: Timestamp) -> Tick {
        self.simple_below = LEAP_NS;
        let before = self.newest.replace(timestamp).map(|newest| (self.tick, timestamp < newest));
        let step = if self.leaps() { step.min(LEAP_NS) } else { step };
        self.tick = self.tick.saturating_add(step);
        if let Some(alignment) = &self.alignment {
            self.tick = alignment.begin(self.tick, timestamp, before);
        }
        self.tick
    }
}

impl Alignment {
    /// The first tick, from this one on, that suits an era which begins with this timestamp, and with
    /// another interval than that of the last tick `before` it; beside which stands whether time has
    /// stepped back.
    fn begin(&self, tick: Tick, timestamp: Timestamp, before: Option<(Tick, bool)>) -> Tick {
        // Below the divisor, which is positive.
        let of = |number: i128| number.rem_euclid(i128::from(self.every_ns));
        let behind = of(i128::from(timestamp) - i128::from(tick));
        let mut tick = tick.saturating_add(Tick::try_from(behind).unwrap_or_default());
        let grid = Grid::new(self.every_ns, 0);
        if before.is_some_and(|(last, _)| grid.number(last) == grid.number(tick)) {
            // Where the step leads back over the beginning of an interval that is not yet half over.
            tick = tick.saturating_add(self.every_ns);
        }
        let place = timestamp.div_euclid(i64::try_from(self.every_ns).unwrap_or(i64::MAX));
        self.calendar.begin(grid.number(tick), place, before.is_some_and(|(_, is_back)| is_back));
        tick
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn ticks(timestamps: &[i64]) -> Vec<u64> {
        let mut clock = PacketClock::default();
        timestamps.iter().map(|&t| clock.advance(Some(t * 1_000_000_000)) / SECOND_NS).collect()
    }

    #[test]
    fn the_clock_bears_any_timestamps_and_stands_once_it_is_set() {
        let mut clock = PacketClock::default();
        let ends = [0, 5, i64::MAX, i64::MIN, i64::MAX, 7, i64::MIN, i64::MIN + 1];
        let ticks = ends.map(|timestamp| clock.advance(Some(timestamp)));
        assert!(ticks.is_sorted() && ticks[1] == 5 && ticks[7] == Tick::MAX, "{ticks:?}");
        let mut clock = PacketClock::default();
        assert_eq!([5, 6].map(|timestamp| clock.advance(Some(timestamp))), [0, 1]);
        clock.set(100);
        assert_eq!([7, 8, 9].map(|timestamp| clock.advance(Some(timestamp))), [100; 3]);
        assert_eq!(clock.advance(None), 100);
    }

    #[test]
    fn the_clock_moves_forward_only_and_by_packet_time() {
        assert_eq!(ticks(&[100, 101, 105]), [0, 1, 5]);
        assert_eq!(ticks(&[100, 105, 101, 106]), [0, 5, 5, 6], "reordering");
        assert_eq!(ticks(&[1000, 1005, 10, 12]), [0, 5, 1000, 1002], "another recording");
        assert_eq!(ticks(&[-5, 5]), [0, 10], "before 1970");
        let mut clock = PacketClock::default();
        for second in [1_000, 939, 1_000, 940, 939] {
            clock.advance(Some(second * 1_000_000_000));
        }
        assert_eq!(clock.take_steps_back(), 2, "by more than a minute");
        assert_eq!(clock.take_steps_back(), 0, "taken");
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

    const EVERY: Tick = 10 * SECOND_NS;

    /// Of times in seconds the numbers of their intervals, and which these are.
    fn dated(seconds: &[i64]) -> Vec<(u32, Dated)> {
        let calendar = Arc::default();
        let mut clock = PacketClock::aligned(EVERY, &calendar);
        let grid = Grid::new(EVERY, 0);
        let mut last = 0;
        let advance = |&second: &i64| {
            let tick = clock.advance(Some(second * 1_000_000_000));
            assert!(tick >= last, "{second}");
            last = tick;
            (grid.number(tick), calendar.date(grid.number(tick)).unwrap())
        };
        seconds.iter().map(advance).collect()
    }

    #[test]
    fn intervals_of_ticks_are_those_of_times() {
        let seconds = [1_003, 1_009, 1_010, 1_005, 17, 25, 999, 3, -107, -102];
        for (second, (_, is)) in seconds.iter().zip(dated(&seconds)) {
            let is_late = *second == 1_005;
            assert!(is_late || is.place == second.div_euclid(10), "{second}: {is:?}");
        }
        let numbers: Vec<_> = dated(&[1_003, 1_009, 1_010, 1_005, 1_031])
            .into_iter()
            .map(|(number, is)| (number, is.recording, is.place))
            .collect();
        let want = [(0, 0, 100), (0, 0, 100), (1, 0, 101), (1, 0, 101), (3, 0, 103)];
        assert_eq!(numbers, want);
    }

    /// An hour's first minutes, and then the last of the hour before: these had one interval.
    #[test]
    fn a_step_back_over_the_beginning_of_an_interval_begins_another() {
        let hour = 3_600 * SECOND_NS;
        let calendar = Arc::default();
        let mut clock = PacketClock::aligned(hour, &calendar);
        let grid = Grid::new(hour, 0);
        let numbers = [10 * 3_600 + 65, 10 * 3_600 - 5, 10 * 3_600 + 3]
            .map(|second: i64| grid.number(clock.advance(Some(second * 1_000_000_000))));
        let is = numbers.map(|number| calendar.date(number).map(|is| (is.recording, is.place)));
        assert_eq!(is, [Some((0, 10)), Some((1, 9)), Some((1, 10))], "{numbers:?}");
    }

    /// Numbers of intervals of 100 ms last for 13 years: all that came 50 years later had one.
    #[test]
    fn a_clock_that_is_set_late_does_not_use_up_all_numbers() {
        let every = SECOND_NS / 10;
        let calendar = Arc::default();
        let mut clock = PacketClock::aligned(every, &calendar);
        let grid = Grid::new(every, 0);
        let seconds =
            [0, 1_700_000_000, 1_700_000_001, 2_000_000_000, 1_700_000_002, 0, 1_700_000_003];
        let recordings = [0, 0, 0, 0, 1, 2, 2];
        for (second, recording) in seconds.into_iter().zip(recordings) {
            let number = grid.number(clock.advance(Some(second * 1_000_000_000)));
            let want = Dated { recording, place: second * 10 };
            assert_eq!(calendar.date(number), Some(want), "{second}");
        }
    }

    proptest! {
        #[test]
        fn each_interval_of_a_recording_has_one_number(
            seconds in prop::collection::vec(-300_i64..300, 1..60),
        ) {
            let dated = dated(&seconds);
            let mut by_number = BTreeMap::new();
            for (number, is) in &dated {
                prop_assert_eq!(by_number.entry(number).or_insert(is), &is);
            }
            // The order of numbers is that of recordings, and in each of times; none is twice there.
            let dates: Vec<_> = by_number.into_values().collect();
            prop_assert!(dates.is_sorted_by(|one, other| one < other), "{:?}", dates);
            let mut newest = i64::MIN;
            for (second, (_, is)) in seconds.iter().zip(&dated) {
                let is_back = newest.saturating_sub(*second) > 60;
                newest = if is_back { *second } else { newest.max(*second) };
                prop_assert_eq!(is.place, newest.div_euclid(10));
            }
        }
    }
}

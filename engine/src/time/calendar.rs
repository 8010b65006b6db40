//! Which times the intervals of a [`Grid`](super::Grid) are of, as their numbers only go up and
//! clocks do not.
//!
//! An interval of times begins at a multiple of its length. As long as nobody puts the clock, of
//! packets or on the wall, the next number is the next of these; where one does, another era begins,
//! whose first number is of the time to which it was put. Where that was back, another *recording*
//! begins with it. So in a recording each interval of times has one number at most, and later times
//! have higher ones.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits::CALENDAR_ERAS;

/// Numbers up to those of the next era.
#[derive(Debug, Clone, Copy)]
struct Era {
    first: u32,
    /// How many intervals after 1970 that one began.
    place: i64,
    recording: u32,
}

/// An interval of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dated {
    /// How often the clock had been put back before.
    pub recording: u32,
    /// How many intervals after 1970 it began.
    pub place: i64,
}

/// All eras from the first that anybody may ask for. One thread writes it, whenever a clock was
/// put, and one reads it, for each interval.
#[derive(Debug, Default)]
pub struct Calendar(Mutex<VecDeque<Era>>);

impl Calendar {
    /// An era begins with this number, which is of the interval that began as the `place`th after
    /// 1970. Where the last number is reached already, which stands for all that follow, it does
    /// not; nor among [`CALENDAR_ERAS`] that may all still be asked for.
    pub fn begin(&self, first: u32, place: i64, is_back: bool) {
        let mut eras = self.eras();
        let recording = match eras.back() {
            Some(last) if last.first >= first || eras.len() == CALENDAR_ERAS => return,
            Some(last) => last.recording.saturating_add(u32::from(is_back)),
            None => 0,
        };
        eras.push_back(Era { first, place, recording });
    }

    /// Which interval has this number; none if no time is known.
    pub fn date(&self, number: u32) -> Option<Dated> {
        let eras = self.eras();
        let at = eras.partition_point(|era| era.first <= number);
        let era = eras.get(at.checked_sub(1)?)?;
        let place = era.place.saturating_add((number - era.first).into());
        Some(Dated { recording: era.recording, place })
    }

    /// Nobody asks for what is below this number any more.
    pub fn forget_below(&self, number: u32) {
        let mut eras = self.eras();
        let old = eras.partition_point(|era| era.first <= number).saturating_sub(1);
        eras.drain(..old);
    }

    fn eras(&self) -> MutexGuard<'_, VecDeque<Era>> {
        // Each change is one call: there is nothing that a panic could have left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_dates_up_to_the_next_era() {
        let calendar = Calendar::default();
        assert_eq!(calendar.date(7), None, "no time is known");
        for (first, place, is_back) in [(0, 100, false), (3, 200, false), (5, 150, true)] {
            calendar.begin(first, place, is_back);
        }
        let dates = || [0, 2, 3, 4, 5, 9].map(|number| calendar.date(number));
        let dated = |recording, place| Some(Dated { recording, place });
        let (second, third) = ([dated(0, 200), dated(0, 201)], [dated(1, 150), dated(1, 154)]);
        assert_eq!(dates(), [&[dated(0, 100), dated(0, 102)], &second[..], &third].concat()[..]);
        calendar.forget_below(4);
        assert_eq!(dates(), [&[None; 2], &second[..], &third].concat()[..]);
        calendar.begin(5, 7, true);
        assert_eq!(calendar.date(5), dated(1, 150), "the last number stands for all that follow");
    }

    #[test]
    fn eras_are_bounded() {
        let calendar = Calendar::default();
        let eras = u32::try_from(CALENDAR_ERAS).unwrap();
        (0..2 * eras).for_each(|first| calendar.begin(first, 7, true));
        assert_eq!(calendar.eras().len(), CALENDAR_ERAS);
        let last = Dated { recording: eras - 1, place: 7 + i64::from(eras) };
        assert_eq!(calendar.date(2 * eras - 1), Some(last));
    }
}

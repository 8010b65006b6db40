//! Entries on disk that were split on their way: one counts, and is done with, once all its pieces
//! are settled, so that each of its records counts once whatever becomes of it in between.

use std::collections::BTreeMap;

use crate::export::spool::Place;

/// Those of which a piece is not settled.
#[derive(Debug, Default)]
pub(super) struct Split {
    parts: BTreeMap<Place, Parts>,
}

/// What has become of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    /// Pieces that are not settled.
    open: usize,
    /// Flow records that have arrived.
    pub(super) arrived: u32,
    /// Flow records that are longer than the path takes.
    pub(super) too_long: u32,
}

impl Parts {
    /// One that was not split.
    const WHOLE: Self = Self { open: 1, arrived: 0, too_long: 0 };
}

impl Split {
    /// So many pieces have taken the place of one, which settles so many flow records. All that has
    /// become of the entry, if nothing is left of it.
    pub(super) fn split(&mut self, place: Place, pieces: usize, too_long: u32) -> Option<Parts> {
        self.settle(place, |parts| {
            parts.open += pieces;
            parts.too_long += too_long;
        })
    }

    /// A piece has arrived with so many flow records, or an entry that was not split. All that has
    /// become of it, if nothing is left of it.
    pub(super) fn arrived(&mut self, place: Place, flows: u32) -> Option<Parts> {
        self.settle(place, |parts| parts.arrived += flows)
    }

    fn settle(&mut self, place: Place, change: impl FnOnce(&mut Parts)) -> Option<Parts> {
        let mut parts = self.parts.remove(&place).unwrap_or(Parts::WHOLE);
        change(&mut parts);
        parts.open -= 1;
        if parts.open == 0 {
            return Some(parts);
        }
        self.parts.insert(place, parts);
        None
    }

    /// What has become so far of the entries of a segment that is gone: flow records that have arrived,
    /// and those that were too long.
    pub(super) fn take(&mut self, segment: u64) -> (u64, u64) {
        let taken = self.parts.extract_if(.., |place, _| place.segment == segment);
        taken.fold((0, 0), |(arrived, too_long), (_, parts)| {
            (arrived + u64::from(parts.arrived), too_long + u64::from(parts.too_long))
        })
    }
}

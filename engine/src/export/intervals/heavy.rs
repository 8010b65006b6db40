//! Sums by key with a bounded number of keys: what is heavy stays, and how much may be missing of
//! anything is known.
//!
//! This is the frequent-items summary of Misra and Gries with weights, in the form of Anderson et
//! al., "A High-Performance Algorithm for Identifying Frequent Items in Data Streams" (IMC 2017,
//! <https://doi.org/10.1145/3131365.3131407>): when all places are taken, the median of all weights
//! is taken off each of them, and those that have nothing left give up their places.
//!
//! **The bound.** Of a key's true weight no more can be missing from its entry than was taken off
//! so far, and that is all that a key without an entry can have. An entry counts exactly from when
//! it came in: what is missing of it came before, and is no more than had been taken off by then
//! ([`Heavy::missing`]). Each time the median is taken off at least half of the places, so with
//! `W` in all and `C` places no more than `2 W / C` is ever taken off. As long as there are no more
//! keys than places nothing is missing.

use std::collections::HashMap;
use std::hash::Hash;

use crate::export::intervals::Sums;

/// Sums of up to so many keys; the weight is bytes.
#[derive(Debug)]
pub(super) struct HeavyHitters<K> {
    entries: HashMap<K, Entry>,
    places: usize,
    /// How much was taken off every weight so far.
    taken_off: u64,
}

#[derive(Debug)]
struct Entry {
    sums: Sums,
    /// What is left of it.
    weight: u64,
    missing: u64,
}

/// A key that is heavy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heavy<K> {
    pub(super) key: K,
    pub(super) sums: Sums,
    /// So many bytes at most, and what came with them, are not in the sums.
    pub(super) missing: u64,
}

impl<K: Hash + Ord + Clone> HeavyHitters<K> {
    /// With room for `places` keys.
    pub(super) fn new(places: usize) -> Self {
        assert!(places > 1, "with one place every other key would empty it");
        Self { entries: HashMap::new(), places, taken_off: 0 }
    }

    /// Adds to the sums of a key.
    pub(super) fn add(&mut self, key: K, sums: &Sums) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.sums.add(sums);
            entry.weight = entry.weight.saturating_add(sums.all_bytes());
            return;
        }
        if self.entries.len() >= self.places {
            self.make_room();
        }
        let entry = Entry { sums: *sums, weight: sums.all_bytes(), missing: self.taken_off };
        self.entries.insert(key, entry);
    }

    /// Adds to the sums of a key what has no weight, unless others would lose their places.
    pub(super) fn note(&mut self, key: K, sums: &Sums) {
        if self.entries.len() < self.places || self.entries.contains_key(&key) {
            self.add(key, sums);
        }
    }

    fn make_room(&mut self) {
        let mut weights: Vec<u64> = self.entries.values().map(|entry| entry.weight).collect();
        let middle = (weights.len() - 1) / 2;
        let median = *weights.select_nth_unstable(middle).1;
        self.entries.retain(|_, entry| {
            entry.weight = entry.weight.saturating_sub(median);
            entry.weight > 0
        });
        self.taken_off = self.taken_off.saturating_add(median);
    }

    /// How much a key at most has that is not among the entries, in bytes.
    #[cfg(test)]
    fn missing_of_others(&self) -> u64 {
        self.taken_off
    }

    /// The heaviest by what was counted, the heaviest first; all of them if there are no more than
    /// `most`.
    pub(super) fn top(&self, most: usize) -> Vec<Heavy<K>> {
        let mut all: Vec<_> = self.entries.iter().collect();
        all.sort_unstable_by(|(key, entry), (other_key, other)| {
            let order = other.sums.all_bytes().cmp(&entry.sums.all_bytes());
            order
                .then_with(|| other.sums.all_packets().cmp(&entry.sums.all_packets()))
                .then_with(|| key.cmp(other_key))
        });
        let heavy = |(key, entry): (&K, &Entry)| Heavy {
            key: key.clone(),
            sums: entry.sums,
            missing: entry.missing,
        };
        all.into_iter().take(most).map(heavy).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn sums(bytes: u64) -> Sums {
        Sums { packets: [1, 0], bytes: [bytes, 0], begun: 0, ended: 0 }
    }

    /// Counts `items` with so many places and exactly, and holds one against the other.
    fn check(places: usize, items: &[(u16, u64)]) -> Result<u64, TestCaseError> {
        let mut heavy = HeavyHitters::new(places);
        let mut exact: BTreeMap<u16, u64> = BTreeMap::new();
        for &(key, bytes) in items {
            heavy.add(key, &sums(bytes));
            *exact.entry(key).or_default() += bytes;
        }
        let all: u64 = exact.values().sum();
        let (entries, others) = (heavy.top(usize::MAX), heavy.missing_of_others());
        prop_assert!(entries.len() <= places);
        prop_assert!(others <= 2 * all / places as u64, "{} of {} with {}", others, all, places);
        let mut last = u64::MAX;
        for Heavy { key, sums, missing } in entries {
            let (counted, is) = (sums.all_bytes(), exact.remove(&key).unwrap());
            prop_assert!(
                counted <= is && is <= counted + missing,
                "{}: {} is {}",
                key,
                counted,
                is
            );
            prop_assert!(missing <= others);
            prop_assert!(counted <= last, "in order");
            last = counted;
        }
        for (key, is) in exact {
            prop_assert!(is <= others, "{} has no entry and {}", key, is);
        }
        Ok(others)
    }

    proptest! {
        #[test]
        fn no_more_is_missing_than_is_said(
            places in 2usize..20,
            items in prop::collection::vec((0u16..60, 0u64..1_000), 0..400),
        ) {
            check(places, &items)?;
        }

        #[test]
        fn nothing_is_missing_with_a_place_for_each(
            items in prop::collection::vec((0u16..20, 0u64..1_000), 0..400),
        ) {
            prop_assert_eq!(check(20, &items)?, 0);
        }
    }

    #[test]
    fn a_scan_does_not_hide_who_is_heavy() {
        let scan = (1_000..60_000).flat_map(|key| [(key, 60), (7, 30), (8, 20)]);
        let items: Vec<_> = scan.collect();
        check(64, &items).unwrap();
        let mut heavy = HeavyHitters::new(64);
        items.iter().for_each(|&(key, bytes)| heavy.add(key, &sums(bytes)));
        let top: Vec<_> = heavy.top(2).into_iter().map(|heavy| heavy.key).collect();
        assert_eq!(top, [7, 8]);
    }

    #[test]
    fn what_has_no_weight_takes_no_place() {
        let mut heavy = HeavyHitters::new(2);
        heavy.add(1_u8, &sums(5));
        heavy.note(2, &Sums { ended: 1, ..Sums::default() });
        heavy.note(3, &Sums { ended: 1, ..Sums::default() });
        heavy.note(1, &Sums { ended: 1, ..Sums::default() });
        let all: Vec<_> = heavy.top(9).iter().map(|it| (it.key, it.sums.ended)).collect();
        assert_eq!(all, [(1, 1), (2, 1)]);
    }
}

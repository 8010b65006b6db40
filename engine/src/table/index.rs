//! From a key's hash to its slot: buckets of one cache line, each with 8-bit tags and slot
//! numbers. A key may stand in one of two buckets, so that both being full is rare while
//! there are free slots.

use std::collections::TryReserveError;

/// Entries of a bucket: what fits beside their tags into a cache line.
const WAYS: usize = 12;

/// Slots per bucket on average when the table is full: under two thirds of the ways.
const LOAD: usize = 8;

/// The tag of an empty way. Tags of keys have the top bit set.
const EMPTY: u8 = 0;

#[derive(Debug, Clone)]
#[repr(align(64))]
struct Bucket {
    tags: [u8; WAYS],
    slots: [u32; WAYS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// The bucket index of a core table.
#[derive(Debug)]
pub(crate) struct Index {
    buckets: Box<[Bucket]>,
    mask: usize,
}

impl Index {
    /// # Errors
    /// If the system does not give the memory.
    pub(crate) fn new(capacity: usize) -> Result<Self, TryReserveError> {
        let len = capacity.div_ceil(LOAD).next_power_of_two();
        let mut buckets = Vec::new();
        buckets.try_reserve_exact(len)?;
        buckets.resize(len, Bucket { tags: [EMPTY; WAYS], slots: [0; WAYS] });
        Ok(Self { buckets: buckets.into(), mask: len - 1 })
    }

    /// The slot that stands under `hash` and that `is_it` says yes to.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        self.homes(hash).into_iter().find_map(|home| {
            let bucket = &self.buckets[home];
            (0..WAYS)
                .filter(|&way| bucket.tags[way] == tag)
                .map(|way| bucket.slots[way])
                .find(|&slot| is_it(slot))
        })
    }

    /// Enters a slot; false if both its buckets are full.
    pub(crate) fn insert(&mut self, hash: u64, slot: u32) -> bool {
        let filled = |home: usize| self.buckets[home].tags.iter().filter(|&&t| t != EMPTY).count();
        let [one, two] = self.homes(hash);
        let home = if filled(two) < filled(one) { two } else { one };
        let bucket = &mut self.buckets[home];
        match bucket.tags.iter().position(|&tag| tag == EMPTY) {
            Some(way) => {
                bucket.tags[way] = tag(hash);
                bucket.slots[way] = slot;
                true
            }
            None => false,
        }
    }

    /// Takes a slot out that was entered under this hash.
    pub(crate) fn remove(&mut self, hash: u64, slot: u32) {
        for home in self.homes(hash) {
            let bucket = &mut self.buckets[home];
            for way in 0..WAYS {
                if bucket.tags[way] != EMPTY && bucket.slots[way] == slot {
                    bucket.tags[way] = EMPTY;
                    return;
                }
            }
        }
        unreachable!("slot {slot} is not in the index");
    }

    /// The two buckets of a hash (the same one twice, at times).
    #[expect(clippy::cast_possible_truncation, reason = "masked to the number of buckets")]
    fn homes(&self, hash: u64) -> [usize; 2] {
        [hash as usize & self.mask, (hash >> 28) as usize & self.mask]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits are meant")]
/// Seven bits that neither the buckets nor the choice of a core or lane use.
fn tag(hash: u64) -> u8 {
    0x80 | (hash >> 49) as u8
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a `HashMap`: whatever was entered and not taken out is found.
        #[test]
        fn it_finds_what_a_hash_map_finds(steps in prop::collection::vec((any::<bool>(), 0u32..40), 1..200)) {
            let mut index = Index::new(64).unwrap();
            let mut twin = HashMap::new();
            // Few different hashes, so that tags and buckets collide.
            let hash = |key: u32| u64::from(key % 7) << 49 | u64::from(key % 5) << 28 | u64::from(key % 3);
            for (enter, key) in steps {
                if enter && !twin.contains_key(&key) {
                    if index.insert(hash(key), key) {
                        twin.insert(key, ());
                    }
                } else if twin.remove(&key).is_some() {
                    index.remove(hash(key), key);
                }
                for key in 0..40 {
                    let found = index.find(hash(key), |slot| slot == key);
                    prop_assert_eq!(found.is_some(), twin.contains_key(&key));
                }
            }
        }
    }

    #[test]
    fn a_full_table_of_random_keys_fits() {
        let mut index = Index::new(100_000).unwrap();
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let lost = (0..100_000u32).filter(|&key| !index.insert(hasher.hash_one(key), key)).count();
        assert_eq!(lost, 0);
    }
}

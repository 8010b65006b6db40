//! From a key's hash to its slot: buckets of one cache line, each with 8-bit tags and slot
//! numbers.
//!
//! A key stands in its first bucket, unless that is nearly full; then in the emptier of its
//! two. A bucket counts the keys that it has sent away, so that a look-up reads a second
//! line only if there is something to find in it.

use std::io;

use crate::limits::MAX_CORE_FLOWS;
use crate::memory::{Fixed, Pages};

/// Entries of a bucket: what fits into a cache line beside their tags and the count.
const WAYS: usize = 15;

/// Tags are compared 16 at a time; the last one is always [`EMPTY`].
const TAGS: usize = 16;

/// Slots for two buckets when the table is full: 11.5 of 15 ways, or 5.6 bytes a flow.
const SLOTS_OF_TWO: usize = 23;

/// From so many entries on, a bucket sends keys to their other bucket if that has fewer.
/// Simulated with two million keys: a full table sends 11 in 100 away and turns none down,
/// a half-full one sends 4 in 1,000 away.
const NEARLY_FULL: u32 = 11;

/// The tag of an empty way. No key has it.
const EMPTY: u8 = 0;

/// One cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u8; TAGS],
    slots: [[u8; 3]; WAYS],
    /// Keys whose first bucket this is and that stand in their other one. It stays at
    /// its highest value once it has reached that.
    sent_away: u16,
}

const _: () = assert!(size_of::<Bucket>() == 64);
const _: () = assert!(MAX_CORE_FLOWS <= 1 << 24, "slot numbers are 24 bits wide");

impl Bucket {
    const EMPTY: Self = Self { tags: [EMPTY; TAGS], slots: [[0; 3]; WAYS], sent_away: 0 };

    fn slot(&self, way: usize) -> u32 {
        let [a, b, c] = self.slots[way];
        u32::from_le_bytes([a, b, c, 0])
    }

    /// Ways with this tag, one bit each.
    fn matches(&self, tag: u8) -> u32 {
        matches(&self.tags, tag)
    }

    fn filled(&self) -> u32 {
        (!self.matches(EMPTY)).count_ones() - (u32::BITS - 16)
    }

    /// The slots that stand under this tag.
    fn slots_under(&self, tag: u8) -> impl Iterator<Item = (usize, u32)> {
        let mut ways = self.matches(tag);
        std::iter::from_fn(move || {
            let way = (ways != 0).then(|| ways.trailing_zeros() as usize)?;
            ways &= ways - 1;
            Some((way, self.slot(way)))
        })
    }

    #[inline(always)]
    fn guess(&self, tag: u8, fetch: impl Fn(u32)) -> u32 {
        let mut slots = self.slots_under(tag).map(|(_, slot)| slot).inspect(|&slot| fetch(slot));
        let Some(guess) = slots.next() else { return Index::NONE };
        slots.for_each(drop);
        guess
    }

    fn way_of(&self, tag: u8, slot: u32) -> Option<usize> {
        self.slots_under(tag).find(|&(_, found)| found == slot).map(|(way, _)| way)
    }
}

/// The bucket index of a core table.
#[derive(Debug)]
pub(crate) struct Index {
    buckets: Fixed<Bucket>,
}

impl Index {
    /// No slot has this number.
    pub(crate) const NONE: u32 = u32::MAX;

    /// Nor this: the key may stand in its second bucket.
    pub(crate) const AWAY: u32 = u32::MAX - 1;

    /// # Errors
    /// If the system does not give the memory.
    pub(crate) fn new(capacity: usize) -> io::Result<Self> {
        assert!(capacity <= MAX_CORE_FLOWS, "slot numbers are 24 bits wide");
        let len = (capacity * 2).div_ceil(SLOTS_OF_TWO).max(1);
        let mut buckets = Fixed::new(len)?;
        (0..len).for_each(|_| buckets.push(Bucket::EMPTY));
        Ok(Self { buckets })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.buckets.bytes()
    }

    pub(crate) fn pages(&self) -> Pages {
        self.buckets.pages()
    }

    /// Has the first bucket of `hash` fetched.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        self.buckets.prefetch(self.first(hash));
    }

    /// A slot that `hash` may stand for, from its first bucket; all such slots are passed to
    /// `fetch`. [`Index::NONE`] if there is none; [`Index::AWAY`] if the second bucket may
    /// have one, which is then fetched.
    #[inline(always)]
    pub(crate) fn guess(&self, hash: u64, fetch: impl Fn(u32)) -> u32 {
        let bucket = &self.buckets[self.first(hash)];
        let guess = bucket.guess(tag(hash), fetch);
        if guess == Self::NONE && bucket.sent_away != 0 {
            self.buckets.prefetch(self.second(hash));
            return Self::AWAY;
        }
        guess
    }

    /// The same from its second bucket.
    #[inline]
    pub(crate) fn guess_away(&self, hash: u64, fetch: impl Fn(u32)) -> u32 {
        self.buckets[self.second(hash)].guess(tag(hash), fetch)
    }

    /// The slot that stands under `hash` and that `is_it` says yes to.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        let in_bucket = |bucket: &Bucket| {
            bucket.slots_under(tag).map(|(_, slot)| slot).find(|&slot| is_it(slot))
        };
        let first = &self.buckets[self.first(hash)];
        in_bucket(first).or_else(|| {
            if first.sent_away == 0 {
                return None;
            }
            in_bucket(&self.buckets[self.second(hash)])
        })
    }

    /// Enters a slot; false if both its buckets are full.
    pub(crate) fn insert(&mut self, hash: u64, slot: u32) -> bool {
        let (first, second) = (self.first(hash), self.second(hash));
        let filled = self.buckets[first].filled();
        let stays = filled < NEARLY_FULL || filled <= self.buckets[second].filled();
        let home = &mut self.buckets[if stays { first } else { second }];
        let empty = home.matches(EMPTY).trailing_zeros() as usize;
        if empty == WAYS {
            return false;
        }
        home.tags[empty] = tag(hash);
        let [a, b, c, _] = slot.to_le_bytes();
        home.slots[empty] = [a, b, c];
        if !stays {
            let sent_away = &mut self.buckets[first].sent_away;
            *sent_away = sent_away.saturating_add(1);
        }
        true
    }

    /// Takes a slot out that was entered under this hash.
    pub(crate) fn remove(&mut self, hash: u64, slot: u32) {
        let (first, second) = (self.first(hash), self.second(hash));
        let tag = tag(hash);
        if let Some(way) = self.buckets[first].way_of(tag, slot) {
            self.buckets[first].tags[way] = EMPTY;
            return;
        }
        let way = self.buckets[second].way_of(tag, slot).expect("the slot was entered");
        self.buckets[second].tags[way] = EMPTY;
        let sent_away = &mut self.buckets[first].sent_away;
        if *sent_away != u16::MAX {
            *sent_away -= 1;
        }
    }

    // The two buckets of a hash are chosen by different bits of it, and by others than the
    // tag; the upper bits choose the core and the merge thread.
    #[expect(clippy::cast_possible_truncation, reason = "these 32 bits are meant")]
    fn first(&self, hash: u64) -> usize {
        self.bucket(hash as u32)
    }

    #[expect(clippy::cast_possible_truncation, reason = "these 32 bits are meant")]
    fn second(&self, hash: u64) -> usize {
        self.bucket((hash >> 17) as u32)
    }

    /// Spreads 32 bits over the buckets; the upper ones of them count most.
    fn bucket(&self, bits: u32) -> usize {
        ((u64::from(bits) * self.buckets.len() as u64) >> 32) as usize
    }
}

/// Eight bits that neither the buckets nor the choice of a core or lane use.
#[expect(clippy::cast_possible_truncation, reason = "eight bits are meant")]
fn tag(hash: u64) -> u8 {
    ((hash >> 49) as u8).max(EMPTY + 1)
}

/// Which of `tags` are `tag`, one bit each.
#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "the instructions are named by unsafe functions")]
fn matches(tags: &[u8; TAGS], tag: u8) -> u32 {
    // SAFETY: SSE2, which is all that it needs, is part of x86-64.
    unsafe { matches_with_sse2(tags, tag) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn matches_with_sse2(tags: &[u8; TAGS], tag: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
    let whole = u128::from_le_bytes(*tags);
    #[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
    let (low, high) = (whole as i64, (whole >> 64) as i64);
    let equal = _mm_cmpeq_epi8(_mm_set_epi64x(high, low), _mm_set1_epi8(tag.cast_signed()));
    _mm_movemask_epi8(equal).cast_unsigned()
}

#[cfg(not(target_arch = "x86_64"))]
use matches_portably as matches;

/// The same, on any machine.
#[cfg_attr(target_arch = "x86_64", cfg(test))]
fn matches_portably(tags: &[u8; TAGS], tag: u8) -> u32 {
    tags.iter().rev().fold(0, |mask, &t| mask << 1 | u32::from(t == tag))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::{BuildHasher, RandomState};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a `HashMap`: whatever was entered and not taken out is found.
        #[test]
        fn it_finds_what_a_hash_map_finds(steps in prop::collection::vec((any::<bool>(), 0u32..60), 1..300)) {
            let mut index = Index::new(46).unwrap();
            let mut twin = HashMap::new();
            // Few different hashes, so that tags and buckets collide and buckets are full.
            let hash = |key: u32| {
                u64::from(key % 7) << 49 | u64::from(key % 3) << 47 | u64::from(key % 2) << 30
            };
            for (enter, key) in steps {
                if enter && !twin.contains_key(&key) {
                    if index.insert(hash(key), key) {
                        twin.insert(key, ());
                    }
                } else if twin.remove(&key).is_some() {
                    index.remove(hash(key), key);
                }
                for key in 0..60 {
                    let found = index.find(hash(key), |slot| slot == key);
                    prop_assert_eq!(found.is_some(), twin.contains_key(&key));
                    let fetched = std::cell::RefCell::new(Vec::new());
                    let fetch = |slot| fetched.borrow_mut().push(slot);
                    let guess = match index.guess(hash(key), fetch) {
                        Index::AWAY => index.guess_away(hash(key), fetch),
                        guess => guess,
                    };
                    let fetched = fetched.take();
                    prop_assert!(fetched.iter().all(|slot| twin.contains_key(slot)));
                    prop_assert_eq!(fetched.first(), Some(&guess).filter(|&&g| g != Index::NONE));
                }
            }
        }

        #[test]
        fn tags_match_the_same_on_every_machine(tags: [u8; TAGS], tag: u8, few in 0u8..3) {
            prop_assert_eq!(matches(&tags, tag), matches_portably(&tags, tag));
            let tags = tags.map(|tag| tag % 3);
            prop_assert_eq!(matches(&tags, few), matches_portably(&tags, few));
        }
    }

    #[test]
    fn a_full_table_of_random_keys_fits() {
        for capacity in [1, 10, 1_000, 300_000] {
            let mut index = Index::new(capacity).unwrap();
            let hasher = RandomState::new();
            let slots = 0..u32::try_from(capacity).unwrap();
            let lost = slots.filter(|&key| !index.insert(hasher.hash_one(key), key)).count();
            assert_eq!(lost, 0, "of {capacity}");
        }
    }
}

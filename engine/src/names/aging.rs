//! Which entry of a bounded table goes first: the one that was not renewed for longest.

use std::collections::VecDeque;

/// Keys that are looked through at once, and whose memory is taken and given back at once: so that
/// nothing here takes long, however many there are.
const CHUNK: usize = 1_024;

/// Keys of which one is chosen that goes before others.
pub(super) const LOOKED_THROUGH: usize = 16;

/// The keys of a table in the order in which they were last looked at, each with a stamp.
///
/// Who wants room takes the oldest, and either evicts it or, if it was renewed in the meantime,
/// sends it round once more. A key that went and came back is here more than once: the table
/// tells by the stamp which of them counts.
#[derive(Debug)]
pub(super) struct Aging<K> {
    /// None is empty.
    chunks: VecDeque<VecDeque<(K, u64)>>,
    /// Keys in all of them.
    len: usize,
    /// The chunk that is looked through next for keys that are gone.
    next: usize,
}

impl<K> Default for Aging<K> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), len: 0, next: 0 }
    }
}

impl<K> Aging<K> {
    /// A key has come; `stamp` says as of when.
    pub(super) fn add(&mut self, key: K, stamp: u64) {
        if self.chunks.back().is_none_or(|last| last.len() >= CHUNK) {
            self.chunks.push_back(VecDeque::with_capacity(CHUNK));
        }
        self.chunks.back_mut().expect("one was there or made").push_back((key, stamp));
        self.len += 1;
    }

    fn pop(&mut self) -> Option<(K, u64)> {
        let first = self.chunks.front_mut()?;
        let oldest = first.pop_front();
        if first.is_empty() {
            self.chunks.pop_front();
            self.next = self.next.saturating_sub(1);
        }
        self.len -= usize::from(oldest.is_some());
        oldest
    }

    /// The key to evict. `stamp_of` says of a key and its stamp here as of when it was last
    /// renewed; `None` that this one is gone.
    pub(super) fn oldest(&mut self, stamp_of: impl Fn(&K, u64) -> Option<u64>) -> Option<K> {
        // Once round at most: who was renewed is given the new stamp.
        for _ in 0..=2 * self.len {
            let (key, stamp) = self.pop()?;
            match stamp_of(&key, stamp) {
                None => {}
                Some(renewed) if renewed > stamp => self.add(key, renewed),
                Some(_) => return Some(key),
            }
        }
        None
    }

    /// The key to evict, where some are to go before others that are older: of the first that were
    /// not renewed ([`LOOKED_THROUGH`] at most) the first of the least rank. Those without a rank
    /// are spared, if there are others, and go round.
    pub(super) fn first_of<R: Ord>(
        &mut self,
        stamp_of: impl Fn(&K, u64) -> Option<u64>,
        rank_of: impl Fn(&K) -> Option<R>,
    ) -> Option<K> {
        let mut ranked: Vec<(R, K, u64)> = Vec::with_capacity(LOOKED_THROUGH);
        let mut spared = None;
        let mut looked = 0;
        for _ in 0..=2 * self.len {
            if looked == LOOKED_THROUGH {
                break;
            }
            let Some((key, stamp)) = self.pop() else { break };
            match stamp_of(&key, stamp) {
                None => continue,
                Some(renewed) if renewed > stamp => {
                    self.add(key, renewed);
                    continue;
                }
                Some(_) => looked += 1,
            }
            match rank_of(&key) {
                Some(rank) => ranked.push((rank, key, stamp)),
                None if spared.is_none() => spared = Some((key, stamp)),
                None => self.add(key, stamp),
            }
        }
        let least = ranked.iter().enumerate().min_by_key(|(_, (rank, ..))| rank);
        let Some((at, _)) = least else { return spared.map(|(key, _)| key) };
        let (_, first, _) = ranked.remove(at);
        ranked.into_iter().rev().for_each(|(_, key, stamp)| self.give_back(key, stamp));
        spared.into_iter().for_each(|(key, stamp)| self.add(key, stamp));
        Some(first)
    }

    /// Puts a key in front of all others.
    fn give_back(&mut self, key: K, stamp: u64) {
        if self.chunks.front().is_none_or(|first| first.len() >= CHUNK) {
            self.chunks.push_front(VecDeque::with_capacity(CHUNK));
            self.next += 1;
        }
        self.chunks.front_mut().expect("one was there or made").push_front((key, stamp));
        self.len += 1;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Forgets keys that are gone, a chunk of them, when there are many: `len` is how many there
    /// should be.
    pub(super) fn tidy(&mut self, len: usize, is_there: impl Fn(&K, u64) -> bool) {
        if self.len <= 2 * len + CHUNK {
            return;
        }
        let at = self.next % self.chunks.len();
        self.next = at + 1;
        let chunk = &mut self.chunks[at];
        let before = chunk.len();
        chunk.retain(|(key, stamp)| is_there(key, *stamp));
        self.len -= before - chunk.len();
        let left = chunk.len();
        // What little is left joins those before it.
        if let Some(earlier) = at.checked_sub(1).map(|before| self.chunks[before].len())
            && earlier + left <= CHUNK
        {
            let mut rest = self.chunks.remove(at).unwrap_or_default();
            self.chunks[at - 1].append(&mut rest);
            self.next = at;
        } else if left == 0 {
            self.chunks.remove(at);
            self.next = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against one plain list, of which nothing is forgotten before it is evicted: the same keys
        /// are evicted, in the same order, whatever came and went.
        #[test]
        fn the_same_is_evicted_as_of_one_list(
            steps in prop::collection::vec((0u8..64, 0u16..500), 0..20_000),
        ) {
            let mut aging = Aging::default();
            let (mut there, mut list) = (HashMap::new(), VecDeque::new());
            for (now, (step, key)) in (0..).zip(steps) {
                let is_there = |key: &u16, stamp| there.get(key) == Some(&stamp);
                match step {
                    0 => {
                        let plain = std::iter::from_fn(|| list.pop_front())
                            .find(|(key, stamp)| is_there(key, *stamp));
                        let oldest =
                            aging.oldest(|key, stamp| is_there(key, stamp).then_some(stamp));
                        prop_assert_eq!(oldest, plain.map(|(key, _)| key));
                        oldest.iter().for_each(|key| _ = there.remove(key));
                    }
                    _ if there.contains_key(&key) => _ = there.remove(&key),
                    _ => {
                        there.insert(key, now);
                        aging.add(key, now);
                        list.push_back((key, now));
                    }
                }
                aging.tidy(there.len(), |key, stamp| there.get(key) == Some(&stamp));
                prop_assert!(aging.len() <= 2 * there.len() + 2 * CHUNK);
                prop_assert!(aging.chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
            }
            prop_assert_eq!(aging.chunks.iter().map(VecDeque::len).sum::<usize>(), aging.len());
        }
    }

    /// One of 100 stays: the others are forgotten, and those that stay are put together.
    #[test]
    fn what_is_gone_is_forgotten_by_the_chunk() {
        let mut aging = Aging::default();
        let stays = |key: &u64, _| key.is_multiple_of(100);
        for key in 0..100_000 {
            aging.add(key, key);
            aging.tidy(usize::try_from(key / 100).unwrap(), stays);
            assert!(aging.len() <= 2 * 1_000 + 2 * CHUNK, "{}", aging.len());
        }
        assert!(aging.chunks.len() <= 5, "{}", aging.chunks.len());
        let evicted = std::iter::from_fn(|| {
            aging.oldest(|key, stamp| Some(stamp).filter(|_| stays(key, stamp)))
        });
        assert!(evicted.eq((0..1_000).map(|number| 100 * number)));
        assert_eq!((aging.len(), aging.chunks.len()), (0, 0));
    }

    #[test]
    fn of_the_first_the_least_rank_goes_and_who_has_none_is_spared() {
        let mut aging = Aging::default();
        (0..3_000).for_each(|key| aging.add(key, 0));
        let mut next =
            |rank_of: fn(&i32) -> Option<i32>| aging.first_of(|_, stamp| Some(stamp), rank_of);
        assert_eq!(next(|key| Some(i32::from(*key != 5))), Some(5));
        assert_eq!(next(|key| Some(i32::from(*key != 40))), Some(0), "it is too far behind");
        assert_eq!(next(|key| (*key == 8).then_some(0)), Some(8));
        // These were spared, and are the last now.
        assert_eq!(next(|key| (*key > 17).then_some(0)), Some(18));
        assert_eq!(next(|_| None), Some(19), "there is no other");
        let mut rest: Vec<_> =
            std::iter::from_fn(|| aging.oldest(|_, stamp| Some(stamp))).collect();
        assert_eq!(rest.len(), 2_995);
        rest.sort_unstable();
        assert!(rest.windows(2).all(|pair| pair[0] < pair[1]), "each of them once");
    }

    #[test]
    fn what_was_renewed_goes_round() {
        let mut aging = Aging::default();
        (0..3_000).for_each(|key| aging.add(key, 0));
        // All but one were renewed.
        let oldest = aging.oldest(|key, stamp| Some(if *key == 2_345 { stamp } else { 1 }));
        assert_eq!(oldest, Some(2_345));
        assert_eq!(aging.oldest(|_, stamp| Some(stamp)), Some(2_346));
        assert_eq!(aging.len(), 2_998);
    }
}

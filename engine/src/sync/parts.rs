//! A map that one thread changes and publishes whole, again and again, without copying it.
//!
//! It is a tree of two levels, 64 times 64 parts, each a short list sorted by hash. A published
//! copy shares all parts with it. The first change of a part after that copies the part (with
//! 500,000 entries some 120 of them, about 8 KiB) and the list of 64 parts that it is in; the
//! next change of the same part copies nothing. To publish is to copy a list of 64 pointers.

use std::hash::{BuildHasher as _, Hash};

use crate::sync::Arc;
use crate::sync::hash::Seed;

/// Groups in a map, and parts in a group.
const FANOUT: usize = 64;

/// Sorted by hash.
type Part<K, V> = Vec<(u64, K, V)>;

type Group<K, V> = [Arc<Part<K, V>>; FANOUT];

/// The map. A clone is cheap, and does not change any more.
#[derive(Debug, Clone)]
pub(crate) struct Parts<K, V> {
    groups: Vec<Arc<Group<K, V>>>,
    hasher: Seed,
    len: usize,
}

impl<K, V> Default for Parts<K, V> {
    fn default() -> Self {
        let part = Arc::new(Vec::new());
        let group = Arc::new(std::array::from_fn(|_| Arc::clone(&part)));
        Self { groups: vec![group; FANOUT], hasher: Seed::default(), len: 0 }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Parts<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let (hash, place) = self.find(key)?;
        Some(&self.part(hash)[place].2)
    }

    /// The value of `key`, to be changed.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (hash, place) = self.find(key)?;
        Some(&mut self.part_mut(hash)[place].2)
    }

    /// All of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let parts = self.groups.iter().flat_map(|group| group.iter());
        parts.flat_map(|part| part.iter().map(|(_, key, value)| (key, value)))
    }

    /// Sets the value of `key`. Returns the one before.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = self.hasher.hash_one(&key);
        let part = self.part_mut(hash);
        match find(part, hash, &key) {
            Ok(place) => Some(std::mem::replace(&mut part[place].2, value)),
            Err(place) => {
                part.insert(place, (hash, key, value));
                self.len += 1;
                None
            }
        }
    }

    /// Takes `key` out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (hash, place) = self.find(key)?;
        let (_, _, value) = self.part_mut(hash).remove(place);
        self.len -= 1;
        Some(value)
    }

    /// The hash of `key`, and where in its part it is.
    fn find(&self, key: &K) -> Option<(u64, usize)> {
        if self.len == 0 {
            return None;
        }
        let hash = self.hasher.hash_one(key);
        let place = find(self.part(hash), hash, key).ok()?;
        Some((hash, place))
    }

    fn part(&self, hash: u64) -> &Part<K, V> {
        let [group, part] = places(hash);
        &self.groups[group][part]
    }

    fn part_mut(&mut self, hash: u64) -> &mut Part<K, V> {
        let [group, part] = places(hash);
        let group = Arc::make_mut(&mut self.groups[group]);
        Arc::make_mut(&mut group[part])
    }
}

/// Group and part of a hash: by its lowest bits, as parts are sorted by all.
fn places(hash: u64) -> [usize; 2] {
    let [low, high, ..] = hash.to_le_bytes();
    [usize::from(low) % FANOUT, usize::from(high) % FANOUT]
}

/// How many of `len` evenly spread hashes are below this one.
#[expect(clippy::cast_possible_truncation, reason = "it is less than `len`")]
fn share(hash: u64, len: usize) -> usize {
    ((u128::from(hash) * len as u128) >> 64) as usize
}

/// Where `key` is in a part, or where it would go.
fn find<K: Eq, V>(part: &Part<K, V>, hash: u64, key: &K) -> Result<usize, usize> {
    // Hashes are spread evenly, so that it is not far from where it would be if they were quite so:
    // a line or two of memory, where halving looks at six.
    let mut first = share(hash, part.len());
    while part.get(first).is_some_and(|(other, ..)| *other < hash) {
        first += 1;
    }
    while first > 0 && part[first - 1].0 >= hash {
        first -= 1;
    }
    let same = part[first..].iter().take_while(|(other, ..)| *other == hash);
    let place = same.enumerate().find(|(_, (_, other, _))| other == key);
    place.map(|(after, _)| first + after).ok_or(first)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the standard library's map, and copies against what they were copied of.
        #[test]
        fn it_is_a_map_whose_copies_stay(
            steps in prop::collection::vec((0u8..5, 0u16..300, any::<u8>()), 0..600),
        ) {
            let (mut parts, mut model) = (Parts::default(), HashMap::new());
            let mut copies = Vec::new();
            for (step, key, value) in steps {
                match step {
                    0 | 1 => prop_assert_eq!(parts.insert(key, value), model.insert(key, value)),
                    2 => prop_assert_eq!(parts.remove(&key), model.remove(&key)),
                    3 => {
                        let changed = parts.get_mut(&key).map(|it| std::mem::replace(it, value));
                        let in_model = model.get_mut(&key);
                        prop_assert_eq!(changed, in_model.map(|it| std::mem::replace(it, value)));
                    }
                    _ => copies.push((parts.clone(), model.clone())),
                }
                prop_assert_eq!(parts.len(), model.len());
            }
            copies.push((parts, model));
            for (copy, model) in &copies {
                for key in 0..300 {
                    prop_assert_eq!(copy.get(&key), model.get(&key));
                }
                prop_assert_eq!(copy.iter().map(|(k, v)| (*k, *v)).collect::<HashMap<_, _>>(), model.clone());
            }
        }
    }
}

//! A map that one thread changes while any thread reads it, entry by entry.
//!
//! Values do not change: they are replaced. Who reads one sees it whole, and as it is now or was
//! when it was looked for. What the writer did before something that a reader has acquired of it
//! ([`crate::sync`]'s atomics, a ring) that reader finds.
//!
//! It is papaya's map, with a seeded hash: no reader waits, nor does the writer for one.

use std::fmt;
use std::hash::Hash;

use papaya::HashMap;

use crate::sync::hash::Seed;
use crate::sync::{Arc, AtomicBool, Ordering};

/// The writer's end: there is one.
pub(crate) struct Writer<K, V> {
    reader: Reader<K, V>,
    /// The map's own count is spread over the processors.
    len: usize,
}

/// A reader's end.
pub(crate) struct Reader<K, V>(Arc<Shared<K, V>>);

struct Shared<K, V> {
    map: HashMap<K, V, Seed>,
    /// Whether there was ever anything: most runs leave some maps empty.
    is_used: AtomicBool,
}

impl<K, V> Clone for Reader<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> Default for Reader<K, V> {
    fn default() -> Self {
        // With a collector of its own: a map that is dropped frees all that its collector holds,
        // also what others look at.
        let map = HashMap::with_hasher(Seed::default());
        Self(Arc::new(Shared { map, is_used: AtomicBool::new(false) }))
    }
}

impl<K, V> Default for Writer<K, V> {
    fn default() -> Self {
        Self { reader: Reader::default(), len: 0 }
    }
}

impl<K, V> fmt::Debug for Reader<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for Writer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl<K: Hash + Eq, V> Reader<K, V> {
    /// What `read` makes of the value of `key`.
    pub(crate) fn with<T>(&self, key: &K, read: impl FnOnce(&V) -> T) -> Option<T> {
        // Relaxed: who has acquired what the writer did finds this too.
        if !self.0.is_used.load(Ordering::Relaxed) {
            return None;
        }
        self.0.map.pin().get(key).map(read)
    }
}

impl<K: Hash + Eq, V> Writer<K, V> {
    pub(crate) fn reader(&self) -> &Reader<K, V> {
        &self.reader
    }

    /// What `read` makes of the value of `key`.
    pub(crate) fn with<T>(&self, key: &K, read: impl FnOnce(&V) -> T) -> Option<T> {
        self.reader.with(key, read)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Sets the value of `key`.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let Shared { map, is_used } = &*self.reader.0;
        let is_new = map.pin().insert(key, value).is_none();
        self.len += usize::from(is_new);
        if !is_used.load(Ordering::Relaxed) {
            is_used.store(true, Ordering::Relaxed);
        }
    }

    /// Takes `key` out. What `read` makes of its value.
    pub(crate) fn remove<T>(&mut self, key: &K, read: impl FnOnce(&V) -> T) -> Option<T> {
        let removed = self.reader.0.map.pin().remove(key).map(read);
        self.len -= usize::from(removed.is_some());
        removed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::sync::{AtomicU64, Ordering};

    proptest! {
        /// Against the standard library's map.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0u8..3, 0u16..50, any::<u8>()), 0..600)) {
            let (mut map, mut model) = (Writer::default(), HashMap::new());
            let reader = map.reader().clone();
            for (step, key, value) in steps {
                match step {
                    0 => prop_assert_eq!(map.remove(&key, |it| *it), model.remove(&key)),
                    _ => {
                        map.insert(key, value);
                        model.insert(key, value);
                    }
                }
                prop_assert_eq!(map.len(), model.len());
            }
            for key in 0..50 {
                prop_assert_eq!(reader.with(&key, |it| *it), model.get(&key).copied());
            }
        }
    }

    /// Each value says its key and the round in which it was written, and grows with that: whoever
    /// reads one finds it whole, and no older than what the writer has told.
    #[test]
    fn readers_find_whole_values_and_all_that_was_told() {
        const KEYS: u64 = 1_000;
        const ROUNDS: u64 = 200;
        let check = |key, words: &Vec<u64>| {
            let round = words.len() as u64;
            assert!(words.iter().all(|word| *word == key * round), "torn");
            round
        };
        let mut map = Writer::default();
        let (told, reader) = (AtomicU64::new(0), map.reader().clone());
        std::thread::scope(|scope| {
            for first in [0, KEYS / 2] {
                let (told, reader, check) = (&told, reader.clone(), &check);
                scope.spawn(move || {
                    for key in (0..KEYS).cycle().skip(usize::try_from(first).unwrap()) {
                        let round = told.load(Ordering::Acquire);
                        let found = reader.with(&key, |words| check(key, words));
                        // Every third is taken out between two rounds.
                        assert!(found.unwrap_or(round) >= round || key % 3 == 0, "{found:?}");
                        assert!(found.is_some() || round == 0 || key % 3 == 0);
                        if round == ROUNDS {
                            return;
                        }
                    }
                });
            }
            for round in 1..=ROUNDS {
                for key in 0..KEYS {
                    let words = usize::try_from(round).unwrap();
                    map.insert(key, vec![key * round; words]);
                }
                told.store(round, Ordering::Release);
                for key in (0..KEYS).step_by(3) {
                    assert_eq!(map.remove(&key, |words| words.len() as u64), Some(round));
                }
            }
        });
    }
}

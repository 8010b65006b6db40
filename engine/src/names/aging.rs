//! Which entry of a bounded table goes first: the one that was not renewed for longest.

use std::collections::VecDeque;

/// The keys of a table in the order in which they were last looked at, each with a stamp.
///
/// Who wants room takes the oldest, and either evicts it or, if it was renewed in the meantime,
/// sends it round once more. A key that went and came back is here more than once: the table
/// tells by the stamp which of them counts.
#[derive(Debug)]
pub(super) struct Aging<K> {
    keys: VecDeque<(K, u64)>,
}

impl<K> Default for Aging<K> {
    fn default() -> Self {
        Self { keys: VecDeque::new() }
    }
}

impl<K> Aging<K> {
    /// A key has come; `stamp` says as of when.
    pub(super) fn add(&mut self, key: K, stamp: u64) {
        self.keys.push_back((key, stamp));
    }

    /// The key to evict. `stamp_of` says of a key and its stamp here as of when it was last
    /// renewed; `None` that this one is gone.
    pub(super) fn oldest(&mut self, stamp_of: impl Fn(&K, u64) -> Option<u64>) -> Option<K> {
        // Once round at most: who was renewed is given the new stamp.
        for _ in 0..=2 * self.keys.len() {
            let (key, stamp) = self.keys.pop_front()?;
            match stamp_of(&key, stamp) {
                None => {}
                Some(renewed) if renewed > stamp => self.keys.push_back((key, renewed)),
                Some(_) => return Some(key),
            }
        }
        None
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Forgets keys that are gone, when there are many: `len` is how many there should be.
    pub(super) fn tidy(&mut self, len: usize, is_there: impl Fn(&K, u64) -> bool) {
        if self.keys.len() > 2 * len + 1_024 {
            self.keys.retain(|(key, stamp)| is_there(key, *stamp));
        }
    }
}

//! Which entry of a bounded table goes first: the one that was not renewed for longest.

use std::collections::VecDeque;

/// The keys of a table in the order in which they were last looked at.
///
/// A key is here once. Who wants room takes the oldest, and either evicts it or, if it was renewed
/// in the meantime, sends it round once more.
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

    /// The key to evict. `stamp_of` says as of when a key was last renewed; `None` that it is
    /// gone.
    pub(super) fn oldest(&mut self, stamp_of: impl Fn(&K) -> Option<u64>) -> Option<K> {
        // Once round at most: who was renewed is given the new stamp.
        for _ in 0..=2 * self.keys.len() {
            let (key, stamp) = self.keys.pop_front()?;
            match stamp_of(&key) {
                None => {}
                Some(renewed) if renewed > stamp => self.keys.push_back((key, renewed)),
                Some(_) => return Some(key),
            }
        }
        None
    }

    /// Forgets keys that are gone, when there are many: `len` is how many there should be.
    pub(super) fn tidy(&mut self, len: usize, is_there: impl Fn(&K, u64) -> bool) {
        if self.keys.len() > 2 * len + 1_024 {
            self.keys.retain(|(key, stamp)| is_there(key, *stamp));
        }
    }
}

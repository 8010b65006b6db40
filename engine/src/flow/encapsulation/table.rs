//! Where encapsulations are kept, each under a number of its own: entered by receiving threads,
//! looked up at export. Nothing is ever changed or taken out.
//!
//! # How threads meet
//!
//! An entry is a cache line of eight words. The last one says how far it is: 0 is free;
//! [`CLAIMED`] is being written; with [`WRITTEN`] the entry is whole, and stays.
//!
//! A thread that wants to enter something claims the first free entry from its hash on by a
//! compare-and-swap, which one thread wins. Only that thread writes to the entry, and the store
//! of the last word publishes the others. So in each entry that others look at either of two
//! things holds: they see that store, and then all that was written before it; or they do not
//! see it, and do not look at the other words.
//!
//! Nobody waits for an entry that is being written: it is passed by as if it held something else.
//! So one thing may stand here under two numbers, which costs room and nothing else, as numbers
//! do not leave the program.
//!
//! # Identifiers
//!
//! Networks have few ends of tunnels and label stacks, but a mobile one has an identifier for each
//! bearer. What has one is entered in the lower half only, and after a shorter search, so that it
//! leaves room to what has none, and takes little time where there are too many.

use std::num::NonZeroU16;

use crate::flow::encapsulation::{Encapsulation, Words};
use crate::limits::{ENCAPSULATION_LOOKS, ENCAPSULATIONS, IDENTIFIED_LOOKS};
#[cfg(not(loom))]
use crate::memory;
use crate::sync::{AtomicU64, Ordering};

/// Which one.
pub type Number = NonZeroU16;

/// Entries; none has the number 0.
const ENTRIES: usize = ENCAPSULATIONS + 1;
const _: () = assert!(ENTRIES.is_power_of_two() && ENTRIES <= 1 << 16);

const ENTRY_WORDS: usize = 8;
const LAST: usize = ENTRY_WORDS - 1;
const CLAIMED: u64 = 1 << 62;
const WRITTEN: u64 = 1 << 63;

#[cfg(not(loom))]
type Memory = memory::Words;
#[cfg(loom)]
type Memory = Box<[AtomicU64]>;

/// The encapsulations of a run. Its memory is taken as it is used.
#[derive(Debug)]
pub struct Encapsulations {
    /// Empty if the system promised no memory: then there is no room for any.
    words: Option<Memory>,
}

impl Default for Encapsulations {
    fn default() -> Self {
        Self::with_entries(ENTRIES)
    }
}

impl Encapsulations {
    /// With so many entries, a power of two.
    fn with_entries(entries: usize) -> Self {
        #[cfg(not(loom))]
        let words = memory::Words::new(entries * ENTRY_WORDS).ok();
        #[cfg(loom)]
        let words = Some((0..entries * ENTRY_WORDS).map(|_| AtomicU64::new(0)).collect());
        Self { words }
    }

    fn entries(&self) -> &[[AtomicU64; ENTRY_WORDS]] {
        self.words.as_deref().map_or(&[], |words| words.as_chunks().0)
    }

    /// The number of this one, which is entered if it is not there; `None` if there is no room.
    /// Wait-free: it looks at a bounded number of entries once.
    #[must_use]
    pub fn number(&self, encapsulation: &Encapsulation) -> Option<Number> {
        let words = encapsulation.to_words();
        let last = words[LAST] | WRITTEN;
        let entries = self.entries();
        for idx in places(hash(&words), entries.len() / 2, encapsulation.id.is_some()) {
            let Some(number) = u16::try_from(idx).ok().and_then(Number::new) else { continue };
            let entry = &entries[idx];
            // Acquire: pairs with the release below; without it what is compared may not be what
            // was written, and may look the same.
            let mut state = entry[LAST].load(Ordering::Acquire);
            if state == 0 {
                // Relaxed: that one thread wins is enough; it has published nothing yet. Acquire
                // if it is lost: as above.
                let won =
                    entry[LAST].compare_exchange(0, CLAIMED, Ordering::Relaxed, Ordering::Acquire);
                match won {
                    Ok(_) => {
                        for (to, word) in entry[..LAST].iter().zip(words) {
                            // Relaxed: the next store publishes it.
                            to.store(word, Ordering::Relaxed);
                        }
                        // Release: pairs with each acquire here; without it the entry could be
                        // seen before what it holds.
                        entry[LAST].store(last, Ordering::Release);
                        return Some(number);
                    }
                    Err(now) => state = now,
                }
            }
            if state == last && read(entry)[..LAST] == words[..LAST] {
                return Some(number);
            }
        }
        None
    }

    /// What was entered under this number.
    #[must_use]
    pub fn get(&self, number: Number) -> Option<Encapsulation> {
        let entry = self.entries().get(usize::from(number.get()))?;
        // Acquire: pairs with the release in `number`; without it the entry could be read before
        // it is whole.
        let last = entry[LAST].load(Ordering::Acquire);
        if last & WRITTEN == 0 {
            return None;
        }
        let mut words = read(entry);
        words[LAST] = last & !WRITTEN;
        Some(Encapsulation::from_words(words))
    }
}

/// The words of an entry that was seen to be written, but for the last.
fn read(entry: &[AtomicU64; ENTRY_WORDS]) -> Words {
    let mut words = [0; ENTRY_WORDS];
    for (word, from) in words[..LAST].iter_mut().zip(entry) {
        // Relaxed: whoever calls this has acquired the last word, and nobody writes after that.
        *word = from.load(Ordering::Relaxed);
    }
    words
}

/// Where to look, in this order, in a table of two halves.
fn places(hash: usize, half: usize, has_id: bool) -> impl Iterator<Item = usize> {
    let looks = if has_id { IDENTIFIED_LOOKS } else { ENCAPSULATION_LOOKS };
    let lower = move |look: usize| hash.wrapping_add(look) & (half - 1);
    let upper = move |look: usize| half + lower(look);
    let upper_looks = if has_id { 0 } else { half.min(looks) };
    (0..upper_looks).map(upper).chain((0..half.min(looks)).map(lower))
}

/// Where to begin. Outsiders can make entries collide, and make them full as well.
#[expect(clippy::cast_possible_truncation, reason = "the lower bits are meant")]
fn hash(words: &Words) -> usize {
    let bytes = words.map(u64::to_le_bytes);
    xxhash_rust::xxh3::xxh3_64(bytes.as_flattened()) as usize
}

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;

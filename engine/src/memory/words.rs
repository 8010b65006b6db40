//! Atomic words that are 0 until they are written, in memory that was promised at the start: a
//! page of it is taken when it is first touched, so what is never used costs nothing.

use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use crate::memory::Mapping;

/// The words.
#[derive(Debug)]
pub(crate) struct Words {
    start: NonNull<AtomicU64>,
    count: usize,
    /// Where they are.
    _mapping: Mapping,
}

// SAFETY: the pointer is into its own mapping, which belongs to no thread.
unsafe impl Send for Words {}

// SAFETY: it hands out shared references to atomics only.
unsafe impl Sync for Words {}

impl Words {
    /// So many.
    ///
    /// # Errors
    /// If the system does not promise the memory.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let bytes = count.checked_mul(size_of::<AtomicU64>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = Mapping::anonymous(bytes.max(1))?;
        let start = mapping.at(0, count).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, count, _mapping: mapping })
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: `at` has checked that so many are inside the mapping and aligned; it lives as
        // long as `self`, and was zeroed, which is an atomic 0. Nobody has a `&mut` to it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn words_are_zero_and_keep_what_is_written() {
        let words = Words::new(10_000).unwrap();
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        words[9_999].store(7, Ordering::Relaxed);
        assert_eq!((words.len(), words[9_999].load(Ordering::Relaxed)), (10_000, 7));
        assert!(Words::new(0).unwrap().is_empty());
        assert!(Words::new(usize::MAX).is_err());
    }
}

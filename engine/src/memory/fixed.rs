//! A vector of plain values whose capacity is fixed when it is made, on huge pages if there
//! are any: nothing moves, and nothing is allocated later.

use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::{Arc, Weak};

use crate::memory::{Mapping, Pages};

/// The vector. Only values that were pushed can be reached; what lies behind them is memory
/// that was promised and not touched yet.
#[derive(Debug)]
pub(crate) struct Fixed<T> {
    mapping: Arc<Mapping>,
    start: NonNull<T>,
    len: usize,
    capacity: usize,
    pages: Pages,
    values: PhantomData<T>,
}

// SAFETY: it owns its values alone, like a `Vec`; the pointer is into its own mapping, which
// belongs to no thread.
unsafe impl<T: Send> Send for Fixed<T> {}

impl<T: Copy> Fixed<T> {
    /// An empty vector for up to `capacity` values.
    ///
    /// # Errors
    /// If the system does not promise the memory.
    pub(crate) fn new(capacity: usize) -> io::Result<Self> {
        const { assert!(size_of::<T>() > 0, "it counts in bytes") };
        let bytes = capacity.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let (mapping, pages) = Mapping::huge(bytes.max(1))?;
        let start = mapping.at(0, capacity).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = Arc::new(mapping);
        Ok(Self { mapping, start, len: 0, capacity, pages, values: PhantomData })
    }

    /// Adds a value behind the others.
    ///
    /// # Panics
    /// If the vector is full.
    #[inline]
    pub(crate) fn push(&mut self, value: T) {
        assert!(self.len < self.capacity, "a fixed vector is full");
        // SAFETY: `len < capacity`, and the mapping has room for `capacity` values.
        let end = unsafe { self.start.add(self.len) };
        // SAFETY: `end` is inside the mapping, aligned as `start` is, and behind all values,
        // so that no reference to it exists.
        unsafe { end.write(value) };
        self.len += 1;
    }

    /// Whether no more values fit.
    pub(crate) fn is_full(&self) -> bool {
        self.len == self.capacity
    }

    /// What kind of pages it stands on.
    pub(crate) fn pages(&self) -> Pages {
        self.pages
    }

    /// The memory it was promised.
    pub(crate) fn bytes(&self) -> usize {
        self.mapping.bytes()
    }

    /// Takes all its memory now, and not when values are first pushed.
    ///
    /// # Errors
    /// If the system has not got it.
    pub(crate) fn populate(&self) -> io::Result<()> {
        self.mapping.populate()
    }

    /// What another thread needs to take memory before values are pushed there.
    pub(crate) fn share(&self) -> Share {
        Share { mapping: Arc::downgrade(&self.mapping), value_bytes: size_of::<T>() }
    }

    /// Asks the processor to fetch the value at `idx`, all cache lines of it, if there is
    /// one. Changes nothing but time.
    #[inline]
    pub(crate) fn prefetch(&self, idx: usize) {
        #[cfg(target_arch = "x86_64")]
        if let Some(value) = self.get(idx) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let first = std::ptr::from_ref(value).cast::<i8>();
            for line in (0..size_of::<T>()).step_by(64) {
                let line = first.wrapping_add(line);
                // SAFETY: a prefetch reads nothing and faults nowhere, whatever the address.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = idx;
    }
}

/// The memory of a [`Fixed`], without its values. It does not keep it.
#[derive(Debug)]
pub(crate) struct Share {
    mapping: Weak<Mapping>,
    value_bytes: usize,
}

impl Share {
    /// Takes the memory of these places now. False if it is gone, or there is none to take.
    pub(crate) fn populate(&self, places: Range<usize>) -> bool {
        let bytes = places.start * self.value_bytes..places.end * self.value_bytes;
        self.mapping.upgrade().is_some_and(|mapping| mapping.populate_part(bytes).is_ok())
    }

    /// Whether the vector is no more.
    pub(crate) fn is_gone(&self) -> bool {
        self.mapping.strong_count() == 0
    }
}

impl<T> Deref for Fixed<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` values were written, are aligned and inside one mapping
        // that lives as long as `self`; `&self` keeps everyone from writing to them.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Fixed<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `&mut self` makes the borrower the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_they_were_pushed() {
        for capacity in [1, 3, 100_000] {
            let mut fixed = Fixed::<(u64, u8)>::new(capacity).unwrap();
            assert!(fixed.is_empty() && fixed.bytes() >= capacity * 16);
            for value in 0..capacity {
                fixed.push((value as u64, 7));
            }
            assert!(fixed.is_full());
            fixed[capacity / 2].1 = 9;
            for (at, value) in fixed.iter().enumerate() {
                assert_eq!(*value, (at as u64, if at == capacity / 2 { 9 } else { 7 }));
            }
            fixed.prefetch(0);
            fixed.prefetch(capacity);
        }
    }

    #[test]
    fn memory_is_taken_ahead_while_the_vector_is_there() {
        let mut fixed = Fixed::<[u64; 16]>::new(100_000).unwrap();
        fixed.push([7; 16]);
        let share = fixed.share();
        assert!(share.populate(0..50_000) && share.populate(50_000..100_000));
        assert_eq!(fixed[0], [7; 16]);
        assert!(!share.is_gone());
        drop(fixed);
        assert!(share.is_gone() && !share.populate(0..1));
    }

    #[test]
    #[should_panic(expected = "a fixed vector is full")]
    fn a_full_one_takes_nothing() {
        let mut fixed = Fixed::<u32>::new(0).unwrap();
        fixed.push(1);
    }

    #[test]
    fn too_much_is_an_error() {
        assert!(Fixed::<u64>::new(usize::MAX).is_err());
        assert!(Fixed::<u64>::new(usize::MAX / 64).is_err());
    }
}

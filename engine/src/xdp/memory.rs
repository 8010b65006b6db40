//! Pages mapped into this process, unmapped when dropped.
//!
//! A mapping hands out checked pointers, never references: what may be read or written, and
//! when, is for [`super::ring`] and [`super::umem`] to say.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::{self, NonNull},
};

/// Mapped pages, readable and writable.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a mapping belongs to the process, not to the thread that made it, and this is its
// only owner.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Zeroed memory of our own.
    pub(super) fn anonymous(bytes: usize) -> io::Result<Self> {
        Self::map(bytes, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    /// What the kernel shows at `offset` of `file`, shared with it.
    pub(super) fn shared(file: BorrowedFd<'_>, offset: i64, bytes: usize) -> io::Result<Self> {
        Self::map(bytes, libc::MAP_SHARED | libc::MAP_POPULATE, file.as_raw_fd(), offset)
    }

    fn map(bytes: usize, flags: i32, file: i32, offset: i64) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: without MAP_FIXED the kernel picks pages that nothing uses, so no memory of
        // ours changes; `file` is open or -1.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, file, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }

    /// Its size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A pointer to `count` values of `T` at `offset` bytes; `None` if they do not fit or are
    /// not aligned.
    pub(super) fn at<T>(&self, offset: usize, count: usize) -> Option<NonNull<T>> {
        let end = size_of::<T>().checked_mul(count)?.checked_add(offset)?;
        if end > self.bytes {
            return None;
        }
        // SAFETY: `offset <= end <= bytes`, so the result is in the mapping or one past it.
        let pointer = unsafe { self.start.add(offset) }.cast::<T>();
        pointer.is_aligned().then_some(pointer)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: these pages are ours, whole, and whoever holds a pointer into them owns or
        // borrows `self`, so that none is used after this.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert_eq!(result, 0, "a mapping we made can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_stay_inside_and_aligned() {
        let mapping = Mapping::anonymous(4096).unwrap();
        assert_eq!(mapping.bytes(), 4096);
        assert!(mapping.at::<u64>(0, 512).is_some());
        assert!(mapping.at::<u64>(8, 512).is_none(), "one too many");
        assert!(mapping.at::<u64>(4, 1).is_none(), "misaligned");
        assert!(mapping.at::<u64>(0, usize::MAX).is_none(), "overflow");
        assert!(mapping.at::<u8>(4096, 1).is_none(), "past the end");
    }
}

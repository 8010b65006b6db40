//! Pages mapped into this process, unmapped when dropped.
//!
//! A [`Mapping`] hands out checked pointers, never references: what may be read or written,
//! and when, is for its owner to say (`xdp`'s rings and receive memory, and
//! [`Fixed`], the table's vectors of a fixed capacity on huge pages; [`Words`], atomic words).

#![expect(unsafe_code, reason = "maps pages, and makes references into them")]

mod fixed;
#[cfg(not(loom))]
mod words;

pub(crate) use fixed::{Fixed, Share};
#[cfg(not(loom))]
pub(crate) use words::Words;

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

use serde::Serialize;

/// The size of a huge page on x86-64, and with 4 KiB pages on arm64.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A multiple of every page size that Linux has on x86-64 and arm64, but for huge ones.
const PAGE_BYTES: usize = 64 << 10;

/// The size of this system's pages.
pub(crate) fn page_bytes() -> usize {
    // SAFETY: no pointers.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).expect("it has pages")
}

/// What kind of pages a mapping was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pages {
    /// Ordinary pages.
    Ordinary,
    /// The kernel was asked to use huge pages where it has them
    /// (Documentation/admin-guide/mm/transhuge.rst).
    Transparent,
    /// Huge pages that the administrator has reserved
    /// (Documentation/admin-guide/mm/hugetlbpage.rst).
    Reserved,
}

/// Mapped pages, readable and, but for [`Mapping::shared_read_only`], writable.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a mapping belongs to the process, not to the thread that made it, and this is its
// only owner.
unsafe impl Send for Mapping {}

// SAFETY: through a shared reference it hands out pointers, whose use is for their owner to
// justify, and has the kernel take pages, which changes nothing that they hold.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Zeroed memory of our own.
    pub(crate) fn anonymous(bytes: usize) -> io::Result<Self> {
        Self::map(bytes, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    /// What the kernel shows at `offset` of `file`, shared with it.
    pub(crate) fn shared(file: BorrowedFd<'_>, offset: i64, bytes: usize) -> io::Result<Self> {
        Self::map(bytes, libc::MAP_SHARED | libc::MAP_POPULATE, file.as_raw_fd(), offset)
    }

    /// The same where it shows what we may not write: who holds it writes nothing.
    pub(crate) fn shared_read_only(
        file: BorrowedFd<'_>,
        offset: i64,
        bytes: usize,
    ) -> io::Result<Self> {
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        Self::map_for(libc::PROT_READ, bytes, flags, file.as_raw_fd(), offset)
    }

    /// Zeroed memory of our own, on huge pages if there are any, and what kind it got. A
    /// page of it is taken when it is first touched.
    pub(crate) fn huge(bytes: usize) -> io::Result<(Self, Pages)> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        if bytes >= HUGE_PAGE_BYTES
            && let Some(whole) = bytes.checked_next_multiple_of(HUGE_PAGE_BYTES)
            && let Ok(mapping) = Self::map(whole, flags | libc::MAP_HUGETLB, -1, 0)
        {
            return Ok((mapping, Pages::Reserved));
        }
        let mapping = Self::map(bytes, flags, -1, 0)?;
        let start = mapping.start.as_ptr().cast();
        // SAFETY: advice on pages that are ours, whole; it changes nothing that they hold.
        let advised = unsafe { libc::madvise(start, bytes, libc::MADV_HUGEPAGE) };
        let are_there = advised == 0 && !transparent_are_off();
        Ok((mapping, if are_there { Pages::Transparent } else { Pages::Ordinary }))
    }

    /// Takes all pages now, and not when they are first touched; before Linux 5.14 it does
    /// nothing.
    ///
    /// # Errors
    /// If the system has not got as much memory as it has promised.
    pub(crate) fn populate(&self) -> io::Result<()> {
        self.populate_part(0..self.bytes)
    }

    /// The same for the pages that these bytes are on.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn populate_part(&self, part: Range<usize>) -> io::Result<()> {
        let (from, to) = (part.start / PAGE_BYTES * PAGE_BYTES, part.end.min(self.bytes));
        if from >= to {
            return Ok(());
        }
        // SAFETY: `from < bytes`, so the result is in the mapping.
        let start = unsafe { self.start.add(from) }.as_ptr().cast();
        // SAFETY: on pages that are ours, whole; it changes nothing that they hold.
        let done = unsafe { libc::madvise(start, to - from, libc::MADV_POPULATE_WRITE) };
        match done {
            0 => Ok(()),
            _ => match io::Error::last_os_error() {
                old if old.raw_os_error() == Some(libc::EINVAL) => Ok(()),
                error => Err(error),
            },
        }
    }

    fn map(bytes: usize, flags: i32, file: i32, offset: i64) -> io::Result<Self> {
        Self::map_for(libc::PROT_READ | libc::PROT_WRITE, bytes, flags, file, offset)
    }

    fn map_for(access: i32, bytes: usize, flags: i32, file: i32, offset: i64) -> io::Result<Self> {
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
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A pointer to `count` values of `T` at `offset` bytes; `None` if they do not fit or are
    /// not aligned.
    pub(crate) fn at<T>(&self, offset: usize, count: usize) -> Option<NonNull<T>> {
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

/// Whether the administrator has switched transparent huge pages off: advice is then taken
/// and not followed.
fn transparent_are_off() -> bool {
    std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        .is_ok_and(|modes| modes.contains("[never]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn populated_pages_are_there_and_zeroed() {
        let (mapping, _) = Mapping::huge(3 * HUGE_PAGE_BYTES + 1).unwrap();
        mapping.populate().unwrap();
        let last = mapping.at::<u8>(3 * HUGE_PAGE_BYTES, 1).unwrap();
        // SAFETY: `at` has checked it, and nothing else uses the mapping.
        assert_eq!(unsafe { last.read() }, 0);
    }

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

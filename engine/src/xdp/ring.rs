//! The rings that carry descriptors between the kernel and this process: single producer,
//! single consumer, on memory that both have mapped.
//!
//! Each side owns one index and reads the other's. Indexes run freely over `u32` and wrap;
//! their difference is how many entries are in use, and the low bits of an index are the slot.
//! A batch is seen once ([`Consumer::look`], [`Producer::look`]), worked through without
//! touching shared indexes, and ended once ([`Consumer::release`], [`Producer::submit`]).
//!
//! The atomics are the core library's and not `crate::sync`'s: they live in memory that the
//! kernel lays out, where a model's atomics cannot. What the kernel does on its side is in
//! <https://github.com/torvalds/linux/blob/v6.12/net/xdp/xsk_queue.h>; letters below are that
//! file's.

use std::{
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::memory::Mapping;

/// What a ring may carry.
///
/// # Safety
/// Any bit pattern must be a value, as the kernel is what writes it.
pub(super) unsafe trait Entry: Copy {}

// SAFETY: any 64 bits are a `u64`.
unsafe impl Entry for u64 {}

/// One frame on the receive ring: `struct xdp_desc` of linux/if_xdp.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Descriptor {
    /// Where the frame begins, in bytes from the start of the UMEM.
    pub(super) address: u64,
    /// Its length in bytes.
    pub(super) len: u32,
    /// Flags; only this one is in use, with `XDP_USE_SG`.
    pub(super) options: u32,
}

impl Descriptor {
    /// Whether the packet goes on in the frame of the next descriptor.
    pub(super) fn is_continued(self) -> bool {
        self.options & libc::XDP_PKT_CONTD != 0
    }
}

// SAFETY: three integers without padding: any 128 bits are one.
unsafe impl Entry for Descriptor {}

const _: () = assert!(size_of::<Descriptor>() == size_of::<libc::xdp_desc>());

/// Where the parts of a ring are, in bytes from the start of its mapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offsets {
    pub(super) producer: usize,
    pub(super) consumer: usize,
    pub(super) flags: usize,
    pub(super) entries: usize,
}

/// The parts of a ring, known to lie inside the mapping that is owned beside them.
#[derive(Debug)]
struct Parts<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    /// A power of two.
    len: u32,
    _mapping: Mapping,
}

// SAFETY: the pointers are into the mapping, which is `Send` and goes with them; entries are
// plain values.
unsafe impl<T: Entry> Send for Parts<T> {}

impl<T: Entry> Parts<T> {
    fn new(mapping: Mapping, offsets: Offsets, len: u32) -> Option<Self> {
        Some(Self {
            producer: mapping.at(offsets.producer, 1)?,
            consumer: mapping.at(offsets.consumer, 1)?,
            flags: mapping.at(offsets.flags, 1)?,
            entries: mapping.at(offsets.entries, usize::try_from(len).ok()?)?,
            len: len.is_power_of_two().then_some(len)?,
            _mapping: mapping,
        })
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: aligned and inside the mapping (`Mapping::at`), which lives as long as
        // `self`; the kernel accesses it atomically too.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as for `producer`.
        unsafe { self.consumer.as_ref() }
    }

    fn flags(&self) -> &AtomicU32 {
        // SAFETY: as for `producer`.
        unsafe { self.flags.as_ref() }
    }

    fn slot(&self, index: u32) -> NonNull<T> {
        let slot = index & (self.len - 1);
        // SAFETY: `slot < len`, and `len` entries from here are inside the mapping.
        unsafe { self.entries.add(slot as usize) }
    }
}

/// Our side of a ring that the kernel fills.
#[derive(Debug)]
pub(super) struct Consumer<T> {
    parts: Parts<T>,
    /// The next entry to take.
    next: u32,
    /// The first entry that is not known to be filled. `next` up to it are ours to read.
    end: u32,
}

impl<T: Entry> Consumer<T> {
    /// The ring on `mapping`; `None` if its parts do not fit there.
    pub(super) fn new(mapping: Mapping, offsets: Offsets, len: u32) -> Option<Self> {
        let parts = Parts::new(mapping, offsets, len)?;
        // No order is needed: this side is the only one that ever writes it.
        let next = parts.consumer().load(Ordering::Relaxed);
        Some(Self { parts, next, end: next })
    }

    /// Looks what has come: how many entries [`Consumer::take`] will give.
    pub(super) fn look(&mut self) -> u32 {
        // Pairs with the kernel's release of the producer index (B, xskq_prod_submit): without
        // it an entry, or the frame it names, could be read before it was written.
        let produced = self.parts.producer().load(Ordering::Acquire);
        // The kernel is not trusted to stay within the ring.
        let filled = produced.wrapping_sub(self.next).min(self.parts.len);
        self.end = self.next.wrapping_add(filled);
        filled
    }

    /// The next entry of those that were seen.
    pub(super) fn take(&mut self) -> Option<T> {
        if self.next == self.end {
            return None;
        }
        let slot = self.parts.slot(self.next);
        self.next = self.next.wrapping_add(1);
        // SAFETY: inside the mapping and aligned; the kernel wrote it before it moved the
        // producer index past it, which `look` has acquired, and leaves it alone until
        // `release`; any bits are a `T`.
        Some(unsafe { slot.read() })
    }

    /// Gives the slots of all entries that were taken back to the kernel.
    pub(super) fn release(&mut self) {
        // Pairs with the kernel's acquire of the consumer index (C, xskq_prod_nb_free): without
        // it the kernel could overwrite a slot before we have read it.
        self.parts.consumer().store(self.next, Ordering::Release);
    }
}

/// Our side of a ring that the kernel empties.
#[derive(Debug)]
pub(super) struct Producer<T> {
    parts: Parts<T>,
    /// The next slot to write.
    next: u32,
    /// The first slot that is not known to be free. `next` up to it are ours to write.
    end: u32,
}

impl<T: Entry> Producer<T> {
    /// The ring on `mapping`; `None` if its parts do not fit there.
    pub(super) fn new(mapping: Mapping, offsets: Offsets, len: u32) -> Option<Self> {
        let parts = Parts::new(mapping, offsets, len)?;
        // No order is needed: this side is the only one that ever writes it.
        let next = parts.producer().load(Ordering::Relaxed);
        Some(Self { parts, next, end: next })
    }

    /// Looks what is free: how many entries [`Producer::put`] will take.
    pub(super) fn look(&mut self) -> u32 {
        // Pairs with the kernel's release of the consumer index (D, __xskq_cons_release):
        // without it a slot could be overwritten before the kernel has read it.
        let consumed = self.parts.consumer().load(Ordering::Acquire);
        // The kernel is not trusted to stay within the ring.
        let used = self.next.wrapping_sub(consumed).min(self.parts.len);
        let free = self.parts.len - used;
        self.end = self.next.wrapping_add(free);
        free
    }

    /// Writes the next free slot; `false` if none was seen.
    #[must_use]
    pub(super) fn put(&mut self, entry: T) -> bool {
        if self.next == self.end {
            return false;
        }
        let slot = self.parts.slot(self.next);
        self.next = self.next.wrapping_add(1);
        // SAFETY: inside the mapping and aligned; `look` has acquired that the kernel is done
        // with it, and the kernel does not read it before `submit`.
        unsafe { slot.write(entry) };
        true
    }

    /// Shows all entries that were put to the kernel.
    pub(super) fn submit(&mut self) {
        // Pairs with the kernel's acquire of the producer index (A, __xskq_cons_peek): without
        // it the kernel could read a slot before we have written it.
        self.parts.producer().store(self.next, Ordering::Release);
    }

    /// Whether the driver has stopped for want of entries, and goes on only when it is called
    /// (`XDP_USE_NEED_WAKEUP`).
    pub(super) fn needs_wakeup(&self) -> bool {
        // Pairs with the kernel's plain write (xsk_set_rx_need_wakeup). Relaxed: nothing is read
        // by it, and entries are acquired by the driver that is called. What is missed here is
        // seen the next time; and who waits does so in poll(2), which calls the driver.
        self.parts.flags().load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{os::fd::AsFd, thread};

    use super::*;

    const OFFSETS: Offsets = Offsets { producer: 0, consumer: 64, flags: 68, entries: 128 };

    fn ring(len: u32, first: u32) -> (Producer<u64>, Consumer<u64>) {
        pair(len, first)
    }

    /// Both sides of one ring on a file in memory, its indexes starting at `first`.
    pub(in crate::xdp) fn pair<T: Entry>(len: u32, first: u32) -> (Producer<T>, Consumer<T>) {
        let file = memory_file(4096);
        let map = || Mapping::shared(file.as_fd(), 0, 4096).unwrap();
        let parts = Parts::<T>::new(map(), OFFSETS, len).unwrap();
        parts.producer().store(first, Ordering::Relaxed);
        parts.consumer().store(first, Ordering::Relaxed);
        (Producer::new(map(), OFFSETS, len).unwrap(), Consumer::new(map(), OFFSETS, len).unwrap())
    }

    fn memory_file(bytes: u64) -> std::fs::File {
        use std::os::fd::FromRawFd;
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"ring".as_ptr(), 0) };
        assert!(fd >= 0, "memfd_create");
        // SAFETY: it is open, and nothing else has it.
        let file = unsafe { std::fs::File::from_raw_fd(fd) };
        file.set_len(bytes).unwrap();
        file
    }

    #[test]
    fn a_ring_is_full_at_its_length_and_keeps_order_across_the_wrap() {
        for first in [0, 5, u32::MAX - 2, u32::MAX] {
            let (mut producer, mut consumer) = ring(4, first);
            let mut expected = 0;
            for round in 0..5_u64 {
                assert_eq!((producer.look(), consumer.look()), (4, 0), "empty, from {first}");
                for value in round * 4..round * 4 + 4 {
                    assert!(producer.put(value));
                }
                assert!(!producer.put(99), "full");
                assert_eq!(consumer.look(), 0, "not shown yet");
                producer.submit();
                assert_eq!((producer.look(), consumer.look()), (0, 4), "full, from {first}");
                while let Some(value) = consumer.take() {
                    assert_eq!(value, expected);
                    expected += 1;
                }
                assert_eq!(producer.look(), 0, "not given back yet");
                consumer.release();
            }
            assert_eq!(expected, 20);
        }
    }

    #[test]
    fn only_what_was_seen_is_given() {
        let (mut producer, mut consumer) = ring(8, u32::MAX - 1);
        assert!(!producer.put(1), "not looked yet");
        producer.look();
        assert!(producer.put(1) && producer.put(2));
        producer.submit();
        assert_eq!(consumer.take(), None, "not looked yet");
        assert_eq!(consumer.look(), 2);
        assert!(producer.put(3));
        producer.submit();
        let taken: Vec<u64> = std::iter::from_fn(|| consumer.take()).collect();
        assert_eq!(taken, [1, 2], "3 came after the look");
        assert_eq!(consumer.look(), 1);
    }

    #[test]
    fn indexes_that_make_no_sense_stay_within_the_ring() {
        let (mut producer, mut consumer) = ring(4, 0);
        consumer.parts.producer().store(1_000_000, Ordering::Relaxed);
        assert_eq!(consumer.look(), 4);
        assert_eq!(std::iter::from_fn(|| consumer.take()).count(), 4);
        producer.parts.consumer().store(77, Ordering::Relaxed);
        assert_eq!(producer.look(), 0);
    }

    #[test]
    fn a_driver_says_when_it_wants_to_be_called() {
        let (producer, consumer) = ring(4, 0);
        for (flags, expected) in [(0, false), (1, true), (2, false), (3, true), (0, false)] {
            consumer.parts.flags().store(flags, Ordering::Relaxed);
            assert_eq!(producer.needs_wakeup(), expected, "{flags}");
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let small = || Mapping::anonymous(4096).unwrap();
        assert!(Consumer::<Descriptor>::new(small(), OFFSETS, 256).is_none(), "too long");
        assert!(Consumer::<Descriptor>::new(small(), OFFSETS, 3).is_none(), "no power of two");
        let odd = Offsets { producer: 2, ..OFFSETS };
        assert!(Producer::<u64>::new(small(), odd, 4).is_none(), "misaligned");
        let far = Offsets { flags: 4096, ..OFFSETS };
        assert!(Producer::<u64>::new(small(), far, 4).is_none(), "flags outside");
    }

    #[test]
    fn everything_arrives_in_order_between_two_threads() {
        const COUNT: u64 = 200_000;
        let (mut producer, mut consumer) = ring(8, u32::MAX - 100);
        let sender = thread::spawn(move || {
            let mut value = 0;
            while value < COUNT {
                if producer.look() == 0 {
                    thread::yield_now();
                }
                while value < COUNT && producer.put(value) {
                    value += 1;
                }
                producer.submit();
            }
        });
        let mut expected = 0;
        while expected < COUNT {
            if consumer.look() == 0 {
                thread::yield_now();
            }
            while let Some(value) = consumer.take() {
                assert_eq!(value, expected);
                expected += 1;
            }
            consumer.release();
        }
        sender.join().unwrap();
    }
}

//! Our end of a BPF ring buffer: records that a program in the kernel has written, in their
//! order.
//!
//! Positions count bytes, run freely, and are in the ring modulo its size. The kernel moves the
//! producer's when a record is reserved, and clears the busy bit in the record's header when it
//! is complete; we move the consumer's, once for a batch, which gives the room back. The
//! data pages are mapped twice, one behind the other, so that a record that goes over the end
//! is in one piece. Nothing here wakes or is woken: who reads has to look.
//!
//! aya's `RingBuf` gives each record back alone, a store that the producers' processors wait
//! for; it cannot be asked whether there is anything, and panics where the kernel's lengths do not
//! fit. Hence our own. The atomics are the core library's, as in `ring`. What the kernel does on
//! its side is in <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/ringbuf.c>; names are
//! its.

use std::{
    io,
    os::fd::BorrowedFd,
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use crate::memory::{Mapping, page_bytes};

/// Bytes before each record: its length with two flags, and what is the kernel's alone. Records
/// begin at multiples of as many.
const HEADER_BYTES: usize = 8;
/// The same, as positions are.
const STEP: u64 = HEADER_BYTES as u64;
/// The record is being written.
const BUSY: u32 = 1 << 31;
/// The record is to be skipped.
const DISCARD: u32 = 1 << 30;

/// The ring buffer; owned by one thread.
#[derive(Debug)]
pub(crate) struct RingBuffer {
    /// One page, which we write.
    consumer: Mapping,
    /// The producer's page and the data, twice: read only.
    producer: Mapping,
    /// Where the data begins there.
    data: usize,
    /// A power of two.
    bytes: u64,
    /// The next record to take.
    next: u64,
    /// Where the last record that is known of ends.
    end: u64,
    /// Whether the kernel has said what cannot be: nothing more is read then.
    is_broken: bool,
}

impl RingBuffer {
    /// Maps the ring buffer `map`, of so many bytes.
    pub(super) fn of(map: BorrowedFd<'_>, bytes: u32) -> io::Result<Self> {
        let page = page_bytes();
        let consumer = Mapping::shared(map, 0, page)?;
        let offset = i64::try_from(page).map_err(io::Error::other)?;
        let producer = Mapping::shared_read_only(map, offset, page + 2 * bytes as usize)?;
        Self::on(consumer, producer, page, bytes).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// The ring on these pages; `None` if they are not what it needs.
    fn on(consumer: Mapping, producer: Mapping, data: usize, bytes: u32) -> Option<Self> {
        let is_whole = bytes.is_power_of_two()
            && producer.bytes() == data.checked_add(2 * bytes as usize)?
            && data.is_multiple_of(HEADER_BYTES)
            && u64::from(bytes) >= STEP;
        consumer.at::<AtomicU64>(0, 1)?;
        producer.at::<AtomicU64>(0, 1)?;
        let bytes = bytes.into();
        let mut ring = Self { consumer, producer, data, bytes, next: 0, end: 0, is_broken: false };
        // No order is needed: this side is the only one that ever writes it.
        ring.next = position(&ring.consumer).load(Ordering::Relaxed);
        ring.end = ring.next;
        is_whole.then_some(ring)
    }

    /// Shows up to `max` records to `each`, in their order, then gives their room back. Returns
    /// how many.
    pub(super) fn receive(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> usize {
        let mut shown = 0;
        let first = self.next;
        while shown < max {
            let Some(header) = self.header() else { break };
            let len = header & !(BUSY | DISCARD);
            let step = (u64::from(len) + STEP).next_multiple_of(STEP);
            if step > self.end - self.next {
                self.is_broken = true;
                break;
            }
            if header & DISCARD == 0 {
                let at = self.offset() + HEADER_BYTES;
                let Some(start) = self.producer.at::<u8>(at, len as usize) else { break };
                // SAFETY: the range is inside the mapping (`Mapping::at`). The record is
                // complete, as its busy bit is clear, and the kernel writes there again only
                // after its room was given back, which is below, when `each` has returned.
                each(unsafe { slice::from_raw_parts(start.as_ptr(), len as usize) });
                shown += 1;
            }
            self.next += step;
        }
        if self.next != first {
            // Release: pairs with the kernel's acquire in `__bpf_ringbuf_reserve`: our reads of
            // the records are over before it writes there. Without it packets are torn.
            position(&self.consumer).store(self.next, Ordering::Release);
        }
        shown
    }

    /// Whether a record is there to be taken.
    pub(crate) fn has_record(&mut self) -> bool {
        self.header().is_some()
    }

    /// Whether the kernel has described records that cannot be.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// The header of the next record, if that is complete.
    fn header(&mut self) -> Option<u32> {
        if self.next == self.end {
            // Acquire: pairs with the kernel's release of the position in `__bpf_ringbuf_reserve`:
            // the header before it says at least that the record is busy.
            self.end = position(&self.producer).load(Ordering::Acquire);
            self.is_broken |=
                self.end.wrapping_sub(self.next) > self.bytes || !self.end.is_multiple_of(STEP);
        }
        if self.is_broken || self.next == self.end {
            return None;
        }
        let header: NonNull<AtomicU32> = self.producer.at(self.offset(), 1)?;
        // SAFETY: aligned and inside the mapping (`Mapping::at`), which lives as long as `self`;
        // the kernel writes it by an atomic exchange.
        let header = unsafe { header.as_ref() };
        // Acquire: pairs with that exchange in `bpf_ringbuf_commit`: once the busy bit is clear
        // the record's bytes are there.
        Some(header.load(Ordering::Acquire)).filter(|header| header & BUSY == 0)
    }

    /// Where the next record's header is in the mapping.
    fn offset(&self) -> usize {
        // Less than `bytes`, which is 32 bits.
        self.data + usize::try_from(self.next & (self.bytes - 1)).unwrap_or_default()
    }
}

/// The position at the start of a mapping.
fn position(page: &Mapping) -> &AtomicU64 {
    let position: NonNull<AtomicU64> = page.at(0, 1).expect("`RingBuffer::on` has seen it");
    // SAFETY: aligned and inside the mapping (`Mapping::at`), which outlives the borrow; the
    // kernel accesses it atomically too.
    unsafe { position.as_ref() }
}

#[cfg(test)]
mod tests;

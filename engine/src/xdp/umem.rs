//! The frames that the kernel writes packets into, and who owns each: the kernel or we.
//!
//! A frame is lent to the kernel by its address on the fill ring, and comes back by a
//! descriptor on the receive ring. Both are recorded in one bit per frame, so that a frame is
//! never lent twice, nor read while the kernel may write it, whatever a descriptor says.

use std::{io, slice};

use super::{program::shared::Stamp, ring::Descriptor, stamp};
use crate::memory::Mapping;

#[expect(clippy::cast_possible_truncation, reason = "16")]
const STAMP_BYTES: u32 = size_of::<Stamp>() as u32;

/// The frames of one queue.
#[derive(Debug)]
pub(super) struct Umem {
    mapping: Mapping,
    frames: u32,
    /// A power of two.
    frame_bytes: u32,
    /// One bit per frame: set while the kernel owns it.
    lent: Box<[u64]>,
}

/// A packet in a frame that is ours; the proof that it may be read. Given back by
/// [`Umem::lend`], which takes the proof away.
#[derive(Debug)]
pub(super) struct Received {
    frame: u32,
    offset: u32,
    len: u32,
}

impl Umem {
    /// Maps `frames` frames of `frame_bytes` each (both powers of two), all of them ours, on huge
    /// pages if there are any.
    pub(super) fn new(frames: u32, frame_bytes: u32) -> io::Result<Self> {
        assert!(frames.is_power_of_two() && frame_bytes.is_power_of_two(), "checked in set-up");
        let (mapping, _) = Mapping::huge(frames as usize * frame_bytes as usize)?;
        let lent = vec![0; frames.div_ceil(u64::BITS) as usize].into_boxed_slice();
        Ok(Self { mapping, frames, frame_bytes, lent })
    }

    /// What the kernel must know to use it.
    pub(super) fn registration(&self) -> libc::xdp_umem_reg {
        let start = self.mapping.at::<u8>(0, 0).map_or(0, |start| start.as_ptr() as u64);
        libc::xdp_umem_reg {
            addr: start,
            // Of the mapping, which is of whole pages: what is locked is for frames.
            len: u64::from(self.frames) * u64::from(self.frame_bytes),
            chunk_size: self.frame_bytes,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        }
    }

    /// Lends every frame that is ours: their addresses for the fill ring.
    pub(super) fn lend_all(&mut self) -> impl Iterator<Item = u64> {
        (0..self.frames).filter_map(|frame| {
            if self.is_lent(frame) {
                return None;
            }
            self.flip(frame);
            Some(self.address(frame))
        })
    }

    /// Takes over the frame that `descriptor` names; `None` if it is not a packet inside of
    /// one frame that was the kernel's.
    pub(super) fn receive(&mut self, descriptor: Descriptor) -> Option<Received> {
        let frame = u32::try_from(descriptor.address / u64::from(self.frame_bytes)).ok()?;
        let offset = u32::try_from(descriptor.address % u64::from(self.frame_bytes)).ok()?;
        let fits = descriptor.len <= self.frame_bytes - offset;
        if frame >= self.frames || !fits || !self.is_lent(frame) {
            return None;
        }
        self.flip(frame);
        Some(Received { frame, offset, len: descriptor.len })
    }

    /// The packet's bytes. They cannot outlive the proof, hence not the frame's time with us.
    pub(super) fn bytes<'a>(&'a self, received: &'a Received) -> &'a [u8] {
        let start = received.frame as usize * self.frame_bytes as usize + received.offset as usize;
        let start = self.mapping.at::<u8>(start, received.len as usize);
        let Some(start) = start else { return &[] };
        // SAFETY: the range is inside the mapping (`Mapping::at`), whose pages are initialised
        // (anonymous, zeroed). The frame is ours, as `received` exists: `receive` found it lent
        // and took it, and it is lent again only by `lend`, which consumes `received` and so
        // ends this borrow. The kernel writes only to frames that are lent.
        unsafe { slice::from_raw_parts(start.as_ptr(), received.len as usize) }
    }

    /// The time in the stamp in front of the packet, if there is one. It is taken away, as what
    /// next comes into this frame may come without.
    #[inline]
    pub(super) fn take_stamp(&mut self, received: &Received) -> Option<u64> {
        // In the head room, which a packet does not reach: it cannot pretend to have one.
        let offset = received.offset.checked_sub(STAMP_BYTES)?;
        let start = received.frame as usize * self.frame_bytes as usize + offset as usize;
        let place = self.mapping.at::<Stamp>(start, 1)?;
        // SAFETY: the range is inside the mapping and aligned (`Mapping::at`), its pages are
        // initialised, and any bytes are a value. The frame is ours, as in `bytes`.
        let stamp = unsafe { place.read() };
        // SAFETY: as above, and nothing refers to it: `bytes` borrows `self`.
        unsafe { place.write(Stamp::default()) };
        stamp::time_of(stamp)
    }

    /// Lends the frame again: its address for the fill ring.
    pub(super) fn lend(&mut self, received: Received) -> u64 {
        assert!(!self.is_lent(received.frame), "a received frame is ours");
        self.flip(received.frame);
        self.address(received.frame)
    }

    fn address(&self, frame: u32) -> u64 {
        u64::from(frame) * u64::from(self.frame_bytes)
    }

    fn is_lent(&self, frame: u32) -> bool {
        self.lent[(frame / u64::BITS) as usize] >> (frame % u64::BITS) & 1 == 1
    }

    fn flip(&mut self, frame: u32) {
        self.lent[(frame / u64::BITS) as usize] ^= 1 << (frame % u64::BITS);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::xdp::program::shared::stamp as mark;

    impl Umem {
        /// Writes a stamp in front of a packet, as the kernel does.
        pub(in crate::xdp) fn put_stamp(&mut self, packet: u64, stamp: Stamp) {
            let place = self.mapping.at(usize::try_from(packet).unwrap() - 16, 1).unwrap();
            // SAFETY: inside the mapping, aligned, and no other reference: `self` is ours.
            unsafe { place.write(stamp) };
        }
    }

    fn packet(address: u64, len: u32) -> Descriptor {
        Descriptor { address, len, options: 0 }
    }

    #[test]
    fn only_a_lent_frame_can_be_received_and_only_once() {
        let mut umem = Umem::new(4, 2048).unwrap();
        assert!(umem.receive(packet(0, 60)).is_none(), "ours, not the kernel's");
        assert_eq!(umem.lend_all().collect::<Vec<_>>(), [0, 2048, 4096, 6144]);
        assert_eq!(umem.lend_all().count(), 0, "lent already");
        let received = umem.receive(packet(2048 + 256, 60)).unwrap();
        assert_eq!(umem.bytes(&received), [0; 60]);
        assert!(umem.receive(packet(2048 + 256, 60)).is_none(), "the same frame again");
        assert_eq!(umem.lend(received), 2048);
        assert!(umem.receive(packet(2048, 60)).is_some());
    }

    #[test]
    fn a_stamp_is_taken_once_and_only_from_in_front_of_a_packet() {
        let mut umem = Umem::new(4, 2048).unwrap();
        assert_eq!(umem.lend_all().count(), 4);
        let at = |frame: u64, offset: u64| frame * 2048 + offset;
        umem.put_stamp(at(1, 256), [7, mark::KERNEL_TAI]);
        let received = umem.receive(packet(at(1, 256), 60)).unwrap();
        assert_eq!(umem.take_stamp(&received), Some(7));
        assert_eq!(umem.take_stamp(&received), None, "taken");
        umem.lend(received);
        // At the very start of a frame it would be the end of the frame before.
        umem.put_stamp(at(2, 0), [8, mark::KERNEL_TAI]);
        for offset in [0, 15] {
            let received = umem.receive(packet(at(2, offset), 60)).unwrap();
            assert_eq!(umem.take_stamp(&received), None, "{offset} bytes into the frame");
            umem.lend(received);
        }
        umem.put_stamp(at(3, 256), [9, 0]);
        let received = umem.receive(packet(at(3, 256), 60)).unwrap();
        assert_eq!(umem.take_stamp(&received), None, "without its mark");
        assert_eq!(umem.bytes(&received), [0; 60], "the packet is what it was");
    }

    #[test]
    fn only_frames_are_registered_however_large_pages_are() {
        for (frames, frame_bytes) in [(4, 2048), (1024, 4096), (4096, 4096)] {
            let umem = Umem::new(frames, frame_bytes).unwrap();
            let registered = umem.registration();
            assert_eq!(registered.len, u64::from(frames * frame_bytes));
            assert_eq!((registered.addr % 4096, registered.chunk_size), (0, frame_bytes));
        }
    }

    #[test]
    fn descriptors_outside_of_a_frame_are_refused() {
        let mut umem = Umem::new(4, 2048).unwrap();
        assert_eq!(umem.lend_all().count(), 4);
        let outside = [
            packet(8192, 1),
            packet(u64::MAX, 1),
            packet(2048 + 256, 2048 - 255),
            packet(0, u32::MAX),
            packet(u64::from(u32::MAX) * 2048, 1),
        ];
        for descriptor in outside {
            assert!(umem.receive(descriptor).is_none(), "{descriptor:?}");
        }
        assert!(umem.receive(packet(6144 + 256, 2048 - 256)).is_some(), "the last byte");
        assert!(umem.receive(packet(0, 0)).is_some(), "an empty packet");
    }
}

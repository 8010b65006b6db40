//! A ring of blocks that the kernel fills with packets: TPACKET_V3.
//!
//! Each block has one owner at a time, by its status word: the kernel, until it retires the
//! block (it is full, or its time is up), then we, until [`Ring::receive`] has shown all its
//! packets and gives it back. Blocks come in their order. Nothing that the kernel wrote is
//! believed before it is checked against the block's bounds; the rest of a block in which
//! something is wrong is counted as invalid.
//!
//! The status is an atomic of the core library and not of `crate::sync`: the kernel lays it out,
//! where a model's cannot be. The layout is that of
//! <https://docs.kernel.org/networking/packet_mmap.html>; who does what when is in
//! <https://github.com/torvalds/linux/blob/v6.12/net/packet/af_packet.c>.
#![expect(unsafe_code, reason = "mapped memory shared with the kernel")]

use std::mem::offset_of;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::memory::Mapping;

/// `struct tpacket_block_desc` of linux/if_packet.h, as far as it is of use here.
#[derive(Clone, Copy)]
#[repr(C)]
struct BlockHeader {
    version: u32,
    private_offset: u32,
    /// Only as an atomic: this is what hands the block over.
    status: u32,
    packets: u32,
    first_offset: u32,
}

const _: () = assert!(size_of::<BlockHeader>() <= size_of::<libc::tpacket_block_desc>());

/// A packet's header and the address behind it, which both stand before its bytes.
#[derive(Clone, Copy)]
#[repr(C)]
struct PacketHeader {
    header: libc::tpacket3_hdr,
    address: libc::sockaddr_ll,
}

/// Where a packet's bytes may begin, after its header.
const HEADER_BYTES: u32 = 68;

const _: () = assert!(libc::TPACKET3_HDRLEN == HEADER_BYTES as usize);
const _: () = assert!(size_of::<PacketHeader>() == HEADER_BYTES as usize);

/// Bytes of an IEEE 802.1Q tag, and where in an Ethernet frame it stands: after both addresses.
pub(super) const TAG_BYTES: u32 = 4;
const TAG_OFFSET: usize = 12;

/// Kernels before 3.14 name no protocol for a tag.
const TAG_PROTOCOL: u16 = 0x8100;

/// A packet, as long as its block is ours.
#[derive(Debug)]
pub(super) struct RingPacket<'a> {
    /// Its bytes, with the VLAN tag that the kernel or the NIC had taken out.
    pub(super) bytes: &'a [u8],
    /// Its length before it was cut, with that tag.
    pub(super) wire_len: u32,
    /// When the kernel took it, by its wall's clock (`CLOCK_REALTIME`).
    pub(super) seconds: u32,
    /// The same, the rest in ns.
    pub(super) nanoseconds: u32,
    /// Whether this host sends it.
    pub(super) is_outgoing: bool,
}

/// What [`Ring::receive`] found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Packets that were shown.
    pub(super) shown: usize,
    /// Packets that the kernel described wrongly.
    pub(super) invalid: u32,
}

/// How far the block that is ours has been read.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Where the next packet's header is, in bytes from the block's start.
    offset: u32,
    /// Packets from there on.
    left: u32,
}

/// The ring; owned by one thread.
#[derive(Debug)]
pub(super) struct Ring {
    mapping: Mapping,
    block_bytes: u32,
    blocks: u32,
    /// The block that is ours, or the next that will be.
    block: u32,
    place: Option<Place>,
    /// Whether frames are Ethernet, so that a tag can be put back.
    is_ethernet: bool,
}

impl Ring {
    /// The ring of `blocks` blocks of `block_bytes` each; `None` if they are not what was
    /// mapped.
    pub(super) fn new(
        mapping: Mapping,
        blocks: u32,
        block_bytes: u32,
        is_ethernet: bool,
    ) -> Option<Self> {
        let bytes = (blocks as usize).checked_mul(block_bytes as usize)?;
        let fits = bytes > 0 && bytes == mapping.bytes() && block_bytes.is_multiple_of(4096);
        fits.then_some(Self { mapping, block_bytes, blocks, block: 0, place: None, is_ethernet })
    }

    /// Shows up to `max` packets to `each`, in the order they came. A block goes back to the
    /// kernel when all of it was shown, which may be at the next call.
    pub(super) fn receive(&mut self, max: usize, mut each: impl FnMut(RingPacket<'_>)) -> Found {
        let mut found = Found::default();
        while found.shown < max {
            let Some(place) = self.place.or_else(|| self.take_block()) else { break };
            if place.left == 0 {
                self.give_block_back();
                continue;
            }
            let Some((header, next)) = self.header(place) else {
                found.invalid = found.invalid.saturating_add(place.left);
                self.give_block_back();
                continue;
            };
            match self.packet(place.offset, &header) {
                Some(packet) => {
                    each(packet);
                    found.shown += 1;
                }
                None => found.invalid += 1,
            }
            self.place = Some(next);
        }
        // At once, where nothing is left of it: the kernel may be short of blocks.
        if self.place.is_some_and(|place| place.left == 0) {
            self.give_block_back();
        }
        found
    }

    /// Where the current block begins in the mapping.
    fn start(&self) -> usize {
        self.block as usize * self.block_bytes as usize
    }

    /// The word that says whose the current block is.
    fn status(&self) -> &AtomicU32 {
        let at = self.start() + offset_of!(BlockHeader, status);
        let status = self.mapping.at::<AtomicU32>(at, 1).expect("every block is in the mapping");
        // SAFETY: aligned and inside the mapping (`Mapping::at`), which lives as long as `self`;
        // the kernel accesses it as a whole, and packets' bytes, which references are made to,
        // are behind their headers and so behind this one.
        unsafe { status.as_ref() }
    }

    /// Takes the next block over, if the kernel has retired it.
    fn take_block(&mut self) -> Option<Place> {
        // Acquire: pairs with the kernel's store of the status, behind a write barrier
        // (prb_close_block): without it a packet could be read before it was written.
        let status = self.status().load(Ordering::Acquire);
        if status & libc::TP_STATUS_USER == 0 {
            return None;
        }
        let header = self.mapping.at::<BlockHeader>(self.start(), 1)?;
        // SAFETY: aligned and inside the mapping; the block is ours, so that nobody writes to
        // it; any bits are integers.
        let header = unsafe { header.read() };
        // More than fit are too many: the walk ends where the block does.
        let place = Place { offset: header.first_offset, left: header.packets };
        self.place = Some(place);
        self.place
    }

    /// Lets the kernel fill the current block again, and goes on to the next.
    fn give_block_back(&mut self) {
        self.place = None;
        // Release: pairs with the kernel's read of the status, before a barrier
        // (prb_dispatch_next_block, prb_open_block): without it the kernel could overwrite a
        // packet that is still being read.
        self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.block = (self.block + 1) % self.blocks;
    }

    /// The header at `place`, and the place after it; `None` if either is not in the block.
    fn header(&self, place: Place) -> Option<(PacketHeader, Place)> {
        if place.offset > self.block_bytes - HEADER_BYTES {
            return None;
        }
        let header = self.mapping.at::<PacketHeader>(self.start() + place.offset as usize, 1)?;
        // SAFETY: aligned, inside the mapping and, as just seen, inside of one block; that is
        // ours (`place` is of a block that was taken), so that nobody writes to it; any bits
        // are integers.
        let header = unsafe { header.read() };
        let left = place.left - 1;
        let step = header.header.tp_next_offset;
        let offset = place.offset.checked_add(step)?;
        // The last packet leads nowhere, others to where theirs may end at the earliest.
        if left > 0 && step < HEADER_BYTES {
            return None;
        }
        Some((header, Place { offset, left }))
    }

    /// The packet whose header is at `offset`; `None` if its bytes are not in the block.
    fn packet(&mut self, offset: u32, header: &PacketHeader) -> Option<RingPacket<'_>> {
        let PacketHeader { header, address } = header;
        let tag = self.tag(header);
        let room = if tag.is_some() { TAG_BYTES } else { 0 };
        // The tag goes before the bytes, where PACKET_RESERVE has made room.
        let from = u32::from(header.tp_mac).checked_sub(room)?;
        let len = header.tp_snaplen.checked_add(room)?;
        let start = offset.checked_add(from)?;
        let end = start.checked_add(len)?;
        if from < HEADER_BYTES || end > self.block_bytes {
            return None;
        }
        let start = self.mapping.at::<u8>(self.start() + start as usize, len as usize)?;
        // SAFETY: the range is inside the mapping (`Mapping::at`) and of one block. That is
        // ours until `give_block_back`, which takes `&mut self` and so ends this borrow; the
        // kernel writes to its own blocks only; and `&mut self` lets no other slice of it exist.
        let bytes = unsafe { slice::from_raw_parts_mut(start.as_ptr(), len as usize) };
        if let Some(tag) = tag {
            insert_tag(bytes, tag)?;
        }
        Some(RingPacket {
            bytes,
            wire_len: header.tp_len.saturating_add(room),
            seconds: header.tp_sec,
            nanoseconds: header.tp_nsec,
            is_outgoing: address.sll_pkttype == libc::PACKET_OUTGOING,
        })
    }

    /// The VLAN tag that is not among the packet's bytes, if there is one.
    fn tag(&self, header: &libc::tpacket3_hdr) -> Option<[u8; 4]> {
        if !self.is_ethernet || header.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
            return None;
        }
        let has_protocol = header.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
        let protocol = if has_protocol { header.hv1.tp_vlan_tpid } else { TAG_PROTOCOL };
        // 16 bits in a field of 32.
        let [_, _, control @ ..] = header.hv1.tp_vlan_tci.to_be_bytes();
        let [p, q] = protocol.to_be_bytes();
        let [c, d] = control;
        Some([p, q, c, d])
    }
}

/// Puts a tag into a frame that begins after the room for it: moves the addresses down, which
/// is 12 bytes on the line of the cache that is read next anyway, where the alternatives are to
/// copy the packet or to have every decoder know of tags that are not there.
fn insert_tag(bytes: &mut [u8], tag: [u8; 4]) -> Option<()> {
    let room = TAG_BYTES as usize;
    if bytes.len() < TAG_OFFSET + room {
        return None;
    }
    bytes.copy_within(room..room + TAG_OFFSET, 0);
    bytes[TAG_OFFSET..TAG_OFFSET + room].copy_from_slice(&tag);
    Some(())
}

#[cfg(test)]
mod tests;

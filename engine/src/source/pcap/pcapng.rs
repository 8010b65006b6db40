//! The pcapng format: blocks, in sections that each have a byte order and interfaces.
//!
//! Packets come from enhanced, simple and obsolete packet blocks. Blocks of other types
//! are skipped, decryption secrets among them. The length at a block's end is not looked
//! at, nor are the version and the section length, which live writers do not know.

use std::borrow::Cow;

use super::Found;
use super::classic::too_long;
use super::interface::Interface;
use super::order::Order;
use super::window::Window;
use crate::error::Result;
use crate::limits::{FILE_BLOCK_BYTES, FILE_INTERFACES, FILE_PACKET_BYTES};
use crate::source::LinkType;
use crate::time::Timestamp;

/// Type of the section header block; the same in both byte orders.
pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Bytes of a block around its body: type and length before, the length again behind.
const FRAME_BYTES: usize = 12;
const HEAD_BYTES: usize = 8;
/// Bytes of the shortest section header block.
const SECTION_BYTES: usize = 28;
/// Bytes before the packet in enhanced and obsolete packet blocks, and in simple ones.
const PACKET_HEAD_BYTES: usize = 20;
const SIMPLE_HEAD_BYTES: usize = 4;

/// What is said of a block that makes no sense.
type Cause = Cow<'static, str>;

/// Finds the packets of a pcapng file.
pub(super) struct Pcapng {
    order: Order,
    /// Of this section; at most [`FILE_INTERFACES`].
    interfaces: Vec<Interface>,
}

/// A packet within the body of its block.
struct InBody {
    at: usize,
    captured: usize,
    wire_len: u32,
    timestamp: Option<Timestamp>,
    link: LinkType,
}

impl Pcapng {
    /// The file's first block must be a section header.
    pub(super) fn new() -> Pcapng {
        Pcapng { order: Order::Little, interfaces: Vec::new() }
    }

    /// How long the packet's block at the start of the window is, if there is one, and that to read.
    pub(super) fn packet_block_bytes(&self, window: &Window) -> Option<usize> {
        let [kind, bytes] = self.order.words(window.rest())?;
        let is_packet = [ENHANCED_PACKET, OBSOLETE_PACKET, SIMPLE_PACKET].contains(&kind);
        is_packet.then_some(bytes as usize)
    }

    /// The next packet, `None` at the end.
    #[inline]
    pub(super) fn next(&mut self, window: &mut Window) -> Result<Option<Found>> {
        loop {
            if !window.holds(FRAME_BYTES)? {
                return if window.rest().is_empty() { Ok(None) } else { Err(window.cut("block")) };
            }
            let (kind, block_bytes) =
                self.head(window.rest()).map_err(|cause| window.broken("block", &cause))?;
            if !window.holds(block_bytes)? {
                return Err(window.cut("block"));
            }
            let body = &window.rest()[HEAD_BYTES..block_bytes - 4];
            let packet = self.body(kind, body).map_err(|cause| window.broken("block", &cause))?;
            let block = window.take(block_bytes);
            if let Some(InBody { at, captured, wire_len, timestamp, link }) = packet {
                let at = block + HEAD_BYTES + at;
                return Ok(Some(Found { at, captured, wire_len, timestamp, link }));
            }
        }
    }

    /// Type and length of the block at the start of `rest`, which holds [`FRAME_BYTES`].
    /// A section header is read in its own byte order, and starts a section.
    #[inline]
    fn head(&mut self, rest: &[u8]) -> std::result::Result<(u32, usize), Cause> {
        let mut shortest = FRAME_BYTES;
        if rest.starts_with(&SECTION_HEADER.to_le_bytes()) {
            self.order = Order::of_section(rest).ok_or("has no byte-order magic")?;
            self.interfaces.clear();
            shortest = SECTION_BYTES;
        }
        let [kind, bytes] = self.order.words(rest).ok_or("has no type and length")?;
        let block_bytes = bytes as usize;
        if block_bytes < shortest
            || !block_bytes.is_multiple_of(4)
            || block_bytes > FILE_BLOCK_BYTES
        {
            return Err(format!("has the impossible length {block_bytes}").into());
        }
        Ok((kind, block_bytes))
    }

    /// Reads the body of a block: the packet in it, if it is a packet block.
    #[inline]
    fn body(&mut self, kind: u32, body: &[u8]) -> std::result::Result<Option<InBody>, Cause> {
        match kind {
            ENHANCED_PACKET => {
                let words = self.order.words(body).ok_or("is too short for a packet")?;
                self.packet(words, body).map(Some)
            }
            OBSOLETE_PACKET => {
                let mut words = self.order.words(body).ok_or("is too short for a packet")?;
                // Its interface number shares the first word with a count of drops.
                let interface = body.first_chunk().map_or(0, |&bytes| self.order.u16(bytes));
                words[0] = u32::from(interface);
                self.packet(words, body).map(Some)
            }
            SIMPLE_PACKET => self.simple_packet(body).map(Some),
            INTERFACE => {
                if self.interfaces.len() >= FILE_INTERFACES {
                    return Err(format!("describes interface number {FILE_INTERFACES}").into());
                }
                self.interfaces.push(Interface::read(self.order, body)?);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// A packet block with these first words.
    #[inline]
    fn packet(&self, words: [u32; 5], body: &[u8]) -> std::result::Result<InBody, Cause> {
        let [interface, high, low, captured, wire_len] = words;
        let Some(described) = self.interfaces.get(interface as usize) else {
            return Err(undescribed(interface));
        };
        let captured = checked(captured as usize)?;
        if PACKET_HEAD_BYTES + captured > body.len() {
            return Err(format!("is too short for its packet of {captured} captured bytes").into());
        }
        let timestamp = described.timestamp(high, low);
        Ok(InBody { at: PACKET_HEAD_BYTES, captured, wire_len, timestamp, link: described.link })
    }

    /// A simple packet block. It does not say how much of the packet was captured: all of
    /// it, up to the snap length of interface 0 (and up to the block's end).
    fn simple_packet(&self, body: &[u8]) -> std::result::Result<InBody, Cause> {
        let Some(described) = self.interfaces.first() else { return Err(undescribed(0)) };
        let [wire_len] = self.order.words(body).ok_or("is too short for a packet")?;
        let limit = if described.snap_len == 0 { wire_len } else { described.snap_len };
        let captured = (wire_len.min(limit) as usize).min(body.len() - SIMPLE_HEAD_BYTES);
        let captured = checked(captured)?;
        let link = described.link;
        Ok(InBody { at: SIMPLE_HEAD_BYTES, captured, wire_len, timestamp: None, link })
    }
}

/// The captured length, unless it is impossible.
#[inline]
fn checked(captured: usize) -> std::result::Result<usize, Cause> {
    if captured > FILE_PACKET_BYTES { Err(too_long(captured).into()) } else { Ok(captured) }
}

#[cold]
fn undescribed(interface: u32) -> Cause {
    format!("has a packet of interface {interface}, which was not described").into()
}

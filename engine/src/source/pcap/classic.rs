//! The pcap format: one header, then packet records, all of one link type.
//!
//! Both byte orders, micro- and nanoseconds, and Kuznetzov's modified format with its
//! longer record headers. The magic number tells them apart; the version is not looked
//! at, nor is the snap length, which many writers leave wrong.

use super::order::Order;
use super::window::Window;
use crate::error::Result;
use crate::limits::FILE_PACKET_BYTES;
use crate::source::{Frame, LinkType};
use crate::time::{SECOND_NS, Timestamp};

/// Bytes of the file header.
const HEADER_BYTES: usize = 24;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;

// A record's time always fits: 2^32 seconds and 2^32 fractions.
const _: () = assert!((u32::MAX as u64) * (SECOND_NS + 1_000) <= Timestamp::MAX as u64);

/// How the packet records of a pcap file are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordFormat {
    order: Order,
    /// Nanoseconds in one unit of a record's second time field.
    fraction_ns: i64,
    head_bytes: usize,
    link: LinkType,
}

/// Whether a file with these first bytes is pcap.
pub(super) fn is_magic(magic: [u8; 4]) -> bool {
    variant(magic).is_some()
}

/// Byte order, unit of the fraction in nanoseconds, bytes of a record header.
fn variant(magic: [u8; 4]) -> Option<(Order, i64, usize)> {
    [Order::Little, Order::Big].into_iter().find_map(|order| match order.u32(magic) {
        MICROSECONDS => Some((order, 1_000, 16)),
        NANOSECONDS => Some((order, 1, 16)),
        MODIFIED => Some((order, 1_000, 24)),
        _ => None,
    })
}

impl RecordFormat {
    /// Takes the file header.
    pub(super) fn open(magic: [u8; 4], window: &mut Window) -> Result<RecordFormat> {
        let whole = window.holds(HEADER_BYTES)?;
        let (Some((order, fraction_ns, head_bytes)), Some([.., network])) =
            (variant(magic), Order::Little.words::<6>(window.rest()).filter(|_| whole))
        else {
            return Err(window.damage("the file ends inside the pcap header at its start"));
        };
        window.take(HEADER_BYTES);
        let network = order.u32(network.to_le_bytes());
        // The upper bits say how long the frame check sequences are, which nobody fills in.
        let link = LinkType((network & 0xffff) as u16);
        Ok(RecordFormat { order, fraction_ns, head_bytes, link })
    }

    /// The link type of all packets.
    pub(super) fn link(&self) -> LinkType {
        self.link
    }

    /// How long the record at the start of the window is, if that is there to read.
    pub(super) fn bytes(&self, window: &Window) -> Option<usize> {
        let [_, _, captured, _] = self.order.words(window.rest())?;
        Some(self.head_bytes + captured as usize)
    }

    /// Reads until a whole record is in the window. False at the end.
    ///
    /// # Errors
    /// If there is none, or reading fails.
    pub(super) fn fill(&self, window: &mut Window) -> Result<bool> {
        if !window.holds(self.head_bytes)? {
            return if window.rest().is_empty() { Ok(false) } else { Err(window.cut("packet")) };
        }
        let Some([_, _, captured, _]) = self.order.words(window.rest()) else {
            return Err(window.cut("packet"));
        };
        let captured = captured as usize;
        if captured > FILE_PACKET_BYTES {
            return Err(window.broken("packet", &too_long(captured)));
        }
        if window.holds(self.head_bytes + captured)? { Ok(true) } else { Err(window.cut("packet")) }
    }

    /// The frame of the record at the start of `bytes`, and how long that is; `None` if it is not
    /// whole, or no record.
    #[inline(always)]
    pub(super) fn frame<'a>(&self, bytes: &'a [u8]) -> Option<(Frame<'a>, usize)> {
        let [seconds, fraction, captured, wire_len] = self.order.words(bytes)?;
        let captured = captured as usize;
        if captured > FILE_PACKET_BYTES {
            return None;
        }
        let record_bytes = self.head_bytes + captured;
        let bytes = bytes.get(self.head_bytes..record_bytes)?;
        let timestamp =
            i64::from(seconds) * SECOND_NS as i64 + i64::from(fraction) * self.fraction_ns;
        Some((Frame { bytes, wire_len, timestamp: Some(timestamp), link: self.link }, record_bytes))
    }
}

/// What is said of a packet that is longer than any can be.
#[cold]
pub(super) fn too_long(captured: usize) -> String {
    format!("claims {captured} captured bytes, more than {FILE_PACKET_BYTES}")
}

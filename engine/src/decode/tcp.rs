//! What counts of a TCP header (RFC 9293 section 3.1), as the decoder hands it to the flow table.

use std::fmt;
use std::hint::select_unpredictable;

use crate::flow::record::tcp_flags::{FIN, SYN};

/// Of a header what the flow table wants; of a packet without one, what is of no note: so nothing
/// that is asked of each packet needs a branch, which of mixed traffic could not be foretold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TcpHeader {
    /// Sequence number above, acknowledgement number below.
    numbers: u64,
    /// From the top: whether there is a header, in one byte; the flag byte; the window.
    rest: u32,
}

const IS_THERE: u32 = 1 << 24;
/// No flag, and a window that is not closed.
const NO_HEADER: u32 = 1;

impl TcpHeader {
    /// Of a packet that has none, or of which the flags were not captured.
    pub const NONE: Self = Self { numbers: 0, rest: NO_HEADER };

    /// One with these fields.
    #[must_use]
    pub fn new(flags: u8, sequence: u32, acknowledgment: u32, window: u16) -> Self {
        Self {
            numbers: u64::from(sequence) << 32 | u64::from(acknowledgment),
            rest: IS_THERE | u32::from(flags) << 16 | u32::from(window),
        }
    }

    /// What stands in a header from its fifth byte on, if `is_tcp`.
    #[inline]
    pub(super) fn read(bytes: &[u8; 12], is_tcp: bool) -> Self {
        let [a, b, c, d, e, f, g, h, offset, flags, i, j] = *bytes;
        let rest = u32::from_be_bytes([offset, flags, i, j]) & (IS_THERE - 1) | IS_THERE;
        let numbers = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        Self {
            numbers: select_unpredictable(is_tcp, numbers, 0),
            rest: select_unpredictable(is_tcp, rest, NO_HEADER),
        }
    }

    /// Whether there is one.
    #[must_use]
    #[inline]
    pub fn is_there(&self) -> bool {
        self.rest & IS_THERE != 0
    }

    /// The flag byte.
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "one byte is meant")]
    pub fn flags(&self) -> u8 {
        (self.rest >> 16) as u8
    }

    /// Whether one of these flags is set.
    #[must_use]
    #[inline]
    pub fn has(&self, flags: u8) -> bool {
        self.rest & u32::from(flags) << 16 != 0
    }

    /// The sequence number.
    #[must_use]
    #[inline]
    pub fn sequence(&self) -> u32 {
        (self.numbers >> 32) as u32
    }

    /// The acknowledgement number, which counts only with the flag ACK.
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub fn acknowledgment(&self) -> u32 {
        self.numbers as u32
    }

    /// The window as it stands in the header, not scaled; the largest one if it was not captured,
    /// and not 0 if there is no header.
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "two bytes are meant")]
    pub fn window(&self) -> u16 {
        self.rest as u16
    }

    /// The sequence number of the payload's first byte: a SYN counts as one before it (RFC 9293
    /// section 3.4).
    #[must_use]
    #[inline]
    pub fn payload_sequence(&self) -> u32 {
        self.sequence().wrapping_add(u32::from(self.has(SYN)))
    }

    /// How much of the sequence a segment with so much payload takes: none if there is no header.
    #[must_use]
    #[inline]
    pub fn sequence_bytes(&self, payload_bytes: u32) -> u32 {
        let flags = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        let mask = 0u32.wrapping_sub(self.rest >> 24);
        payload_bytes.wrapping_add(flags) & mask
    }
}

impl fmt::Debug for TcpHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_there() {
            return f.write_str("none");
        }
        f.debug_struct("TcpHeader")
            .field("flags", &self.flags())
            .field("sequence", &self.sequence())
            .field("acknowledgment", &self.acknowledgment())
            .field("window", &self.window())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_what_was_read_and_none_is_of_no_note() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 0xf9, 0x13, 0xfe, 0xdc];
        let header = TcpHeader::read(&bytes, true);
        assert_eq!(header, TcpHeader::new(0x13, 0x0102_0304, 0x0506_0708, 0xfedc));
        let fields = (header.flags(), header.sequence(), header.acknowledgment(), header.window());
        assert_eq!(fields, (0x13, 0x0102_0304, 0x0506_0708, 0xfedc));
        assert!(header.is_there() && header.has(SYN) && header.has(FIN) && !header.has(4));
        assert_eq!((header.payload_sequence(), header.sequence_bytes(10)), (0x0102_0305, 12));
        assert_eq!(TcpHeader::new(0x10, u32::MAX, 0, 0).sequence_bytes(u32::MAX), u32::MAX);

        let none = TcpHeader::read(&bytes, false);
        assert_eq!(none, TcpHeader::NONE);
        assert!(!none.is_there() && !none.has(u8::MAX) && none.window() > 0);
        assert_eq!((none.sequence(), none.sequence_bytes(10)), (0, 0));
        // All that a header can be is one, and another than none.
        assert!(TcpHeader::new(0, 0, 0, 0).is_there());
    }
}

//! The checksums of the protocols we write: RFC 1071 for IP, TCP, UDP and ICMP, CRC32c for SCTP.

use super::number::low16;

/// A running one's complement sum, in the byte order of the wire.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds `bytes`; an odd last byte is padded with a zero, so only the last part may be odd.
    pub(crate) fn add(mut self, bytes: &[u8]) -> Self {
        let mut words = bytes.chunks_exact(4);
        let mut native = 0u64;
        for word in &mut words {
            native += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        }
        // The sum of swapped words is the swapped sum (RFC 1071, 2 (B)).
        self.0 += u64::from(fold(native).to_be());
        let rest = words.remainder();
        for pair in rest.chunks(2) {
            self.0 += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        self
    }

    /// Adds one 16-bit number.
    pub(crate) fn add_number(mut self, number: u16) -> Self {
        self.0 += u64::from(number);
        self
    }

    /// The checksum to write.
    pub(crate) fn finish(self) -> u16 {
        !fold(self.0)
    }
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    low16(sum)
}

/// CRC32c (RFC 9260, appendix A) of `bytes`, to be written little-endian.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::{Sum, crc32c};

    #[test]
    fn known_sums() {
        // The example of RFC 1071, section 3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().add(&bytes).finish(), !0xddf2);
        assert_eq!(Sum::default().add(&bytes[..5]).finish(), !0xe605);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}

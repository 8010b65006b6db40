//! The byte order of a file or section: that of the machine which wrote it.

/// A byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// The order of a pcapng section, by the byte-order magic of its header `block`.
    pub(super) fn of_section(block: &[u8]) -> Option<Order> {
        match block.get(8..12)? {
            [0x4d, 0x3c, 0x2b, 0x1a] => Some(Order::Little),
            [0x1a, 0x2b, 0x3c, 0x4d] => Some(Order::Big),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        }
    }

    #[inline]
    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        }
    }

    pub(super) fn i64(self, bytes: [u8; 8]) -> i64 {
        match self {
            Order::Little => i64::from_le_bytes(bytes),
            Order::Big => i64::from_be_bytes(bytes),
        }
    }

    /// The first `N` 32-bit words of `bytes`, if it is that long.
    #[inline]
    pub(super) fn words<const N: usize>(self, bytes: &[u8]) -> Option<[u32; N]> {
        let words = bytes.as_chunks::<4>().0.first_chunk::<N>()?;
        let words = words.map(u32::from_le_bytes);
        // One branch for all of them, which is always the same.
        Some(if self == Self::Little { words } else { swapped(words) })
    }
}

#[cold]
fn swapped<const N: usize>(words: [u32; N]) -> [u32; N] {
    words.map(u32::swap_bytes)
}

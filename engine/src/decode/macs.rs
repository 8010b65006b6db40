//! The MAC addresses of a frame, copied as they stand there: few packets need them taken apart.

/// Source and destination, each if the link layer says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Macs {
    /// As they stand in an Ethernet header: the destination first. Zeros for what is not known.
    addresses: [u8; 12],
    /// Source and destination.
    is_known: [bool; 2],
}

impl Macs {
    /// Neither is known.
    pub const NONE: Self = Self { addresses: [0; 12], is_known: [false; 2] };

    /// Those of an Ethernet frame that begins with these bytes.
    #[must_use]
    #[inline]
    pub(super) fn of_ethernet(start: &[u8; 12]) -> Self {
        Self { addresses: *start, is_known: [true; 2] }
    }

    /// A source and a destination address, as far as they are known.
    #[must_use]
    pub fn new([source, destination]: [Option<[u8; 6]>; 2]) -> Self {
        let mut addresses = [0; 12];
        addresses[..6].copy_from_slice(&destination.unwrap_or_default());
        addresses[6..].copy_from_slice(&source.unwrap_or_default());
        Self { addresses, is_known: [source.is_some(), destination.is_some()] }
    }

    /// Source and destination address; `None` for one that the link layer does not say.
    #[must_use]
    #[inline]
    pub fn get(&self) -> [Option<[u8; 6]>; 2] {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = self.addresses;
        let (source, destination) = ([g, h, i, j, k, l], [a, b, c, d, e, f]);
        [self.is_known[0].then_some(source), self.is_known[1].then_some(destination)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_comes_out() {
        let (a, b) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        for macs in [[None; 2], [Some(a), None], [None, Some(b)], [Some(a), Some(b)]] {
            assert_eq!(Macs::new(macs).get(), macs);
        }
        assert_eq!(Macs::NONE, Macs::new([None; 2]));
        let start = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        assert_eq!(Macs::of_ethernet(&start), Macs::new([Some(a), Some(b)]));
    }
}

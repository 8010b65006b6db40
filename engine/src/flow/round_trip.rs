//! A time between two steps of a TCP handshake, which is known, not known, or ambiguous.

/// Nanoseconds between two packets of a TCP handshake, in four bytes.
///
/// They combine by the greater one: what is known of a flow wins over what is not known yet,
/// and what has turned out ambiguous stays so. Four bytes reach to 4.29 s: a SYN that is not
/// answered after 1 s is sent again (RFC 6298 section 2.1), which makes the answer ambiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct RoundTrip(u32);

impl RoundTrip {
    /// Not measured, or not yet.
    pub const UNKNOWN: Self = Self(0);
    /// Something was sent twice or came out of order: never to be measured.
    pub const AMBIGUOUS: Self = Self(u32::MAX);

    /// Measured, but for a time that does not fit, which is ambiguous.
    #[must_use]
    pub fn measured(ns: u64) -> Self {
        let fits = u32::try_from(ns).ok().and_then(|ns| ns.checked_add(1));
        fits.map_or(Self::AMBIGUOUS, Self)
    }

    /// Nanoseconds, if it was measured.
    #[must_use]
    pub fn ns(self) -> Option<u32> {
        if self == Self::AMBIGUOUS { None } else { self.0.checked_sub(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_comes_back() {
        let longest = u64::from(u32::MAX) - 2;
        for ns in [0, 1, 1_000_000_000, longest] {
            assert_eq!(RoundTrip::measured(ns).ns().map(u64::from), Some(ns));
        }
        for ns in [longest + 1, longest + 2, longest + 3, u64::MAX] {
            assert_eq!(RoundTrip::measured(ns), RoundTrip::AMBIGUOUS);
        }
        assert_eq!([RoundTrip::UNKNOWN, RoundTrip::AMBIGUOUS].map(RoundTrip::ns), [None; 2]);
    }
}

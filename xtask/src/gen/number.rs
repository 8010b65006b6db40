//! Conversions between sizes of numbers that cannot lose anything, and those that mean to.

/// The low 16 bits.
pub(crate) fn low16(number: u64) -> u16 {
    u16::try_from(number & 0xffff).expect("16 bits are 16 bits")
}

/// The low 32 bits.
pub(crate) fn low32(number: u64) -> u32 {
    u32::try_from(number & 0xffff_ffff).expect("32 bits are 32 bits")
}

/// `whole * part / of`, rounded down; `part` is at most `of`, and `of` is not zero.
pub(crate) fn share(whole: u64, part: u64, of: u64) -> u64 {
    let product = u128::from(whole) * u128::from(part) / u128::from(of);
    u64::try_from(product).expect("a part is not larger than the whole")
}

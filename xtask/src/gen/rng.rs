//! Small seeded random numbers in whole numbers only: floating point would tie the bytes of a
//! capture to one machine's mathematics library. Called by everything that draws traffic.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};

/// A stream of random numbers that is the same on every machine and in every version.
pub(crate) struct Rng(Pcg64Mcg);

impl Rng {
    /// The stream number `index` of `seed`; streams of one seed are independent of each other.
    pub(crate) fn new(seed: u64, index: u64) -> Self {
        let mut state = [0; 16];
        state[..8].copy_from_slice(&mix(seed).to_le_bytes());
        state[8..].copy_from_slice(&mix(mix(seed) ^ index).to_le_bytes());
        Self(Pcg64Mcg::from_seed(state))
    }

    /// Any 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Any 32 bits.
    pub(crate) fn word(&mut self) -> u32 {
        (self.bits() >> 32) as u32
    }

    /// Any 16 bits.
    pub(crate) fn half_word(&mut self) -> u16 {
        (self.bits() >> 48) as u16
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = u128::from(high.saturating_sub(low)) + 1;
        // The high half of a wide product is below `span`, so below 2^64 + 1 - low.
        low + ((u128::from(self.bits()) * span) >> 64) as u64
    }

    /// As [`Rng::between`], for packet lengths.
    pub(crate) fn length(&mut self, low: u16, high: u16) -> u16 {
        let drawn = self.between(low.into(), high.into());
        u16::try_from(drawn).expect("a number between two lengths is a length")
    }

    /// True in `percent` of a hundred calls.
    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.between(0, 99) < u64::from(percent)
    }

    /// One of `choices`, which has at least one.
    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let last = choices.len() as u64 - 1;
        choices[usize::try_from(self.between(0, last)).expect("an index")]
    }

    /// A heavy-tailed weight: 2^k with a chance of 2^-(k+1), up to 65,536.
    pub(crate) fn weight(&mut self) -> u64 {
        1 << self.bits().trailing_zeros().min(16)
    }
}

/// The finaliser of SplitMix64: neighbouring numbers become unrelated ones.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

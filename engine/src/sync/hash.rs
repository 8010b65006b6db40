//! The seeded hash of the keys of maps about flows and addresses: a few words each, for which the
//! standard library's takes many times as many instructions.
//!
//! Each word is multiplied with the seed, and the two halves of the product are folded together, as
//! for flow keys ([`crate::flow::KeyHasher`], which hashes nothing else, and all words at once).

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::flow::key::fold;

/// What begins hashes, and what words are multiplied with: different at each start, so that nobody
/// outside can aim at a place.
#[derive(Debug, Clone)]
pub(crate) struct Seed([u64; 2]);

impl Default for Seed {
    fn default() -> Self {
        let random = RandomState::new();
        // Odd, so that no product is 0 for that.
        Self([random.hash_one(0), random.hash_one(1) | 1])
    }
}

impl BuildHasher for Seed {
    type Hasher = Folding;

    #[inline]
    fn build_hasher(&self) -> Folding {
        let Self([begin, factor]) = *self;
        Folding { state: begin, factor }
    }
}

/// A hash on its way.
#[derive(Debug)]
pub(crate) struct Folding {
    state: u64,
    factor: u64,
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.state = fold(self.state ^ word, self.factor);
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        // The last word has been through one product only.
        fold(self.state, self.factor)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hash;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    /// Keys that are alike fill up places like any others: of 4,096 places none has many.
    fn check<K: Hash>(keys: impl Iterator<Item = K>) {
        let seed = Seed::default();
        let mut places = vec![0_u32; 4_096];
        let mut count = 0;
        for key in keys {
            places[usize::try_from(seed.hash_one(&key) % 4_096).unwrap()] += 1;
            count += 1;
        }
        // 16 each on average, with a deviation of 4.
        assert_eq!(count, 65_536);
        let most = places.iter().max().unwrap();
        assert!(*most < 60, "{most} in one place, seed {seed:?}");
    }

    #[test]
    fn neighbours_are_spread() {
        let all = || 0..65_536_u32;
        check(all().map(|n| Ipv4Addr::from(0x0a00_0000 + n)));
        check(all().map(|n| IpAddr::from(Ipv6Addr::from_bits(u128::from(n) << 64))));
        check(all().map(|n| {
            let [_, _, a, b] = n.to_be_bytes();
            (Some(IpAddr::from([10, 0, 0, a])), IpAddr::from([192, 0, 2, b]))
        }));
        check(all().map(|n| {
            let [_, _, a, b] = n.to_be_bytes();
            [0, 0x11, 0x22, 0, a, b]
        }));
        check(all().map(|n| u64::from(n) << 48));
    }
}

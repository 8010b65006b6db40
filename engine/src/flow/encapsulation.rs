//! What carried a flow's first packet, as far as it does not tell flows apart: the ends of the
//! innermost tunnel that was taken off, MPLS labels, and a third VLAN.
//!
//! Flows have few different ones. So each is kept once, in a run's [`Encapsulations`], and a flow
//! has its [number](Number).

mod table;

pub use table::{Encapsulations, Number};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::RECORD_LABELS;

/// The outermost labels of an MPLS stack (RFC 3032), 20 bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MplsLabels {
    words: [u64; 3],
    len: u8,
}

const LABEL_BITS: usize = 20;
const LABEL: u64 = (1 << LABEL_BITS) - 1;
const LABELS_IN_WORD: usize = 3;
const _: () = assert!(RECORD_LABELS == 3 * LABELS_IN_WORD);

impl MplsLabels {
    /// Adds the next one further in, of 20 bits; what has no room is left out.
    pub fn push(&mut self, label: u32) {
        let idx = usize::from(self.len);
        if let Some(word) = self.words.get_mut(idx / LABELS_IN_WORD) {
            *word |= (u64::from(label) & LABEL) << (idx % LABELS_IN_WORD * LABEL_BITS);
            self.len += 1;
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The labels, outermost first.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        let label = move |idx: usize| {
            self.words[idx / LABELS_IN_WORD] >> (idx % LABELS_IN_WORD * LABEL_BITS) & LABEL
        };
        (0..usize::from(self.len)).map(label)
    }
}

/// What carried a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Encapsulation {
    /// Source and destination of the outer IP header around the innermost tunnel.
    pub ends: Option<[IpAddr; 2]>,
    /// That tunnel's identifier, where the flow's key does not have it.
    pub id: Option<u32>,
    /// MPLS labels below the packet, in all its layers.
    pub labels: MplsLabels,
    /// The VLAN tag behind those that the flow's key has, of 12 bits; 0 if there is none.
    pub third_vlan: u16,
}

/// What is kept of one. The top two bits are the table's, and 0.
type Words = [u64; 8];

/// Places in the last word.
mod bit {
    pub(super) const HAS_ID: u32 = 32;
    /// 4 or 6.
    pub(super) const VERSION: u32 = 33;
    pub(super) const LABELS: u32 = 40;
    pub(super) const VLAN: u32 = 48;
}

impl Encapsulation {
    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn to_words(self) -> Words {
        let address = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let [from, to] = self.ends.map_or([0; 2], |ends| ends.map(address));
        let version = self.ends.map_or(0, |[from, _]| if from.is_ipv4() { 4 } else { 6 });
        let id = self.id.map_or(0, |id| 1 << bit::HAS_ID | u64::from(id));
        let last = id
            | version << bit::VERSION
            | u64::from(self.labels.len) << bit::LABELS
            | u64::from(self.third_vlan & 0x0fff) << bit::VLAN;
        let [a, b, c] = self.labels.words;
        let ([d, e], [f, g]) = (halves(from), halves(to));
        [a, b, c, d, e, f, g, last]
    }

    fn from_words([a, b, c, d, e, f, g, last]: Words) -> Self {
        let [id_0, id_1, id_2, id_3, marks, labels, vlan_0, vlan_1] = last.to_le_bytes();
        let (has_id, version) = (marks & 1, marks >> 1);
        let address = |low: u64, high: u64| match version {
            4 => IpAddr::V4(Ipv4Addr::from_bits(halves_of(low)[0])),
            _ => IpAddr::V6(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))),
        };
        Self {
            ends: (version != 0).then(|| [address(d, e), address(f, g)]),
            id: (has_id != 0).then_some(u32::from_le_bytes([id_0, id_1, id_2, id_3])),
            labels: MplsLabels { words: [a, b, c], len: labels },
            third_vlan: u16::from_le_bytes([vlan_0, vlan_1]) & 0x0fff,
        }
    }
}

/// The lower and the upper half.
#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
fn halves(whole: u128) -> [u64; 2] {
    [whole as u64, (whole >> 64) as u64]
}

/// The same of a word.
#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
fn halves_of(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(encapsulation: Encapsulation) {
        let words = encapsulation.to_words();
        assert_eq!(words[7] >> 62, 0, "{encapsulation:?}");
        assert_eq!(Encapsulation::from_words(words), encapsulation);
    }

    #[test]
    fn what_went_in_comes_out() {
        let ends = |from: &str, to: &str| Some([from.parse().unwrap(), to.parse().unwrap()]);
        let all_ends = [
            None,
            ends("192.0.2.1", "255.255.255.255"),
            ends("2001:db8::1", "::"),
            ends("::", "::"),
        ];
        for ends in all_ends {
            for id in [None, Some(0), Some(u32::MAX)] {
                for count in 0..RECORD_LABELS {
                    let mut labels = MplsLabels::default();
                    (0..count).for_each(|_| labels.push(0x000f_ffff));
                    for third_vlan in [0, 0x0fff] {
                        check(Encapsulation { ends, id, labels, third_vlan });
                    }
                }
            }
        }
    }

    #[test]
    fn the_outermost_labels_are_kept_in_order() {
        let mut labels = MplsLabels::default();
        assert!(labels.is_empty());
        (1..=20).for_each(|label| labels.push(label));
        let kept: Vec<_> = labels.iter().collect();
        assert_eq!(kept, (1..=RECORD_LABELS as u64).collect::<Vec<_>>());
    }
}

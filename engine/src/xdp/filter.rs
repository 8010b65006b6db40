//! What the XDP program can filter by itself: addresses, ports and protocols, in the kernel,
//! before a packet costs anything.
//!
//! [`KernelFilter`] is what is asked for; [`Compiled`] is that as the program's maps hold it
//! (`rules` writes them). Refuses what does not fit the maps. It does not parse expressions.

use std::{collections::BTreeMap, fmt, net::IpAddr, ops::RangeInclusive};

use super::program::shared::{PORTS_PER_WORD, PREFIXES, Rules, end, rule};
use crate::error::{Error, Result};

/// Which packets are kept. The rest goes no further and is counted as filtered.
///
/// A packet matches if one of its addresses is in [`prefixes`](Self::prefixes), one of its ports
/// among [`ports`](Self::ports) and its protocol among [`protocols`](Self::protocols). A kind of
/// which there is nothing asks for nothing: a filter without any terms matches every packet.
///
/// Of some packets that cannot be told: those without an IP header in sight (ARP, MPLS, broken
/// ones), those behind more tags or extension headers than the program walks, and later
/// fragments where ports count. They are *unsure*, but for those that another kind of term
/// already tells not to match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelFilter {
    /// What becomes of packets that match; the opposite is for those that do not.
    pub action: Action,
    /// What becomes of packets that are unsure.
    pub unsure: Action,
    /// Whether everything behind VLAN tags and IPv6 extension headers is unsure. With it a
    /// filter decides nothing about packets that a pcap-filter expression sees differently.
    pub plain_only: bool,
    /// Addresses.
    pub prefixes: Vec<(Prefix, Ends)>,
    /// Ports of TCP, UDP, UDP-Lite, DCCP and SCTP.
    pub ports: Vec<(RangeInclusive<u16>, Ends)>,
    /// Protocol numbers, behind IPv6 extension headers.
    pub protocols: Vec<u8>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// It goes on to its socket.
    #[default]
    Keep,
    /// It goes no further, and is counted.
    Reject,
}

/// Which end of a packet must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Who sent it.
    Source,
    /// Whom it is for.
    Destination,
    /// One of the two.
    Either,
}

impl Ends {
    fn bits(self) -> u32 {
        match self {
            Self::Source => end::SOURCE,
            Self::Destination => end::DESTINATION,
            Self::Either => end::SOURCE | end::DESTINATION,
        }
    }
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

impl Prefix {
    /// The first `len` bits of `address`; what is behind them does not count.
    ///
    /// # Errors
    /// If an address has fewer bits.
    pub fn new(address: IpAddr, len: u8) -> Result<Self> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        if len > most {
            let operation = format!("filter by {address}/{len}");
            return Err(Error::new(operation, format!("an address has {most} bits")));
        }
        Ok(Self { address, len })
    }

    /// This address only.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address, len: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// How many addresses there are in it, but for all of IPv6, which is one more.
    #[must_use]
    pub fn addresses(self) -> u128 {
        let most = if self.address.is_ipv4() { 32 } else { 128 };
        1_u128.checked_shl(most - u32::from(self.len)).unwrap_or(u128::MAX)
    }

    /// Its bits from the top of 128, and zeros.
    fn bits(self) -> u128 {
        let bits = match self.address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        bits & mask(self.len)
    }
}

impl fmt::Display for KernelFilter {
    /// All that it asks for: `from 10.0.0.0/8 or 192.0.2.1/32, port 53 or 80-88, protocol 17`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |ends: Ends, names: [&'static str; 3]| match ends {
            Ends::Source => names[0],
            Ends::Destination => names[1],
            Ends::Either => names[2],
        };
        let prefixes = self.prefixes.iter().map(|(prefix, ends)| {
            (
                name(*ends, ["from", "to", "from or to"]),
                format!("{}/{}", prefix.address, prefix.len),
            )
        });
        let ports = self.ports.iter().map(|(range, ends)| {
            let (first, last) = (range.start(), range.end());
            let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
            (name(*ends, ["from port", "to port", "port"]), range)
        });
        let protocols = self.protocols.iter().map(|number| ("protocol", number.to_string()));
        let kinds = [prefixes.collect::<Vec<_>>(), ports.collect(), protocols.collect()];
        let mut separator = if self.action == Action::Reject { "all but " } else { "" };
        for kind in kinds {
            let mut last = "";
            for (name, value) in kind {
                let name_and_space = if name == last { String::new() } else { format!("{name} ") };
                write!(f, "{separator}{name_and_space}{value}")?;
                (separator, last) = (" or ", name);
            }
            separator = if separator == " or " { ", " } else { separator };
        }
        Ok(())
    }
}

/// So many ones from the top.
fn mask(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

/// A prefix as the maps have it: its bits from the top of 128, their number, and the ends that
/// its longest match is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PrefixRule {
    pub(super) bits: u128,
    pub(super) len: u8,
    pub(super) ends: u32,
}

/// A filter as the program's maps hold it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Compiled {
    pub(super) rules: Rules,
    /// Words of the map of ports by their place, without those that are zero.
    pub(super) ports: BTreeMap<u32, u64>,
    pub(super) v4: Vec<PrefixRule>,
    pub(super) v6: Vec<PrefixRule>,
}

impl KernelFilter {
    /// # Errors
    /// If there are more prefixes than there is room for.
    pub(super) fn compile(&self) -> Result<Compiled> {
        let family = |is_v4: bool| {
            let all = self.prefixes.iter().filter(|(prefix, _)| prefix.address.is_ipv4() == is_v4);
            compile_prefixes(all.copied())
        };
        let mut rules = Rules::default();
        rules[rule::FLAGS] = self.flags();
        for &protocol in &self.protocols {
            rules[rule::PROTOCOLS + usize::from(protocol / 64)] |= 1 << (protocol % 64);
        }
        let mut ports = BTreeMap::new();
        for (range, ends) in &self.ports {
            for port in range.clone().map(u32::from) {
                *ports.entry(port / PORTS_PER_WORD).or_default() |=
                    u64::from(ends.bits()) << (2 * (port % PORTS_PER_WORD));
            }
        }
        Ok(Compiled { rules, ports, v4: family(true)?, v6: family(false)? })
    }

    fn flags(&self) -> u64 {
        let flags = [
            (rule::HAS_PREFIXES, !self.prefixes.is_empty()),
            (rule::HAS_PORTS, !self.ports.is_empty()),
            (rule::HAS_PROTOCOLS, !self.protocols.is_empty()),
            (rule::DENIES, self.action == Action::Reject),
            (rule::REJECTS_UNSURE, self.unsure == Action::Reject),
            (rule::PLAIN_ONLY, self.plain_only),
        ];
        flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).sum()
    }
}

/// Prefixes of one family. As the kernel gives the longest match only, each takes over the ends
/// of those that it is inside of.
fn compile_prefixes(all: impl Iterator<Item = (Prefix, Ends)>) -> Result<Vec<PrefixRule>> {
    let mut ends_of = BTreeMap::<(u8, u128), u32>::new();
    for (prefix, ends) in all {
        *ends_of.entry((prefix.len, prefix.bits())).or_default() |= ends.bits();
    }
    if ends_of.len() > PREFIXES as usize {
        let cause = format!("{} prefixes of one family; at most {PREFIXES}", ends_of.len());
        return Err(Error::new("filter in the kernel", cause)
            .advise("put neighbours together, or filter in user space"));
    }
    let rule = |&(len, bits): &(u8, u128)| {
        let around = (0..=len).filter_map(|len| ends_of.get(&(len, bits & mask(len))));
        PrefixRule { bits, len, ends: around.fold(0, |all, ends| all | ends) }
    };
    Ok(ends_of.keys().map(rule).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        let (address, len) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), len.parse().unwrap()).unwrap()
    }

    #[test]
    fn inner_prefixes_take_over_the_ends_of_outer_ones() {
        let filter = KernelFilter {
            prefixes: vec![
                (prefix("10.1.2.3/16"), Ends::Destination),
                (prefix("10.0.0.0/8"), Ends::Source),
                (prefix("11.0.0.0/8"), Ends::Either),
                (prefix("::/0"), Ends::Source),
                (prefix("fd00::/8"), Ends::Destination),
            ],
            ..KernelFilter::default()
        };
        let compiled = filter.compile().unwrap();
        let of = |rules: &[PrefixRule]| rules.iter().map(|r| (r.len, r.ends)).collect::<Vec<_>>();
        assert_eq!(of(&compiled.v4), [(8, 1), (8, 3), (16, 3)]);
        assert_eq!(of(&compiled.v6), [(0, 1), (8, 3)]);
        assert_eq!(compiled.v4[2].bits, 0x0a01 << 112, "what is behind the prefix is zero");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Prefix::new([10, 0, 0, 0].into(), 33).is_err());
        assert!(Prefix::new("::".parse().unwrap(), 129).is_err());
        let many = |count: u32| KernelFilter {
            prefixes: (0..count)
                .map(|n| (Prefix::host(IpAddr::V4(n.into())), Ends::Either))
                .collect(),
            ..KernelFilter::default()
        };
        assert!(many(PREFIXES).compile().is_ok());
        let error = many(PREFIXES + 1).compile().unwrap_err().to_string();
        assert!(error.contains("4097 prefixes of one family; at most 4096"), "{error}");
    }

    #[test]
    fn ports_are_two_bits_each() {
        let filter = KernelFilter {
            ports: vec![
                (0..=0, Ends::Source),
                (31..=32, Ends::Either),
                (65_535..=65_535, Ends::Destination),
            ],
            ..KernelFilter::default()
        };
        let words: Vec<_> = filter.compile().unwrap().ports.into_iter().collect();
        assert_eq!(words, [(0, 1 | 3 << 62), (1, 3), (2047, 2 << 62)]);
    }
}

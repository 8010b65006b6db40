//! The filter: whether a packet is kept, by the rule set in force.
//!
//! Kinds of terms (addresses, ports, protocols) must all match; of a kind one term is enough.
//! A packet that does not say enough neither matches nor does not: what becomes of it is for
//! the rules to say. The engine writes a set while no run of the program reads it
//! (`engine/src/xdp/rules.rs`).

use aya_ebpf::{
    macros::map,
    maps::{Array, LpmTrie, lpm_trie::Key},
};

use crate::{
    parse::{Packet, Ports},
    shared::{
        PORT_WORDS, PORTS_PER_WORD, PREFIXES, PrefixV4, PrefixV6, RULE_SETS, Rules, SET_BITS, end,
        rule,
    },
};

/// What each rule set asks for.
#[map]
static RULES: Array<Rules> = Array::with_max_entries(RULE_SETS, 0);

/// Two bits for each port, of each rule set.
#[map]
static PORTS: Array<u64> = Array::with_max_entries(RULE_SETS * PORT_WORDS, 0);

/// The IPv4 prefixes of all rule sets, with the ends that they are meant for.
#[map]
static PREFIXES_V4: LpmTrie<PrefixV4, u32> = LpmTrie::with_max_entries(RULE_SETS * PREFIXES, 0);

/// The IPv6 prefixes, likewise.
#[map]
static PREFIXES_V6: LpmTrie<PrefixV6, u32> = LpmTrie::with_max_entries(RULE_SETS * PREFIXES, 0);

/// How sure it is that a packet matches, in this order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    No,
    Unsure,
    Yes,
}

impl Match {
    fn of(is_match: bool) -> Self {
        if is_match { Self::Yes } else { Self::No }
    }

    /// Both must match.
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Unsure, _) | (_, Self::Unsure) => Self::Unsure,
            _ => Self::Yes,
        }
    }
}

/// Whether the packet is kept.
#[inline(always)]
pub(crate) fn is_kept(packet: &Packet, set: u32) -> bool {
    // There are as many as the word in `CONTROL` can name.
    let Some(rules) = RULES.get(set) else { return true };
    let flags = rules[rule::FLAGS];
    let has = |flag| flags & flag != 0;
    let mut matches = Match::Yes;
    let is_asked = has(rule::HAS_PROTOCOLS | rule::HAS_PORTS | rule::HAS_PREFIXES);
    if has(rule::PLAIN_ONLY) && !packet.is_plain || packet.is_carried && is_asked {
        matches = Match::Unsure;
    } else {
        if has(rule::HAS_PROTOCOLS) {
            matches = protocol(packet, rules);
        }
        if has(rule::HAS_PORTS) && matches != Match::No {
            matches = matches.and(ports(packet, set));
        }
        if has(rule::HAS_PREFIXES) && matches != Match::No {
            matches = matches.and(addresses(packet, set));
        }
    }
    match matches {
        Match::Unsure => !has(rule::REJECTS_UNSURE),
        Match::Yes => !has(rule::DENIES),
        Match::No => has(rule::DENIES),
    }
}

#[inline(always)]
fn protocol(packet: &Packet, rules: &Rules) -> Match {
    if !packet.is_protocol_known {
        return Match::Unsure;
    }
    let protocol = packet.protocol;
    // Masked, so that the verifier need not remember where the number comes from.
    let word = rules[rule::PROTOCOLS + (protocol >> 6 & 3) as usize];
    Match::of(word >> (protocol & 63) & 1 == 1)
}

#[inline(always)]
fn ports(packet: &Packet, set: u32) -> Match {
    match packet.ports {
        Ports::Unknown => Match::Unsure,
        Ports::None => Match::No,
        Ports::Known => Match::of(
            port_ends(packet.source_port, set) & end::SOURCE != 0
                || port_ends(packet.destination_port, set) & end::DESTINATION != 0,
        ),
    }
}

/// The ends that the port is meant for.
#[inline(always)]
fn port_ends(port: u16, set: u32) -> u32 {
    let port = port as u32;
    match PORTS.get(set * PORT_WORDS + port / PORTS_PER_WORD) {
        Some(word) => (*word >> (2 * (port % PORTS_PER_WORD))) as u32,
        None => 0,
    }
}

#[inline(always)]
fn addresses(packet: &Packet, set: u32) -> Match {
    let ends = |address: &[u32; 4]| match packet.version {
        4 => v4_ends(address[0], set),
        _ => v6_ends(address, set),
    };
    if packet.version == 0 {
        return Match::Unsure;
    }
    Match::of(
        ends(&packet.source) & end::SOURCE != 0
            || ends(&packet.destination) & end::DESTINATION != 0,
    )
}

/// The ends that the longest prefix of the address is meant for.
#[inline(always)]
fn v4_ends(address: u32, set: u32) -> u32 {
    let key = Key::new(SET_BITS + 32, [set.to_be(), address]);
    PREFIXES_V4.get(&key).copied().unwrap_or(0)
}

#[inline(always)]
fn v6_ends(a: &[u32; 4], set: u32) -> u32 {
    let key = Key::new(SET_BITS + 128, [set.to_be(), a[0], a[1], a[2], a[3]]);
    PREFIXES_V6.get(&key).copied().unwrap_or(0)
}

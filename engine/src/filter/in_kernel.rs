//! What of an expression the kernel can decide before a packet costs anything: addresses, ports
//! and protocols.
//!
//! The result keeps whatever the expression accepts, and more: what comes through is judged
//! again, by all of the expression, so that verdicts stay tcpdump's. Hence an expression is read
//! only as far as it is sure what it means: one word that is not known here, and the kernel
//! decides nothing. `and` may leave out what cannot be decided; `or` may not, and takes kinds of
//! terms apart (`tcp port 80 or udp port 53` keeps TCP to port 53, too). `and` and `or` bind alike,
//! from the left, as libpcap has it.
//!
//! Where an expression asks for nothing but says `not`, the kernel rejects what it denies for sure
//! (`not port 22`), or as much of that as one list of each kind of terms can say. It does not do
//! both: `tcp and not port 22` keeps TCP.
//!
//! The kernel steps over VLAN tags and IPv6 extension headers, behind which an expression sees
//! nothing unless it says `vlan` or `protochain` (which are not known here): it keeps more. ARP,
//! in which `host` looks for addresses, and whatever else it is unsure of, it keeps; and behind
//! those tags and headers it rejects nothing that is only denied.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::limits::KERNEL_FILTER_TERMS;
use crate::xdp::filter::{Action, Ends, KernelFilter, Prefix};

/// Brackets and `not` inside of each other.
const DEPTH: usize = 16;

/// What the kernel is to keep of what an expression is about, or to reject; `None` if it decides
/// nothing.
pub(super) fn of(expression: &str) -> Option<KernelFilter> {
    let words = words(expression)?;
    let mut words = Words { rest: &words, terms: 0 };
    let Known { may, never, .. } = words.expression(DEPTH)?;
    if !words.rest.is_empty() {
        return None;
    }
    let keeping = KernelFilter::of(may);
    if keeping != KernelFilter::default() {
        return Some(keeping);
    }
    let denied = KernelFilter::of(never?);
    Some(KernelFilter { action: Action::Reject, plain_only: true, ..denied })
}

impl KernelFilter {
    fn of(terms: Terms) -> Self {
        Self {
            prefixes: terms.prefixes.unwrap_or_default(),
            ports: terms.ports.unwrap_or_default(),
            protocols: terms.protocols.unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// Splits as libpcap does; `None` if there is anything that no term here has.
fn words(mut text: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', '\r', '\n']);
        let is_inside = |c: char| c.is_ascii_alphanumeric() || ".:/-".contains(c);
        let len = match text.as_bytes() {
            [] => return Some(words),
            [b'(' | b')' | b'!', ..] => 1,
            [b'&', b'&', ..] | [b'|', b'|', ..] => 2,
            _ => text.find(|c| !is_inside(c)).unwrap_or(text.len()),
        };
        if len == 0 {
            return None;
        }
        let (word, rest) = text.split_at(len);
        words.push(word);
        text = rest;
    }
}

/// What is known of an expression.
struct Known {
    /// What it accepts, and more.
    may: Terms,
    /// Some of what it accepts, for sure.
    sure: Option<Terms>,
    /// Some of what it rejects, for sure.
    never: Option<Terms>,
}

impl Known {
    fn and(self, other: Self) -> Self {
        Self {
            may: self.may.and(other.may),
            sure: self.sure.zip(other.sure).and_then(|(a, b)| a.within(&b)),
            never: Terms::among(self.never, other.never),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            may: self.may.or(other.may),
            sure: Terms::among(self.sure, other.sure),
            never: self.never.zip(other.never).and_then(|(a, b)| a.within(&b)),
        }
    }

    fn not(self) -> Self {
        Self { may: Terms::default(), sure: self.never, never: self.sure }
    }
}

/// For each kind of term: one of these must match; `None` if nothing is asked for. No list is
/// empty.
#[derive(Clone, Default)]
struct Terms {
    prefixes: Option<Vec<(Prefix, Ends)>>,
    ports: Option<Vec<(RangeInclusive<u16>, Ends)>>,
    protocols: Option<Vec<u8>>,
}

impl Terms {
    /// Of two lists of a kind one is left out: the one that keeps more.
    fn and(self, other: Self) -> Self {
        fn narrower<T>(
            a: Option<Vec<T>>,
            b: Option<Vec<T>>,
            keeps: impl Fn(&T) -> u128,
        ) -> Option<Vec<T>> {
            let size = |list: &Vec<T>| list.iter().map(&keeps).fold(0, u128::saturating_add);
            match (a, b) {
                (Some(a), Some(b)) => Some(if size(&b) < size(&a) { b } else { a }),
                (a, b) => a.or(b),
            }
        }
        Self {
            prefixes: narrower(self.prefixes, other.prefixes, |(prefix, _)| prefix.addresses()),
            ports: narrower(self.ports, other.ports, |(ports, _)| ports.len() as u128),
            protocols: narrower(self.protocols, other.protocols, |_| 1),
        }
    }

    /// Whatever either keeps.
    fn or(self, other: Self) -> Self {
        Self {
            prefixes: both(self.prefixes, other.prefixes),
            ports: both(self.ports, other.ports),
            protocols: both(self.protocols, other.protocols),
        }
    }

    /// Nothing but what both keep, if that can be said: of a kind one of them asks for nothing, or
    /// both for the same, or for protocols of which they have some in common.
    fn within(self, other: &Self) -> Option<Self> {
        fn same<T: PartialEq + Clone>(
            a: Option<Vec<T>>,
            b: &Option<Vec<T>>,
        ) -> Option<Option<Vec<T>>> {
            match (a, b) {
                (Some(a), Some(b)) => (a == *b).then_some(Some(a)),
                (a, b) => Some(a.or_else(|| b.clone())),
            }
        }
        let protocols = match (self.protocols, &other.protocols) {
            (Some(mut common), Some(theirs)) => {
                common.retain(|protocol| theirs.contains(protocol));
                (!common.is_empty()).then_some(Some(common))?
            }
            (ours, theirs) => ours.or_else(|| theirs.clone()),
        };
        Some(Self {
            prefixes: same(self.prefixes, &other.prefixes)?,
            ports: same(self.ports, &other.ports)?,
            protocols,
        })
    }

    /// Nothing but what either keeps: all of that, if they differ in one kind, else what the first
    /// does.
    fn among(first: Option<Self>, second: Option<Self>) -> Option<Self> {
        let (first, second) = match (first, second) {
            (Some(first), Some(second)) => (first, second),
            (first, second) => return first.or(second),
        };
        let are_same = (
            first.prefixes == second.prefixes,
            first.ports == second.ports,
            first.protocols == second.protocols,
        );
        let mut all = first;
        match are_same {
            (false, true, true) => all.prefixes = both(all.prefixes, second.prefixes),
            (true, false, true) => all.ports = both(all.ports, second.ports),
            (true, true, false) => all.protocols = both(all.protocols, second.protocols),
            _ => {}
        }
        Some(all)
    }
}

/// What is in one of two lists of a kind; whatever is, if one of them asks for nothing.
fn both<T: PartialEq>(a: Option<Vec<T>>, b: Option<Vec<T>>) -> Option<Vec<T>> {
    let (mut all, more) = a.zip(b)?;
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    Some(all)
}

/// The words that are still to be read.
struct Words<'a> {
    rest: &'a [&'a str],
    /// Terms so far.
    terms: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Reads the next word if it is one of these.
    fn next_if(&mut self, is_it: impl Fn(&str) -> bool) -> Option<&'a str> {
        if self.rest.first().is_some_and(|word| is_it(word)) { self.next() } else { None }
    }

    fn expression(&mut self, depth: usize) -> Option<Known> {
        let mut all = self.term(depth)?;
        while let Some(word) = self.next_if(|word| matches!(word, "and" | "&&" | "or" | "||")) {
            let next = self.term(depth)?;
            all = if matches!(word, "and" | "&&") { all.and(next) } else { all.or(next) };
        }
        Some(all)
    }

    fn term(&mut self, depth: usize) -> Option<Known> {
        let inside = depth.checked_sub(1)?;
        if self.next_if(|word| matches!(word, "not" | "!")).is_some() {
            return self.term(inside).map(Known::not);
        }
        if self.next_if(|word| word == "(").is_some() {
            let known = self.expression(inside)?;
            return self.next_if(|word| word == ")").map(|_| known);
        }
        self.terms += 1;
        if self.terms > KERNEL_FILTER_TERMS {
            return None;
        }
        self.primitive()
    }

    /// `[ip|ip6|tcp|udp|sctp] [src|dst] host|net|port|portrange|proto VALUE`, or a part of it.
    fn primitive(&mut self) -> Option<Known> {
        let layer = self.next_if(|word| protocol(word).is_some() || family(word).is_some());
        let side = self.next_if(|word| matches!(word, "src" | "dst"));
        let ends = match side {
            Some("src") => Ends::Source,
            Some(_) => Ends::Destination,
            None => Ends::Either,
        };
        let family = layer.and_then(family);
        let of_layer = Terms {
            prefixes: family.map(|all| vec![(all, Ends::Either)]),
            protocols: layer.and_then(protocol).map(|number| vec![number]),
            ports: None,
        };
        let is_ip = layer.is_none() || family.is_some();
        let has_ports = matches!(layer, None | Some("tcp" | "udp" | "sctp"));
        let terms = match self
            .next_if(|word| matches!(word, "host" | "net" | "proto" | "port" | "portrange"))
        {
            Some("host") if is_ip => addresses(host(self.next()?)?, ends),
            Some("net") if is_ip => addresses(net(self.next()?)?, ends),
            Some("proto") if is_ip && side.is_none() => {
                let number = u8::try_from(number(self.next()?)?).ok()?;
                Terms { protocols: Some(vec![plain(number)?]), ..Terms::default() }
            }
            Some("port") if has_ports => {
                let port = number(self.next()?)?;
                ports(port..=port, ends)
            }
            Some("portrange") if has_ports => {
                let (first, last) = self.next()?.split_once('-')?;
                let range = number(first)?..=number(last)?;
                (!range.is_empty()).then(|| ports(range, ends))?
            }
            None if side.is_some() && is_ip => addresses(host(self.next()?)?, ends),
            None if side.is_none() && layer.is_some() => Terms::default(),
            _ => return None,
        };
        let may = terms.and(of_layer);
        let mut sure = may.clone();
        if sure.ports.is_some() {
            // Others with ports are not asked for theirs.
            sure.protocols.get_or_insert(WITH_PORTS.to_vec());
        }
        if let Some(family) = layer.and_then(family_of) {
            sure.prefixes = Some(vec![(family, Ends::Either)]);
        }
        Some(Known { may, sure: Some(sure), never: None })
    }
}

fn addresses(prefix: Prefix, ends: Ends) -> Terms {
    Terms { prefixes: Some(vec![(prefix, ends)]), ..Terms::default() }
}

fn ports(range: RangeInclusive<u16>, ends: Ends) -> Terms {
    Terms { ports: Some(vec![(range, ends)]), ..Terms::default() }
}

/// All addresses of a version of IP, by its name.
fn family(name: &str) -> Option<Prefix> {
    let any: IpAddr = match name {
        "ip" => [0; 4].into(),
        "ip6" => [0_u8; 16].into(),
        _ => return None,
    };
    Prefix::new(any, 0).ok()
}

/// The version of IP that a protocol is one of, if it is of one only.
fn family_of(protocol: &str) -> Option<Prefix> {
    match protocol {
        "icmp" | "igmp" => family("ip"),
        "icmp6" => family("ip6"),
        _ => None,
    }
}

/// Whose ports a term without a protocol is about.
const WITH_PORTS: [u8; 3] = [6, 17, 132];

fn protocol(name: &str) -> Option<u8> {
    Some(match name {
        "icmp" => 1,
        "igmp" => 2,
        "tcp" => 6,
        "udp" => 17,
        "icmp6" => 58,
        "sctp" => 132,
        _ => return None,
    })
}

/// A protocol number that is no IPv6 extension header: over these the kernel steps.
fn plain(number: u8) -> Option<u8> {
    (!matches!(number, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140)).then_some(number)
}

fn host(text: &str) -> Option<Prefix> {
    text.parse().ok().map(Prefix::host)
}

fn net(text: &str) -> Option<Prefix> {
    let (address, len) = text.split_once('/')?;
    Prefix::new(address.parse().ok()?, u8::try_from(number(len)?).ok()?).ok()
}

/// A decimal number: libpcap takes one with a 0 in front for an octal one.
fn number(text: &str) -> Option<u16> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_octal = text.len() > 1 && text.starts_with('0');
    if is_decimal && !is_octal { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;

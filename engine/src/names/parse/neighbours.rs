//! What devices tell the neighbours on their link, below IP: ARP (RFC 826), LLDP (IEEE 802.1AB) and
//! CDP (Cisco Discovery Protocol, version 2).
//!
//! Of ARP what a sender says of itself counts, where it asks or tells all (RFC 5227): an answer
//! may be a router's for somebody else (proxy ARP, RFC 1027). LLDP and CDP give the name of whose
//! port the frame comes from.

use std::net::Ipv4Addr;

use super::be16;
use super::text::text;
use crate::decode::Announced;
use crate::names::{HostFact, HostHint};

/// Elements of one message that are looked at.
const ELEMENTS: usize = 128;

/// What the message says, if anything; the outer `None` is for what is no message.
pub(crate) fn parse(kind: Announced, bytes: &[u8]) -> Option<Option<HostHint>> {
    let named = |name: Option<HostFact>| Some(HostHint { mac: None, address: None, fact: name? });
    match kind {
        Announced::Arp => arp(bytes),
        Announced::Lldp => lldp(bytes).map(|name| named(name.map(HostFact::LldpName))),
        Announced::Cdp => cdp(bytes).map(|name| named(name.map(HostFact::CdpName))),
    }
}

/// Ethernet and IPv4, with the lengths of their addresses.
const ARP_HEADER: [u8; 6] = [0, 1, 0x08, 0, 6, 4];

fn arp(bytes: &[u8]) -> Option<Option<HostHint>> {
    /// Header, operation, then hardware and protocol address of sender and target.
    const ARP_BYTES: usize = 28;
    const REQUEST: u16 = 1;
    let message: &[u8; ARP_BYTES] = bytes.first_chunk()?;
    let address =
        |at: usize| Ipv4Addr::new(message[at], message[at + 1], message[at + 2], message[at + 3]);
    let (sender, target) = (address(14), address(24));
    let is_own = be16(message, 6)? == REQUEST || sender == target;
    // One who asks whether an address is free has none.
    let counts = message.starts_with(&ARP_HEADER) && is_own && !sender.is_unspecified();
    let mac = message[8..].first_chunk().copied();
    let hint = || HostHint { mac, address: Some(sender.into()), fact: HostFact::ArpAddress };
    Some(counts.then(hint))
}

/// The system name. Elements have a type of seven bits and a length of nine.
fn lldp(mut rest: &[u8]) -> Option<Option<Box<str>>> {
    const END: u16 = 0;
    const SYSTEM_NAME: u16 = 5;
    for _ in 0..ELEMENTS {
        let header = be16(rest, 0)?;
        let (kind, length) = (header >> 9, usize::from(header & 0x1ff));
        let (value, behind) = rest[2..].split_at_checked(length)?;
        match kind {
            END => return Some(None),
            SYSTEM_NAME => return Some((!value.is_empty()).then(|| text(value))),
            _ => rest = behind,
        }
    }
    Some(None)
}

/// The device identifier. Elements have a type and a length that counts both.
fn cdp(bytes: &[u8]) -> Option<Option<Box<str>>> {
    const DEVICE_ID: u16 = 1;
    // Version, life, checksum.
    let mut rest = bytes.get(4..)?;
    for _ in 0..ELEMENTS {
        if rest.is_empty() {
            break;
        }
        let (kind, length) = (be16(rest, 0)?, usize::from(be16(rest, 2)?));
        let value = rest.get(4..length)?;
        if kind == DEVICE_ID {
            return Some((!value.is_empty()).then(|| text(value)));
        }
        rest = &rest[length..];
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    /// An ARP message of an operation, with the last bytes of the sender's and target's address.
    fn arp(operation: u8, sender: u8, target: u8) -> Vec<u8> {
        let mut message = [&ARP_HEADER[..], &[0, operation], &[2, 0, 0, 0, 0, 9]].concat();
        let address = |last: u8| if last == 0 { [0; 4] } else { [192, 0, 2, last] };
        message.extend([&address(sender)[..], &[0; 6], &address(target), &[0; 18]].concat());
        message
    }

    fn arp_says(message: &[u8]) -> Option<IpAddr> {
        let hint = parse(Announced::Arp, message)??;
        assert_eq!((hint.mac, hint.fact), (Some([2, 0, 0, 0, 0, 9]), HostFact::ArpAddress));
        hint.address
    }

    #[test]
    fn who_asks_says_its_own_address_and_who_answers_maybe_anothers() {
        let own = Some(IpAddr::from([192, 0, 2, 5]));
        assert_eq!(arp_says(&arp(1, 5, 1)), own);
        assert_eq!((arp_says(&arp(1, 5, 5)), arp_says(&arp(2, 5, 5))), (own, own), "it tells all");
        assert_eq!(arp_says(&arp(2, 5, 1)), None, "an answer");
        assert_eq!(arp_says(&arp(1, 0, 5)), None, "a probe");
        let mut other = arp(1, 5, 1);
        other[1] = 6;
        assert_eq!(parse(Announced::Arp, &other), Some(None), "no Ethernet");
        assert_eq!(parse(Announced::Arp, &arp(1, 5, 1)[..27]), None, "cut");
    }

    #[test]
    fn neighbours_say_their_names_whatever_stands_around_them() {
        let name = |hint: Option<HostHint>| hint.map(|hint| hint.fact);
        let lldp = b"\x02\x07\x04\x02\0\0\0\0\x09\x04\x02\x05a\x0a\x03sw1\0\0";
        let want = HostFact::LldpName("sw1".into());
        assert_eq!(parse(Announced::Lldp, lldp).map(name), Some(Some(want)));
        assert_eq!(parse(Announced::Lldp, b"\x04\x02\x05a\0\0"), Some(None), "it has none");
        let cdp = b"\x02\xb4\0\0\0\x03\0\x05a\0\x01\0\x07sw2\0\x05\0\x04";
        let want = HostFact::CdpName("sw2".into());
        assert_eq!(parse(Announced::Cdp, cdp).map(name), Some(Some(want)));
        for (kind, message) in [(Announced::Lldp, &lldp[..]), (Announced::Cdp, &cdp[..])] {
            for cut in 0..message.len() {
                parse(kind, &message[..cut]);
            }
        }
        assert_eq!(parse(Announced::Cdp, b"\x02\xb4\0\0\0\x03\0\x03"), None, "too short a length");
        assert_eq!(parse(Announced::Lldp, &[0x0a, 0xff, b'a']), None, "cut");
    }
}

//! DHCP (RFC 2131) and DHCPv6 (RFC 8415): what a host says of itself to get an address.
//!
//! dhcproto takes DHCP messages apart. Of DHCPv6 only options of the client's own message are
//! read, and none inside of others, which takes less than to read all.

use std::net::{IpAddr, Ipv4Addr};

use dhcproto::v4::borrowed::Message;
use dhcproto::v4::{Opcode, OptionCode};

use super::be16;
use super::text::{domain_name, text};
use crate::names::{HostFact, HostHint};

/// Options of one message that are looked at.
const OPTIONS: usize = 128;
/// Length of a MAC address. dhcproto trusts the message to have as many bytes as it says.
const MAC: u8 = 6;
const ETHERNET: u16 = 1;
/// Message types of option 53 (RFC 2132 section 9.6).
const REQUEST: u8 = 3;
const ACK: u8 = 5;

/// Whether it is a DHCP message: behind the fields of BOOTP stands what says so (RFC 2131 section
/// 3).
pub(crate) fn is_message(bytes: &[u8]) -> bool {
    const COOKIE_AT: usize = 236;
    const COOKIE: [u8; 4] = [99, 130, 83, 99];
    bytes.get(COOKIE_AT..).is_some_and(|rest| rest.starts_with(&COOKIE))
}

/// Whether it is a DHCPv6 message: of a known type, and with options that fill it to its end (RFC
/// 8415 sections 8 and 9).
pub(crate) fn is_message_v6(bytes: &[u8]) -> bool {
    let header = match bytes.first() {
        Some(1..=11) => 4,
        // Relayed.
        Some(12 | 13) => 34,
        _ => return false,
    };
    let Some(mut rest) = bytes.get(header..) else { return false };
    while let Some(length) = be16(rest, 2) {
        let Some(behind) = rest.get(4 + usize::from(length)..) else { return false };
        rest = behind;
    }
    rest.is_empty()
}

/// What a DHCP message says of a client.
pub(crate) fn parse(bytes: &[u8]) -> Vec<HostHint> {
    let Some(message) = Message::new(bytes).ok().filter(|message| message.hlen() == MAC) else {
        return Vec::new();
    };
    let mac = message.chaddr().first_chunk().copied();
    let mut facts = Vec::new();
    let mut kind = 0;
    let mut requested = Ipv4Addr::UNSPECIFIED;
    for option in message.opts().take(OPTIONS) {
        let data = option.data();
        match option.code() {
            OptionCode::MessageType => kind = data.first().copied().unwrap_or_default(),
            OptionCode::RequestedIpAddress => {
                requested = data.first_chunk::<4>().map_or(requested, |four| (*four).into());
            }
            // What a server says of itself, or of all clients, is none of this one's.
            _ if message.opcode() != Opcode::BootRequest => {}
            OptionCode::Hostname => facts.extend(filled(data).map(HostFact::DhcpName)),
            OptionCode::ClientFQDN => facts.extend(fqdn(data).map(HostFact::DhcpFqdn)),
            OptionCode::ClassIdentifier => facts.extend(filled(data).map(HostFact::DhcpVendor)),
            OptionCode::ParameterRequestList => {
                facts.push(HostFact::DhcpParameters(numbers(data)));
            }
            _ => {}
        }
    }
    // An address counts once the client has it, by its word or by the server's.
    let own = |address: Ipv4Addr| (!address.is_unspecified()).then_some(IpAddr::V4(address));
    let address = match (message.opcode(), kind) {
        (Opcode::BootReply, ACK) => own(message.yiaddr()).or_else(|| own(message.ciaddr())),
        (Opcode::BootRequest, REQUEST) => own(message.ciaddr()).or_else(|| own(requested)),
        (Opcode::BootRequest, _) => own(message.ciaddr()),
        _ => None,
    };
    if message.opcode() == Opcode::BootReply && address.is_some() {
        facts.push(HostFact::DhcpAddress);
    }
    facts.into_iter().map(|fact| HostHint { mac, address, fact }).collect()
}

/// Text without the zeros that some put behind it.
fn filled(data: &[u8]) -> Option<Box<str>> {
    let zeros = data.iter().rev().take_while(|byte| **byte == 0).count();
    let data = &data[..data.len() - zeros];
    (!data.is_empty()).then(|| text(data))
}

/// Numbers with commas, as fingerprints of DHCP clients are written.
fn numbers(data: &[u8]) -> Box<str> {
    data.iter().map(u8::to_string).collect::<Vec<_>>().join(",").into()
}

/// Option 81 (RFC 4702 section 2): flags, two bytes of no use, and a name as labels or as text.
fn fqdn(data: &[u8]) -> Option<Box<str>> {
    const AS_LABELS: u8 = 0x04;
    let (flags, name) = (*data.first()?, data.get(3..)?);
    if flags & AS_LABELS == 0 { filled(name) } else { labels(name) }
}

/// Labels with their lengths, without compression.
fn labels(name: &[u8]) -> Option<Box<str>> {
    let mut rest = name;
    let labels = std::iter::from_fn(|| {
        let (&length, behind) = rest.split_first().filter(|(length, _)| **length > 0)?;
        let (label, behind) = behind.split_at_checked(length.into())?;
        rest = behind;
        Some(label)
    });
    Some(domain_name(labels)).filter(|name| !name.is_empty())
}

/// What a DHCPv6 message of a client, sent from `sender`, says of it.
pub(crate) fn parse_v6(bytes: &[u8], sender: IpAddr) -> Vec<HostHint> {
    const CLIENT_ID: u16 = 1;
    const VENDOR_CLASS: u16 = 16;
    const FQDN: u16 = 39;
    /// SOLICIT to INFORMATION-REQUEST, without what servers send.
    const OF_CLIENTS: [u8; 8] = [1, 3, 4, 5, 6, 8, 9, 11];
    if bytes.first().is_none_or(|kind| !OF_CLIENTS.contains(kind)) {
        return Vec::new();
    }
    let mut rest = bytes.get(4..).unwrap_or_default();
    let (mut mac, mut facts) = (None, Vec::new());
    for _ in 0..OPTIONS {
        let (Some(code), Some(length)) = (be16(rest, 0), be16(rest, 2)) else { break };
        let Some((data, behind)) = rest[4..].split_at_checked(length.into()) else { break };
        rest = behind;
        match code {
            CLIENT_ID => mac = mac_of(data),
            // An enterprise number, then a class with its length.
            VENDOR_CLASS => facts.extend(data.get(6..).and_then(filled).map(HostFact::DhcpVendor)),
            FQDN => facts.extend(data.get(1..).and_then(labels).map(HostFact::DhcpFqdn)),
            _ => {}
        }
    }
    facts.into_iter().map(|fact| HostHint { mac, address: Some(sender), fact }).collect()
}

/// The MAC address in an identifier made of one (RFC 8415 sections 11.2 and 11.4).
fn mac_of(id: &[u8]) -> Option<[u8; 6]> {
    let at = match be16(id, 0)? {
        1 => 8,
        3 => 4,
        _ => return None,
    };
    let mac = id.get(at..)?.try_into().ok();
    mac.filter(|_| be16(id, 2) == Some(ETHERNET))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(operation: u8, options: &[u8]) -> Vec<u8> {
        let mut message = vec![operation, 1, 6, 0];
        message.resize(236, 0);
        message[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        message.extend([99, 130, 83, 99]);
        message.extend(options);
        message
    }

    fn facts(hints: Vec<HostHint>) -> Vec<HostFact> {
        assert!(hints.iter().all(|hint| hint.mac == Some([2, 0, 0, 0, 0, 9])));
        hints.into_iter().map(|hint| hint.fact).collect()
    }

    #[test]
    fn clients_say_what_they_are() {
        let mut options = vec![53, 1, 3, 50, 4, 192, 0, 2, 5, 12, 4];
        options.extend(b"pc7\0\x3c\x08MSFT 5.0\x37\x03\x01\x03\x06");
        options.extend(b"\x51\x0f\x04\0\0\x03pc7\x03lan\0\0\0\0\xff");
        let request = message(1, &options);
        let hints = parse(&request);
        assert!(hints.iter().all(|hint| hint.address == Some(IpAddr::from([192, 0, 2, 5]))));
        let want = [
            HostFact::DhcpName("pc7".into()),
            HostFact::DhcpVendor("MSFT 5.0".into()),
            HostFact::DhcpParameters("1,3,6".into()),
            HostFact::DhcpFqdn("pc7.lan".into()),
        ];
        assert_eq!(facts(hints), want);
        for cut in 0..request.len() {
            parse(&request[..cut]);
        }
        let mut bad = message(1, &options[..11]);
        bad[2] = 255;
        assert_eq!(parse(&bad), [], "a hardware address of 255 bytes");
    }

    #[test]
    fn servers_say_what_clients_get() {
        let mut reply = message(2, &[53, 1, 5, 12, 2, b'g', b'w', 255]);
        reply[16..20].copy_from_slice(&[192, 0, 2, 5]);
        let hints = parse(&reply);
        assert_eq!(hints[0].address, Some(IpAddr::from([192, 0, 2, 5])));
        assert_eq!(facts(hints), [HostFact::DhcpAddress]);
        reply[242] = 2;
        assert_eq!(parse(&reply), [], "an offer");
    }

    #[test]
    fn clients_of_version_6_too() {
        let sender = IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 9]);
        let mut solicit = vec![1, 0, 0, 1, 0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 9, 0, 39, 0, 9];
        solicit.extend(b"\0\x03pc7\x03lan");
        assert_eq!(facts(parse_v6(&solicit, sender)), [HostFact::DhcpFqdn("pc7.lan".into())]);
        solicit[0] = 7;
        assert_eq!(parse_v6(&solicit, sender), []);
    }
}

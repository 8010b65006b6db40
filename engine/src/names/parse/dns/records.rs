//! The data of records as text, as master files have it (RFC 1035 section 5).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::SVCB;
use hickory_proto::rr::rdata::svcb::{SvcParamKey, SvcParamValue};
use hickory_proto::rr::{RData, Record as WholeRecord};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};

use super::{Record, kind, name_at, name_end};
use crate::limits::NAME_TEXT_BYTES;
use crate::names::parse::text::{bounded, domain_name, escape, hex};
use crate::names::parse::{be16, be32};

/// The data of a record of `message`. What is not of its type's form stands as bytes.
pub(super) fn data(message: &[u8], record: &Record) -> Box<str> {
    // No name in it may go on behind it.
    let whole = &message[..record.data.end];
    let start = record.data.start;
    let text = match record.kind {
        kind::A => address::<4, Ipv4Addr>(&message[record.data.clone()]),
        kind::AAAA => address::<16, Ipv6Addr>(&message[record.data.clone()]),
        kind::NS | kind::CNAME | kind::PTR | kind::DNAME => name(whole, start),
        kind::MX => numbers_and_name::<1>(whole, start),
        kind::SRV => numbers_and_name::<3>(whole, start),
        kind::SOA => start_of_authority(whole, start),
        kind::TXT => Some(strings(&message[record.data.clone()])),
        kind::SVCB | kind::HTTPS => service(whole, record),
        _ => None,
    };
    match text {
        Some(text) => bounded(text, NAME_TEXT_BYTES),
        None => hex(&message[record.data.clone()]),
    }
}

fn address<const N: usize, A: From<[u8; N]> + ToString>(data: &[u8]) -> Option<String> {
    let octets: [u8; N] = data.try_into().ok()?;
    Some(A::from(octets).to_string())
}

/// The root is a dot, as nothing would be there.
fn name(message: &[u8], at: usize) -> Option<String> {
    let name = domain_name(name_at(message, at)?.iter());
    Some(if name.is_empty() { ".".to_owned() } else { name.into() })
}

/// Preference, or priority, weight and port, and a host.
fn numbers_and_name<const N: usize>(message: &[u8], at: usize) -> Option<String> {
    let mut out = String::new();
    for idx in 0..N {
        let _ = write!(out, "{} ", be16(message, at + 2 * idx)?);
    }
    Some(out + &name(message, at + 2 * N)?)
}

/// Two names and five numbers (RFC 1035 section 3.3.13).
fn start_of_authority(message: &[u8], at: usize) -> Option<String> {
    let mailbox = name_end(message, at)?;
    let numbers = name_end(message, mailbox)?;
    let mut out = format!("{} {}", name(message, at)?, name(message, mailbox)?);
    for idx in 0..5 {
        let _ = write!(out, " {}", be32(message, numbers + 4 * idx)?);
    }
    Some(out)
}

/// Strings with their lengths before them, each in quotes; the last may be cut.
fn strings(mut data: &[u8]) -> String {
    let mut out = String::new();
    while let Some((&length, rest)) = data.split_first()
        && out.len() < NAME_TEXT_BYTES
    {
        let (string, after) = rest.split_at(rest.len().min(length.into()));
        out.push_str(if out.is_empty() { "\"" } else { " \"" });
        push_characters(&mut out, string);
        out.push('"');
        data = after;
    }
    out
}

fn push_characters(out: &mut String, string: &[u8]) {
    for chunk in string.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => out.extend(['\\', character]),
                _ => out.push(character),
            }
        }
        chunk.invalid().iter().for_each(|&byte| escape(out, byte));
    }
}

/// Priority, target and parameters (RFC 9460 section 2.1).
fn service(message: &[u8], record: &Record) -> Option<String> {
    let start = u16::try_from(record.start).ok()?;
    let mut decoder = BinDecoder::new(message).clone(start);
    let binding: SVCB = match WholeRecord::read(&mut decoder).ok()?.data {
        RData::SVCB(binding) => binding,
        RData::HTTPS(binding) => binding.0,
        _ => return None,
    };
    let target = domain_name(binding.target_name.iter());
    let target = if target.is_empty() { "." } else { &target };
    let mut out = format!("{} {target}", binding.svc_priority);
    for (key, value) in &binding.svc_params {
        out.push(' ');
        push_key(&mut out, *key);
        let value = match value {
            SvcParamValue::Unknown(value) => characters(&value.0),
            // A list ends with its separator.
            known => known.to_string().trim_end_matches(',').to_owned(),
        };
        if !value.is_empty() {
            out.extend(["=", &value]);
        }
        if out.len() > NAME_TEXT_BYTES {
            break;
        }
    }
    Some(out)
}

/// A parameter's name, or `key` and its number if it has none (RFC 9460 section 2.1).
fn push_key(out: &mut String, key: SvcParamKey) {
    let _ = match u16::from(key) {
        // RFC 9461 section 5, RFC 9540 section 4.
        7 => write!(out, "dohpath"),
        8 => write!(out, "ohttp"),
        _ => match key {
            SvcParamKey::Key(number) | SvcParamKey::Unknown(number) => write!(out, "key{number}"),
            known => write!(out, "{known}"),
        },
    };
}

/// A value of no form that is known, as characters (RFC 9460 appendix A): what would part it from
/// others is in quotes.
fn characters(value: &[u8]) -> String {
    let mut out = String::new();
    push_characters(&mut out, value);
    if value.iter().any(|byte| byte.is_ascii_whitespace() || *byte == b';') {
        return format!("\"{out}\"");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::DnsSection;

    /// The text of data of a type, in a message that begins with `host.example`.
    fn check(kind: u16, data: &[u8]) -> String {
        let mut message = b"\x04host\x07example\0".to_vec();
        let start = message.len();
        message.extend(b"\xc0\x00");
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 60]);
        message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        let from = message.len();
        message.extend(data);
        let data = from..message.len();
        let record = Record { kind, class: 1, ttl: 60, start, data, section: DnsSection::Answer };
        super::data(&message, &record).into()
    }

    #[test]
    fn data_stands_as_in_master_files() {
        for (kind, data, want) in [
            (kind::A, &[192, 0, 2, 1][..], "192.0.2.1"),
            (kind::AAAA, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "2001:db8::1"),
            (kind::CNAME, b"\x03WWW\xc0\x00", "www.host.example"),
            (kind::NS, b"\0", "."),
            (kind::MX, b"\0\x0a\xc0\x00", "10 host.example"),
            (kind::SRV, b"\0\x01\0\x02\x01\xbb\xc0\x05", "1 2 443 example"),
            (kind::TXT, b"\x04a\"b\\\x02\xff\x1b\0", "\"a\\\"b\\\\\" \"\\255\u{1b}\" \"\""),
            (
                kind::SOA,
                b"\xc0\x00\x01m\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05",
                "host.example m 1 2 3 4 5",
            ),
            (
                kind::HTTPS,
                b"\0\x01\0\0\x01\0\x03\x02h2\0\x04\0\x04\xc0\0\x02\x09",
                "1 . alpn=h2 ipv4hint=192.0.2.9",
            ),
            (
                kind::SVCB,
                b"\0\x01\0\0\x07\0\x07/q{?dns\0\x08\0\0\x02\x9a\0\x04a \"\xff\xff\0\0\x01b",
                "1 . dohpath=/q{?dns ohttp key666=\"a \\\"\\255\" key65280=b",
            ),
            (99, b"\x01\xff", "\\# 2 01ff"),
        ] {
            assert_eq!(check(kind, data), want, "{kind}");
        }
    }

    #[test]
    fn what_is_not_of_its_form_stands_as_bytes_and_nothing_is_long() {
        for (kind, data) in [
            (kind::A, &[1, 2, 3][..]),
            (kind::CNAME, b"\x09host"),
            (kind::CNAME, b"\xc0\xff"),
            (kind::MX, b"\0"),
            (kind::SOA, b"\0\0\0"),
            (kind::HTTPS, b"\0"),
        ] {
            assert!(check(kind, data).starts_with(r"\# "), "{kind}");
        }
        let long = [0xff; 60_000];
        assert!(check(kind::TXT, &long).len() <= NAME_TEXT_BYTES);
        assert!(check(kind::A, &long).len() <= NAME_TEXT_BYTES);
    }
}

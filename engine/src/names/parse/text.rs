//! Bytes from the wire as text: valid UTF-8, bounded, and nothing left out without a trace.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use crate::limits::{NAME_BYTES, NAME_TEXT_BYTES};

/// What most domain names fit.
const USUAL_BYTES: usize = 48;

/// `bytes` as they are where they are valid UTF-8, other bytes as `\DDD`; at most
/// [`NAME_TEXT_BYTES`] of text.
pub(crate) fn text(bytes: &[u8]) -> Box<str> {
    let mut out = String::new();
    for chunk in bytes[..bytes.len().min(NAME_TEXT_BYTES)].utf8_chunks() {
        out.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|&byte| escape(&mut out, byte));
    }
    bounded(out, NAME_TEXT_BYTES)
}

/// The labels of a domain name in master-file form (RFC 1035 section 5.1), lower case and without
/// the last dot; at most [`NAME_BYTES`] of text, the root is empty.
///
/// Dots and backslashes in labels are quoted. Spaces, control characters and what is not UTF-8
/// stand as `\DDD`; other UTF-8 stays, as multicast DNS has it (RFC 6762 section 16).
pub(crate) fn domain_name<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Box<str> {
    let mut out = String::with_capacity(USUAL_BYTES);
    for label in labels {
        if out.len() > NAME_BYTES {
            break;
        }
        if !out.is_empty() {
            out.push('.');
        }
        push_label(&mut out, label);
    }
    bounded(out, NAME_BYTES)
}

/// The name in what a flow said of whom it wants, written as names are: lower case, without a port
/// and the last dot. `None` if it is an address, or nothing.
pub(crate) fn host_name(said: &str) -> Option<Cow<'_, str>> {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = match said.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        _ => said,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    // An address of IPv6 need not be in brackets in TLS.
    let is_address = [said, host].iter().any(|it| it.parse::<IpAddr>().is_ok());
    if host.is_empty() || host.starts_with('[') || is_address {
        return None;
    }
    let is_as_written = !host.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if is_as_written { Cow::Borrowed(host) } else { Cow::Owned(host.to_ascii_lowercase()) })
}

/// Data without a form of its own (RFC 3597 section 5): its length, and what fits
/// [`NAME_TEXT_BYTES`] in hexadecimal.
pub(crate) fn hex(data: &[u8]) -> Box<str> {
    let mut out = format!("\\# {}", data.len());
    if !data.is_empty() {
        out.push(' ');
    }
    for byte in data.iter().take((NAME_TEXT_BYTES - out.len()) / 2) {
        write!(out, "{byte:02x}").expect("a String takes all that is written to it");
    }
    out.into()
}

fn push_label(out: &mut String, label: &[u8]) {
    // Nearly all are of these alone, and stand as they are.
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if label.iter().all(is_plain) {
        let start = out.len();
        out.push_str(std::str::from_utf8(label).expect("it is ASCII"));
        return out[start..].make_ascii_lowercase();
    }
    for chunk in label.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '.' | '\\' => out.extend(['\\', character]),
                ' ' => escape(out, b' '),
                _ if character.is_control() => {
                    character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| escape(out, byte));
                }
                _ => out.push(character.to_ascii_lowercase()),
            }
        }
        chunk.invalid().iter().for_each(|&byte| escape(out, byte));
    }
}

pub(crate) fn escape(out: &mut String, byte: u8) {
    write!(out, "\\{byte:03}").expect("a String takes all that is written to it");
}

/// At most `most` bytes of `text`, cut between characters.
pub(crate) fn bounded(mut text: String, most: usize) -> Box<str> {
    text.truncate(text.floor_char_boundary(most));
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_in_master_files() {
        let name = |labels: &[&[u8]]| domain_name(labels.iter().copied());
        assert_eq!(&*name(&[b"WWW", b"Example", b"com"]), "www.example.com");
        assert_eq!(&*name(&[]), "");
        assert_eq!(&*name(&[b"a.b\\c d", b"\x1b[31m"]), r"a\.b\\c\032d.\027[31m");
        assert_eq!(&*name(&["Büro".as_bytes(), b"\xff\x00"]), r"büro.\255\000");
        let long = name(&[&[0x07; 63][..]; 4]);
        assert!(long.len() <= NAME_BYTES && long.starts_with(r"\007\007"));
    }

    #[test]
    fn hosts_are_named_alike() {
        for (said, name) in [
            ("a.example", Some("a.example")),
            ("A.Example:8080", Some("a.example")),
            ("a.example.", Some("a.example")),
            ("a.example.:443", Some("a.example")),
            ("a.example:", Some("a.example")),
            ("localhost", Some("localhost")),
            ("B\u{dc}RO.example", Some("b\u{dc}ro.example")),
            ("a.example:http", Some("a.example:http")),
            ("192.0.2.1", None),
            ("192.0.2.1:80", None),
            ("[2001:db8::1]:80", None),
            ("[fe80::1%25eth0]", None),
            ("2001:db8::1", None),
            (":80", None),
            (".", None),
            ("", None),
        ] {
            assert_eq!(host_name(said).as_deref(), name, "{said}");
        }
    }

    #[test]
    fn other_text_stays_as_it_came() {
        assert_eq!(&*text(b"Mozilla/5.0 (\xe4)\n"), "Mozilla/5.0 (\\228)\n");
        assert!(text(&[0xff; 5_000]).len() <= NAME_TEXT_BYTES);
        assert!(text("é".repeat(5_000).as_bytes()).len() <= NAME_TEXT_BYTES);
    }
}

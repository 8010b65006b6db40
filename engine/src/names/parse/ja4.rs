//! JA4, the fingerprint of a TLS client: what it offers, without what differs from one connection
//! to the next. Of the family of fingerprints with such names only this one is free for all to use
//! (BSD 3-Clause; <https://github.com/FoxIO-LLC/ja4>, "JA4: TLS Client Fingerprinting").

use sha2::{Digest as _, Sha256};

use super::tls::Carrier;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// What a ClientHello offers, in its order.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) carrier: Carrier,
    /// The version of the message itself.
    pub(super) version: u16,
    /// Those of the extension for versions.
    pub(super) versions: Vec<u16>,
    pub(super) ciphers: Vec<u16>,
    pub(super) extensions: Vec<u16>,
    /// The first protocol.
    pub(super) alpn: Box<[u8]>,
    pub(super) signature_algorithms: Vec<u16>,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            carrier: Carrier::Tcp,
            version: 0,
            versions: Vec::new(),
            ciphers: Vec::new(),
            extensions: Vec::new(),
            alpn: Box::default(),
            signature_algorithms: Vec::new(),
        }
    }
}

/// Characters of a fingerprint.
const BYTES: usize = 36;

/// What the lists of most clients fit.
const USUAL_LIST_BYTES: usize = 192;

/// The fingerprint.
pub(super) fn fingerprint(hello: &Hello) -> Box<str> {
    let [ciphers, extensions, algorithms, versions] =
        [&hello.ciphers, &hello.extensions, &hello.signature_algorithms, &hello.versions]
            .map(|values| values.iter().copied().filter(|&value| !is_grease(value)));
    let carrier = match hello.carrier {
        Carrier::Tcp => b't',
        Carrier::Quic => b'q',
    };
    let name = if hello.extensions.contains(&SERVER_NAME) { b'd' } else { b'i' };
    let version = version(versions.max().unwrap_or(hello.version));
    let counts = [ciphers.clone().count(), extensions.clone().count()]
        .map(|count| u8::try_from(count).map_or(99, |count| count.min(99)));
    let ciphers = list(sorted(ciphers));
    let mut offered = list(sorted(extensions.filter(|kind| ![SERVER_NAME, ALPN].contains(kind))));
    let algorithms = list(algorithms);
    if !algorithms.is_empty() && !offered.is_empty() {
        offered.push(b'_');
        offered.extend_from_slice(&algorithms);
    }
    let mut text = Vec::with_capacity(BYTES);
    text.push(carrier);
    text.extend_from_slice(version.as_bytes());
    text.push(name);
    counts.into_iter().for_each(|count| push_decimal(&mut text, count));
    push_ends(&mut text, &hello.alpn);
    text.push(b'_');
    push_digest(&mut text, &ciphers);
    text.push(b'_');
    push_digest(&mut text, &offered);
    String::from_utf8(text).expect("each byte is ASCII").into()
}

/// Values that mean nothing, which clients send so that servers stay tolerant (RFC 8701).
fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

fn version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// First and last character of a protocol's name; those of its hexadecimal form if one of them is
/// no letter or digit.
fn push_ends(text: &mut Vec<u8>, alpn: &[u8]) {
    text.extend_from_slice(&match (alpn.first(), alpn.last()) {
        (Some(&first), Some(&last)) => {
            let is_plain = first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric();
            if is_plain { [first, last] } else { [first >> 4, last & 0x0f].map(digit) }
        }
        _ => *b"00",
    });
}

fn sorted(values: impl Iterator<Item = u16>) -> impl Iterator<Item = u16> {
    let mut values: Vec<u16> = values.collect();
    values.sort_unstable();
    values.into_iter()
}

/// Four hexadecimal digits each, with commas.
fn list(values: impl Iterator<Item = u16>) -> Vec<u8> {
    let mut text = Vec::with_capacity(USUAL_LIST_BYTES);
    for value in values {
        if !text.is_empty() {
            text.push(b',');
        }
        push_hex(&mut text, &value.to_be_bytes());
    }
    text
}

/// The first twelve hexadecimal digits of the SHA-256 of a list, zeros if it is empty.
fn push_digest(text: &mut Vec<u8>, list: &[u8]) {
    match list {
        [] => push_hex(text, &[0; 6]),
        _ => push_hex(text, &Sha256::digest(list)[..6]),
    }
}

fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        text.extend_from_slice(&[byte >> 4, byte & 0x0f].map(digit));
    }
}

/// Two digits of a number below 100.
fn push_decimal(text: &mut Vec<u8>, number: u8) {
    text.extend_from_slice(&[number / 10, number % 10].map(digit));
}

/// A hexadecimal digit.
fn digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value % 16)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(list: &str) -> Vec<u16> {
        let number = |hex: &str| u16::from_str_radix(hex, 16).unwrap();
        list.split(',').filter(|hex| !hex.is_empty()).map(number).collect()
    }

    /// A hello from JA4's own raw form: its ciphers, extensions and algorithms.
    fn hello(carrier: Carrier, versions: &str, alpn: &str, raw: [&str; 3]) -> Hello {
        Hello {
            carrier,
            version: 0x0303,
            versions: numbers(versions),
            ciphers: numbers(raw[0]),
            extensions: numbers(raw[1]),
            alpn: alpn.as_bytes().into(),
            signature_algorithms: numbers(raw[2]),
        }
    }

    #[test]
    fn published_examples() {
        // From the description of JA4, with values of no meaning added as browsers do.
        let chrome = hello(
            Carrier::Tcp,
            "9a9a,0304,0303",
            "h2",
            [
                "2a2a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035",
                concat!(
                    "3a3a,001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,",
                    "000a,0015,caca",
                ),
                "0403,0804,0401,0503,0805,0501,0806,0601",
            ],
        );
        assert_eq!(&*fingerprint(&chrome), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        let quic = hello(
            Carrier::Quic,
            "0304",
            "h3",
            [
                "1301,1302,1303",
                "0000,0010,000a,000d,001b,002b,002d,0033,0039,4469",
                "0403,0804,0401,0503,0805,0501,0806,0601,0201",
            ],
        );
        assert_eq!(&*fingerprint(&quic), "q13d0310h3_55b375c5d22e_cd85d2d88918");
    }

    #[test]
    fn what_is_not_there_is_said_so() {
        let nothing = hello(Carrier::Tcp, "", "", ["", "", "0403"]);
        assert_eq!(&*fingerprint(&nothing), "t12i000000_000000000000_000000000000");
        let odd = hello(Carrier::Tcp, "7f17", "\u{1}x", ["1301", "0000", ""]);
        assert_eq!(&fingerprint(&odd)[..11], "t00d010108_");
        let one = hello(Carrier::Tcp, "0301", "h", ["1301", "0000", ""]);
        assert_eq!(&fingerprint(&one)[..11], "t10d0101hh_");
    }
}

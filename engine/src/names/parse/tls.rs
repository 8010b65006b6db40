//! TLS handshakes in the clear (RFC 8446, RFC 5246): ClientHello, ServerHello, and the certificate
//! behind it, which TLS 1.3 encrypts.
//!
//! tls-parser reads the messages. Records are taken off here, as a message may be in several; and
//! extensions are told apart here, as one that cannot be read must not hide those behind it.

use std::borrow::Cow;

use tls_parser::{
    SNIType, TlsCipherSuite, TlsExtension, parse_tls_client_hello_extension,
    parse_tls_extension_unknown, parse_tls_handshake_client_hello,
    parse_tls_handshake_server_hello, parse_tls_server_hello_extension,
};

use super::ja4::{self, Hello};
use super::text::text;
use super::{Read, be16, be24, certificate};
use crate::names::FlowFact;

const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
const EXTENSION_HEADER: usize = 4;
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const WARNING: u8 = 1;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// Versions whose servers show their certificates.
const SSL_3: u16 = 0x0300;
const TLS_1_2: u16 = 0x0303;
/// The first byte of all cipher suites of TLS 1.3.
const OF_TLS_1_3: u8 = 0x13;
/// The longest record (RFC 5246 section 6.2.3); TLS 1.3 allows less.
const RECORD_BYTES: usize = (1 << 14) + 2_048;
/// encrypted_client_hello (RFC 9849 section 5), and the type of the one that others see.
const ENCRYPTED_HELLO: u16 = 0xfe0d;
const OUTER: u8 = 0;

/// What carried a handshake: it shows in the fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tcp,
    Quic,
}

/// Reads the message that begins the records in `stream`. If nothing can follow, as the rest
/// `is_cut`, what is there of it counts.
pub(crate) fn read(stream: &[u8], is_cut: bool) -> Read<Vec<FlowFact>> {
    let Some(Handshake { content, is_over }) = handshake(stream) else { return Read::No };
    match read_message(&content, Carrier::Tcp, is_cut) {
        Read::Done(facts) if content.first() == Some(&SERVER_HELLO) => {
            with_certificate(facts, &content, is_cut || is_over)
        }
        read => read,
    }
}

/// What a ServerHello says, and behind it the certificate, if it `is_last` of what there is.
fn with_certificate(
    mut facts: Vec<FlowFact>,
    content: &[u8],
    is_last: bool,
) -> Read<Vec<FlowFact>> {
    let is_clear = |fact: &FlowFact| matches!(fact, FlowFact::TlsVersion(SSL_3..=TLS_1_2));
    if !facts.iter().any(is_clear) {
        return Read::Done(facts);
    }
    let end = MESSAGE_HEADER + be24(content, 1).unwrap_or_default();
    let message = content.get(end..).unwrap_or_default();
    match certificate::leaf(message) {
        Read::Done(leaf) => facts.extend(certificate::facts(leaf)),
        Read::More if !is_last => return Read::Part(facts),
        Read::More => facts.extend(certificate::facts_of_cut(message)),
        _ => {}
    }
    Read::Done(facts)
}

/// So many records are looked at to tell whether more are of use.
const LOOKED_AT: usize = 4;

/// Whether the records that begin `stream` surely have all that is read of them: a ClientHello, a
/// ServerHello whose certificate is encrypted, or what comes before something else than a
/// handshake. In constant time.
pub(crate) fn is_whole(stream: &[u8]) -> bool {
    let mut rest = stream;
    for nth in 0..LOOKED_AT {
        let Some(header) = rest.first_chunk() else { return false };
        let Some(length) = of_handshake(header) else { return nth > 0 };
        let end = RECORD_HEADER + length;
        let Some(content) = rest.get(RECORD_HEADER..end) else { return false };
        if nth == 0
            && (content.first() == Some(&CLIENT_HELLO) || is_of_1_3(content))
            && be24(content, 1).is_some_and(|length| MESSAGE_HEADER + length <= content.len())
        {
            return true;
        }
        rest = &rest[end..];
    }
    false
}

/// Whether a ServerHello is of TLS 1.3, by its cipher suite, which no other version has (RFC 8446
/// section B.4): no certificate in the clear follows.
fn is_of_1_3(message: &[u8]) -> bool {
    // Type and length, version, and random bytes.
    const SESSION_AT: usize = MESSAGE_HEADER + 2 + 32;
    let session_bytes = message.get(SESSION_AT).map_or(0, |&length| usize::from(length));
    message.first() == Some(&SERVER_HELLO)
        && message.get(SESSION_AT + 1 + session_bytes) == Some(&OF_TLS_1_3)
}

/// Whether `stream` begins with a record that begins with a ClientHello or ServerHello.
pub(crate) fn is_hello(stream: &[u8]) -> bool {
    matches!(stream, [HANDSHAKE, 3, _, _, _, CLIENT_HELLO | SERVER_HELLO, ..])
}

/// How long the records are, at least, that hold the hello which begins `stream`, and behind a
/// server's its certificate, as far as that has begun. In constant time.
pub(crate) fn hello_bytes(stream: &[u8]) -> Option<usize> {
    let content = stream.get(RECORD_HEADER..)?;
    let end = RECORD_HEADER + MESSAGE_HEADER + be24(content, 1)?;
    match *content.first()? {
        CLIENT_HELLO => Some(end),
        SERVER_HELLO => {
            let record_end = RECORD_HEADER + stream.first_chunk().and_then(of_handshake)?;
            let begins_record = end == record_end;
            let at = if begins_record { end + RECORD_HEADER } else { end };
            stream.get(at..).and_then(certificate::leaf_end).map(|leaf| at + leaf)
        }
        _ => None,
    }
}

/// Messages of a handshake.
struct Handshake<'a> {
    content: Cow<'a, [u8]>,
    /// Something else follows.
    is_over: bool,
}

/// The length of the record that this is the header of, if it is of a handshake.
fn of_handshake(header: &[u8; RECORD_HEADER]) -> Option<usize> {
    let [HANDSHAKE, 3, _, high, low] = *header else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    (1..=RECORD_BYTES).contains(&length).then_some(length)
}

/// What the handshake records that begin `stream` hold, without their headers; `None` if it does
/// not begin with one.
fn handshake(stream: &[u8]) -> Option<Handshake<'_>> {
    let mut rest = stream;
    let mut message = Cow::Borrowed(&[][..]);
    // A warning, as that a server does not know the name, ends nothing.
    while let [ALERT, 3, _, 0, 2, WARNING, _, behind @ ..] = rest {
        rest = behind;
    }
    while let Some(header) = rest.first_chunk() {
        let Some(length) = of_handshake(header) else {
            // What else follows a message is no part of it; an alert may stand inside of none.
            return (!message.is_empty()).then_some(Handshake { content: message, is_over: true });
        };
        let end = rest.len().min(RECORD_HEADER + length);
        let content = &rest[RECORD_HEADER..end];
        if message.is_empty() {
            message = Cow::Borrowed(content);
        } else {
            message.to_mut().extend_from_slice(content);
        }
        rest = &rest[end..];
    }
    Some(Handshake { content: message, is_over: false })
}

/// Reads one handshake message, without records: of QUIC's CRYPTO frames.
pub(crate) fn read_message(bytes: &[u8], carrier: Carrier, is_cut: bool) -> Read<Vec<FlowFact>> {
    let Some(&[kind, a, b, c]) = bytes.first_chunk::<MESSAGE_HEADER>() else {
        return if bytes.first().is_none_or(|kind| (1..=2).contains(kind)) && !is_cut {
            Read::More
        } else {
            Read::No
        };
    };
    let end = MESSAGE_HEADER + u32::from_be_bytes([0, a, b, c]) as usize;
    if !matches!(kind, CLIENT_HELLO | SERVER_HELLO) {
        return Read::No;
    }
    let is_whole = bytes.len() >= end;
    if !is_whole && !is_cut {
        return Read::More;
    }
    let body = &bytes[MESSAGE_HEADER..bytes.len().min(end)];
    let facts = match kind {
        CLIENT_HELLO => client_hello(body, carrier, is_whole),
        _ => server_hello(body),
    };
    facts.map_or(Read::No, Read::Done)
}

/// Facts of a ClientHello: the fingerprint only of a whole one.
fn client_hello(body: &[u8], carrier: Carrier, is_whole: bool) -> Option<Vec<FlowFact>> {
    let (behind, message) = parse_tls_handshake_client_hello(body).ok()?;
    // Extensions that are cut are not read as such: they stand behind, with their length.
    let extensions = message.ext.or_else(|| behind.get(2..)).unwrap_or_default();
    let mut facts = Vec::new();
    let mut hello = Hello {
        carrier,
        version: message.version.0,
        ciphers: message.ciphers.iter().map(|cipher| cipher.0).collect(),
        ..Hello::default()
    };
    for extension in each(extensions, parse_tls_client_hello_extension) {
        let Extension { kind, content, read } = extension;
        hello.extensions.push(kind);
        match read {
            Some(TlsExtension::SNI(names)) => {
                let host = names.iter().find(|(kind, _)| *kind == SNIType::HostName);
                let host = host.filter(|(_, name)| !name.is_empty());
                facts.extend(host.map(|(_, name)| match carrier {
                    Carrier::Tcp => FlowFact::Sni(text(name)),
                    Carrier::Quic => FlowFact::QuicSni(text(name)),
                }));
            }
            Some(TlsExtension::ALPN(protocols)) => {
                let first = protocols.first().copied().filter(|first| !first.is_empty());
                facts.extend(first.map(|first| FlowFact::Alpn(text(first))));
                hello.alpn = first.unwrap_or_default().into();
            }
            Some(TlsExtension::SupportedVersions(versions)) => {
                hello.versions = versions.iter().map(|version| version.0).collect();
            }
            Some(TlsExtension::SignatureAlgorithms(algorithms)) => {
                hello.signature_algorithms = algorithms;
            }
            _ if kind == ENCRYPTED_HELLO && content.first() == Some(&OUTER) => {
                facts.push(FlowFact::EncryptedHello);
            }
            _ => {}
        }
    }
    if is_whole {
        facts.push(FlowFact::Ja4(ja4::fingerprint(&hello)));
    }
    Some(facts)
}

/// What the server chose. TLS 1.3 says its version in an extension (RFC 8446 section 4.2.1).
fn server_hello(body: &[u8]) -> Option<Vec<FlowFact>> {
    let (_, message) = parse_tls_handshake_server_hello(body).ok()?;
    let extensions = each(message.ext.unwrap_or_default(), parse_tls_server_hello_extension);
    let chosen = extensions.into_iter().find_map(|extension| match extension.read {
        Some(TlsExtension::SupportedVersions(versions)) => versions.first().copied(),
        _ => None,
    });
    let version = chosen.unwrap_or(message.version).0;
    Some(vec![FlowFact::TlsVersion(version), FlowFact::TlsCipher(message.cipher.0)])
}

/// An extension of a hello.
struct Extension<'a> {
    kind: u16,
    content: &'a [u8],
    /// What was made of it.
    read: Option<TlsExtension<'a>>,
}

/// What reads one extension, its type and length included.
type ReadExtension = for<'a> fn(&'a [u8]) -> tls_parser::nom::IResult<&'a [u8], TlsExtension<'a>>;

/// Each extension with what `read` makes of it, until one is cut.
fn each(list: &[u8], read: ReadExtension) -> Vec<Extension<'_>> {
    let mut rest = list;
    let mut all = Vec::new();
    while let Some(kind) = be16(rest, 0)
        && let Ok((behind, _)) = parse_tls_extension_unknown(rest)
    {
        let whole = &rest[..rest.len() - behind.len()];
        let content = whole.get(EXTENSION_HEADER..).unwrap_or_default();
        all.push(Extension { kind, content, read: read(whole).ok().map(|(_, made)| made) });
        rest = behind;
    }
    all
}

/// The usual name of a version; in hexadecimal if it has none, as drafts.
pub(crate) fn version_name(version: u16) -> Cow<'static, str> {
    match version {
        0x0300 => "SSLv3",
        0x0301 => "TLSv1.0",
        0x0302 => "TLSv1.1",
        0x0303 => "TLSv1.2",
        0x0304 => "TLSv1.3",
        _ => return format!("{version:#06x}").into(),
    }
    .into()
}

/// The version of that name.
pub(crate) fn version_by_name(name: &str) -> Option<u16> {
    (0x0300..=0x0304).find(|&version| version_name(version) == name).or_else(|| number(name))
}

fn number(hexadecimal: &str) -> Option<u16> {
    u16::from_str_radix(hexadecimal.strip_prefix("0x")?, 16).ok()
}

/// The cipher suite of that name.
pub(crate) fn cipher_by_name(name: &str) -> Option<u16> {
    TlsCipherSuite::from_name(name).map(|suite| suite.id.0).or_else(|| number(name))
}

/// A cipher suite as the IANA calls it; in hexadecimal if it does not.
pub(crate) fn cipher_name(cipher: u16) -> Cow<'static, str> {
    match TlsCipherSuite::from_id(cipher) {
        Some(suite) => suite.name.into(),
        None => format!("{cipher:#06x}").into(),
    }
}

#[cfg(test)]
mod tests;

//! The certificate that a TLS server shows in the clear, up to TLS 1.2 (RFC 5246 section 7.4.2):
//! for whom it is (RFC 5280). x509-parser takes it apart, and of its extensions only that with
//! names. Nothing is verified: it says what the server claims.

use x509_parser::asn1_rs::{Any, FromDer as _, Header, Tag};
use x509_parser::certificate::X509CertificateParser;
use x509_parser::extensions::{GeneralName, SubjectAlternativeName};
use x509_parser::nom::Parser as _;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::text::{bounded, escape, text};
use super::{Read, be24};
use crate::limits::NAME_TEXT_BYTES;
use crate::names::FlowFact;

/// Type of the message.
const CERTIFICATE: u8 = 11;
/// Type and length of the message, length of the list, length of the first certificate.
const HEADER: usize = 10;

/// The server's own certificate, the first of the message that begins `bytes`.
pub(crate) fn leaf(bytes: &[u8]) -> Read<&[u8]> {
    if bytes.first().is_some_and(|kind| *kind != CERTIFICATE) {
        return Read::No;
    }
    let Some(message) = be24(bytes, 1) else { return Read::More };
    if message < HEADER - 4 {
        return Read::No;
    }
    let (Some(list), Some(leaf)) = (be24(bytes, 4), be24(bytes, 7)) else { return Read::More };
    if leaf == 0 || leaf + 3 > list || list + 3 != message {
        return Read::No;
    }
    bytes.get(HEADER..HEADER + leaf).map_or(Read::More, Read::Done)
}

/// How much of the message that begins `bytes` its first certificate ends with.
pub(crate) fn leaf_end(bytes: &[u8]) -> Option<usize> {
    let is_certificate = bytes.first() == Some(&CERTIFICATE);
    be24(bytes, 7).filter(|_| is_certificate).map(|leaf| HEADER + leaf)
}

/// For whom the first certificate is of the message that begins `bytes` and is cut: its subject,
/// which stands before all that makes a certificate long. Not its name, as other ones may stand in
/// what is missing.
pub(crate) fn facts_of_cut(bytes: &[u8]) -> Vec<FlowFact> {
    let subject = bytes.get(HEADER..).and_then(subject_of_cut);
    let shown = subject.map(|subject| shown(&subject)).filter(|subject| !subject.is_empty());
    shown.map(FlowFact::CertSubject).into_iter().collect()
}

/// The subject of a certificate of which only the first bytes need be there (RFC 5280 section 4.1):
/// behind version, serial number, signature, issuer and validity.
fn subject_of_cut(der: &[u8]) -> Option<X509Name<'_>> {
    const VERSION: Tag = Tag(0);
    let (signed, _) = Header::from_der(der).ok()?;
    let (content, _) = Header::from_der(signed).ok()?;
    let (mut rest, first) = Any::from_der(content).ok()?;
    // Version 1 is not said; then the serial number is first.
    let others = if first.tag() == VERSION { 4 } else { 3 };
    for _ in 0..others {
        (rest, _) = Any::from_der(rest).ok()?;
    }
    X509Name::from_der(rest).ok().map(|(_, subject)| subject)
}

/// For whom a certificate is.
pub(crate) fn facts(der: &[u8]) -> Vec<FlowFact> {
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    let Ok((_, certificate)) = parser.parse(der) else { return Vec::new() };
    let subject = certificate.subject();
    let shown = Some(shown(subject)).filter(|subject| !subject.is_empty());
    let extension =
        certificate.iter_extensions().find(|one| one.oid == OID_X509_EXT_SUBJECT_ALT_NAME);
    let name = extension.and_then(|extension| dns_name(extension.value));
    // Old ones have it in the subject only (RFC 6125 section 6.4.4).
    let name = name.or_else(|| subject.iter_common_name().last().map(value));
    let name = name.filter(|name| !name.is_empty()).map(FlowFact::CertName);
    shown.map(FlowFact::CertSubject).into_iter().chain(name).collect()
}

/// The first DNS name of the alternative names.
fn dns_name(names: &[u8]) -> Option<Box<str>> {
    let (_, names) = SubjectAlternativeName::from_der(names).ok()?;
    names.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => Some(text(name.as_bytes())),
        _ => None,
    })
}

/// A name in the order in which it stands in the certificate: `C=US, O=Example, CN=a.example`.
fn shown(name: &X509Name<'_>) -> Box<str> {
    let mut out = String::new();
    for rdn in name.iter_rdn() {
        for (place, attribute) in rdn.iter().enumerate() {
            if out.len() > NAME_TEXT_BYTES {
                break;
            }
            if !out.is_empty() {
                out.push_str(if place == 0 { ", " } else { " + " });
            }
            out.push_str(&key(attribute));
            out.push('=');
            push_quoted(&mut out, &value(attribute));
        }
    }
    bounded(out, NAME_TEXT_BYTES)
}

/// An attribute's short name (RFC 4514 section 3), or else its number.
fn key(attribute: &AttributeTypeAndValue<'_>) -> String {
    let number = attribute.attr_type().to_id_string();
    match number.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return number,
    }
    .to_owned()
}

/// An attribute's text: UTF-8, or in two bytes for each character as old ones have it.
fn value(attribute: &AttributeTypeAndValue<'_>) -> Box<str> {
    let any = attribute.attr_value();
    if any.tag() != Tag::BmpString {
        return text(any.data);
    }
    let pairs = any.data.as_chunks::<2>().0.iter().map(|two| u16::from_be_bytes(*two));
    let mut out = String::new();
    for character in char::decode_utf16(pairs.take(NAME_TEXT_BYTES)) {
        match character {
            Ok(character) => out.push(character),
            Err(odd) => {
                odd.unpaired_surrogate().to_be_bytes().iter().for_each(|&b| escape(&mut out, b));
            }
        }
    }
    bounded(out, NAME_TEXT_BYTES)
}

/// What parts names and attributes is quoted (RFC 4514 section 2.4); but for a backslash, with
/// which bytes stand that are no UTF-8.
fn push_quoted(out: &mut String, value: &str) {
    for character in value.chars() {
        if matches!(character, ',' | '+' | '"' | ';' | '<' | '>') {
            out.push('\\');
        }
        out.push(character);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

    use super::*;
    use crate::names::parse::sample::certificate_message;

    fn der(parameters: CertificateParams) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    /// A certificate for these DNS names, with these attributes of its subject.
    fn made(names: &[&str], subject: &[(DnType, DnValue)]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            parameters.distinguished_name.push(kind.clone(), value.clone());
        }
        der(parameters)
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    #[test]
    fn names_are_those_of_the_subject() {
        let subject = |text: &str| FlowFact::CertSubject(text.into());
        let name = |text: &str| FlowFact::CertName(text.into());
        let cn = (DnType::CommonName, utf8("cn.example"));
        let both = made(
            &["a.example", "b.example"],
            &[(DnType::OrganizationName, utf8("A, B")), cn.clone()],
        );
        assert_eq!(facts(&both), [subject(r"O=A\, B, CN=cn.example"), name("a.example")]);
        assert_eq!(facts(&made(&[], &[cn])), [subject("CN=cn.example"), name("cn.example")]);
        assert_eq!(facts(&made(&["a.example"], &[])), [name("a.example")]);
        assert_eq!(facts(&made(&[], &[])), []);
        let hostile = made(&[], &[(DnType::CommonName, utf8("\u{1b}[31m\r\n=1+1"))]);
        assert_eq!(facts(&hostile)[1], name("\u{1b}[31m\r\n=1+1"), "whoever shows it escapes it");
        let old = DnValue::BmpString("b\u{fc}cher".try_into().unwrap());
        assert_eq!(facts(&made(&[], &[(DnType::CommonName, old)]))[1], name("b\u{fc}cher"));
        let mut addresses = CertificateParams::new(vec![]).unwrap();
        addresses.distinguished_name = rcgen::DistinguishedName::new();
        addresses.subject_alt_names = vec![
            SanType::IpAddress([192, 0, 2, 1].into()),
            SanType::DnsName("x.example".try_into().unwrap()),
        ];
        assert_eq!(facts(&der(addresses)), [name("x.example")], "not the first of all names");
    }

    #[test]
    fn the_first_certificate_is_the_servers() {
        let one = made(&["a.example"], &[]);
        let message = certificate_message(&[&one, b"another"]);
        assert_eq!(leaf(&message), Read::Done(&one[..]));
        let whole = HEADER + one.len();
        assert_eq!(leaf(&message[..whole]), Read::Done(&one[..]), "the others are not needed");
        for cut in 0..whole {
            assert_eq!(leaf(&message[..cut]), Read::More, "{cut}");
        }
        assert_eq!(leaf(&certificate_message(&[])), Read::No, "none");
        assert_eq!(leaf(b"\x0e\0\0\0"), Read::No, "ServerHelloDone");
        let endless = b"\x0b\xff\xff\xff\xff\xff\xfc\xff\xff\xf0";
        assert_eq!(leaf(endless), Read::More, "its beginning says enough");
        assert_eq!(facts_of_cut(endless), []);
        assert_eq!(leaf(b"\x0b\0\0\x20\0\0\x10\0\0\x05"), Read::No, "lengths that do not fit");
    }

    #[test]
    fn the_subject_stands_in_the_beginning_of_a_certificate() {
        let names: Vec<_> = (0..200).map(|idx| format!("name-{idx}.example")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let cn = utf8("cn.example");
        let one = made(&names, &[(DnType::CommonName, cn)]);
        let message = certificate_message(&[&one]);
        let whole = HEADER + one.len();
        assert_eq!(leaf_end(&message), Some(whole));
        assert_eq!([leaf_end(&message[..9]), leaf_end(b"\x0e\0\0\0\0\0\0\0\0\0")], [None; 2]);
        let subject = [FlowFact::CertSubject("CN=cn.example".into())];
        let first = (0..whole).find(|&cut| !facts_of_cut(&message[..cut]).is_empty()).unwrap();
        assert!(first < 250, "{first} bytes");
        for cut in first..whole {
            assert_eq!(facts_of_cut(&message[..cut]), subject, "{cut}");
        }
        // Without a version, which is the first one's.
        let old = [
            &b"\x30\x82\xff\xff\x30\x82\xff\xff\x02\x01\x07\x30\0\x30\0\x30\0"[..],
            b"\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01a",
        ]
        .concat();
        let old = [&[0; HEADER], &old[..]].concat();
        assert_eq!(facts_of_cut(&old), [FlowFact::CertSubject("CN=a".into())]);
        assert_eq!(facts_of_cut(&old[..old.len() - 1]), []);
    }

    proptest! {
        #[test]
        fn whatever_is_changed(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut: prop::sample::Index,
        ) {
            let mut der = made(&["a.example"], &[(DnType::CommonName, utf8("cn.example"))]);
            for (at, byte) in changes {
                let at = at.index(der.len());
                der[at] = byte;
            }
            let _ = facts(&der);
            let _ = facts(&der[..cut.index(der.len())]);
            let _ = leaf(&der);
            let _ = facts_of_cut(&[&[0; HEADER], &der[..cut.index(der.len())]].concat());
        }

        #[test]
        fn whatever_comes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = facts(&bytes);
            let _ = facts_of_cut(&bytes);
            let _ = leaf(&[&[CERTIFICATE], &bytes[..]].concat());
        }
    }
}

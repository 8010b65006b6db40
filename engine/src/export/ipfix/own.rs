//! Elements of our own, under the enterprise number that `--pen` sets, and what they are: a reader
//! is told by type information records (RFC 5610).
//!
//! A number is an element's for ever. A number of all ones, an empty text and the unspecified
//! address stand for what is not known.

use super::Told;
use super::message::{Dialect, OPTIONS_SET};
use super::template::{OF_SEGMENTS, number_of_options};
use crate::flow::TcpState;

/// An own element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    Part = 1,
    TcpState,
    RttServer,
    RttClient,
    Retransmits,
    OutOfOrder,
    ZeroWindows,
    Fragments,
    Sni,
    Alpn,
    Ja4,
    HttpHost,
    Name,
    NameSource,
    NameAge,
    NameDoubt,
    TunnelType,
    TunnelSource,
    TunnelDestination,
    TunnelId,
    TlsVersion,
    TlsCipher,
    Ech,
    AppSource,
    CertSubject,
    CertName,
    Device,
    HttpUserAgent,
}

/// Of the reverse direction (RFC 5103 section 6.2).
const REVERSE: u16 = 0x4000;

impl Own {
    pub(super) fn number(self, is_reverse: bool) -> u16 {
        self as u16 | if is_reverse { REVERSE } else { 0 }
    }
}

/// Data types (RFC 5610 section 3.1).
#[derive(Clone, Copy)]
enum Type {
    Unsigned8 = 1,
    Unsigned32 = 3,
    Unsigned64 = 4,
    String = 13,
    Ipv6Address = 19,
}

/// Semantics (RFC 5610 section 3.2).
#[derive(Clone, Copy)]
enum Semantics {
    Default = 0,
    DeltaCounter = 3,
    Identifier = 4,
}

/// Units (RFC 5610 section 3.3).
#[derive(Clone, Copy)]
enum Units {
    None = 0,
    Packets = 3,
    Nanoseconds = 8,
}

/// Element, name, type, semantics, units, meaning.
type Row = (Own, &'static str, Type, Semantics, Units, &'static str);

#[rustfmt::skip]
const ELEMENTS: [Row; 28] = {
    use {Semantics as S, Type as T, Units as U};
    [
        (Own::Part, "flowtapPart", T::Unsigned32, S::Identifier, U::None, "0, 1, 2 when an active timeout cut the flow"),
        (Own::TcpState, "flowtapTcpState", T::Unsigned8, S::Identifier, U::None, "1 established, 2 half open, 3 closed, 4 reset, 5 midstream"),
        (Own::RttServer, "flowtapRttServer", T::Unsigned32, S::Default, U::Nanoseconds, "from SYN to SYN/ACK"),
        (Own::RttClient, "flowtapRttClient", T::Unsigned32, S::Default, U::Nanoseconds, "from SYN/ACK to ACK"),
        (Own::Retransmits, "flowtapRetransmits", T::Unsigned32, S::DeltaCounter, U::Packets, "TCP segments sent again"),
        (Own::OutOfOrder, "flowtapOutOfOrder", T::Unsigned32, S::DeltaCounter, U::Packets, "TCP segments out of order"),
        (Own::ZeroWindows, "flowtapZeroWindows", T::Unsigned32, S::DeltaCounter, U::Packets, "TCP segments with a window of 0"),
        (Own::Fragments, "flowtapFragments", T::Unsigned64, S::DeltaCounter, U::Packets, "later fragments among the packets"),
        (Own::Sni, "flowtapSni", T::String, S::Default, U::None, "server name in TLS or QUIC"),
        (Own::Alpn, "flowtapAlpn", T::String, S::Default, U::None, "protocol offered in TLS or QUIC"),
        (Own::Ja4, "flowtapJa4", T::String, S::Default, U::None, "JA4 fingerprint of the client"),
        (Own::HttpHost, "flowtapHttpHost", T::String, S::Default, U::None, "host in HTTP/1"),
        (Own::Name, "flowtapName", T::String, S::Default, U::None, "best name of the responder"),
        (Own::NameSource, "flowtapNameSource", T::String, S::Default, U::None, "where the name is from"),
        (Own::NameAge, "flowtapNameAge", T::Unsigned64, S::Default, U::Nanoseconds, "age of the name's answer when the flow began"),
        (Own::NameDoubt, "flowtapNameDoubt", T::String, S::Default, U::None, "why the name may be another's"),
        (Own::TunnelType, "flowtapTunnelType", T::String, S::Default, U::None, "the innermost tunnel that was taken off"),
        (Own::TunnelSource, "flowtapTunnelSource", T::Ipv6Address, S::Default, U::None, "outer source address; IPv4 as ::ffff:0:0/96"),
        (Own::TunnelDestination, "flowtapTunnelDestination", T::Ipv6Address, S::Default, U::None, "outer destination address; IPv4 as ::ffff:0:0/96"),
        (Own::TunnelId, "flowtapTunnelId", T::Unsigned64, S::Identifier, U::None, "network, session or key of the tunnel"),
        (Own::TlsVersion, "flowtapTlsVersion", T::String, S::Default, U::None, "version that the TLS or QUIC server chose"),
        (Own::TlsCipher, "flowtapTlsCipher", T::String, S::Default, U::None, "cipher suite that the TLS or QUIC server chose"),
        (Own::Ech, "flowtapEch", T::Unsigned8, S::Identifier, U::None, "1 if the client sent an encrypted ClientHello, or what looks like one"),
        (Own::AppSource, "flowtapAppSource", T::Unsigned8, S::Identifier, U::None, "how applicationName is known: 1 seen in the flow, 2 by a port"),
        (Own::CertSubject, "flowtapCertSubject", T::String, S::Default, U::None, "subject of the TLS server's certificate"),
        (Own::CertName, "flowtapCertName", T::String, S::Default, U::None, "first DNS name in the TLS server's certificate, or its common name"),
        (Own::Device, "flowtapDevice", T::String, S::Default, U::None, "local host that the source is: MAC address;vendor;host name;source of that"),
        (Own::HttpUserAgent, "flowtapHttpUserAgent", T::String, S::Default, U::None, "User-Agent of the first request in HTTP/1"),
    ]
};

/// Whether it is there once for each direction.
fn has_reverse(which: Own) -> bool {
    let of_segments = OF_SEGMENTS.contains(&which);
    of_segments || matches!(which, Own::Fragments | Own::Device)
}

/// As [`Own::TcpState`] has it.
pub(super) fn tcp_state(state: Option<TcpState>) -> u8 {
    match state {
        None => u8::MAX,
        Some(TcpState::Established) => 1,
        Some(TcpState::HalfOpen) => 2,
        Some(TcpState::Closed) => 3,
        Some(TcpState::Reset) => 4,
        Some(TcpState::Midstream) => 5,
    }
}

/// As [`Own::AppSource`] has it.
pub(super) fn app_source(source: Option<&str>) -> u8 {
    match source {
        Some("payload") => 1,
        Some("port") => 2,
        _ => u8::MAX,
    }
}

/// RFC 5103 section 6.1.
fn reversed(name: &str) -> String {
    format!("reverse{}{}", name[..1].to_uppercase(), &name[1..])
}

/// Messages of up to `most` bytes that say what all own elements are: an options template (RFC
/// 7011 section 3.4.2.2) and type information records (RFC 5610 section 3.9).
pub(super) fn type_information(pen: u32, most: usize) -> Vec<Told> {
    let template = number_of_options(0);
    let message = |number: u16, set: &[u8]| Dialect::Ipfix.message(number, set, 0);
    let mut set = Vec::new();
    // Template, fields, of which two are the scope: privateEnterpriseNumber, informationElementId.
    // Then …DataType, …Semantics, …Units, …Name, …Description.
    let fields = [(346, 4), (303, 2), (339, 1), (344, 1), (345, 2), (341, 65_535), (340, 65_535)];
    let header = [template, 7, 2].into_iter();
    let fields = fields.into_iter().flat_map(|(number, bytes)| [number, bytes]);
    header.chain(fields).for_each(|number: u16| set.extend(number.to_be_bytes()));
    let mut messages = vec![Told { bytes: message(OPTIONS_SET, &set), records: 0 }];
    let (mut set, mut records) = (Vec::new(), 0);
    for is_reverse in [false, true] {
        let rows = ELEMENTS.iter().filter(|row| !is_reverse || has_reverse(row.0));
        for &(which, name, kind, semantics, units, meaning) in rows {
            let mut record = pen.to_be_bytes().to_vec();
            record.extend(which.number(is_reverse).to_be_bytes());
            record.extend([kind as u8, semantics as u8, 0, units as u8]);
            let name = match is_reverse {
                false => name.to_owned(),
                true => reversed(name),
            };
            for text in [&name, meaning] {
                record.push(u8::try_from(text.len()).expect("names and meanings are short"));
                record.extend(text.as_bytes());
            }
            if message(template, &set).len() + record.len() > most {
                messages.push(Told { bytes: message(template, &set), records });
                (set, records) = (Vec::new(), 0);
            }
            set.append(&mut record);
            records += 1;
        }
    }
    messages.push(Told { bytes: message(template, &set), records });
    messages
}

/// What own elements are called.
#[cfg(test)]
pub(in crate::export) fn own_names() -> impl Iterator<Item = String> {
    let reversed = ELEMENTS.iter().filter(|row| has_reverse(row.0)).map(|row| reversed(row.1));
    ELEMENTS.iter().map(|row| row.1.to_owned()).chain(reversed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::describe::fields;

    #[test]
    fn elements_have_the_numbers_that_the_schema_says() {
        let shown: Vec<_> = fields().into_iter().filter_map(|field| field.ipfix).collect();
        for (number, row) in (1..).zip(ELEMENTS) {
            assert_eq!(row.0.number(false), number, "{}", row.1);
            // A tunnel's stand in one field.
            let of_tunnel = Own::TunnelType.number(false)..=Own::TunnelId.number(false);
            if !of_tunnel.contains(&number) {
                assert!(shown.contains(&format!("{} ({number}, own)", row.1)), "{}", row.1);
            }
        }
    }

    #[test]
    fn type_information_fits_any_datagram() {
        for most in [512, 1_400, 65_535] {
            let told = type_information(32_473, most);
            assert!(told.iter().all(|told| told.bytes.len() <= most), "{most}");
            let records: u32 = told.iter().map(|told| told.records).sum();
            assert_eq!(records as usize, ELEMENTS.len() + 5);
        }
    }
}

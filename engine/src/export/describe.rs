//! What each field of a record means, for people and programs: `flowtap schema`.
//!
//! Names and kinds come from [`schema`](super::schema), which has all fields; words for them stand
//! here. A field without words fails a test.

use std::fmt::Write as _;

use serde::Serialize;

use crate::export::foreign::names_of;
use crate::export::schema::{Kind, kinds};
use crate::flow::FeaturesSet;

/// A field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Its name in all formats.
    pub name: &'static str,
    /// How JSON lines show it.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its unit, if it is a number of something.
    pub unit: Option<&'static str>,
    /// What it says.
    pub meaning: String,
    /// The IPFIX elements that hold it, by IANA's names; or own ones (`--pen`).
    pub ipfix: Option<String>,
    /// The columns of Zeek's `conn.log` that it is in.
    pub zeek: Option<&'static str>,
    /// The members of Suricata's `flow` events that it is in.
    pub eve: Option<&'static str>,
}

/// Name (`*` stands for `src` and `dst`), unit, meaning (`{}` stands for who that is), element.
type Words = (&'static str, &'static str, &'static str, &'static str);

/// Words for fields. What `*` stands for has an element that is reversed for the responder
/// (RFC 5103).
const WORDS: &[Words] = &[
    ("kind", "", "`flow`, or `overflow`: an aggregate of packets for which there was no room", ""),
    ("flow_id", "", "the same in all parts of one flow", "flowId (148)"),
    ("part", "", "0, 1, 2 when an active timeout cut the flow", "flowtapPart (1, own)"),
    ("community_id", "", "Community ID version 1", ""),
    (
        "interface",
        "",
        "name of the interface, or of the file",
        "interfaceName (82), if there are own ones",
    ),
    ("start", "", "first packet of this record", "flowStartNanoseconds (156)"),
    ("end", "", "last packet of this record", "flowEndNanoseconds (157)"),
    ("duration_ns", "ns", "end - start", ""),
    ("ip_version", "", "4 or 6", ""),
    ("protocol", "", "IANA protocol number, after extension headers", "protocolIdentifier (4)"),
    ("src_ip", "", "address of the {}", "sourceIPv4Address (8), sourceIPv6Address (27)"),
    ("dst_ip", "", "address of the {}", "destinationIPv4Address (12), destinationIPv6Address (28)"),
    (
        "dst_prefix_length",
        "bits",
        "how much of `dst_ip` counts, of an overflow aggregate",
        "destinationIPv4PrefixLength (13), destinationIPv6PrefixLength (30)",
    ),
    ("src_port", "", "of the {}: TCP, UDP, UDP-Lite, SCTP, DCCP", "sourceTransportPort (7)"),
    ("dst_port", "", "of the {}: TCP, UDP, UDP-Lite, SCTP, DCCP", "destinationTransportPort (11)"),
    ("icmp_type", "", "of the first packet", "icmpTypeCodeIPv4 (32), icmpTypeCodeIPv6 (139)"),
    ("icmp_code", "", "of the first packet", "icmpTypeCodeIPv4 (32), icmpTypeCodeIPv6 (139)"),
    ("src_mac", "", "of the {}, in the first packet", "sourceMacAddress (56)"),
    ("dst_mac", "", "of the {}, in the first packet", "destinationMacAddress (80)"),
    ("vlan", "", "outermost first, three at most", "dot1qVlanId (243), dot1qCustomerVlanId (245)"),
    (
        "mpls",
        "",
        "labels, outermost first",
        "mplsTopLabelStackSection (70) to mplsLabelStackSection9 (78)",
    ),
    (
        "tunnel",
        "",
        "the innermost one that was taken off",
        "flowtapTunnelType, -Source, -Destination, -Id (17 to 20, own)",
    ),
    ("*_packets", "packets", "sent by the {}", "packetDeltaCount (2)"),
    ("*_bytes", "bytes", "IP length, sent by the {}", "octetDeltaCount (1)"),
    ("*_frame_bytes", "bytes", "frames, sent by the {}", "layer2OctetDeltaCount (352)"),
    (
        "*_payload_bytes",
        "bytes",
        "above the transport header, sent by the {}",
        "transportOctetDeltaCount (401)",
    ),
    (
        "*_fragments",
        "packets",
        "later fragments among the packets of the {}",
        "flowtapFragments (8, own)",
    ),
    ("*_tcp_flags", "", "all flag bytes of the {}, or-ed", "tcpControlBits (6)"),
    (
        "tcp_state",
        "",
        "`established`, `half_open`, `closed`, `reset` or `midstream`",
        "flowtapTcpState (2, own)",
    ),
    ("rtt_server_ns", "ns", "from SYN to SYN/ACK", "flowtapRttServer (3, own)"),
    ("rtt_client_ns", "ns", "from SYN/ACK to ACK", "flowtapRttClient (4, own)"),
    ("*_retransmits", "segments", "sent again by the {}", "flowtapRetransmits (5, own)"),
    (
        "*_out_of_order",
        "segments",
        "of the {} that came out of order",
        "flowtapOutOfOrder (6, own)",
    ),
    ("*_zero_windows", "segments", "in which the {} had no room", "flowtapZeroWindows (7, own)"),
    ("*_ttl_min", "", "lowest TTL or hop limit of the {}", "minimumTTL (52)"),
    ("*_ttl_max", "", "highest TTL or hop limit of the {}", "maximumTTL (53)"),
    ("*_dscp", "", "DSCP of the first packet of the {}", "ipDiffServCodePoint (195)"),
    ("*_length_min", "bytes", "shortest IP length of the {}'s packets; extended set", ""),
    ("*_length_max", "bytes", "longest IP length of the {}'s packets; extended set", ""),
    ("*_length_mean", "bytes", "mean IP length of the {}'s packets; extended set", ""),
    ("*_length_stddev", "bytes", "standard deviation of these lengths; extended set", ""),
    (
        "*_length_histogram",
        "packets",
        "of the {} up to 15, 31, 63, 127, 255, 511, 1,023 bytes, and more; extended set",
        "",
    ),
    ("*_interarrival_min_ns", "ns", "least time between packets of the {}; extended set", ""),
    ("*_interarrival_max_ns", "ns", "longest time between packets of the {}; extended set", ""),
    ("*_interarrival_mean_ns", "ns", "mean time between packets of the {}; extended set", ""),
    ("*_interarrival_stddev_ns", "ns", "standard deviation of these times; extended set", ""),
    (
        "*_interarrival_histogram",
        "gaps",
        "between packets of the {}, up to 15, 31 … 1,023 ms, and more; extended set",
        "",
    ),
    ("end_reason", "", "`idle`, `active`, `end`, `forced` or `resources`", "flowEndReason (136)"),
    (
        "app",
        "",
        "what the flow speaks, or what its port is for",
        "applicationName (96), if there are own ones",
    ),
    ("app_source", "", "`payload`: it was seen in the flow; `port`", "flowtapAppSource (24, own)"),
    ("sni", "", "server name in TLS or QUIC", "flowtapSni (9, own)"),
    ("alpn", "", "protocol offered in TLS or QUIC", "flowtapAlpn (10, own)"),
    ("ja4", "", "JA4 fingerprint of the client", "flowtapJa4 (11, own)"),
    ("tls_version", "", "version that the TLS or QUIC server chose", "flowtapTlsVersion (21, own)"),
    (
        "tls_cipher",
        "",
        "cipher suite that it chose, by IANA's name, or in hex",
        "flowtapTlsCipher (22, own)",
    ),
    (
        "ech",
        "",
        "`true`: the ClientHello has an encrypted one in it, or what looks like one; `sni` is public",
        "flowtapEch (23, own)",
    ),
    (
        "cert_subject",
        "",
        "for whom the server's certificate is, as it claims; up to TLS 1.2",
        "flowtapCertSubject (25, own)",
    ),
    (
        "cert_name",
        "",
        "first DNS name in that certificate, or else its common name",
        "flowtapCertName (26, own)",
    ),
    ("http_host", "", "host in HTTP/1", "flowtapHttpHost (12, own)"),
    (
        "http_user_agent",
        "",
        "User-Agent of the same request: what the client says that it is",
        "flowtapHttpUserAgent (28, own)",
    ),
    ("name", "", "best name of the responder", "flowtapName (13, own)"),
    ("name_source", "", "where `name` is from", "flowtapNameSource (14, own)"),
    ("name_age_ns", "ns", "age of the DNS answer when the flow began", "flowtapNameAge (15, own)"),
    (
        "name_doubt",
        "",
        "why it may be another's: `stale`, `other_client` or `ambiguous`",
        "flowtapNameDoubt (16, own)",
    ),
    (
        "*_device",
        "",
        "which local host the {} is: `mac`, `vendor`, `hostname`, `source` of what is known",
        "flowtapDevice (27, own)",
    ),
    (
        "sampling",
        "",
        "the record is of one in so many",
        "samplingPacketSpace (306), samplingFlowSpacing (397)",
    ),
    ("sampling_unit", "", "`flow` or `packet`", ""),
];

/// All fields, in their order.
#[must_use]
pub fn fields() -> Vec<Description> {
    kinds(FeaturesSet::Extended).into_iter().map(|(name, kind)| describe(name, kind)).collect()
}

/// All fields as a table in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = "| field | type | unit | meaning | IPFIX | Zeek | EVE |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_owned();
    for field in fields() {
        let Description { name, kind, unit, meaning, ipfix, zeek, eve } = field;
        let (unit, ipfix) = (unit.unwrap_or_default(), ipfix.unwrap_or_default());
        let (zeek, eve) = (zeek.unwrap_or_default(), eve.unwrap_or_default());
        writeln!(text, "| `{name}` | {kind} | {unit} | {meaning} | {ipfix} | {zeek} | {eve} |")
            .expect("a string takes anything");
    }
    text
}

fn describe(name: &'static str, kind: Kind) -> Description {
    let (side, plain) = match name.split_once('_') {
        Some(("src", rest)) => (Some("initiator"), rest),
        Some(("dst", rest)) => (Some("responder"), rest),
        _ => (None, name),
    };
    let is_of = |pattern: &str| match (side, pattern.strip_prefix("*_")) {
        (Some(_), Some(pattern)) => pattern == plain,
        _ => pattern == name,
    };
    let words = WORDS.iter().find(|words| is_of(words.0)).copied();
    let (pattern, unit, meaning, element) = words.unwrap_or_default();
    let is_reverse = pattern.starts_with('*') && side == Some("responder");
    let reverse = if is_reverse && !element.is_empty() { "reverse " } else { "" };
    let ipfix = format!("{reverse}{element}");
    let [zeek, eve] = names_of(name);
    Description {
        name,
        kind: shown(kind),
        unit: Some(unit).filter(|unit| !unit.is_empty()),
        meaning: meaning.replace("{}", side.unwrap_or_default()),
        ipfix: Some(ipfix).filter(|ipfix| !ipfix.is_empty()),
        zeek,
        eve,
    }
}

fn shown(kind: Kind) -> &'static str {
    match kind {
        Kind::Number => "integer",
        Kind::Word => "string, 16 hex digits",
        Kind::Flag => "boolean",
        Kind::Text => "string",
        Kind::Mac => "string, MAC address",
        Kind::Address => "string, RFC 5952",
        Kind::Time => "string, RFC 3339, UTC, nanoseconds",
        Kind::Vlans | Kind::Mpls | Kind::Counts => "array of integer",
        Kind::Decimal => "number with three decimals",
        Kind::Tunnel | Kind::Device => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_words() {
        let without: Vec<_> =
            fields().into_iter().filter(|field| field.meaning.is_empty()).collect();
        assert!(without.is_empty(), "{without:#?}");
    }

    #[test]
    fn sides_have_elements_of_their_own() {
        let ipfix = |name: &str| {
            let fields = fields().into_iter();
            fields.filter(|field| field.name == name).find_map(|field| field.ipfix)
        };
        assert_eq!(ipfix("src_packets").as_deref(), Some("packetDeltaCount (2)"));
        assert_eq!(ipfix("dst_packets").as_deref(), Some("reverse packetDeltaCount (2)"));
        assert_eq!(ipfix("dst_port").as_deref(), Some("destinationTransportPort (11)"));
    }
}

//! What payloads say: the words between parsers, which know protocols and no tables, and
//! tables, which know no protocols.

use std::net::IpAddr;

/// One thing that a payload, or several of one flow, said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Of the flow itself.
    Flow(FlowFact),
    /// Of other addresses, by a name service.
    Dns(DnsMessage),
}

/// What a flow said of itself. All text is as it came, valid UTF-8, and bounded in length; whoever
/// shows it escapes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowFact {
    /// Server name of a TLS ClientHello over TCP (RFC 6066 section 3).
    Sni(Box<str>),
    /// The same over QUIC (RFC 9001).
    QuicSni(Box<str>),
    /// The first protocol that a ClientHello offered (RFC 7301).
    Alpn(Box<str>),
    /// JA4 fingerprint of a ClientHello.
    Ja4(Box<str>),
    /// Host that the flow's first HTTP/1 request asked for (RFC 9112 section 3.2).
    HttpHost(Box<str>),
    /// User-Agent of that request.
    UserAgent(Box<str>),
}

/// By which protocol a name was learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameService {
    /// Unicast DNS (RFC 1035).
    Dns,
    /// Multicast DNS (RFC 6762).
    Mdns,
    /// Link-local multicast name resolution (RFC 4795).
    Llmnr,
    /// NetBIOS name service (RFC 1002).
    Nbns,
}

/// A message of a name service: a question, or the answer to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsMessage {
    /// The protocol.
    pub service: NameService,
    /// Transaction identifier.
    pub id: u16,
    /// Whether it answers.
    pub is_response: bool,
    /// Response code, the extended bits of EDNS included (RFC 6891).
    pub rcode: u16,
    /// Whether the sender had to leave out answers.
    pub is_truncated: bool,
    /// Name and type of the first question, lower case, without the last dot.
    pub question: Option<(Box<str>, u16)>,
    /// Addresses and the names that were asked to get them, CNAME and DNAME chains followed.
    pub answers: Vec<DnsAnswer>,
}

/// One address that an answer gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsAnswer {
    /// The name that was asked, lower case, without the last dot: the owner of the record if no
    /// chain leads from the question to it.
    pub name: Box<str>,
    /// The address.
    pub address: IpAddr,
    /// The least time to live on the way to it, in seconds.
    pub ttl_seconds: u32,
}

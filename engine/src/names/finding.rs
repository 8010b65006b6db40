//! What payloads say: the words between parsers, which know protocols and no tables, and
//! tables, which know no protocols.

use std::net::IpAddr;

use crate::names::App;

/// One thing that a payload, or several of one flow, said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Of the flow itself.
    Flow(FlowFact),
    /// Of other addresses, by a name service.
    Dns(DnsMessage),
    /// Of one host on its own network.
    Host(HostHint),
}

impl Finding {
    /// The message of a name service, if it is one.
    pub(super) fn as_dns(&self) -> Option<&DnsMessage> {
        match self {
            Self::Dns(message) => Some(message),
            Self::Flow(_) | Self::Host(_) => None,
        }
    }
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
    /// Server name of an old Google QUIC handshake, which is not TLS.
    GquicSni(Box<str>),
    /// A ClientHello has an encrypted one in it (extension 0xfe0d, of type outer), so that its
    /// server name is the public one, of a front. Clients that have no key of the server send an
    /// extension of the same form that means nothing, so that nobody can tell (RFC 9849 section
    /// 6.2): then the server name is the one that is meant.
    EncryptedHello,
    /// What it speaks.
    App(App),
    /// The TLS version that the server chose, as on the wire: 0x0304 is TLS 1.3.
    TlsVersion(u16),
    /// The cipher suite that the server chose, as the IANA numbers them.
    TlsCipher(u16),
    /// For whom the server's certificate is: its whole subject.
    CertSubject(Box<str>),
    /// The first DNS name in the server's certificate, or else its common name.
    CertName(Box<str>),
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

impl NameService {
    const ALL: [Self; 4] = [Self::Dns, Self::Mdns, Self::Llmnr, Self::Nbns];

    /// The one that records call so.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// As records have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Mdns => "mdns",
            Self::Llmnr => "llmnr",
            Self::Nbns => "nbns",
        }
    }
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
    /// Addresses of names to which nothing leads from the question.
    pub unasked: u32,
    /// Of multicast services: names of further questions, or those that records answer.
    pub other_names: Vec<Box<str>>,
    /// What only a log of transactions wants, if there is one.
    pub detail: Option<Box<DnsDetail>>,
}

/// What a message has beside what names addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsDetail {
    /// The second word of the header: flags and codes (RFC 1035 section 4.1.1).
    pub flags: u16,
    /// Class of the first question.
    pub question_class: Option<u16>,
    /// All records but those of EDNS, as far as they are whole.
    pub records: Vec<DnsRecord>,
}

/// One record of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsRecord {
    /// Where it stood.
    pub section: DnsSection,
    /// Its owner, lower case, without the last dot.
    pub name: Box<str>,
    /// Its type.
    pub kind: u16,
    /// Time to live, in seconds.
    pub ttl_seconds: u32,
    /// Its data as in master files, bounded in length; names without the last dot, and what has
    /// no form here by RFC 3597 section 5.
    pub data: Box<str>,
}

/// A section of a message (RFC 1035 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsSection {
    /// What answers the question.
    Answer,
    /// What speaks for a zone.
    Authority,
    /// What may be asked next.
    Additional,
}

/// One address that an answer gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsAnswer {
    /// The name that was asked, lower case, without the last dot: the owner of the record if that
    /// is where what was asked for is found (a mail or name server), or by mDNS. For a PTR record
    /// it is what the address points to.
    pub name: Box<str>,
    /// The owner of the address record, if that is another name at the end of a chain.
    pub owner: Option<Box<str>>,
    /// The address.
    pub address: IpAddr,
    /// The least time to live on the way to it, in seconds.
    pub ttl_seconds: u32,
    /// How the question led to it.
    pub way: AnswerWay,
}

impl DnsMessage {
    /// Whether one of its answers is a host's word that it is so no longer (RFC 6762 section 10.1).
    pub(super) fn takes_back(&self, answer: &DnsAnswer) -> bool {
        self.service == NameService::Mdns && answer.ttl_seconds == 0
    }
}

/// How an answer has a name for an address, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnswerWay {
    /// The name was asked, or is a host's own word to all.
    Asked,
    /// It is a server's to which the asked name leads (NS, MX, SRV): whoever answers for the one
    /// says it of the other.
    Server,
    /// The address was asked for its name (PTR).
    Reverse,
}

/// What a host said of itself, or a server of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostHint {
    /// The host's MAC address, if the message names it.
    pub mac: Option<[u8; 6]>,
    /// Its IP address, if it has one by then.
    pub address: Option<IpAddr>,
    /// What was said.
    pub fact: HostFact,
}

/// One thing that is known of a host. All text is valid UTF-8, and bounded in length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostFact {
    /// Host name that it gave a DHCP server (option 12, RFC 2132 section 3.14).
    DhcpName(Box<str>),
    /// Full name of DHCP option 81 (RFC 4702), or of DHCPv6 option 39 (RFC 4704).
    DhcpFqdn(Box<str>),
    /// Vendor class of DHCP option 60, or of DHCPv6 option 16.
    DhcpVendor(Box<str>),
    /// The options that it asks a DHCP server for, in its order (option 55): what tells systems
    /// apart, as decimal numbers with commas.
    DhcpParameters(Box<str>),
    /// A DHCP server gave it the address beside this fact.
    DhcpAddress,
    /// It asked for a neighbour, or told all, by ARP, and says that it has the address beside this
    /// fact.
    ArpAddress,
    /// System name that it gave its neighbours by LLDP (IEEE 802.1AB section 8.5.6).
    LldpName(Box<str>),
    /// Device identifier that it gave its neighbours by CDP.
    CdpName(Box<str>),
    /// A NetBIOS name of its own (RFC 1002 sections 4.2.2 and 4.2.18), without its suffix.
    NetbiosName(Box<str>),
    /// First line of an SSH server or client (RFC 4253 section 4.2).
    SshBanner(Box<str>),
    /// SERVER header of an SSDP message.
    SsdpServer(Box<str>),
    /// USN header of an SSDP message.
    SsdpUsn(Box<str>),
}

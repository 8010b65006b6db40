//! Applications: what a flow was seen to speak, or else what its port is for.

mod ports;

pub use self::ports::by_ports;

use crate::names::{HostFact, NameService};

/// What a flow was seen to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum App {
    /// TLS, which says nothing of what is in it.
    Tls,
    /// TLS that offers HTTP.
    Https,
    /// QUIC.
    Quic,
    /// Google's QUIC, as it was before it had the handshake of TLS.
    Gquic,
    /// HTTP/1.
    Http,
    /// DNS.
    Dns,
    /// Multicast DNS.
    Mdns,
    /// Link-local multicast name resolution.
    Llmnr,
    /// NetBIOS name service.
    Nbns,
    /// DHCP.
    Dhcp,
    /// DHCP for IPv6.
    DhcpV6,
    /// What UPnP finds devices by.
    Ssdp,
    /// SSH.
    Ssh,
    /// SMTP, whether it goes on in TLS or not; so are the three below.
    Smtp,
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// FTP's control connection.
    Ftp,
}

impl App {
    const ALL: [Self; 17] = [
        Self::Tls,
        Self::Https,
        Self::Quic,
        Self::Gquic,
        Self::Http,
        Self::Dns,
        Self::Mdns,
        Self::Llmnr,
        Self::Nbns,
        Self::Dhcp,
        Self::DhcpV6,
        Self::Ssdp,
        Self::Ssh,
        Self::Smtp,
        Self::Imap,
        Self::Pop3,
        Self::Ftp,
    ];

    /// The one that records call so.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|app| app.name() == name)
    }

    /// Its name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Https => "https",
            Self::Quic => "quic",
            Self::Gquic => "gquic",
            Self::Http => "http",
            Self::Dns => "dns",
            Self::Mdns => "mdns",
            Self::Llmnr => "llmnr",
            Self::Nbns => "nbns",
            Self::Dhcp => "dhcp",
            Self::DhcpV6 => "dhcpv6",
            Self::Ssdp => "ssdp",
            Self::Ssh => "ssh",
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Ftp => "ftp",
        }
    }

    /// What it is where the client offers `alpn` first: TLS that offers HTTP is [`App::Https`].
    pub(super) fn with_alpn(self, alpn: Option<&str>) -> Self {
        match self {
            Self::Tls if alpn.is_some_and(is_http) => Self::Https,
            other => other,
        }
    }

    /// What a message of a name service is of.
    pub(super) fn of_service(service: NameService) -> Self {
        match service {
            NameService::Dns => Self::Dns,
            NameService::Mdns => Self::Mdns,
            NameService::Llmnr => Self::Llmnr,
            NameService::Nbns => Self::Nbns,
        }
    }

    /// What said this of a host, where nothing else tells.
    pub(super) fn of_fact(fact: &HostFact) -> Option<Self> {
        match fact {
            HostFact::SshBanner(_) => Some(Self::Ssh),
            HostFact::NetbiosName(_) => Some(Self::Nbns),
            _ => None,
        }
    }
}

/// Whether a protocol of ALPN (RFC 7301) is HTTP.
fn is_http(alpn: &str) -> bool {
    matches!(alpn, "h2" | "http/1.1" | "http/1.0" | "http/0.9")
}

//! Where a collector is: `ipfix+tcp://HOST:PORT`, `ipfix+udp://[::1]:4739`, `ipfix+tls://HOST`,
//! `netflow9+udp://HOST`.

use std::fmt;

use crate::error::{Error, Result};
use crate::export::ipfix::Dialect;

/// The port that IANA has given IPFIX, over TCP and UDP (RFC 7011 section 10.3.4).
const PORT: u16 = 4_739;

/// The same over TLS.
const TLS_PORT: u16 = 4_740;

/// NetFlow's, by custom.
const NETFLOW_PORT: u16 = 2_055;

/// What messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 7011.
    Ipfix,
    /// RFC 3954.
    NetFlow9,
}

/// How messages get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// RFC 7011 section 10.4.
    Tcp,
    /// RFC 7011 section 10.3.
    Udp,
    /// RFC 7011 section 11.
    Tls,
}

/// A collector's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// What messages are.
    pub protocol: Protocol,
    /// How messages get there.
    pub transport: Transport,
    /// A name, or an address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Endpoint {
    /// What a URL means.
    ///
    /// # Errors
    /// If it is none of a collector.
    pub fn parse(url: &str) -> Result<Self> {
        let refuse = |cause: &str| {
            Err(Error::new(format!("output {url}"), cause).advise(
                "write ipfix+tcp://HOST:PORT, ipfix+tls://HOST, ipfix+udp://[::1]:4739 or \
                 netflow9+udp://HOST",
            ))
        };
        let (protocol, transport, place) = match url.split_once("://") {
            Some(("ipfix+tcp", place)) => (Protocol::Ipfix, Transport::Tcp, place),
            Some(("ipfix+udp", place)) => (Protocol::Ipfix, Transport::Udp, place),
            Some(("ipfix+tls", place)) => (Protocol::Ipfix, Transport::Tls, place),
            Some(("netflow9+udp", place)) => (Protocol::NetFlow9, Transport::Udp, place),
            _ => return refuse("unknown kind of collector"),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let default = match (protocol, transport) {
            (Protocol::NetFlow9, _) => NETFLOW_PORT,
            (Protocol::Ipfix, Transport::Tls) => TLS_PORT,
            (Protocol::Ipfix, Transport::Tcp | Transport::Udp) => PORT,
        };
        match host_and_port(place, default) {
            Ok((host, port)) => Ok(Self { protocol, transport, host: host.to_owned(), port }),
            Err(cause) => refuse(cause),
        }
    }

    /// How messages are written.
    pub(super) fn dialect(&self) -> Dialect {
        match self.protocol {
            Protocol::Ipfix => Dialect::Ipfix,
            Protocol::NetFlow9 => Dialect::NetFlow9,
        }
    }
}

/// `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`, without the brackets.
///
/// # Errors
/// If it is none of these, in words.
pub(in crate::export) fn host_and_port(
    place: &str,
    default: u16,
) -> std::result::Result<(&str, u16), &'static str> {
    let (host, port) = if let Some(literal) = place.strip_prefix('[') {
        let (host, rest) = literal.split_once(']').ok_or("a bracket is missing")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("not an IPv6 address");
        }
        (host, rest)
    } else {
        place.split_at(place.find(':').unwrap_or(place.len()))
    };
    let port = match port {
        "" => Some(default),
        port => port.strip_prefix(':').and_then(|port| port.parse().ok()),
    };
    match port {
        None | Some(0) => Err("not a port; an IPv6 address takes brackets"),
        Some(_) if host.is_empty() || host.contains(['/', '@', '?', '#']) => Err("not a host"),
        Some(port) => Ok((host, port)),
    }
}

/// The same as it stands in a URL.
pub(in crate::export) struct HostPort<'a>(pub(in crate::export) &'a str, pub(in crate::export) u16);

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
            Transport::Tls => "tls",
        };
        let protocol = match self.protocol {
            Protocol::Ipfix => "ipfix",
            Protocol::NetFlow9 => "netflow9",
        };
        write!(f, "{protocol}+{transport}://{}", HostPort(&self.host, self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_transport_host_and_port() {
        for (url, shown) in [
            ("ipfix+tcp://collector:9995", "ipfix+tcp://collector:9995"),
            ("ipfix+udp://192.0.2.1", "ipfix+udp://192.0.2.1:4739"),
            ("ipfix+udp://[::1]:4739/", "ipfix+udp://[::1]:4739"),
            ("ipfix+tcp://[2001:db8::1]", "ipfix+tcp://[2001:db8::1]:4739"),
            ("ipfix+tls://collector", "ipfix+tls://collector:4740"),
            ("netflow9+udp://collector", "netflow9+udp://collector:2055"),
            ("netflow9+udp://[::1]:9995", "netflow9+udp://[::1]:9995"),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().to_string(), shown);
        }
        for wrong in [
            "ipfix://host:1",
            "netflow+udp://host:1",
            "netflow9+tcp://host:1",
            "ipfix+tcp://",
            "ipfix+tcp://:4739",
            "ipfix+tcp://host:0",
            "ipfix+tcp://host:65536",
            "ipfix+tcp://host:",
            "ipfix+tcp://::1:4739",
            "ipfix+tcp://[::1",
            "ipfix+tcp://[::1]4739",
            "ipfix+tcp://[host]:1",
            "ipfix+tcp://user@host:1",
            "ipfix+tcp://host/path",
        ] {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
        }
    }
}

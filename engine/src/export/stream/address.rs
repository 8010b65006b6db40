//! Where messages go: `nats://HOST[:PORT][,HOST[:PORT]…]/SUBJECT`, `nats+tls://HOST/SUBJECT`.

use std::fmt;

use crate::error::{Error, Result};
use crate::export::collector::{HostPort, host_and_port};

/// NATS's port, by custom.
const NATS_PORT: u16 = 4_222;

/// What keeps the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    /// NATS JetStream.
    Nats,
}

/// A broker's address, and what messages are called there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// What it is.
    pub broker: Broker,
    /// Whether it is spoken to over TLS.
    pub is_tls: bool,
    /// Names, or addresses without brackets, with their ports: of servers that stand for each other.
    pub hosts: Vec<(String, u16)>,
    /// The subject, in which `{host}` and `{interface}` may stand.
    pub subject: String,
}

impl Address {
    /// Whether a URL is one of a broker.
    #[must_use]
    pub fn is_one(url: &str) -> bool {
        url.starts_with("nats://") || url.starts_with("nats+tls://")
    }

    /// What a URL means.
    ///
    /// # Errors
    /// If it is none of a broker.
    pub fn parse(url: &str) -> Result<Self> {
        let advice = "write nats://HOST/SUBJECT, nats+tls://HOST:4222/SUBJECT or \
                      nats://HOST,HOST/flows.{host}.{interface}";
        let refuse = |cause: &str, advice: &str| Err(Error::new(shown(url), cause).advise(advice));
        let (is_tls, place) = match url.split_once("://") {
            Some(("nats", place)) => (false, place),
            Some(("nats+tls", place)) => (true, place),
            _ => return refuse("unknown kind of broker", advice),
        };
        let (servers, subject) = place.split_once('/').unwrap_or((place, ""));
        if servers.contains('@') {
            // What stands in an argument can be seen by everybody on this machine.
            return refuse(
                "a user or a password has no place in it",
                "write them into a file for --nats-creds",
            );
        }
        let host = |place: &str| {
            host_and_port(place, NATS_PORT).map(|(host, port)| (host.to_owned(), port))
        };
        let hosts = match servers.split(',').map(host).collect() {
            Ok(hosts) => hosts,
            Err(cause) => return refuse(cause, advice),
        };
        if let Err(cause) = check_subject(subject) {
            return refuse(cause, advice);
        }
        Ok(Self { broker: Broker::Nats, is_tls, hosts, subject: subject.to_owned() })
    }

    /// The names of the servers, for messages.
    #[must_use]
    pub fn servers(&self) -> String {
        let names: Vec<_> = self.hosts.iter().map(|(host, _)| host.as_str()).collect();
        names.join(", ")
    }
}

/// What was tried; without a password that somebody has put there all the same.
fn shown(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((kind, _)), Some((_, rest))) => format!("output {kind}://…@{rest}"),
        _ => format!("output {url}"),
    }
}

/// What the `{…}` of a subject stand for, of one record.
pub(super) fn subject(pattern: &str, host: &str, interface: Option<&str>) -> String {
    // Of a file that is read, its name.
    let interface = interface.map(|name| name.rsplit('/').next().unwrap_or(name));
    pattern
        .replace("{host}", &token(host))
        .replace("{interface}", &token(interface.unwrap_or_default()))
}

/// A name as one token of a subject: dots would make several of it.
fn token(name: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let plain = |letter: char| if is_plain(letter) { letter } else { '_' };
    if name.is_empty() { "_".to_owned() } else { name.chars().map(plain).collect() }
}

/// Sees that messages can be published to it.
fn check_subject(pattern: &str) -> std::result::Result<(), &'static str> {
    let subject = subject(pattern, "host", Some("interface"));
    let is_odd = |letter: char| letter.is_whitespace() || letter.is_control();
    if subject.is_empty() {
        Err("no subject")
    } else if subject.contains(['{', '}']) {
        Err("braces hold host or interface, and nothing else")
    } else if subject.contains(is_odd) || subject.contains(['/', '*', '>']) {
        Err("not a subject to publish to: no blanks, slashes, * and >")
    } else if subject.split('.').any(str::is_empty) {
        Err("not a subject: something has to stand between its dots")
    } else if subject.starts_with('$') || subject.starts_with("_INBOX.") {
        Err("not a subject for records: the server has its own use for it")
    } else {
        Ok(())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { broker: Broker::Nats, is_tls, hosts, subject } = self;
        f.write_str(if *is_tls { "nats+tls://" } else { "nats://" })?;
        for (idx, (host, port)) in hosts.iter().enumerate() {
            write!(f, "{}{}", if idx > 0 { "," } else { "" }, HostPort(host, *port))?;
        }
        write!(f, "/{subject}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_servers_and_subject() {
        for (url, shown) in [
            ("nats://server/flows", "nats://server:4222/flows"),
            ("nats://192.0.2.1:9/a.b-c_d", "nats://192.0.2.1:9/a.b-c_d"),
            ("nats+tls://[::1]/flows", "nats+tls://[::1]:4222/flows"),
            ("nats://a,[2001:db8::1]:9,c:1/x", "nats://a:4222,[2001:db8::1]:9,c:1/x"),
            ("nats://a/flows.{host}.{interface}", "nats://a:4222/flows.{host}.{interface}"),
        ] {
            assert_eq!(Address::parse(url).unwrap().to_string(), shown);
        }
        for wrong in [
            "nats://server",
            "nats://server/",
            "nats:///flows",
            "nats://a,/flows",
            "nats://server:0/flows",
            "nats://server:4222x/flows",
            "nats://::1/flows",
            "nats+udp://server/flows",
            "nats://server/a.*",
            "nats://server/a.>",
            "nats://server/a b",
            "nats://server/a/b",
            "nats://server/a..b",
            "nats://server/.a",
            "nats://server/a.",
            "nats://server/$JS.API",
            "nats://server/{iface}",
            "nats://server/{host",
        ] {
            let error = Address::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("nats://HOST/SUBJECT"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_shown() {
        let error = Address::parse("nats://user:secret@server/flows").unwrap_err().to_string();
        assert!(error.contains("--nats-creds") && error.contains("server/flows"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn names_are_one_token_each() {
        for (interface, made) in [
            (Some("eth0.100"), "f.my_host.eth0_100"),
            (Some("/data/a b.pcap"), "f.my_host.a_b_pcap"),
            (Some("{host}>*"), "f.my_host._host___"),
            (Some("ä"), "f.my_host._"),
            (None, "f.my_host._"),
        ] {
            assert_eq!(subject("f.{host}.{interface}", "my.host", interface), made);
        }
    }
}

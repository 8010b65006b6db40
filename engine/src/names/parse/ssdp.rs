//! SSDP (UPnP Device Architecture 2.0 section 1): what devices say of themselves to all.

use std::net::IpAddr;

use super::text::text;
use crate::names::{HostFact, HostHint};

/// Header fields that are read. A message with more is left out.
const FIELDS: usize = 64;

/// Whether it is a message of SSDP: one that tells, one that asks, or an answer.
pub(crate) fn is_message(bytes: &[u8]) -> bool {
    [&b"NOTIFY * HTTP/1.1\r\n"[..], b"M-SEARCH * HTTP/1.1\r\n", b"HTTP/1.1 200 "]
        .iter()
        .any(|line| bytes.starts_with(line))
}

/// What `sender` says of itself in a NOTIFY, or in its answer to a search. A search says nothing.
pub(crate) fn parse(bytes: &[u8], sender: IpAddr) -> Vec<HostHint> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let is_notify = bytes.starts_with(b"NOTIFY ") && request.parse(bytes).is_ok();
    if !is_notify {
        fields = [httparse::EMPTY_HEADER; FIELDS];
        if httparse::Response::new(&mut fields).parse(bytes).is_err() {
            return Vec::new();
        }
    }
    let hint = |name: &str, fact: fn(Box<str>) -> HostFact| {
        let field = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        let value = field.value.trim_ascii();
        let fact = (!value.is_empty()).then(|| fact(text(value)))?;
        Some(HostHint { mac: None, address: Some(sender), fact })
    };
    [hint("server", HostFact::SsdpServer), hint("usn", HostFact::SsdpUsn)]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_say_what_they_are() {
        let sender = IpAddr::from([192, 0, 2, 1]);
        let facts = |message: &str| -> Vec<HostFact> {
            parse(message.as_bytes(), sender).into_iter().map(|hint| hint.fact).collect()
        };
        let fields = "Server: Linux UPnP/1.0 box/7\r\nUSN: uuid:1::upnp:rootdevice\r\n\r\n";
        let want = [
            HostFact::SsdpServer("Linux UPnP/1.0 box/7".into()),
            HostFact::SsdpUsn("uuid:1::upnp:rootdevice".into()),
        ];
        assert_eq!(facts(&format!("NOTIFY * HTTP/1.1\r\n{fields}")), want);
        assert_eq!(facts(&format!("HTTP/1.1 200 OK\r\n{fields}")), want);
        assert_eq!(facts(&format!("M-SEARCH * HTTP/1.1\r\n{fields}")), []);
    }
}

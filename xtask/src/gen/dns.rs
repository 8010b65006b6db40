//! DNS messages (RFC 1035): a question about a server's name and the answer to it, by way of
//! aliases where the server has some. Called by [`super::datagram`].

use std::net::IpAddr;

use super::host::Host;

const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: [u8; 2] = [0, 1];
const HEADER_LEN: u16 = 12;

/// A query for the A (or AAAA) record of the first name of `about`.
pub(crate) fn query(id: u16, about: Host, ipv6: bool) -> Vec<u8> {
    let mut message = header(id, [0x01, 0x00], 0);
    push_question(&mut message, about, ipv6);
    message
}

/// The answer to [`query`], with `ttl` seconds to live: CNAME records, then the address.
pub(crate) fn answer(id: u16, about: Host, ipv6: bool, ttl: u32) -> Vec<u8> {
    let names = about.names();
    let records = u16::try_from(names.len()).expect("a few names");
    let mut message = header(id, [0x81, 0x80], records);
    push_question(&mut message, about, ipv6);
    let mut owner_at = HEADER_LEN;
    for alias in &names[1..] {
        push_record(&mut message, owner_at, TYPE_CNAME, ttl, &encode(alias));
        let len = u16::try_from(message.len()).expect("a short message");
        owner_at = len - encoded_len(alias);
    }
    match about.ip(ipv6) {
        IpAddr::V4(ip) => push_record(&mut message, owner_at, TYPE_A, ttl, &ip.octets()),
        IpAddr::V6(ip) => push_record(&mut message, owner_at, TYPE_AAAA, ttl, &ip.octets()),
    }
    message
}

fn header(id: u16, flags: [u8; 2], answers: u16) -> Vec<u8> {
    let ([a, b], [c, d]) = (id.to_be_bytes(), answers.to_be_bytes());
    vec![a, b, flags[0], flags[1], 0, 1, c, d, 0, 0, 0, 0]
}

fn push_question(message: &mut Vec<u8>, about: Host, ipv6: bool) {
    message.extend_from_slice(&encode(&about.names()[0]));
    message.extend_from_slice(&if ipv6 { TYPE_AAAA } else { TYPE_A }.to_be_bytes());
    message.extend_from_slice(&CLASS_IN);
}

/// A record whose owner's name is the one at `owner_at` of the message.
fn push_record(message: &mut Vec<u8>, owner_at: u16, kind: u16, ttl: u32, data: &[u8]) {
    let len = u16::try_from(data.len()).expect("names and addresses are short");
    message.extend_from_slice(&(0xc000 | owner_at).to_be_bytes());
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&CLASS_IN);
    message.extend_from_slice(&ttl.to_be_bytes());
    message.extend_from_slice(&len.to_be_bytes());
    message.extend_from_slice(data);
}

fn encode(name: &str) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        encoded.push(u8::try_from(label.len()).expect("labels have at most 63 bytes"));
        encoded.extend_from_slice(label.as_bytes());
    }
    encoded.push(0);
    encoded
}

fn encoded_len(name: &str) -> u16 {
    u16::try_from(name.len() + 2).expect("names are short")
}

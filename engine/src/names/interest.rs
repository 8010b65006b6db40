//! What `rx` threads ask of a payload: may a parser of names have use for it?
//!
//! In constant time, and without memory: ports, and the first bytes. What it says yes to without
//! need costs a copy; what it says no to is lost for names.

use super::NameService;
use super::parse::{Read, dns, gquic, greeting, http, proxy, quic, ssh, tls};
use crate::decode::TUNNEL_PORTS;
use crate::flow::protocol::{TCP, UDP};
use crate::limits::{COPIED_BYTES, NAME_LOOKS, NAME_PAYLOADS, STREAM_PARTS, STREAM_PAYLOADS};

/// Well-known ports of what parsers read.
pub(super) mod port {
    pub(crate) const SSH: u16 = 22;
    pub(crate) const DNS: u16 = 53;
    pub(crate) const DHCP_SERVER: u16 = 67;
    pub(crate) const DHCP_CLIENT: u16 = 68;
    pub(crate) const NBNS: u16 = 137;
    pub(crate) const HTTPS: u16 = 443;
    pub(crate) const DHCP_V6_CLIENT: u16 = 546;
    pub(crate) const DHCP_V6_SERVER: u16 = 547;
    pub(crate) const SSDP: u16 = 1_900;
    pub(crate) const MDNS: u16 = 5_353;
    pub(crate) const LLMNR: u16 = 5_355;
}

/// Payloads of a direction within which its first may come, having been overtaken.
pub(super) const OVERTAKEN: u8 = 2;

/// Whether the parsers want this payload, the `nth_payload` of its direction of its flow (from 0),
/// which went from the first of `ports` to the second; `is_next` says that it is known to follow
/// the ones before it, and so has overtaken none.
///
/// Of TCP they also want what follows: once this says yes, as many of the next payloads of that
/// direction as [`follow_ups`] says, whatever they begin with. Of UDP each datagram is asked for by
/// itself.
#[must_use]
#[inline]
pub fn wants(protocol: u8, ports: [u16; 2], bytes: &[u8], nth_payload: u32, is_next: bool) -> bool {
    match protocol {
        UDP => udp(ports, bytes, nth_payload),
        TCP => tcp(ports, bytes, nth_payload, is_next),
        _ => false,
    }
}

/// How many payloads are wanted behind one that is not whole.
#[expect(clippy::cast_possible_truncation, reason = "it is small")]
const FOLLOW_UPS: u8 = (NAME_PAYLOADS - 1) as u8;

/// How many at most, where what is missing tells that there are more of them.
#[expect(clippy::cast_possible_truncation, reason = "it is small")]
const MOST_FOLLOW_UPS: u8 = (STREAM_PARTS - 1) as u8;

/// Bytes up to the end of nearly all heads of requests.
const HEAD_BYTES: usize = 1_024;

/// How many payloads are wanted behind one of TCP that is, so that there are [`NAME_PAYLOADS`] of
/// them, or more where a client sends less at once; none behind one in which all is that is read.
// Not inlined: it is asked of few payloads, and its code in the way of others cost them 5 instructions.
#[must_use]
#[inline(never)]
pub fn follow_ups(bytes: &[u8]) -> u8 {
    let mut bytes = &bytes[..bytes.len().min(COPIED_BYTES)];
    if beginning(bytes) == Some(Beginning::Proxy)
        && let Read::Done(length) = proxy::header_bytes(bytes)
    {
        bytes = &bytes[length..];
        if bytes.is_empty() {
            return 0;
        }
    }
    let (is_whole, message_bytes) = match beginning(bytes) {
        Some(Beginning::Tls) => (tls::is_whole(bytes), tls::hello_bytes(bytes)),
        Some(Beginning::Http) => (http::is_whole(bytes), Some(HEAD_BYTES)),
        Some(Beginning::Ssh) => (ssh::is_whole(bytes), None),
        // It is read by itself.
        Some(Beginning::Greeting) => (true, None),
        Some(Beginning::Proxy) | None => (false, None),
    };
    if is_whole {
        return 0;
    }
    let missing = message_bytes.unwrap_or_default().saturating_sub(bytes.len());
    let pieces = u8::try_from(missing.div_ceil(bytes.len().max(1))).unwrap_or(u8::MAX);
    pieces.clamp(FOLLOW_UPS, MOST_FOLLOW_UPS)
}

/// Whether nothing that is read follows in its direction, once all is there of what these bytes
/// begin.
#[inline]
pub(super) fn is_last_beginning(bytes: &[u8]) -> bool {
    matches!(beginning(bytes), Some(Beginning::Tls | Beginning::Ssh))
}

/// Whether these bytes greet, and a handshake may follow.
#[inline]
pub(super) fn is_greeting(bytes: &[u8]) -> bool {
    matches!(beginning(bytes), Some(Beginning::Greeting))
}

fn udp(ports: [u16; 2], bytes: &[u8], nth_payload: u32) -> bool {
    match service(ports) {
        Some(service) => !service.is_refused(bytes),
        None => {
            nth_payload < STREAM_PAYLOADS && (quic::may_begin(bytes) || gquic::may_begin(bytes))
        }
    }
}

/// Whether each packet between these ports may be of use, however many the flow has had: answers of
/// a name service, which come on one flow as long as somebody asks.
#[must_use]
pub fn is_service(protocol: u8, ports: [u16; 2]) -> bool {
    match protocol {
        UDP => service(ports).is_some(),
        TCP => ports.contains(&port::DNS),
        _ => false,
    }
}

/// What datagrams are by a well-known port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Of DNS, or one of its kin with the same messages.
    Dns(NameService),
    /// NetBIOS names.
    Nbns,
    /// DHCP.
    Dhcp,
    /// DHCPv6.
    DhcpV6,
    /// What UPnP finds devices by.
    Ssdp,
}

impl Service {
    /// Whether a datagram of which `bytes` were captured is none of its messages, as far as that
    /// shows at once.
    #[inline]
    pub(super) fn is_refused(self, bytes: &[u8]) -> bool {
        matches!(self, Self::Dns(_)) && !dns::may_be_message(bytes)
    }
}

/// The service of datagrams between these ports: DNS, whichever of them is its own, as the other may
/// be any; or else what they go to, or come from. What comes to or from [`port::HTTPS`] is QUIC.
#[inline]
pub(super) fn service([from, to]: [u16; 2]) -> Option<Service> {
    if from == port::DNS || to == port::DNS {
        return Some(Service::Dns(NameService::Dns));
    }
    if from == port::HTTPS || to == port::HTTPS {
        return None;
    }
    service_at(to).or(service_at(from))
}

#[inline]
fn service_at(port: u16) -> Option<Service> {
    let (its_port, service) = SERVICES[usize::from(port.to_le_bytes()[0])];
    if port == its_port { service } else { None }
}

/// Well-known ports of services, each in the place of its lower byte, which no other has.
static SERVICES: [(u16, Option<Service>); 256] = {
    let all = [
        (port::DNS, Service::Dns(NameService::Dns)),
        (port::MDNS, Service::Dns(NameService::Mdns)),
        (port::LLMNR, Service::Dns(NameService::Llmnr)),
        (port::NBNS, Service::Nbns),
        (port::DHCP_SERVER, Service::Dhcp),
        (port::DHCP_CLIENT, Service::Dhcp),
        (port::DHCP_V6_CLIENT, Service::DhcpV6),
        (port::DHCP_V6_SERVER, Service::DhcpV6),
        (port::SSDP, Service::Ssdp),
    ];
    let mut services = [(0, None); 256];
    let mut idx = 0;
    while idx < all.len() {
        let (port, service) = all[idx];
        let place = &mut services[port.to_le_bytes()[0] as usize];
        assert!(place.1.is_none(), "two services with the same lower byte");
        *place = (port, Some(service));
        idx += 1;
    }
    services
};

/// By the lower byte of a port of a service or of a tunnel, its upper byte, which is never
/// [`NO_UPPER`].
static UPPER: [u8; 256] = {
    let mut upper = [NO_UPPER; 256];
    let mut lower = 0;
    while lower < upper.len() {
        let (port, service) = SERVICES[lower];
        if service.is_some() {
            upper[lower] = port.to_le_bytes()[1];
            assert!(upper[lower] != NO_UPPER, "a port that says nothing");
        }
        lower += 1;
    }
    let mut idx = 0;
    while idx < TUNNEL_PORTS.len() {
        let [lower, its_upper] = TUNNEL_PORTS[idx].to_le_bytes();
        let is_told = upper[lower as usize] == NO_UPPER && its_upper != NO_UPPER;
        assert!(is_told, "another has the same lower byte, or the port says nothing");
        upper[lower as usize] = its_upper;
        idx += 1;
    }
    upper
};
const NO_UPPER: u8 = u8::MAX;

/// Whether a datagram between ports with these bytes, the lower ones first, of which `bytes` were
/// captured, may be of use, or what is in it: of nearly all that are not this says no.
#[inline]
pub(super) fn may_want_datagram([from, to]: [[u8; 2]; 2], bytes: &[u8]) -> bool {
    let is_likely = |[lower, upper]: [u8; 2]| UPPER[usize::from(lower)] == upper;
    is_likely(from) | is_likely(to) || quic::seems_to_begin(bytes) | gquic::seems_to_begin(bytes)
}

#[inline]
fn tcp([from, to]: [u16; 2], bytes: &[u8], nth_payload: u32, is_next: bool) -> bool {
    if from == port::DNS || to == port::DNS {
        return true;
    }
    if nth_payload >= OVERTAKEN.into() {
        // Behind a greeting.
        return nth_payload < NAME_LOOKS && begins_tls(bytes);
    }
    match beginning(bytes) {
        Some(_) => true,
        None if from == port::SSH && ssh::is_behind_lines(bytes) => true,
        None if bytes.len() < BEGINNING_BYTES => nth_payload == 0,
        None => !is_next,
    }
}

/// What a stream may begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// A TLS record with a handshake message.
    Tls,
    /// An HTTP/1 request.
    Http,
    /// An SSH banner.
    Ssh,
    /// What a mail or FTP server says first, or its client.
    Greeting,
    /// What a load balancer says of whom it passes on.
    Proxy,
}

/// So many bytes tell.
pub(super) const BEGINNING_BYTES: usize = 4;

/// Types of TLS records (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;

#[inline]
fn begins_tls(stream: &[u8]) -> bool {
    // Some servers warn that they do not know the name before they say anything else.
    matches!(stream, [HANDSHAKE, 3, 0..=4, _, ..] | [ALERT, 3, 0..=4, 0, 2, 1, ..])
}

/// Whether anything that is read begins with this byte. Most payloads of a flow that is under way
/// begin nothing, and nearly all of those are told by this.
static IS_FIRST: [bool; 256] = {
    let mut is_first = [false; 256];
    is_first[HANDSHAKE as usize] = true;
    is_first[ALERT as usize] = true;
    is_first = with_firsts(is_first, &http::METHODS);
    is_first = with_firsts(is_first, &[ssh::BEGINNING]);
    is_first = with_firsts(is_first, &proxy::BEGINNINGS);
    with_firsts(is_first, &greeting::BEGINNINGS)
};

/// The same table with the first byte of each of these.
const fn with_firsts(mut is_first: [bool; 256], beginnings: &[&[u8; 4]]) -> [bool; 256] {
    let mut idx = 0;
    while idx < beginnings.len() {
        is_first[beginnings[idx][0] as usize] = true;
        idx += 1;
    }
    is_first
}

/// Whether a stream that begins with this byte may begin something that is read.
#[inline]
pub(super) fn may_begin(first: u8) -> bool {
    IS_FIRST[usize::from(first)]
}

/// What `stream` may begin with.
#[inline]
pub(super) fn beginning(stream: &[u8]) -> Option<Beginning> {
    match stream.first_chunk::<BEGINNING_BYTES>()? {
        [first, ..] if !may_begin(*first) => None,
        _ if begins_tls(stream) => Some(Beginning::Tls),
        _ if http::may_begin(stream) => Some(Beginning::Http),
        _ if ssh::may_begin(stream) => Some(Beginning::Ssh),
        _ if greeting::may_begin(stream) => Some(Beginning::Greeting),
        _ if proxy::may_begin(stream) => Some(Beginning::Proxy),
        // The same first byte as the PROXY protocol's.
        _ if http::may_begin_behind_line(stream) => Some(Beginning::Http),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_hides_nothing_that_is_read() {
        let words = http::METHODS.iter().chain(&greeting::BEGINNINGS).chain(&proxy::BEGINNINGS);
        let words = words.chain([&ssh::BEGINNING]);
        assert!(words.copied().all(|word| beginning(word).is_some()));
        assert!(
            [&[22, 3, 1, 2][..], &[21, 3, 3, 0, 2, 1]].map(beginning).iter().all(Option::is_some)
        );
        assert_eq!([&b"\xff\0\0\0"[..], b"\x17\x03\x03\0"].map(beginning), [None; 2]);
    }

    #[test]
    fn what_says_names_is_wanted() {
        let tcp = |bytes: &[u8], nth| wants(TCP, [40_000, 9_999], bytes, nth, true);
        assert!(tcp(b"\x16\x03\x01\x02\x00\x01", 0) && tcp(b"\x16\x03\x03\x02\x00\x01", 15));
        assert!(!tcp(b"\x16\x03\x01\x02\x00\x01", 16));
        assert!(tcp(b"\x15\x03\x03\0\x02\x01\x70", 0) && !tcp(b"\x15\x03\x03\0\x02\x02\x28", 0));
        assert!(tcp(b"GET / HTTP/1.1", 0) && !tcp(b"GET / HTTP/1.1", 2) && tcp(b"SSH-2.0-x", 0));
        for method in ["MERGE", "VERSION-CONTROL", "MKCALENDAR", "BPROPFIND", "RPC_IN_DATA"] {
            assert!(tcp(format!("{method} /x HTTP/1.1").as_bytes(), 0), "{method}");
        }
        assert!(tcp(b"\r\nGET / HTTP/1.1", 0) && !tcp(b"\r\nGE", 0) && !tcp(b"\r\nhello", 0));
        assert!(tcp(b"G", 0) && !tcp(b"G", 1), "too little to tell");
        assert!(!tcp(b"HTTP/1.1 200 OK", 0));
        let lines = b"Welcome\r\nSSH-2.0-x\r\n";
        assert!(!tcp(lines, 0) && wants(TCP, [22, 40_000], lines, 0, true));
        assert!(!wants(TCP, [22, 40_000], &lines[..9], 0, true));
        for greeting in [b"220 mail", b"* OK hi ", b"+OK hi  ", b"EHLO me ", b"AUTH TLS"] {
            assert!(tcp(greeting, 0) && !tcp(greeting, 2));
            assert_eq!(follow_ups(greeting), 0);
        }
        assert_eq!(follow_ups(b"\x16\x03\x01\x02"), FOLLOW_UPS);
        let hello = |bytes: usize| {
            let mut begun = b"\x16\x03\x01\x02\x00\x01\x00\x01\xf7".to_vec();
            begun.resize(bytes, 0);
            follow_ups(&begun)
        };
        assert_eq!([9, 40, 70, 300, 511].map(hello), [15, 12, 7, FOLLOW_UPS, FOLLOW_UPS]);
        assert_eq!(follow_ups(b"\x16\x03\x03\x02\x00\x02\x00\x01\xf7"), FOLLOW_UPS, "a server");
        let server = |segment: usize, hello: &[u8]| {
            let certificate = [&b"\x0b\0\x20\x09\0\x20\x06\0\x20\0"[..], &[0; 8_000]].concat();
            follow_ups(&[hello, &certificate].concat()[..segment])
        };
        let hello = |[high, low]: [u8; 2]| {
            [&[22, 3, 3, high, low, 2, 0, 0, 0x28, 3, 3], &[0; 38][..]].concat()
        };
        let (alone, together) =
            ([&hello([0, 44])[..], b"\x16\x03\x03\x20\x0d"].concat(), hello([0x20, 0x39]));
        for hello in [&alone, &together] {
            let pieces = [58, 536, 1_400, 2_800, 4_096].map(|bytes| server(bytes, hello));
            assert_eq!(pieces, [FOLLOW_UPS, 15, 5, FOLLOW_UPS, FOLLOW_UPS]);
        }
        assert_eq!(follow_ups(b"GET / HTTP/1.1\r\n"), 15);
        for whole in
            [&b"\x16\x03\x01\0\x04\x01\0\0\0"[..], b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n"]
        {
            assert_eq!(follow_ups(whole), 0);
            assert!(follow_ups(&whole[..whole.len() - 1]) >= FOLLOW_UPS);
        }
        let proxied = |rest: &[u8]| follow_ups(&[b"PROXY UNKNOWN\r\n", rest].concat());
        assert_eq!([proxied(b""), proxied(b"GET / HTTP/1.1\r\n\r\n")], [0; 2]);
        assert_eq!([proxied(b"\x16\x03\x01\x02"), follow_ups(b"PROXY TCP4")], [FOLLOW_UPS; 2]);
        assert!(tcp(b"PROXY TCP4 ", 0) && tcp(b"\r\n\r\n\0\r\nQUIT\n", 0));
        assert!(wants(TCP, [8_444, 40_000], b"overtaken", 1, false), "on any port");
        assert!(!wants(TCP, [8_444, 40_000], b"overtaken", 2, false), "too late");
        assert!(!wants(TCP, [443, 40_000], b"it follows", 1, true));
        assert!(wants(TCP, [40_000, 53], b"\0\x20", 100, true));
        let udp = |ports, bytes: &[u8]| wants(UDP, ports, bytes, 0, false);
        for port in [53, 67, 68, 137, 546, 547, 1_900, 5_353, 5_355] {
            assert!(udp([40_000, port], b"") && udp([port, 40_000], b""));
        }
        assert!(udp([40_000, 53], &[0xff, 0xff, 0x87, 0xff, 0, 1, 0xff, 0, 0, 0, 0, 0, 63]));
        assert!(!udp([40_000, 53], &[0, 0, 0x08, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]), "no query");
        assert!(!udp([53, 40_000], &[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 64]), "no label");
        assert!(!udp([1_900, 53], &[0, 0, 0x08, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]), "of DNS first");
        assert!(udp([5_353, 443], b"\xc0\0\0\0\x01\x08"), "QUIC from a port of mDNS");
        assert_eq!([service([5_353, 443]), service([443, 1_900])], [None; 2]);
        let read = |ports| service(ports).unwrap();
        for other in [137, 546, 1_900, 5_353, 40_000] {
            let dns = Service::Dns(NameService::Dns);
            assert_eq!([read([other, 53]), read([53, other])], [dns; 2], "{other}");
        }
        assert_eq!(read([137, 1_900]), Service::Ssdp, "by where it goes");
        assert!(udp([1, 2], b"\xc0\0\0\0\x01\x08"), "version 1");
        assert!(udp([1, 2], b"\xd0\x6b\x33\x43\xcf\x08"), "version 2");
        assert!(!udp([1, 2], b"\xe0\0\0\0\x01\x08"), "Handshake");
        assert!(!udp([1, 2], b"\xc0\x0a\x0a\x0a\x0a\x08"), "a version of no meaning");
        assert!(!udp([1, 2], b"\x40\0\0\0\x01\x08"), "a short header");
        assert!(!wants(132, [53, 53], b"\x16\x03\x01\0", 0, false));
    }
}

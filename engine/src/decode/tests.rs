//! Frames in, packets out, as one line of text each; and random frames against etherparse.

mod ip;
mod link;
mod random;
mod second;
mod transport;
mod tunnel;
mod wireless;

use std::fmt::Write as _;

use crate::decode::{Cause, Decoder, Packet, TcpHeader, Tunnels};
use crate::flow::{KeyHasher, PortKind};
use crate::limits::IPV6_EXTENSIONS;
use crate::source::{Frame, LinkType};

const ETHERNET: LinkType = LinkType::ETHERNET;
const RAW: LinkType = LinkType::RAW;

/// What a decoder made of a frame: `17 10.0.0.1:1000 > 10.0.0.2:53 bytes 33 payload 5` and
/// whatever else it found, or the cause.
fn shown(decoded: Result<Packet, Cause>) -> String {
    let packet = match decoded {
        Ok(packet) => packet,
        Err(cause) => return cause.name().to_owned(),
    };
    let key = &packet.key;
    let end = |direction| {
        let port = key.source_port(direction).map_or(String::new(), |port| format!(":{port}"));
        format!("{}{port}", key.source_ip(direction))
    };
    let mut text = format!(
        "{} {} > {} bytes {} payload {}",
        key.protocol(),
        end(packet.direction),
        end(packet.direction.opposite()),
        packet.bytes,
        packet.payload_bytes
    );
    if let Some(tunnel) = key.tunnel() {
        let id = tunnel.id.map_or(String::new(), |id| format!(" {id}"));
        write!(text, " {}{id}", tunnel.kind.name()).unwrap();
    }
    if let [first, second] = key.vlan()
        && first != 0
    {
        write!(text, " vlan {first} [{second}]").unwrap();
    }
    if let [source, destination] = packet.macs.get()
        && source.is_some()
    {
        let last = |mac: Option<[u8; 6]>| mac.map_or("?".to_owned(), |mac| mac[5].to_string());
        write!(text, " mac {} > {}", last(source), last(destination)).unwrap();
    }
    let tcp = packet.tcp;
    if tcp.is_there() {
        let numbers = [tcp.sequence(), tcp.acknowledgment(), tcp.window().into()];
        let [sequence, acknowledgment, window] = numbers;
        let flags = tcp.flags();
        write!(text, " flags {flags:#04x} seq {sequence} ack {acknowledgment} window {window}")
            .unwrap();
    }
    if let Some((kind, code)) = packet.icmp {
        write!(text, " icmp {kind}/{code}").unwrap();
    }
    if key.port_kind() == PortKind::IcmpId {
        text += " id";
    }
    if packet.later_fragment {
        text += " fragment";
    }
    text
}

/// Frames of one link type, each with its length on the wire, through one decoder.
fn check_sequence(name: &str, link: LinkType, frames: &[(&[u8], usize, &str)]) {
    check_sequence_with(Tunnels::Outer, name, link, frames);
}

fn check_sequence_with(
    tunnels: Tunnels,
    name: &str,
    link: LinkType,
    frames: &[(&[u8], usize, &str)],
) {
    let mut decoder = Decoder::new(KeyHasher::default()).with_tunnels(tunnels);
    for (idx, (bytes, wire_len, want)) in frames.iter().enumerate() {
        let wire_len = u32::try_from(*wire_len).unwrap();
        let timestamp = Some(i64::try_from(idx).unwrap());
        let packet = decoder.decode(&Frame { bytes, wire_len, timestamp, link });
        if let Ok(packet) = packet {
            assert_eq!(packet.ordinal, idx as u64, "{name}");
            assert_eq!(packet.frame_bytes, wire_len, "{name}");
            assert_eq!(packet.timestamp, timestamp, "{name}");
        }
        assert_eq!(shown(packet), *want, "{name}, frame {idx}");
    }
}

/// The same of one whole frame, and with tunnels.
fn check_with(tunnels: Tunnels, name: &str, link: LinkType, bytes: &[u8], want: &str) {
    check_sequence_with(tunnels, name, link, &[(bytes, bytes.len(), want)]);
}

/// A whole frame through a fresh decoder.
fn check(name: &str, link: LinkType, bytes: &[u8], want: &str) {
    check_sequence(name, link, &[(bytes, bytes.len(), want)]);
}

/// An IPv4 packet from 10.0.0.1 to 10.0.0.2.
fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = u8::try_from(20 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0, 0, total, 0, 7, 0, 0, 64, protocol, 0, 0];
    packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(payload);
    packet
}

/// An IPv6 packet from 2001:db8::1 to 2001:db8::2.
fn v6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, high, low, next_header, 64];
    for last in [1, 2] {
        packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend(payload);
    packet
}

/// A UDP datagram from port 1000 to port 53 with five bytes.
const UDP: &[u8] = &[0x03, 0xe8, 0, 53, 0, 13, 0, 0, 1, 2, 3, 4, 5];
const UDP4: &str = "17 10.0.0.1:1000 > 10.0.0.2:53 bytes 33 payload 5";
const UDP6: &str = "17 2001:db8::1:1000 > 2001:db8::2:53 bytes 53 payload 5";

fn udp4() -> Vec<u8> {
    v4(17, UDP)
}

fn udp6() -> Vec<u8> {
    v6(17, UDP)
}

/// An Ethernet header from MAC address ..:01 to ..:02, and what follows it.
fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

#[test]
fn every_cause_is_given() {
    let tag = [0x00, 0x01, 0x81, 0x00];
    let rows: [(Cause, LinkType, Vec<u8>); 19] = [
        (Cause::LinkType, LinkType(147), udp4()),
        (Cause::Short, ETHERNET, vec![0; 13]),
        (Cause::Arp, ETHERNET, ethernet(0x0806, &[0; 46])),
        (Cause::Rarp, ETHERNET, ethernet(0x8035, &[0; 46])),
        (Cause::Lldp, ETHERNET, ethernet(0x88cc, &[0; 46])),
        (Cause::Llc, ETHERNET, ethernet(38, &[0x42, 0x42, 0x03, 0, 0, 0, 0, 0])),
        (Cause::Eapol, ETHERNET, ethernet(0x888e, &[0; 46])),
        (Cause::Pppoe, ETHERNET, ethernet(0x8863, &[0x11, 9, 0, 0, 0, 0])),
        (Cause::Ppp, LinkType::PPP, vec![0xff, 0x03, 0xc0, 0x21, 1, 1]),
        (Cause::Mpls, ETHERNET, ethernet(0x8847, &[0, 0, 0x11, 64, 0x22, 0, 0, 0])),
        (Cause::EtherType, ETHERNET, ethernet(0x9000, &[0; 46])),
        (Cause::AddressFamily, LinkType::NULL, vec![7, 0, 0, 0, 0x45]),
        (Cause::LinkDepth, ETHERNET, ethernet(0x8100, &tag.repeat(32))),
        (Cause::Wlan, LinkType::IEEE802_11, vec![0x80, 0]),
        (Cause::WlanProtected, LinkType::IEEE802_11, vec![0x08, 0x41]),
        (
            Cause::WlanAggregate,
            LinkType::IEEE802_11,
            [vec![0x88, 1], vec![0; 22], vec![0x80, 0]].concat(),
        ),
        (
            Cause::WlanFragment,
            LinkType::IEEE802_11,
            [vec![0x08, 1], vec![0; 20], vec![1, 0]].concat(),
        ),
        (Cause::BadIp, RAW, vec![0x45; 19]),
        (Cause::L4Short, RAW, v4(17, &UDP[..3])),
    ];
    let given: Vec<_> = rows.iter().map(|(cause, ..)| *cause).collect();
    assert_eq!(given, Cause::ALL);
    for (cause, link, bytes) in &rows {
        check(cause.name(), *link, bytes, cause.name());
    }
}

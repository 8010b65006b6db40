//! Payloads in, devices out.

use super::*;
use crate::decode::Announced;
use crate::devices::{Device, DevicesSetup};
use crate::flow::{Endpoint, FlowKey, PortKind};
use crate::names::{Conversations, Finding};

const SECOND: Timestamp = 1_000_000_000;

/// An end: last byte of its address in 10.0.0.0/24 or fd00::/64, or all of it; and its port.
type End<'a> = (&'a str, u16);

/// A datagram from one end to another, in a frame of this MAC address, with so much to live.
fn datagram<'a>(mac: u8, from: End<'_>, to: End<'_>, ttl: u8, bytes: &'a [u8]) -> Payload<'a> {
    let end = |(address, port): End<'_>| {
        let mut octets = [0; 16];
        match address.parse().unwrap() {
            IpAddr::V4(v4) => octets[..4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => octets = v6.octets(),
        }
        Endpoint { address: octets, port }
    };
    let version = if from.0.contains(':') { 6 } else { 4 };
    let (from, to) = (end(from), end(to));
    let (key, direction) =
        FlowKey::canonical(from, to, version, protocol::UDP, PortKind::Ports, [0; 2]);
    let macs = [Some([0, 0, 0, 0, 0, mac]), None];
    Payload { key, direction, macs, ttl, bytes, timestamp: Some(SECOND), ..Payload::NONE }
}

/// What is known of devices by these payloads, one a second: `9 name@source address@source …`.
fn check(payloads: &[Payload<'_>], want: &[&str]) {
    let (mut conversations, mut findings) = (Conversations::default(), Vec::new());
    let mut devices = Devices::new(&DevicesSetup::default(), 100);
    for (second, payload) in (1..).zip(payloads) {
        let payload = Payload { timestamp: Some(second * SECOND), ..*payload };
        conversations.observe(&payload, &mut findings);
        let sender = Sender::of(&payload).unwrap();
        sender.see(&payload, &mut devices);
        for finding in findings.drain(..) {
            match finding {
                Finding::Host(hint) => sender.hint(&payload, hint, &mut devices),
                Finding::Dns(message) => sender.name(&message, &mut devices),
                Finding::Flow(_) => {}
            }
        }
    }
    let is: Vec<_> = devices.view().all().iter().map(|device| shown(device)).collect();
    assert_eq!(is, want);
}

fn shown(device: &Device) -> String {
    let mut shown = device.mac[5].to_string();
    for name in &device.names {
        shown.push_str(&format!(" {}@{}", name.name, name.source.name()));
    }
    for address in &device.addresses {
        shown.push_str(&format!(" {}@{}", address.place.address, address.sighting.name()));
    }
    for (what, text) in [("server", &device.ssh_server), ("client", &device.ssh_client)] {
        text.iter().for_each(|text| shown.push_str(&format!(" {what}={text}")));
    }
    shown
}

/// An answer that has this name for an address.
fn answer(name: &str, address: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    bytes.extend(address);
    bytes
}

const GROUP: End<'static> = ("224.0.0.251", 5_353);

#[test]
fn a_host_names_itself_and_nobody_else() {
    let (own, others) = (answer("nine.local", [10, 0, 0, 9]), answer("eight.local", [10, 0, 0, 8]));
    let from = ("10.0.0.9", 5_353);
    check(&[datagram(9, from, GROUP, 255, &own)], &["9 nine.local@mdns 10.0.0.9@frame"]);
    check(&[datagram(9, from, GROUP, 255, &others)], &["9 10.0.0.9@frame"]);
    // By unicast DNS it would be a server's word.
    let from = ("10.0.0.9", 53);
    check(&[datagram(9, from, ("10.0.0.1", 5_000), 64, &own)], &["9 10.0.0.9@frame"]);
}

#[test]
fn who_comes_through_a_router_is_known_by_its_address_only() {
    let own = answer("nine", [10, 0, 0, 9]);
    let (from, to) = (("10.0.0.9", 5_355), ("10.0.0.1", 5_000));
    let routed = datagram(254, from, to, 63, &own);
    check(&[routed], &[]);
    let straight = datagram(9, ("10.0.0.9", 5_000), to, 64, b"");
    check(&[straight, routed], &["9 nine@llmnr 10.0.0.9@frame"]);
    let in_tunnel = Payload {
        key: straight
            .key
            .in_tunnel(crate::flow::Tunnel { kind: crate::flow::TunnelKind::Gre, id: None }),
        ..straight
    };
    check(&[in_tunnel], &[]);
}

/// Whether a segment is copied is no function of the packets before it.
#[test]
fn segments_say_nothing_of_where_a_host_is() {
    let datagram = datagram(9, ("10.0.0.9", 5_000), ("10.0.0.1", 5_000), 64, b"");
    let end = |last| {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[10, 0, 0, last]);
        Endpoint { address, port: 5_000 }
    };
    let (key, direction) =
        FlowKey::canonical(end(9), end(1), 4, protocol::TCP, PortKind::Ports, [0; 2]);
    check(&[Payload { key, direction, ..datagram }], &[]);
}

/// A segment, as [`datagram`] has it.
fn segment<'a>(mac: u8, from: End<'_>, to: End<'_>, ttl: u8, bytes: &'a [u8]) -> Payload<'a> {
    let datagram = datagram(mac, from, to, ttl, bytes);
    let [a, b] = [datagram.direction, datagram.direction.opposite()].map(|way| {
        let mut address = [0; 16];
        let IpAddr::V4(v4) = datagram.key.source_ip(way) else { unreachable!("it is of IPv4") };
        address[..4].copy_from_slice(&v4.octets());
        Endpoint { address, port: datagram.key.source_port(way).unwrap() }
    });
    let (key, direction) = FlowKey::canonical(a, b, 4, protocol::TCP, PortKind::Ports, [0; 2]);
    let wire_bytes = u32::try_from(bytes.len()).unwrap();
    Payload { key, direction, sequence: Some(1), wire_bytes, ..datagram }
}

/// Addresses of all the world, of hosts that are here.
#[test]
fn who_speaks_to_the_link_is_on_it_with_whatever_address() {
    let from = |port| ("2001:db8::9", port);
    let group = ("ff02::fb", 5_353);
    check(&[datagram(9, from(5_353), group, 255, b"")], &["9 2001:db8::9@multicast"]);
    check(&[datagram(9, from(5_353), group, 64, b"")], &[]);
    check(&[datagram(9, from(5_353), ("2001:db8::1", 5_353), 255, b"")], &[]);
    check(&[datagram(9, from(5_355), ("ff02::1:3", 5_355), 1, b"")], &["9 2001:db8::9@multicast"]);
    let (ssdp, host) = (("239.255.255.250", 1_900), ("192.0.2.9", 1_900));
    check(&[datagram(9, host, ssdp, 4, b"")], &[]);
    check(&[datagram(9, host, ssdp, 64, b"")], &["9 192.0.2.9@multicast"]);
    // With what UPnP says, from an address that is a local host's already.
    for (ttl, want) in [(4, &["9 10.0.0.9@frame"][..]), (2, &["9 10.0.0.9@frame"]), (3, &[])] {
        check(&[datagram(9, ("10.0.0.9", 1_900), ssdp, ttl, b"")], want);
    }
    // It has a name then, too.
    let own = answer("nine.local", [192, 0, 2, 9]);
    let from = ("192.0.2.9", 5_353);
    check(&[datagram(9, from, GROUP, 255, &own)], &["9 nine.local@mdns 192.0.2.9@multicast"]);
    check(&[datagram(9, from, GROUP, 254, &own)], &[]);
    // A private address is known by any frame, as ever.
    let private = datagram(9, ("10.0.0.9", 5_353), GROUP, 255, b"");
    check(&[private], &["9 10.0.0.9@frame"]);
}

/// Each for the device that says it; of a host behind a router, whose address it is known to be.
#[test]
fn what_ssh_says_is_of_the_host_that_says_it() {
    let (server, client) = (("10.0.0.9", 22), ("10.0.0.8", 50_000));
    let (one, other) = (&b"SSH-2.0-OpenSSH_9.9\r\n"[..], &b"SSH-2.0-PuTTY\r\n"[..]);
    check(
        &[segment(9, server, client, 64, one), segment(8, client, server, 128, other)],
        &["8 client=SSH-2.0-PuTTY", "9 server=SSH-2.0-OpenSSH_9.9"],
    );
    check(&[segment(254, server, client, 63, one)], &[]);
    let known = datagram(9, ("10.0.0.9", 5_000), ("10.0.0.1", 5_000), 64, b"");
    check(
        &[known, segment(254, server, client, 63, one)],
        &["9 10.0.0.9@frame server=SSH-2.0-OpenSSH_9.9"],
    );
    let afar = ("192.0.2.1", 22);
    check(&[segment(254, afar, client, 64, one)], &[]);
}

#[test]
fn in_version_6_the_frame_counts_before_the_identifier() {
    let mut solicit = vec![1, 0, 0, 1, 0, 1, 0, 10, 0, 3, 0, 1, 0, 0, 0, 0, 0, 7, 0, 39, 0, 5];
    solicit.extend(b"\0\x03pc9");
    let (from, to) = (("fe80::9", 546), ("ff02::1:2", 547));
    let want = ["9 pc9@dhcp_fqdn fe80::9@frame"];
    check(&[datagram(9, from, to, 1, &solicit)], &want);
}

/// A message says whose it is, and its frame says otherwise.
#[test]
fn no_host_speaks_for_another() {
    let mut status = vec![0, 1, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0, 32];
    status.extend(b"CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\0\0\x21\0\x01\0\0\0\0\0\x19\x01");
    status.extend(b"NINE           \0\x04\0\0\0\0\0\0\x09");
    let (from, to) = (("10.0.0.9", 137), ("10.0.0.1", 137));
    check(&[datagram(9, from, to, 64, &status)], &["9 nine@nbns 10.0.0.9@frame"]);
    check(&[datagram(6, from, to, 64, &status)], &["6 nine@nbns 10.0.0.9@frame"]);
    check(&[datagram(254, from, to, 63, &status)], &["9 nine@nbns 10.0.0.9@nbns"]);

    let mut request = vec![1, 1, 6, 0];
    request.resize(28, 0);
    request.extend([0, 0, 0, 0, 0, 9]);
    request.resize(236, 0);
    request.extend(b"\x63\x82\x53\x63\x35\x01\x03\x0c\x04nine\xff");
    let (from, to) = (("0.0.0.0", 68), ("255.255.255.255", 67));
    check(&[datagram(9, from, to, 64, &request)], &["9 nine@dhcp"]);
    check(&[datagram(6, from, to, 64, &request)], &[]);
    let (relay, server) = (("10.0.0.254", 67), ("10.0.0.1", 67));
    let relayed = datagram(254, relay, server, 64, &request);
    check(&[relayed], &["9 nine@dhcp", "254 10.0.0.254@frame"]);
}

#[test]
fn neighbours_say_their_addresses_and_names() {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 9, 10, 0, 0, 9];
    arp.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 1]);
    let macs = [Some([0, 0, 0, 0, 0, 9]), None];
    let announced = |kind, bytes| Payload { announced: Some(kind), macs, bytes, ..Payload::NONE };
    let lldp = b"\x0a\x03sw1\0\0";
    let want = ["9 sw1@lldp 10.0.0.9@arp"];
    check(&[announced(Announced::Arp, &arp), announced(Announced::Lldp, lldp)], &want);
    // A bridge passes it on in a frame of its own.
    let bridged =
        Payload { macs: [Some([0, 0, 0, 0, 0, 4]), None], ..announced(Announced::Arp, &arp) };
    check(&[bridged], &["9 10.0.0.9@arp"]);
    // A frame of neighbour discovery has been picked for its hop limit.
    let (a, b) = (("fd00::9", 0), ("ff02::1:ff00:1", 0));
    let solicitation = datagram(9, a, b, 255, b"");
    let end = |address: &str| {
        let address = address.parse::<std::net::Ipv6Addr>().unwrap().octets();
        Endpoint { address, port: 0 }
    };
    let (key, direction) =
        FlowKey::canonical(end(a.0), end(b.0), 6, protocol::ICMPV6, PortKind::None, [0; 2]);
    check(&[Payload { key, direction, ..solicitation }], &["9 fd00::9@ndp"]);
    // Also of addresses of all the world.
    let mut public = arp.clone();
    public[14..18].copy_from_slice(&[192, 0, 2, 9]);
    check(&[announced(Announced::Arp, &public)], &["9 192.0.2.9@arp"]);
    let (key, direction) = FlowKey::canonical(
        end("2001:db8::9"),
        end("ff02::1:ff00:1"),
        6,
        protocol::ICMPV6,
        PortKind::None,
        [0; 2],
    );
    check(&[Payload { key, direction, ..solicitation }], &["9 2001:db8::9@ndp"]);
}

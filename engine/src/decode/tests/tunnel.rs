//! Tunnels, each around the same packets.

use super::{
    ETHERNET, RAW, UDP4, UDP6, check_sequence_with, check_with, ethernet, udp4, udp6, v4, v6,
};
use crate::decode::{TunnelPorts, Tunnels};

/// A UDP datagram between two ports.
fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).unwrap();
    let mut bytes = [from, to, len, 0].map(u16::to_be_bytes).concat();
    bytes.extend(payload);
    bytes
}

/// The header of a tunnel, and what it carries.
fn around(header: &[u8], inner: Vec<u8>) -> Vec<u8> {
    [header, &inner].concat()
}

fn check(name: &str, packet: &[u8], want: &str) {
    let tunnels = Tunnels::Inner(TunnelPorts::with_vxlan(&[8_472]).unwrap());
    check_with(tunnels, name, RAW, packet, want);
    // In the frames that the straight line reads, too.
    let ether_type = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    let macs = if want.contains('>') { " mac 1 > 2" } else { "" };
    let want = format!("{want}{macs}");
    check_with(tunnels, name, ETHERNET, &ethernet(ether_type, packet), &want);
}

#[test]
fn what_is_inside_makes_the_flow() {
    let bridged = || ethernet(0x0800, &udp4());
    let vxlan = |flags: u8, id: u8| [flags, 0, 0, 0, 0, 0, id, 0];
    let gtp = |flags: u8, kind: u8| vec![flags, kind, 0, 0, 0, 0, 0, 9];
    let over_udp = |from, to, payload: Vec<u8>| v4(17, &udp(from, to, &payload));
    let gre = |header: &[u8], inner: Vec<u8>| v4(47, &around(header, inner));
    let rows: Vec<(&str, Vec<u8>, String)> = vec![
        ("IPv4 in IPv4", v4(4, &udp4()), format!("{UDP4} ipip")),
        ("IPv4 in IPv6", v6(4, &udp4()), format!("{UDP4} ipip")),
        ("IPv6 in IPv4", v4(41, &udp6()), format!("{UDP6} 6in4")),
        ("GRE", gre(&[0, 0, 8, 0], udp4()), format!("{UDP4} gre")),
        (
            "GRE with checksum, key and sequence",
            gre(&[0xb0, 0, 0x86, 0xdd, 1, 1, 1, 1, 0, 0, 1, 2, 3, 3, 3, 3], udp6()),
            format!("{UDP6} gre"),
        ),
        ("GRE with Ethernet", gre(&[0, 0, 0x65, 0x58], bridged()), format!("{UDP4} gre")),
        (
            "NVGRE",
            gre(&[0x20, 0, 0x65, 0x58, 0, 0x12, 0x34, 0x99], bridged()),
            format!("{UDP4} gre 4660"),
        ),
        (
            "GRE of PPTP",
            gre(&[0x30, 0x81, 0x88, 0x0b, 0, 9, 0, 9, 1, 1, 1, 1, 2, 2, 2, 2, 0x21], udp4()),
            format!("{UDP4} gre"),
        ),
        ("ERSPAN I", gre(&[0, 0, 0x88, 0xbe], bridged()), format!("{UDP4} erspan")),
        (
            "ERSPAN II",
            gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 7, 0xfc, 9, 0, 0, 0, 0], bridged()),
            format!("{UDP4} erspan 9"),
        ),
        (
            "ERSPAN III",
            gre(
                &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 7, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0],
                bridged(),
            ),
            format!("{UDP4} erspan 9"),
        ),
        ("VXLAN", over_udp(9, 4_789, around(&vxlan(8, 5), bridged())), format!("{UDP4} vxlan 5")),
        (
            "VXLAN elsewhere",
            over_udp(9, 8_472, around(&vxlan(8, 5), bridged())),
            format!("{UDP4} vxlan 5"),
        ),
        (
            "Geneve with an option",
            over_udp(9, 6_081, around(&[1, 0, 8, 0, 0, 0, 5, 0, 1, 1, 1, 1], udp4())),
            format!("{UDP4} geneve 5"),
        ),
        ("GTP-U", over_udp(2_152, 9, around(&gtp(0x30, 255), udp4())), format!("{UDP4} gtpu")),
        (
            "GTP-U with an extension",
            over_udp(9, 2_152, [gtp(0x34, 255), vec![0, 0, 0, 0x85, 1, 0, 0, 0], udp6()].concat()),
            format!("{UDP6} gtpu"),
        ),
        ("Teredo", over_udp(9, 3_544, udp6()), format!("{UDP6} teredo")),
        (
            "Teredo with authentication and origin",
            over_udp(
                3_544,
                9,
                [vec![0, 1, 0, 0], vec![7; 9], vec![0, 0, 1, 1, 1, 1, 1, 1], udp6()].concat(),
            ),
            format!("{UDP6} teredo"),
        ),
        (
            "L2TP with length, sequence and offset",
            over_udp(
                1_701,
                1_701,
                around(
                    &[0x4a, 2, 0, 60, 0, 1, 0, 2, 0, 3, 0, 4, 0, 1, 9, 0xff, 3, 0, 0x21],
                    udp4(),
                ),
            ),
            format!("{UDP4} l2tp"),
        ),
        ("VXLAN in IPv4 in IPv6", v6(4, &over_udp(9, 4_789, around(&vxlan(8, 5), bridged()))), {
            format!("{UDP4} vxlan 5")
        }),
    ];
    for (name, packet, want) in rows {
        check(name, &packet, &want);
    }
}

#[test]
fn what_is_no_tunnel_stays_a_packet_of_its_own() {
    let over_udp = |from, to, payload: &[u8]| v4(17, &udp(from, to, payload));
    let outer = |protocol: u8, bytes: usize| {
        format!("{protocol} 10.0.0.1 > 10.0.0.2 bytes {bytes} payload {}", bytes - 20)
    };
    let datagram = |from: u16, to: u16, len: usize| {
        format!("17 10.0.0.1:{from} > 10.0.0.2:{to} bytes {} payload {len}", 28 + len)
    };
    let no_id = around(&[0, 0, 0, 0, 0, 0, 5, 0], ethernet(0x0800, &udp4()));
    let arp = around(&[8, 0, 0, 0, 0, 0, 5, 0], ethernet(0x0806, &[0; 28]));
    let echo = around(&[0x32, 1, 0, 4, 0, 0, 0, 0], vec![0; 4]);
    let mut fragment = v4(4, &udp4());
    fragment[6] = 0x20;
    let endless = around(&[0x34, 255, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 1, 0, 0, 1], vec![0; 8]);
    let rows: Vec<(&str, Vec<u8>, String)> = vec![
        ("a first fragment", fragment, outer(4, 53)),
        ("cut inside", v4(4, &udp4()[..19]), outer(4, 39)),
        ("neither version", v4(41, &[0x55; 60]), outer(41, 80)),
        ("GRE without a type", v4(47, &[0, 0, 0, 0, 0x45, 0]), outer(47, 26)),
        ("GRE with ARP", v4(47, &[0, 0, 8, 6, 1, 1]), outer(47, 26)),
        ("GRE cut in its key", v4(47, &[0x20, 0, 8, 0, 1]), outer(47, 25)),
        ("VXLAN without identifier", over_udp(9, 4_789, &no_id), datagram(9, 4_789, no_id.len())),
        ("VXLAN from its port", over_udp(4_789, 9, &arp), datagram(4_789, 9, arp.len())),
        ("VXLAN with ARP", over_udp(9, 4_789, &arp), datagram(9, 4_789, arp.len())),
        ("GTP-U's own echo", over_udp(9, 2_152, &echo), datagram(9, 2_152, echo.len())),
        ("GTP-U to its end", over_udp(9, 2_152, &endless), datagram(9, 2_152, endless.len())),
        ("Teredo's bubble's port", over_udp(9, 3_544, &[4; 9]), datagram(9, 3_544, 9)),
        ("L2TP's control", over_udp(1_701, 9, &[0xc8, 2, 0, 12]), datagram(1_701, 9, 4)),
    ];
    for (name, packet, want) in rows {
        check(name, &packet, &want);
    }
}

#[test]
fn a_packet_that_is_in_too_many_is_of_the_last_that_is_opened() {
    let nested = |tunnels: usize| (0..tunnels).fold(udp4(), |inner, _| v4(4, &inner));
    check("seven", &nested(7), &format!("{UDP4} ipip"));
    check("eight", &nested(8), "4 10.0.0.1 > 10.0.0.2 bytes 53 payload 33 ipip");
    check("what is inside has no ports", &v4(4, &v4(17, &[1])), "l4_short");
}

#[test]
fn fragments_are_those_of_their_tunnel() {
    // The same datagram in two networks, its parts by turns.
    let part = |id: u8, port: u16, offset: u8| {
        let payload = if offset == 0 { udp(port, 53, &[1; 8]) } else { vec![2; 8] };
        let mut inner = v4(17, &payload);
        (inner[6], inner[7]) = (if offset == 0 { 0x20 } else { 0 }, offset);
        let vxlan = around(&[8, 0, 0, 0, 0, 0, id, 0], ethernet(0x0800, &inner));
        v4(17, &udp(9, 4_789, &vxlan))
    };
    let frames = [part(1, 1_000, 0), part(2, 2_000, 0), part(1, 0, 2), part(2, 0, 2)];
    let want = |id: u8, port: u16, rest: &str| {
        format!("17 10.0.0.1:{port} > 10.0.0.2:53 bytes {rest} vxlan {id}")
    };
    let wants = [
        want(1, 1_000, "36 payload 8"),
        want(2, 2_000, "36 payload 8"),
        want(1, 1_000, "28 payload 8") + " fragment",
        want(2, 2_000, "28 payload 8") + " fragment",
    ];
    let rows: Vec<_> = frames
        .iter()
        .zip(&wants)
        .map(|(frame, want)| (&frame[..], frame.len(), want.as_str()))
        .collect();
    check_sequence_with(Tunnels::Inner(TunnelPorts::default()), "two networks", RAW, &rows);
}

/// The outer header, and its padding, bound what is inside.
#[test]
fn what_stands_behind_the_outer_packet_is_not_inside() {
    let mut packet = v4(4, &udp4());
    packet[3] = 20 + 22;
    check("two bytes of the ports", &packet, "l4_short");
}

#[test]
fn closed_tunnels_are_packets_as_any() {
    let packet = ethernet(0x0800, &v4(17, &udp(9, 4_789, &[8; 60])));
    let want = "17 10.0.0.1:9 > 10.0.0.2:4789 bytes 88 payload 60 mac 1 > 2";
    check_with(Tunnels::Outer, "VXLAN", ETHERNET, &packet, want);
}

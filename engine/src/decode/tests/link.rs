//! Link layers.

use super::{ETHERNET, RAW, UDP4, UDP6, check, ethernet, udp4, udp6};
use crate::source::LinkType;

/// The packet behind each of `headers`.
fn behind(link: LinkType, header: &[u8], want: &str) {
    check(&format!("{link:?} {header:02x?}"), link, &[header, &udp4()].concat(), want);
}

fn tagged(tags: &[u8]) -> Vec<u8> {
    [tags, &[0x08, 0x00], &udp4()].concat()
}

#[test]
fn ethernet_and_its_tags() {
    let mac = format!("{UDP4} mac 1 > 2");
    let rows: [(&str, u16, Vec<u8>, &str); 10] = [
        ("untagged", 0x0800, udp4(), ""),
        ("802.1Q", 0x8100, tagged(&[0, 7]), " vlan 7 [0]"),
        ("802.1ad", 0x88a8, tagged(&[0, 7]), " vlan 7 [0]"),
        ("priority bits", 0x8100, tagged(&[0xef, 0xff]), " vlan 4095 [0]"),
        ("priority tag", 0x8100, tagged(&[0xe0, 0]), ""),
        ("QinQ", 0x88a8, tagged(&[0, 7, 0x81, 0, 0, 9]), " vlan 7 [9]"),
        ("QinQ, the other way round", 0x88a8, tagged(&[0, 9, 0x81, 0, 0, 7]), " vlan 9 [7]"),
        ("old QinQ", 0x9100, tagged(&[0, 7, 0x81, 0, 0, 9]), " vlan 7 [9]"),
        ("priority outside", 0x88a8, tagged(&[0, 0, 0x81, 0, 0, 9]), " vlan 9 [0]"),
        ("three tags", 0x8100, tagged(&[0, 7, 0x81, 0, 0, 9, 0x81, 0, 0, 5]), " vlan 7 [9]"),
    ];
    for (name, ether_type, bytes, vlan) in rows {
        let want = mac.replace(" mac", &format!("{vlan} mac"));
        check(name, ETHERNET, &ethernet(ether_type, &bytes), &want);
    }
    check("IPv6", ETHERNET, &ethernet(0x86dd, &udp6()), &format!("{UDP6} mac 1 > 2"));
    check("cut in a tag", ETHERNET, &ethernet(0x8100, &[0, 7, 8]), "short");
    check("IPv6 announced as IPv4", ETHERNET, &ethernet(0x0800, &udp6()), "bad_ip");
    check("IPv4 announced as IPv6", ETHERNET, &ethernet(0x86dd, &udp4()), "bad_ip");
    let eight = ethernet(0x8100, &[&[0, 7, 0x81, 0].repeat(7), &tagged(&[0, 7])[..]].concat());
    check("eight tags", ETHERNET, &eight, &format!("{UDP4} vlan 7 [7] mac 1 > 2"));
}

#[test]
fn llc_and_snap() {
    let ip = udp4();
    let length = u16::try_from(8 + ip.len()).unwrap();
    let snap = |organisation: [u8; 3], kind: [u8; 2]| {
        ethernet(length, &[&[0xaa, 0xaa, 0x03][..], &organisation, &kind, &ip].concat())
    };
    let want = format!("{UDP4} mac 1 > 2");
    check("SNAP", ETHERNET, &snap([0; 3], [0x08, 0]), &want);
    check("SNAP, bridged", ETHERNET, &snap([0, 0, 0xf8], [0x08, 0]), &want);
    check("SNAP, ARP", ETHERNET, &snap([0; 3], [0x08, 6]), "arp");
    check("SNAP of a vendor", ETHERNET, &snap([0, 0, 0x0c], [0x20, 0]), "llc");
    check("SNAP with a length", ETHERNET, &snap([0; 3], [0, 4]), "llc");
    let sap = ethernet(length, &[&[0x06, 0x06, 0x03][..], &ip].concat());
    check("IP service access point", ETHERNET, &sap, &want);
    check("cut", ETHERNET, &ethernet(40, &[0xaa, 0xaa]), "llc");
}

#[test]
fn linux_cooked() {
    let sll = |address_len: u8, kind: [u8; 2]| {
        let mut header = vec![0, 0, 0, 1, 0, address_len, 2, 0, 0, 0, 0, 1, 0, 0];
        header.extend(kind);
        header
    };
    behind(LinkType::LINUX_SLL, &sll(6, [0x08, 0]), &format!("{UDP4} mac 1 > ?"));
    behind(LinkType::LINUX_SLL, &sll(0, [0x08, 0]), UDP4);
    behind(LinkType::LINUX_SLL, &sll(6, [0x08, 6]), "arp");
    behind(LinkType::LINUX_SLL, &sll(6, [0, 4]), "llc");
    let tag = [&sll(0, [0x81, 0])[..], &[0, 7, 0x08, 0]].concat();
    behind(LinkType::LINUX_SLL, &tag, &format!("{UDP4} vlan 7 [0]"));

    let sll2 = |address_len: u8, kind: [u8; 2]| {
        let mut header = kind.to_vec();
        header.extend([0, 0, 0, 0, 0, 3, 0, 1, 0, address_len, 2, 0, 0, 0, 0, 1, 0, 0]);
        header
    };
    behind(LinkType::LINUX_SLL2, &sll2(6, [0x08, 0]), &format!("{UDP4} mac 1 > ?"));
    behind(LinkType::LINUX_SLL2, &sll2(0, [0x08, 0]), UDP4);
    check("SLL, cut", LinkType::LINUX_SLL, &sll(6, [8, 0])[..15], "short");
    check("SLL2, cut", LinkType::LINUX_SLL2, &sll2(6, [8, 0])[..19], "short");
}

#[test]
fn raw_and_loopback() {
    for link in [RAW, LinkType::IPV4, LinkType::IPV6, LinkType(12), LinkType(14)] {
        check("raw IPv4", link, &udp4(), UDP4);
        check("raw IPv6", link, &udp6(), UDP6);
        check("raw nothing", link, &[], "bad_ip");
        check("raw version 5", link, &[0x55; 40], "bad_ip");
    }
    for link in [LinkType::NULL, LinkType::LOOP] {
        behind(link, &[2, 0, 0, 0], UDP4);
        behind(link, &[0, 0, 0, 2], UDP4);
        for family in [10, 24, 28, 30] {
            for header in [[family, 0, 0, 0], [0, 0, 0, family]] {
                check("loopback IPv6", link, &[&header[..], &udp6()].concat(), UDP6);
            }
        }
        check("cut", link, &[2, 0, 0], "short");
        behind(link, &[0, 2, 0, 0], "null_family");
    }
}

#[test]
fn point_to_point() {
    for link in [LinkType::PPP, LinkType::PPP_SERIAL] {
        behind(link, &[0xff, 0x03, 0x00, 0x21], UDP4);
        behind(link, &[0x00, 0x21], UDP4);
        behind(link, &[0x21], UDP4);
        behind(link, &[0xff, 0x03, 0x21], UDP4);
        behind(link, &[0x0f, 0x00, 0x08, 0x00], UDP4);
        behind(link, &[0xff, 0x03, 0x00, 0x57], "bad_ip");
        behind(link, &[0x80, 0x21], "ppp");
        behind(link, &[0x02, 0x81, 0, 0, 0x11, 64], UDP4);
        check("cut", link, &[0xff, 0x03, 0x00], "short");
        check("IPv6", link, &[&[0x00, 0x57][..], &udp6()].concat(), UDP6);
    }
    behind(LinkType::CISCO_HDLC, &[0x0f, 0, 0x08, 0], UDP4);
    behind(LinkType::CISCO_HDLC, &[0x8f, 0, 0x08, 0], UDP4);
    behind(LinkType::CISCO_HDLC, &[0x0f, 0, 0x80, 0x35], "rarp");
    check("HDLC, cut", LinkType::CISCO_HDLC, &[0x0f, 0, 8], "short");

    let pppoe = |header: [u8; 8]| ethernet(0x8864, &[&header[..], &udp4()].concat());
    let want = format!("{UDP4} mac 1 > 2");
    check("PPPoE", ETHERNET, &pppoe([0x11, 0, 0, 1, 0, 35, 0x00, 0x21]), &want);
    check("PPPoE, LCP", ETHERNET, &pppoe([0x11, 0, 0, 1, 0, 35, 0xc0, 0x21]), "ppp");
    check("PPPoE, version 2", ETHERNET, &pppoe([0x21, 0, 0, 1, 0, 35, 0x00, 0x21]), "pppoe");
    check("PPPoE, not session data", ETHERNET, &pppoe([0x11, 7, 0, 1, 0, 35, 0, 33]), "pppoe");
    check("PPPoE, cut", ETHERNET, &ethernet(0x8864, &[0x11, 0, 0, 1]), "pppoe");
}

#[test]
fn mpls() {
    let label = |last: bool| [0x00, 0x01, u8::from(last), 64];
    let stack = |labels: usize, inside: &[u8]| {
        [&label(false).repeat(labels - 1), &label(true)[..], inside].concat()
    };
    let want = |text: &str| format!("{text} mac 1 > 2");
    for kind in [0x8847, 0x8848] {
        check("one label", ETHERNET, &ethernet(kind, &stack(1, &udp4())), &want(UDP4));
        check("three labels", ETHERNET, &ethernet(kind, &stack(3, &udp6())), &want(UDP6));
    }
    check("16 labels", ETHERNET, &ethernet(0x8847, &stack(16, &udp4())), &want(UDP4));
    check("17 labels", ETHERNET, &ethernet(0x8847, &stack(17, &udp4())), "mpls");
    check("no bottom", ETHERNET, &ethernet(0x8847, &label(false)), "short");
    check("a pseudowire", ETHERNET, &ethernet(0x8847, &stack(1, &[0; 40])), "mpls");
    check("nothing behind", ETHERNET, &ethernet(0x8847, &stack(1, &[])), "mpls");
}

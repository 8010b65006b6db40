//! Link layers.

use super::{ETHERNET, RAW, UDP4, UDP6, check, ethernet, udp4, udp6};
use crate::decode::Decoder;
use crate::flow::KeyHasher;
use crate::source::{Frame, LinkType};

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
    let four = tagged(&[0, 7, 0x88, 0xa8, 0, 9, 0x88, 0xa8, 0, 5, 0x81, 0, 0, 3]);
    check(
        "802.1ad, four tags",
        ETHERNET,
        &ethernet(0x88a8, &four),
        &format!("{UDP4} vlan 7 [9] mac 1 > 2"),
    );
    check("cut in a tag", ETHERNET, &ethernet(0x8100, &[0, 7, 8]), "short");
    check("IPv6 announced as IPv4", ETHERNET, &ethernet(0x0800, &udp6()), "bad_ip");
    check("IPv4 announced as IPv6", ETHERNET, &ethernet(0x86dd, &udp4()), "bad_ip");
    let tags = |n: usize| {
        ethernet(0x8100, &[&[0, 7, 0x81, 0].repeat(n - 1), &tagged(&[0, 7])[..]].concat())
    };
    check("30 tags", ETHERNET, &tags(30), &format!("{UDP4} vlan 7 [7] mac 1 > 2"));
    check("31 tags", ETHERNET, &tags(31), "link_depth");
}

#[test]
fn packets_with_more_tags_than_are_kept_are_noted() {
    let rows: [(&str, &[u8], u64); 4] = [
        ("two", &[0, 7, 0x81, 0, 0, 9], 0),
        ("three", &[0, 7, 0x81, 0, 0, 9, 0x81, 0, 0, 5], 1),
        ("four are one packet", &[0, 7, 0x81, 0, 0, 9, 0x81, 0, 0, 5, 0x81, 0, 0, 5], 1),
        ("a priority tag is none", &[0, 7, 0x81, 0, 0, 0, 0x81, 0, 0, 9], 0),
    ];
    for (name, tags, want) in rows {
        let bytes = ethernet(0x8100, &tagged(tags));
        let wire_len = u32::try_from(bytes.len()).unwrap();
        let frame = Frame { bytes: &bytes, wire_len, timestamp: None, link: ETHERNET };
        let mut decoder = Decoder::new(KeyHasher::default());
        decoder.decode(&frame).unwrap();
        assert_eq!(decoder.take_notes().vlan_not_kept, want, "{name}");
        assert_eq!(decoder.take_notes().vlan_not_kept, 0, "{name}, taken");
    }
}

#[test]
fn vn_tags() {
    let rows: [(&str, Vec<u8>, &str); 4] = [
        ("alone", vec![0, 9, 0x80, 3], ""),
        ("before a VLAN tag", vec![0, 9, 0x80, 3, 0x81, 0, 0, 7], " vlan 7 [0]"),
        ("before two", vec![0, 9, 0x80, 3, 0x88, 0xa8, 0, 7, 0x81, 0, 0, 9], " vlan 7 [9]"),
        ("twice", vec![0, 9, 0x80, 3, 0x89, 0x26, 0, 9, 0x80, 3], ""),
    ];
    for (name, tags, vlan) in rows {
        check(
            name,
            ETHERNET,
            &ethernet(0x8926, &tagged(&tags)),
            &format!("{UDP4}{vlan} mac 1 > 2"),
        );
    }
    check("cut", ETHERNET, &ethernet(0x8926, &[0, 9, 0x80, 3, 8]), "short");
}

#[test]
fn headers_that_hold_each_other_without_end() {
    let rows: [(&str, LinkType, &[u8]); 4] = [
        ("Cisco HDLC and PPP", LinkType::PPP, &[0x0f, 0, 0x88, 0x0b]),
        ("bridged frames", ETHERNET, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x65, 0x58]),
        ("VLAN tags", LinkType::CISCO_HDLC, &[0x81, 0, 0x81, 0]),
        (
            "MPLS and Ethernet",
            LinkType::MPLS,
            &[0, 0, 1, 9, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0x88, 0x47],
        ),
    ];
    for (name, link, header) in rows {
        check(name, link, &header.repeat(100_000 / header.len()), "link_depth");
    }
}

#[test]
fn solaris_ipnet() {
    let header = |family: u8| [&[1, family][..], &[0; 22]].concat();
    behind(LinkType::IPNET, &header(2), UDP4);
    behind(LinkType::IPNET, &header(7), "address_family");
    check("IPv6", LinkType::IPNET, &[header(26), udp6()].concat(), UDP6);
    check("cut", LinkType::IPNET, &header(2)[..23], "short");
}

/// An attribute of an `NFLOG` frame, filled up to four bytes.
fn attribute(kind: u8, value: &[u8]) -> Vec<u8> {
    let len = u8::try_from(4 + value.len()).unwrap();
    let mut bytes = [&[len, 0, kind, 0][..], value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn what_linux_logs() {
    let frame = |family: u8, parts: &[Vec<u8>]| [&[family, 0, 0, 1][..], &parts.concat()].concat();
    let header = |kind: [u8; 2]| attribute(1, &[kind[0], kind[1], 3, 0]);
    let prefix = attribute(10, b"odd\0");
    let sender = attribute(8, &[0, 6, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0]);
    let (v4, v6) = (attribute(9, &udp4()), attribute(9, &udp6()));
    let big = |family: u8, packet: &[u8]| {
        let len = u8::try_from(4 + packet.len()).unwrap();
        [&[family, 0, 0, 1, 0, 8, 0, 1, 8, 0, 3, 0, 0, len, 0, 9][..], packet].concat()
    };
    let rows: [(&str, Vec<u8>, String); 12] = [
        ("IPv4", frame(2, std::slice::from_ref(&v4)), UDP4.into()),
        ("IPv6", frame(10, std::slice::from_ref(&v6)), UDP6.into()),
        ("attributes before", frame(2, &[prefix.clone(), v4.clone()]), UDP4.into()),
        ("sender", frame(2, &[sender, v4.clone()]), format!("{UDP4} mac 1 > ?")),
        ("of a bridge", frame(7, &[header([8, 0]), v4.clone()]), UDP4.into()),
        ("of a bridge, ARP", frame(7, &[header([8, 6]), v4.clone()]), "arp".into()),
        ("of a bridge, tagged", frame(7, &[header([0x81, 0]), attribute(9, &tagged(&[0, 7]))]), {
            format!("{UDP4} vlan 7 [0]")
        }),
        ("of a bridge, unsaid", frame(7, std::slice::from_ref(&v4)), "address_family".into()),
        ("big-endian", big(2, &udp4()), UDP4.into()),
        ("without a packet", frame(2, std::slice::from_ref(&prefix)), "short".into()),
        ("length 0", frame(2, &[vec![0, 0, 10, 0], v4.clone()]), "short".into()),
        ("many attributes", frame(2, &[prefix.repeat(32), v4]), "short".into()),
    ];
    for (name, bytes, want) in rows {
        check(name, LinkType::NFLOG, &bytes, &want);
    }
    check("nothing", LinkType::NFLOG, &[], "short");
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
        behind(link, &[0, 2, 0, 0], "address_family");
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
    for direction in [0, 1, 0xff] {
        behind(LinkType::PPP_WITH_DIRECTION, &[direction, 0xff, 0x03, 0x00, 0x21], UDP4);
        behind(LinkType::PPP_WITH_DIRECTION, &[direction, 0x21], UDP4);
    }
    check("no PPP", LinkType::PPP_WITH_DIRECTION, &[0], "short");
    behind(LinkType::PPPOE, &[0x11, 0, 0, 1, 0, 35, 0x00, 0x21], UDP4);
    behind(LinkType::PPP, &[0x02, 0x83, 0, 0, 0x11, 64], UDP4);
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
    let word = |inside: Vec<u8>| [&[0, 0, 0, 9][..], &inside].concat();
    let inner = ethernet(0x8100, &tagged(&[0, 7]));
    let session = ethernet(0x8864, &[&[0x11, 0, 0, 1, 0, 35, 0, 0x21][..], &udp4()].concat());
    let rows: [(&str, Vec<u8>, String); 6] = [
        ("a pseudowire", word(ethernet(0x0800, &udp4())), want(UDP4)),
        ("a tag in a pseudowire", word(inner), want(&format!("{UDP4} vlan 7 [0]"))),
        ("PPPoE in a pseudowire", word(session), want(UDP4)),
        ("ARP in a pseudowire", word(ethernet(0x0806, &[0; 28])), "arp".into()),
        ("a pseudowire, cut", word(vec![0; 13]), "short".into()),
        ("a pseudowire without a control word", ethernet(0x0800, &udp4())[6..].to_vec(), {
            "mpls".into()
        }),
    ];
    for (name, inside, want) in rows {
        let inside = if name.ends_with("without a control word") {
            [&[0x22, 0, 0, 0, 0, 2][..], &inside].concat()
        } else {
            inside
        };
        check(name, ETHERNET, &ethernet(0x8847, &stack(1, &inside)), &want);
    }
    check("on its own", LinkType::MPLS, &stack(2, &udp4()), UDP4);
    check("nothing behind", ETHERNET, &ethernet(0x8847, &stack(1, &[])), "mpls");
}

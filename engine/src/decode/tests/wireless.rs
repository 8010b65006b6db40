//! IEEE 802.11, and the headers that capturing hosts write before it.

use super::{UDP4, UDP6, check, check_sequence, ethernet, udp4, udp6};
use crate::source::LinkType;

const WLAN: LinkType = LinkType::IEEE802_11;
const RADIOTAP: LinkType = LinkType::IEEE802_11_RADIOTAP;

/// A header with addresses ..:01, ..:02, ..:03, and ..:04 where there is one.
fn header(control: u8, flags: u8) -> Vec<u8> {
    let address = |last: u8| [2, 0, 0, 0, 0, last];
    let start = [&[control, flags, 0, 0][..], &address(1), &address(2), &address(3), &[0; 2]];
    let fourth = if flags & 3 == 3 { address(4).to_vec() } else { Vec::new() };
    [start.concat(), fourth].concat()
}

/// IP behind SNAP.
fn snap(kind: u16, packet: &[u8]) -> Vec<u8> {
    [&[0xaa, 0xaa, 0x03, 0, 0, 0][..], &kind.to_be_bytes(), packet].concat()
}

fn ip() -> Vec<u8> {
    snap(0x0800, &udp4())
}

const DATA: u8 = 0x08;
const QOS_DATA: u8 = 0x88;

#[test]
fn data_frames() {
    let quality = |first: u8| vec![first, 0];
    let rows: Vec<(&str, Vec<u8>, String)> = vec![
        ("in a cell", [header(DATA, 0), ip()].concat(), format!("{UDP4} mac 2 > 1")),
        ("to the access point", [header(DATA, 1), ip()].concat(), format!("{UDP4} mac 2 > 3")),
        ("from it", [header(DATA, 2), ip()].concat(), format!("{UDP4} mac 3 > 1")),
        ("four addresses", [header(DATA, 3), ip()].concat(), format!("{UDP4} mac 4 > 3")),
        ("QoS", [header(QOS_DATA, 1), quality(7), ip()].concat(), format!("{UDP4} mac 2 > 3")),
        (
            "QoS, four addresses",
            [header(QOS_DATA, 3), quality(7), ip()].concat(),
            format!("{UDP4} mac 4 > 3"),
        ),
        (
            "QoS, HT control",
            [header(QOS_DATA, 0x81), quality(7), vec![9; 4], ip()].concat(),
            format!("{UDP4} mac 2 > 3"),
        ),
        ("order bit, no QoS", [header(DATA, 0x81), ip()].concat(), format!("{UDP4} mac 2 > 3")),
        ("data with an acknowledgement", [header(0x18, 1), ip()].concat(), {
            format!("{UDP4} mac 2 > 3")
        }),
        ("retried, more fragments", [header(DATA, 0x0d), ip()].concat(), {
            format!("{UDP4} mac 2 > 3")
        }),
        ("IPv6", [header(DATA, 1), snap(0x86dd, &udp6())].concat(), format!("{UDP6} mac 2 > 3")),
        ("ARP", [header(DATA, 1), snap(0x0806, &[0; 28])].concat(), "arp".into()),
        ("EAPOL", [header(DATA, 1), snap(0x888e, &[0; 28])].concat(), "eapol".into()),
        ("spanning tree", [header(DATA, 2), vec![0x42, 0x42, 3, 0]].concat(), "llc".into()),
        ("null", header(0x48, 1), "wlan".into()),
        ("QoS null", [header(0xc8, 1), quality(0)].concat(), "wlan".into()),
        ("beacon", [header(0x80, 0), ip()].concat(), "wlan".into()),
        ("acknowledgement", vec![0xd4, 0, 0, 0, 2, 0, 0, 0, 0, 1], "wlan".into()),
        ("version 1", [header(0x09, 1), ip()].concat(), "wlan".into()),
        ("protected", [header(DATA, 0x41), ip()].concat(), "wlan_protected".into()),
        (
            "several packets",
            [header(QOS_DATA, 1), quality(0x80), ip()].concat(),
            "wlan_aggregate".into(),
        ),
        ("cut in its control", vec![DATA], "short".into()),
        ("cut in its addresses", header(DATA, 1)[..23].to_vec(), "short".into()),
        ("cut before QoS", header(QOS_DATA, 1), "short".into()),
        ("cut behind it", header(DATA, 1), "llc".into()),
        ("nothing", vec![], "short".into()),
    ];
    for (name, bytes, want) in rows {
        check(name, WLAN, &bytes, &want);
        let radiotap = [&[0, 0, 8, 0, 0, 0, 0, 0][..], &bytes].concat();
        check(&format!("{name}, radiotap"), RADIOTAP, &radiotap, &want);
        let per_packet = [&[0, 0, 12, 0, 105, 0, 0, 0, 9, 9, 9, 9][..], &bytes].concat();
        check(&format!("{name}, PPI"), LinkType::PPI, &per_packet, &want);
    }
    let mut later = [header(DATA, 1), ip()].concat();
    later[22] = 1;
    check("a later fragment", WLAN, &later, "wlan_fragment");
}

/// The header says how long it is; what it holds is looked at for the flags only.
#[test]
fn radiotap_headers() {
    let want = format!("{UDP4} mac 2 > 3");
    let padded = [header(QOS_DATA, 1), vec![7, 0, 0, 0], ip()].concat();
    let plain = [header(DATA, 1), ip()].concat();
    let endless = [&[0, 0, 12, 0][..], &[0xff; 8]].concat();
    let rows: [(&str, Vec<u8>, &[u8], &str); 10] = [
        ("no fields", vec![0, 0, 8, 0, 0, 0, 0, 0], &plain, &want),
        ("flags", vec![0, 0, 9, 0, 2, 0, 0, 0, 0x10], &plain, &want),
        ("padded", vec![0, 0, 9, 0, 2, 0, 0, 0, 0x20], &padded, &want),
        ("not padded", vec![0, 0, 9, 0, 2, 0, 0, 0, 0], &padded, "llc"),
        (
            "padded, behind a time",
            [&[0, 0, 17, 0, 3, 0, 0, 0][..], &[9; 8], &[0x20]].concat(),
            &padded,
            &want,
        ),
        (
            "padded, behind three words and a time",
            [&[0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0x80, 0, 0, 0, 0][..], &[9; 8], &[0x20]]
                .concat(),
            &padded,
            &want,
        ),
        ("flags behind its end", vec![0, 0, 8, 0, 2, 0, 0, 0], &plain, &want),
        ("words without end", endless, &plain, &want),
        ("shorter than it can be", vec![0, 0, 7, 0, 0, 0, 0, 0], &plain, "short"),
        ("longer than the frame", vec![0, 0, 0xff, 0, 0, 0, 0, 0], &plain, "short"),
    ];
    for (name, radiotap, frame, want) in rows {
        check(name, RADIOTAP, &[&radiotap, frame].concat(), want);
    }
    check("cut", RADIOTAP, &[0, 0, 8], "short");
}

/// A checksum at the frame's end is not part of the packet, where the packet leaves it open how
/// long it is; the frame's length is what was recorded.
#[test]
fn a_checksum_at_the_end() {
    let mut packet = udp4();
    (packet[2], packet[3]) = (0, 0);
    let frame = [header(DATA, 1), snap(0x0800, &packet), vec![9; 4]].concat();
    let rows = [(0x10_u8, "bytes 33 payload 5"), (0, "bytes 37 payload 9")];
    for (flags, lengths) in rows {
        let bytes = [&[0, 0, 9, 0, 2, 0, 0, 0, flags][..], &frame].concat();
        let want = format!("17 10.0.0.1:1000 > 10.0.0.2:53 {lengths} mac 2 > 3");
        check_sequence("IP length 0", RADIOTAP, &[(&bytes, bytes.len(), &want)]);
    }
}

#[test]
fn per_packet_information() {
    let ppi = |len: u8, link: u8| vec![0, 0, len, 0, link, 0, 0, 0];
    let frame = ethernet(0x0800, &udp4());
    let rows: [(&str, Vec<u8>, &str); 6] = [
        ("Ethernet", [ppi(8, 1), frame.clone()].concat(), &format!("{UDP4} mac 1 > 2")),
        ("fields", [ppi(12, 1), vec![9; 4], frame.clone()].concat(), &format!("{UDP4} mac 1 > 2")),
        ("raw", [ppi(8, 101), udp4()].concat(), UDP4),
        ("in itself", [ppi(8, 192), ppi(8, 101), udp4()].concat(), "link_type"),
        ("too short", [ppi(7, 1), frame.clone()].concat(), "short"),
        ("longer than the frame", [ppi(200, 1), frame].concat(), "short"),
    ];
    for (name, bytes, want) in rows {
        check(name, LinkType::PPI, &bytes, want);
    }
    check("another link type", LinkType::PPI, &[0, 0, 8, 0, 1, 0, 1, 0], "short");
}

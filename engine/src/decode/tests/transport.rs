//! What stands above IP.

use super::{RAW, check, check_sequence, v4, v6};

/// A TCP segment from port 443 to port 5000: SYN and ACK, sequence number 66,051.
fn tcp(header_words: u8, payload: usize) -> Vec<u8> {
    let mut segment = vec![1, 0xbb, 0x13, 0x88, 0, 1, 2, 3, 0, 0, 0, 9, header_words << 4, 0x12];
    segment.resize(usize::from(header_words) * 4 + payload, 0);
    segment
}

#[test]
fn protocols_with_ports() {
    let ports = [0x03, 0xe8, 0, 53];
    let long = |n: usize| [&ports[..], &vec![0; n - 4]].concat();
    let dccp = [&ports[..], &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]].concat();
    let ends = "10.0.0.1:1000 > 10.0.0.2:53";
    let rows: [(u8, Vec<u8>, String); 7] = [
        (17, long(8), format!("17 {ends} bytes 28 payload 0")),
        (17, long(4), format!("17 {ends} bytes 24 payload 0")),
        (136, long(20), format!("136 {ends} bytes 40 payload 12")),
        (132, long(40), format!("132 {ends} bytes 60 payload 28")),
        (33, dccp, format!("33 {ends} bytes 38 payload 2")),
        (132, long(3 + 1), format!("132 {ends} bytes 24 payload 0")),
        (6, ports[..3].to_vec(), "l4_short".to_owned()),
    ];
    for (protocol, payload, want) in rows {
        check(&format!("protocol {protocol}"), RAW, &v4(protocol, &payload), &want);
    }
    check("no ports", RAW, &v4(47, &long(8)), "47 10.0.0.1 > 10.0.0.2 bytes 28 payload 8");
}

#[test]
fn tcp_headers() {
    let ends = "6 10.0.0.1:443 > 10.0.0.2:5000";
    let header = "flags 0x12 seq 66051 ack 9";
    let known = &format!("{header} window 0");
    let whole = v4(6, &tcp(5, 10));
    check("plain", RAW, &whole, &format!("{ends} bytes 50 payload 10 {known}"));
    check("options", RAW, &v4(6, &tcp(8, 10)), &format!("{ends} bytes 62 payload 10 {known}"));
    let lie = [&tcp(5, 10)[..12], &[0xf0, 0x12], &[0; 16]].concat();
    check("offset beyond", RAW, &v4(6, &lie), &format!("{ends} bytes 50 payload 0 {known}"));
    let rows = [
        (36, format!("{ends} bytes 50 payload 10 {known}")),
        // A window that was not captured is not one of 0.
        (35, format!("{ends} bytes 50 payload 10 {header} window 65535")),
        (34, format!("{ends} bytes 50 payload 10 {header} window 65535")),
        (33, format!("{ends} bytes 50 payload 10")),
        (32, format!("{ends} bytes 50 payload 30")),
        (24, format!("{ends} bytes 50 payload 30")),
        (23, "l4_short".to_owned()),
    ];
    for (kept, want) in &rows {
        check_sequence(&format!("cut at {kept}"), RAW, &[(&whole[..*kept], 50, want)]);
    }
}

#[test]
fn icmp_queries_have_an_identifier_and_errors_do_not() {
    let v4_ends = "10.0.0.1 > 10.0.0.2 bytes 28";
    let v6_ends = "2001:db8::1 > 2001:db8::2 bytes 48";
    for kind in [0, 8, 13, 14, 15, 16, 17, 18] {
        let want = format!("1 {v4_ends} payload 0 icmp {kind}/0 id");
        check("query", RAW, &v4(1, &[kind, 0, 0, 0, 0, 7, 0, 1]), &want);
    }
    for kind in [3, 4, 5, 11, 12] {
        let want = format!("1 {v4_ends} payload 0 icmp {kind}/1");
        check("error", RAW, &v4(1, &[kind, 1, 0, 0, 0, 7, 0, 1]), &want);
    }
    for kind in [128, 129] {
        let want = format!("58 {v6_ends} payload 0 icmp {kind}/0 id");
        check("echo", RAW, &v6(58, &[kind, 0, 0, 0, 0, 7, 0, 1]), &want);
    }
    for kind in [1, 3, 135] {
        let want = format!("58 {v6_ends} payload 0 icmp {kind}/0");
        check("other", RAW, &v6(58, &[kind, 0, 0, 0, 0, 7, 0, 1]), &want);
    }
    let cut = "1 10.0.0.1 > 10.0.0.2 bytes 21 payload 0";
    check("cut before the code", RAW, &v4(1, &[8]), cut);
    let cut = "1 10.0.0.1 > 10.0.0.2 bytes 25 payload 0 icmp 8/0";
    check("cut before the identifier", RAW, &v4(1, &[8, 0, 0, 0, 0]), cut);
}

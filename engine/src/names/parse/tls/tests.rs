//! Handshakes in the clear, whole, cut and damaged.

use proptest::prelude::*;

use super::*;
use crate::names::parse::sample::{
    alpn, client_hello, extension, hello_for, records, server_hello, server_name,
};

fn facts(stream: &[u8]) -> Vec<FlowFact> {
    match read(stream, false) {
        Read::Done(facts) => facts,
        other => panic!("{other:?}"),
    }
}

/// What a browser sends, whose fingerprint is published.
fn browser() -> Vec<u8> {
    let ciphers = [
        0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
        0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
    ];
    let algorithms = [4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1];
    let none = |kind| extension(kind, &[]);
    let extensions = [
        none(0x3a3a),
        extension(0x1b, &[2, 0, 2]),
        server_name("www.example.com"),
        extension(0x33, &[0, 0]),
        alpn(&["h2", "http/1.1"]),
        extension(0x4469, &[0, 3, 2, b'h', b'2']),
        none(0x17),
        extension(0x2d, &[1, 1]),
        extension(0x0d, &[&[0, 16], &algorithms[..]].concat()),
        extension(0x05, &[1, 0, 0, 0, 0]),
        none(0x23),
        none(0x12),
        extension(0x2b, &[6, 0x9a, 0x9a, 3, 4, 3, 3]),
        extension(0xff01, &[0]),
        extension(0x0b, &[1, 0]),
        extension(0x0a, &[0, 4, 0x4a, 0x4a, 0, 29]),
        extension(0x15, &[0; 7]),
        extension(0xcaca, &[0]),
    ];
    client_hello(&ciphers, &extensions)
}

#[test]
fn a_browser_is_read_whole() {
    let want = [
        FlowFact::Sni("www.example.com".into()),
        FlowFact::Alpn("h2".into()),
        FlowFact::Ja4("t13d1516h2_8daaf6152771_e5627efa2ab1".into()),
    ];
    let hello = browser();
    assert_eq!(facts(&records(&hello, 1 << 14)), want);
    assert_eq!(facts(&records(&hello, 50)), want, "in several records");
    let followed = [records(&hello, 99), vec![20, 3, 3, 0, 1, 1]].concat();
    assert_eq!(facts(&followed), want, "something follows");
    assert_eq!(Read::Done(want.into()), read_message(&hello, Carrier::Tcp, false));
}

#[test]
fn what_is_not_whole_waits_or_counts_as_far_as_it_goes() {
    let hello = records(&client_hello(&[0x1301], &[server_name("a.example"), alpn(&["h2"])]), 99);
    for cut in 1..hello.len() {
        assert_eq!(read(&hello[..cut], false), Read::More, "{cut}");
    }
    let name = [FlowFact::Sni("a.example".into())];
    assert_eq!(read(&hello[..hello.len() - 3], true), Read::Done(name.into()), "no fingerprint");
    assert_eq!(read(&hello[..40], true), Read::No, "cut before anything is said");
}

#[test]
fn servers_say_what_they_chose() {
    let chosen = [FlowFact::TlsVersion(0x0304), FlowFact::TlsCipher(0x1301)];
    assert_eq!(facts(&records(&server_hello(), 1 << 14)), chosen);
    let mut old = server_hello();
    old.truncate(42);
    old[3] = 38;
    let chosen = [FlowFact::TlsVersion(0x0303), FlowFact::TlsCipher(0x1301)];
    let old = records(&old, 1 << 14);
    let warned = [b"\x15\x03\x03\0\x02\x01\x70", &old[..]].concat();
    assert_eq!(read(&warned, true), Read::Done(chosen.clone().into()), "behind a warning");
    assert_eq!(read(&warned[..7], false), Read::More);
    assert_eq!(read(&old, true), Read::Done(chosen.clone().into()), "TLS 1.2, without extensions");
    assert_eq!(read(&old, false), Read::Part(chosen.into()), "a certificate may follow");
}

#[test]
fn versions_and_suites_have_names() {
    let versions = [0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x7f17, 0].map(version_name);
    let want = ["SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3", "0x7f17", "0x0000"];
    assert_eq!(versions, want);
    let suites = [0x1301, 0xc02f, 0x0005, 0x1a1a].map(cipher_name);
    let want = [
        "TLS_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_RC4_128_SHA",
        "0x1a1a",
    ];
    assert_eq!(suites, want);
}

#[test]
fn oddities() {
    let hidden =
        |kind| client_hello(&[0x1301], &[server_name("a.example"), extension(0xfe0d, kind)]);
    let is_hidden = |kind| facts(&records(&hidden(kind), 99)).contains(&FlowFact::EncryptedHello);
    assert!(is_hidden(&[0, 0, 1, 0, 1]), "outer");
    assert!(!is_hidden(&[1]) && !is_hidden(&[]), "inner, and nothing");
    let bad = extension(16, &[0, 9, 200]);
    let one = client_hello(&[0x1301], &[bad, server_name("behind.example")]);
    assert_eq!(facts(&records(&one, 99))[0], FlowFact::Sni("behind.example".into()));
    let bytes = client_hello(&[], &[server_name("")]);
    assert_eq!(facts(&records(&bytes, 99)).len(), 1, "an empty name is none");
    assert_eq!(read(b"\x17\x03\x03\x00\x05hello", false), Read::No);
    assert_eq!(read(b"\x16\x03\x03\x00\x05\x0bello", false), Read::No, "a Certificate");
    assert_eq!(read(b"\x16\x03\x03\xff\xff\x01\0\0\0", false), Read::No, "too long a record");
    assert_eq!(facts(&hello_for("x.example", 5_000))[0], FlowFact::Sni("x.example".into()));
}

proptest! {
    #[test]
    fn whatever_is_changed(
        at in prop::collection::vec((0usize..600, any::<u8>()), 1..6),
        cut: bool,
    ) {
        let mut hello = records(&browser(), 300);
        for (at, byte) in at {
            let at = at % hello.len();
            hello[at] = byte;
        }
        let _ = read(&hello, cut);
    }

    #[test]
    fn whatever_comes(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        kind in 1u8..3,
        cut: bool,
    ) {
        let _ = read_message(&[&[kind, 0, 0, 150], &bytes[..]].concat(), Carrier::Quic, cut);
        let _ = read(&bytes, cut);
    }
}

proptest! {
    /// Where more is said to be of no use, it is of none; a hello that is whole wants no more.
    #[test]
    fn what_follows_a_whole_one_changes_nothing(
        record in 20usize..400, cut in any::<prop::sample::Index>(), is_client: bool,
        flip in prop::option::of((0usize..9, 0u32..8)), behind in prop::sample::select(vec![20, 22, 23]),
        more in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let hello = if is_client { browser() } else { server_hello() };
        let mut stream = records(&hello, record);
        if is_client && record >= hello.len() {
            prop_assert!(is_whole(&stream));
        }
        let ended = [&stream[..], &[20, 3, 3, 0, 1]].concat();
        prop_assert_eq!(is_whole(&ended), hello.len().div_ceil(record) < LOOKED_AT);
        stream.extend([behind, 3, 3, 0, 1, 1]);
        stream.truncate(cut.index(stream.len()) + 1);
        if let Some((at, bit)) = flip.filter(|(at, _)| *at < stream.len()) {
            stream[at] ^= 1 << bit;
        }
        if is_whole(&stream) {
            let followed = [&stream[..], &more].concat();
            prop_assert_eq!(read(&followed, false), read(&stream, false));
        }
    }
}

#[test]
fn a_record_that_lacks_the_end_of_a_hello_is_not_whole() {
    let hello = browser();
    for lacking in 1..10 {
        let first = records(&hello[..hello.len() - lacking], 1 << 14);
        let first = &first[..RECORD_HEADER + hello.len() - lacking];
        assert!(!is_whole(first), "{lacking} bytes are missing");
    }
    let warning = [ALERT, 3, 3, 0, 2, WARNING, 112];
    assert!(!is_whole(&warning) && !is_whole(&[&warning[..], &records(&hello, 1 << 14)].concat()));
}

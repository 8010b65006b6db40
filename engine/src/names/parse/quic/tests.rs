//! The packets of RFC 9001 and RFC 9369, appendix A; and handshakes in many pieces.

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::aes::Aes128;
use aes_gcm::aes::cipher::BlockCipherEncrypt as _;
use aes_gcm::{Aes128Gcm, KeyInit as _};
use proptest::prelude::*;

use super::*;
use crate::names::parse::quic::header::VERSION_2;
use crate::names::parse::quic::keys::Opener;
use crate::names::parse::sample::{client_hello, server_hello, server_name};

const ID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .as_chunks::<2>()
        .0
        .iter()
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

/// An Initial packet of the client, as [`Opener::open`] undoes it: in one piece with its length,
/// a packet number of four bytes and no token.
fn protected(opener: &Opener, version: u32, id: &[u8], number: u32, content: &[u8]) -> Vec<u8> {
    let (key, iv, header_key) = opener.parts();
    let length = u16::try_from(4 + content.len() + 16).unwrap() | 0x4000;
    let first = if version == VERSION_2 { 0xd3 } else { 0xc3 };
    let mut packet =
        [&[first][..], &version.to_be_bytes(), &[u8::try_from(id.len()).unwrap()]].concat();
    packet.extend(id);
    packet.extend([0, 0]);
    packet.extend(length.to_be_bytes());
    let number_at = packet.len();
    packet.extend(number.to_be_bytes());
    let mut nonce = iv;
    nonce[8..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, number)| *byte ^= number);
    let mut sealed = content.to_vec();
    let tag = Aes128Gcm::new(&key.into())
        .encrypt_inout_detached(&nonce.into(), &packet, sealed.as_mut_slice().into())
        .unwrap();
    packet.extend(sealed);
    packet.extend(tag);
    let mut mask: [u8; 16] = packet[number_at + 4..number_at + 20].try_into().unwrap();
    Aes128::new(&header_key.into()).encrypt_block((&mut mask).into());
    packet[0] ^= mask[0] & 0x0f;
    packet[number_at..number_at + 4]
        .iter_mut()
        .zip(&mask[1..])
        .for_each(|(byte, mask)| *byte ^= mask);
    packet
}

/// CRYPTO frames of `message` at these ranges, and padding behind them.
fn crypto_frames(message: &[u8], ranges: &[(usize, usize)]) -> Vec<u8> {
    frames_of_kind(6, message, ranges)
}

/// All of it in one.
fn whole(message: &[u8]) -> Vec<u8> {
    crypto_frames(message, &[(0, message.len())])
}

/// The same, as frames of this number.
fn frames_of_kind(kind: u8, message: &[u8], ranges: &[(usize, usize)]) -> Vec<u8> {
    let mut content = Vec::new();
    for &(start, end) in ranges {
        let number = |at: usize| (u16::try_from(at).unwrap() | 0x4000).to_be_bytes();
        content.push(kind);
        content.extend(number(start));
        content.extend(number(end - start));
        content.extend(&message[start..end]);
    }
    content.resize(content.len().max(300), 0);
    content
}

fn name(name: &str) -> FlowFact {
    FlowFact::QuicSni(name.into())
}

#[test]
fn packets_of_the_documents() {
    let mut content = bytes(concat!(
        "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868",
        "04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578",
        "616d706c652e636f6dff01000100000a00080006001d00170018001000070005",
        "04616c706e000500050100000000003300260024001d00209370b2c9caa47fba",
        "baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400",
        "0d0010000e0403050306030203080408050806002d00020101001c0002400100",
        "3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000",
        "75300901100f088394c8f03e51570806048000ffff",
    ));
    content.resize(1_162, 0);
    let packets = [
        (
            1,
            "c000000001088394c8f03e5157080000449e7b9aec34",
            "e221af44860018ab0856972e194cd934",
            concat!(
                "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a",
                "5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3",
                "dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84",
                "022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc4",
                "2158407dd074ee",
            ),
        ),
        (
            VERSION_2,
            "d76b3343cf088394c8f03e5157080000449ea0c95e82",
            "a18b2faa745b6fe189cf772a9f84cbfc",
            concat!(
                "dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698",
                "baeea26b91eb761d9b89237bbf87263017915358230035f7fd3945d88965cf17",
                "f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2",
                "c984c707f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca8",
                "4bed8521e2e140",
            ),
        ),
    ];
    for (version, head, tag, of_server) in packets {
        // The client's packet is longer than it needs to be: its head and its tag tell that what
        // is made here is the same.
        let keys = Keys::new(version, &ID).unwrap();
        let packet = protected(&keys.client, version, &ID, 2, &content);
        assert!(packet.starts_with(&bytes(head)) && packet.ends_with(&bytes(tag)));
        assert!(may_begin(&packet));
        // Data that the client sends at once may stand before it.
        let first = if version == VERSION_2 { 0xe3 } else { 0xd3 };
        let early =
            [&[first][..], &version.to_be_bytes(), &[8], &ID, &[0, 0x40, 20], &[0x5a; 20]].concat();
        let both = [&early[..], &packet].concat();
        assert!(may_begin(&both) && !may_begin(&early) && !may_begin(&early[..20]));
        assert_eq!(Quic::default().read(&both).facts[0], name("example.com"));
        let mut quic = Quic::default();
        let facts = quic.read(&packet).facts;
        assert_eq!(facts[..2], [name("example.com"), FlowFact::Alpn("alpn".into())]);
        let FlowFact::Ja4(ja4) = &facts[2] else { panic!() };
        assert!(ja4.starts_with("q13d0211an_"), "{ja4}");
        let chosen = [FlowFact::TlsVersion(0x0304), FlowFact::TlsCipher(0x1301)];
        assert_eq!(quic.read(&bytes(of_server)).facts, chosen);
        assert_eq!(quic.read(&packet).facts, [], "each is said once");
        assert!(Quic::default().read(&bytes(of_server)).is_closed, "no key without the client");
    }
}

/// What was spoken before the standard, in the frames that each version has.
#[test]
fn versions_before_the_standard() {
    let hello = client_hello(&[0x1301], &[server_name("a.example")]);
    let whole = [(0, hello.len())];
    let standard = crypto_frames(&hello, &whole);
    let google = [vec![7, 0], frames_of_kind(8, &hello, &whole)].concat();
    for version in [
        0xff00_0016_u32,
        0xff00_0017,
        0xff00_001b,
        0xff00_001d,
        0xff00_0022,
        0xface_b001,
        0xface_b002,
        0xface_b00e,
        u32::from_be_bytes(*b"T050"),
        u32::from_be_bytes(*b"T051"),
    ] {
        let keys = Keys::new(version, &ID).unwrap();
        let read = |content: &[u8]| {
            let packet = protected(&keys.client, version, &ID, 1, content);
            assert!(may_begin(&packet), "{version:08x}");
            Quic::default().read(&packet).facts
        };
        let is_google = version.to_be_bytes().starts_with(b"T");
        let (its_own, others) = if is_google { (&google, &standard) } else { (&standard, &google) };
        assert_eq!(read(its_own)[0], name("a.example"), "{version:08x}");
        assert_eq!(read(others), [], "{version:08x}: frames of the others");
    }
    assert!(Keys::new(0xff00_0015, &ID).is_none(), "its headers are others");
}

/// The client begins in version 1, and the server goes on in version 2 (RFC 9368 section 2.3).
#[test]
fn a_version_that_both_have_agreed_on() {
    let hello = client_hello(&[0x1301], &[server_name("a.example")]);
    let end = hello.len();
    let [old, new] = [1, VERSION_2].map(|version| Keys::new(version, &ID).unwrap());
    let answer = server_hello();
    let answer = protected(&new.server, VERSION_2, &[7; 4], 0, &whole(&answer));
    let mut quic = Quic::default();
    let first = protected(&old.client, 1, &ID, 0, &crypto_frames(&hello, &[(0, 40)]));
    assert_eq!(quic.read(&first).facts, []);
    let chosen = [FlowFact::TlsVersion(0x0304), FlowFact::TlsCipher(0x1301)];
    assert_eq!(quic.read(&answer).facts, chosen);
    let rest = crypto_frames(&hello, &[(40, end)]);
    let rest = protected(&new.client, VERSION_2, &[8; 5], 1, &rest);
    assert_eq!(quic.read(&rest).facts[0], name("a.example"));
    let again = quic.read(&first);
    assert!(again.facts.is_empty() && !again.is_closed, "what came late");
    let other = protected(&new.server, 1, &[7; 4], 0, &whole(&hello));
    assert!(quic.read(&other).is_closed);
    let again = quic.read(&rest);
    assert!(again.facts.is_empty() && !again.is_closed, "the keys are kept");
}

#[test]
fn another_connection_between_the_same_ports_says_its_own() {
    let mut quic = Quic::default();
    for (id, server) in [([1; 8], "a.example"), ([2; 8], "b.example")] {
        let hello = client_hello(&[0x1301], &[server_name(server)]);
        let keys = Keys::new(1, &id).unwrap();
        let packet = protected(&keys.client, 1, &id, 0, &whole(&hello));
        assert_eq!(quic.read(&packet).facts[0], name(server));
        let answer = protected(&keys.server, 1, &[7; 4], 0, &whole(&server_hello()));
        assert_eq!(quic.read(&answer).facts.len(), 2, "and so does its server");
        assert_eq!(quic.read(&packet).facts, [], "once");
    }
}

#[test]
fn a_hello_in_many_pieces_is_put_together() {
    let hello =
        client_hello(&[0x1301], &[vec![0, 21, 1, 0], vec![0; 256], server_name("a.example")]);
    let end = hello.len();
    let keys = Keys::new(1, &ID).unwrap();
    let packet = |number, ranges: &[_]| {
        protected(&keys.client, 1, &ID, number, &crypto_frames(&hello, ranges))
    };
    let first = packet(0, &[(200, 250), (40, 100)]);
    let second = packet(1, &[(250, end), (0, 60)]);
    let third = packet(2, &[(90, 210)]);
    let mut quic = Quic::default();
    assert_eq!(quic.read(&second).facts, []);
    let both = [first.clone(), third].concat();
    assert_eq!(quic.read(&both).facts[0], name("a.example"), "coalesced, out of order");
    assert_eq!(quic.bytes(), 0);

    let mut quic = Quic::default();
    quic.read(&first);
    assert!(quic.bytes() > 0);
    // After a Retry: the server's identifier, and all from the beginning.
    let id = [7; 5];
    let keys = Keys::new(1, &id).unwrap();
    let whole = protected(&keys.client, 1, &id, 1, &crypto_frames(&hello, &[(0, end)]));
    assert_eq!(quic.read(&whole).facts[0], name("a.example"), "after a Retry");
}

#[test]
fn what_does_not_fit_is_given_up() {
    let keys = Keys::new(1, &ID).unwrap();
    let mut quic = Quic::default();
    let mut far = vec![6, 0x80, 1, 0, 0, 0x41, 0];
    far.resize(7 + 256, 1);
    for number in 0..200_u32 {
        far[2..5].copy_from_slice(&(number * 300).to_be_bytes()[1..]);
        let outcome = quic.read(&protected(&keys.client, 1, &ID, number, &far));
        assert!(quic.bytes() <= STREAM_BYTES);
        if number > 0 && outcome.is_full {
            return;
        }
    }
    panic!("never full");
}

proptest! {
    #[test]
    fn whatever_is_changed(at in 0usize..400, byte: u8, cut in 0usize..400) {
        let hello = client_hello(&[0x1301], &[server_name("a.example")]);
        let keys = Keys::new(1, &ID).unwrap();
        let content = crypto_frames(&hello, &[(0, hello.len())]);
        let mut packet = protected(&keys.client, 1, &ID, 0, &content);
        let at = at % packet.len();
        let is_same = packet[at] == byte;
        packet[at] = byte;
        let facts = Quic::default().read(&packet).facts;
        prop_assert_eq!(is_same, !facts.is_empty(), "what was changed is not believed");
        Quic::default().read(&packet[..cut.min(packet.len())]);
    }

    #[test]
    fn whatever_comes(rest in prop::collection::vec(any::<u8>(), 0..200), content: Vec<u8>) {
        let mut datagram = vec![0xc0, 0, 0, 0, 1];
        datagram.extend(&rest);
        let mut quic = Quic::default();
        quic.read(&datagram);
        quic.read(&rest);
        of_google(&rest);
        // What is in the packet is as hostile.
        let keys = Keys::new(1, &ID).unwrap();
        let mut content = content;
        content.resize(content.len().max(20), 0);
        quic.read(&protected(&keys.client, 1, &ID, 0, &content));
        prop_assert!(quic.bytes() <= STREAM_BYTES);
    }
}

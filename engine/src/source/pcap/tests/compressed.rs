//! gzip and Zstandard: several members, cuts and damage.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::build::Classic;
use super::{Outcome, Packet, outcome, packet};

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    gzip_at(Compression::fast(), bytes)
}

fn gzip_at(level: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// A file of `count` packets with bytes that do not compress away.
fn sample(count: u32) -> (Vec<u8>, Vec<Packet>) {
    let mut noise = 1_u32;
    let mut file = Classic::plain();
    let mut packets = Vec::new();
    for seconds in 0..count {
        let bytes: Vec<u8> = (0..60)
            .flat_map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                noise.to_be_bytes()
            })
            .collect();
        packets.push(packet(&bytes, i64::from(seconds) * 1_000_000_000));
        file = file.packet(seconds, &bytes);
    }
    (file.file, packets)
}

#[test]
fn members_and_frames_follow_each_other() {
    let (file, packets) = sample(3_000);
    let (a, b) = file.split_at(30_001);
    let skippable = b"\x5a\x2a\x4d\x18\x03\x00\x00\x00abc".to_vec();
    let empty = Vec::new();
    for (what, stored) in [
        ("one gzip member", gzip(&file)),
        ("gzip members", [gzip(a), gzip(&empty), gzip(b)].concat()),
        ("a gzip member and zeros", [gzip(&file), vec![0; 512]].concat()),
        ("a gzip member and a zero", [gzip(&file), vec![0]].concat()),
        ("one zstd frame", zstd(&file)),
        ("zstd frames", [zstd(a), skippable.clone(), zstd(&empty), zstd(b)].concat()),
        ("pzstd", [skippable, zstd(a), zstd(b)].concat()),
    ] {
        for step in [usize::MAX, 1] {
            assert_eq!(outcome(&stored, step), (packets.clone(), None), "{what}, step {step}");
        }
    }
}

/// Whether the outcome is a prefix of `packets`, and an error with `cause` in it.
fn check_broken(what: &str, found: &Outcome, packets: &[Packet], cause: &str) {
    let (before, error) = found;
    assert!(packets.starts_with(before), "{what}: wrong packets");
    let error = error.as_deref().unwrap_or("none");
    assert!(error.contains(cause), "{what}: {error}");
}

#[test]
fn a_cut_stream_gives_everything_before_the_cut() {
    let (file, packets) = sample(40);
    // Stored blocks of one deflate stream: file byte n is at a known place.
    let stored = gzip_at(Compression::none(), &file);
    let overhead = 10 + 5;
    for len in (overhead + 24)..stored.len() {
        let found = outcome(&stored[..len], usize::MAX);
        check_broken("stored", &found, &packets, "the gzip data is cut, after byte ");
        let whole = (len.min(overhead + file.len()) - overhead - 24) / 256;
        assert_eq!(found.0.len(), whole, "cut at {len}");
    }
    let (file, packets) = sample(3_000);
    for (what, stored) in [("gzip", gzip(&file)), ("zstd", zstd(&file))] {
        let cause = format!("the {what} data is cut");
        let mut before = 0;
        for len in (0..stored.len()).skip(64).step_by(9_973).chain([stored.len() - 1]) {
            let found = outcome(&stored[..len], usize::MAX);
            check_broken(what, &found, &packets, &cause);
            assert!(found.0.len() >= before, "{what}: fewer packets of more bytes");
            before = found.0.len();
        }
        assert!(before > 2_500, "{what}: {before}");
    }
}

#[test]
fn damaged_streams_end_in_an_error() {
    let (file, packets) = sample(3_000);
    let mut gzipped = gzip(&file);
    let checksum = gzipped.len() - 8;
    gzipped[checksum] ^= 1;
    let found = outcome(&gzipped, usize::MAX);
    assert_eq!(found.0, packets, "a wrong checksum is found out at the end");
    check_broken("checksum", &found, &packets, "the gzip data is damaged, after byte 768024 of");
    for garbage in [&b"garbage garbage"[..], b"garbage", b"\0\0\0garbage"] {
        let trailing = [&gzip(&file), garbage].concat();
        for step in [usize::MAX, 1] {
            let found = outcome(&trailing, step);
            assert_eq!(found.0, packets, "garbage comes last");
            let cause = "of the decompressed data (something else follows it)";
            check_broken("garbage", &found, &packets, cause);
        }
    }
    let mut frame = zstd(&file);
    let middle = frame.len() / 2;
    // Somewhere in it is the head of a block, then of a type that does not exist.
    frame[middle..].fill(0xff);
    check_broken("zstd", &outcome(&frame, usize::MAX), &packets, "the zstd data is damaged");
}

#[test]
fn what_is_inside_is_named() {
    for (stored, error) in [
        (
            gzip(b"hello"),
            "open x.pcap: not a pcap or pcapng file inside gzip (it starts with 68 65 6c 6c); \
             give a capture made by tcpdump, Wireshark or dumpcap",
        ),
        (
            gzip(&gzip(b"hello")),
            "open x.pcap: not a pcap or pcapng file inside gzip (it starts with 1f 8b 08 00); \
             it is compressed twice; unpack it once",
        ),
        (
            zstd(b""),
            "open x.pcap: it is empty; give a capture made by tcpdump, Wireshark or dumpcap",
        ),
        (
            b"\x1f\x8b\x08".to_vec(),
            "open x.pcap: the gzip data is cut, after byte 0 of the decompressed data; \
             fetch or record it anew",
        ),
    ] {
        assert_eq!(outcome(&stored, usize::MAX), (Vec::new(), Some(error.to_owned())));
    }
}

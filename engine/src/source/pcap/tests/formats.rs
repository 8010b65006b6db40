//! Every feature of the formats.

use super::build::{BOTH, Classic, End, Ng};
use super::{check, packet};

const SECOND: i64 = 1_000_000_000;

#[test]
fn pcap_in_both_orders_with_all_magic_numbers() {
    for end in BOTH {
        for (magic, fraction_ns) in [(0xa1b2_c3d4, 1_000), (0xa1b2_3c4d, 1), (0xa1b2_cd34, 1_000)] {
            let file = Classic::new(end, magic, 0x1400_0071)
                .record((5, 7), (3, 60), b"abc")
                .record((u32::MAX, u32::MAX), (0, 0), b"")
                .record((0, 999_999), (4, 2), b"defg")
                .file;
            let far = i64::from(u32::MAX);
            let expected = [
                (b"abc".to_vec(), 60, Some(5 * SECOND + 7 * fraction_ns), 113),
                (Vec::new(), 0, Some(far * SECOND + far * fraction_ns), 113),
                (b"defg".to_vec(), 2, Some(999_999 * fraction_ns), 113),
            ];
            check(&format!("{end:?} {magic:x}"), &file, &expected, None);
        }
    }
}

#[test]
fn files_without_packets() {
    check("pcap", &Classic::plain().file, &[], None);
    for end in BOTH {
        check("pcapng", &Ng::new(end).file, &[], None);
        check("sections only", &Ng::new(end).section(End::Little).section(end).file, &[], None);
    }
}

#[test]
fn packets_longer_than_the_buffer_and_across_its_end() {
    let long = vec![7; crate::limits::FILE_PACKET_BYTES];
    let file = Classic::plain().packet(1, b"a").packet(2, &long).packet(3, b"c").file;
    let expected = [packet(b"a", SECOND), packet(&long, 2 * SECOND), packet(b"c", 3 * SECOND)];
    check("pcap", &file, &expected, None);
    let skipped = vec![0; crate::limits::FILE_BLOCK_BYTES - 12];
    let file = Ng::new(End::Big)
        .interface(1, 0, &[])
        .block(99, &skipped)
        .packet(0, 2_000_000, 1 << 20, &long)
        .file;
    // Byte by byte would take long and show nothing more.
    assert_eq!(super::outcome(&file, usize::MAX), (vec![packet(&long, 2 * SECOND)], None));
    let many = (0..200_000).fold(Classic::plain(), |file, i| file.packet(i, &[1; 60]));
    let (packets, error) = super::outcome(&many.file, usize::MAX);
    assert_eq!((packets.len(), error), (200_000, None));
    assert!(packets.iter().zip(0..).all(|(p, i)| *p == packet(&[1; 60], i * SECOND)));
}

#[test]
fn pcapng_packet_blocks_in_both_orders() {
    for end in BOTH {
        let file = Ng::new(end)
            .interface(1, 0, &[])
            .interface(101, 96, &[(2, b"eth0"), (0, b"")])
            .packet(0, 1_000_001, 60, b"abc")
            .obsolete(1, 1 << 33, 4, b"defg")
            .block(5, &[0xff; 24])
            .block(10, b"secrets")
            .block(0x8000_0bad, b"")
            .simple(5, b"hello")
            .packet(1, 0, 0, b"")
            .file;
        let expected = [
            (b"abc".to_vec(), 60, Some(1_000_001_000), 1),
            (b"defg".to_vec(), 4, Some((1 << 33) * 1_000), 101),
            (b"hello".to_vec(), 5, None, 1),
            (Vec::new(), 0, Some(0), 101),
        ];
        check(&format!("{end:?}"), &file, &expected, None);
    }
}

#[test]
fn sections_have_their_own_order_and_interfaces() {
    let file = Ng::new(End::Little)
        .interface(1, 0, &[])
        .packet(0, 1, 1, b"a")
        .section(End::Big)
        .interface(228, 0, &[(9, &[9])])
        .packet(0, 1, 1, b"b")
        .section(End::Little)
        .interface(229, 0, &[(9, &[3])])
        .packet(0, 1, 1, b"c")
        .file;
    let expected = [
        (b"a".to_vec(), 1, Some(1_000), 1),
        (b"b".to_vec(), 1, Some(1), 228),
        (b"c".to_vec(), 1, Some(1_000_000), 229),
    ];
    check("three sections", &file, &expected, None);
}

#[test]
fn simple_packets_are_cut_at_the_snap_length_of_interface_0() {
    for (snap, wire_len, bytes, captured) in [
        (0, 5, &b"hello"[..], &b"hello"[..]),
        (3, 5, b"hel", b"hel"),
        (100, 5, b"hello", b"hello"),
        (0, 90, b"hello!!!", b"hello!!!"),
        (0, 0, b"", b""),
    ] {
        let file =
            Ng::new(End::Big).interface(1, snap, &[]).interface(9, 1, &[]).simple(wire_len, bytes);
        let expected = [(captured.to_vec(), wire_len, None, 1)];
        check(&format!("snap {snap}, wire {wire_len}"), &file.file, &expected, None);
    }
}

#[test]
fn times_of_every_resolution_and_offset() {
    let cases: [(u8, i64, u64, Option<i64>); 22] = [
        (0, 0, 7, Some(7 * SECOND)),
        (0, 0, u64::MAX, None),
        (3, 0, 1_234, Some(1_234_000_000)),
        (6, 0, 1_700_000_000_123_456, Some(1_700_000_000_123_456_000)),
        (6, 0, u64::MAX, None),
        (9, 0, i64::MAX as u64, Some(i64::MAX)),
        (9, 0, i64::MAX as u64 + 1, None),
        (9, 1, i64::MAX as u64, None),
        (9, -1, SECOND as u64 / 2, Some(-SECOND / 2)),
        (10, 0, 19, Some(1)),
        (12, 0, 1_999, Some(1)),
        (12, 3, 1_999, Some(3 * SECOND + 1)),
        (28, 0, u64::MAX, Some(1)),
        (29, 0, u64::MAX, Some(0)),
        (127, 0, u64::MAX, Some(0)),
        (128, 0, 7, Some(7 * SECOND)),
        (128 + 10, 0, 1_025, Some(SECOND + 976_562)),
        (128 + 32, 0, 3 << 31, Some(SECOND * 3 / 2)),
        (128 + 64, 0, u64::MAX, Some(SECOND - 1)),
        (255, 0, u64::MAX, Some(0)),
        (6, i64::MAX, 0, None),
        (6, i64::MIN, u64::MAX, None),
    ];
    for end in BOTH {
        for (resolution, offset, time, expected) in cases {
            let options = [(14, &end.i64(offset)[..]), (9, &[resolution])];
            let file = Ng::new(end).interface(1, 0, &options).packet(0, time, 1, b"x").file;
            let expected = [(b"x".to_vec(), 1, expected, 1)];
            check(&format!("tsresol {resolution}, {time} + {offset}"), &file, &expected, None);
        }
    }
}

#[test]
fn options_after_the_end_of_options_and_broken_lengths_are_left_alone() {
    let end = End::Little;
    let file = Ng::new(end)
        .interface(1, 0, &[(0, b""), (9, &[0])])
        .interface(1, 0, &[(9, b""), (14, b"short")])
        .packet(0, 1, 1, b"x")
        .packet(1, 1, 1, b"y")
        .file;
    check("default resolution", &file, &[packet(b"x", 1_000), packet(b"y", 1_000)], None);
}

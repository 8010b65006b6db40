//! Every damage: what came before is handed out, and the error says where and what.

use super::build::{Classic, End, Ng};
use super::{check, packet};
use crate::limits::{FILE_BLOCK_BYTES, FILE_INTERFACES, FILE_PACKET_BYTES};

const SECOND: i64 = 1_000_000_000;

/// The error of a damaged file.
fn read(cause: &str) -> String {
    format!("read x.pcap: {cause}; the packets before it were counted")
}

#[test]
fn pcap_files_that_end_too_early() {
    let whole = Classic::plain().packet(1, b"abc").packet(2, b"defg").file;
    assert_eq!(whole.len(), 24 + 19 + 20);
    for len in 4..24 {
        let error = "open x.pcap: the file ends inside the pcap header at its start; \
                     fetch or record it anew";
        check("in the header", &whole[..len], &[], Some(error));
    }
    for len in 25..43 {
        let error = read(&format!("the file ends at byte {len}, inside the packet at byte 24"));
        check("in packet 1", &whole[..len], &[], Some(&error));
    }
    check("between packets", &whole[..43], &[packet(b"abc", SECOND)], None);
    for len in 44..63 {
        let error = read(&format!("the file ends at byte {len}, inside the packet at byte 43"));
        check("in packet 2", &whole[..len], &[packet(b"abc", SECOND)], Some(&error));
    }
}

#[test]
fn pcap_packets_of_impossible_length() {
    for captured in [FILE_PACKET_BYTES + 1, u32::MAX as usize] {
        let lens = (u32::try_from(captured).unwrap(), 60);
        let file = Classic::plain().packet(1, b"abc").record((2, 0), lens, &[0; 60]).file;
        let error = read(&format!(
            "the file is damaged: the packet at byte 43 claims {captured} captured bytes, \
             more than {FILE_PACKET_BYTES}"
        ));
        check("pcap", &file, &[packet(b"abc", SECOND)], Some(&error));
    }
}

/// 28 bytes of section, 20 of interface, 36 of packet: the next block is at byte 84.
fn one_packet(end: End) -> Ng {
    Ng::new(end).interface(1, 0, &[]).packet(0, 1_000_000, 3, b"abc")
}

#[test]
fn pcapng_files_that_end_too_early() {
    let whole = one_packet(End::Big).packet(0, 2_000_000, 1, b"d").file;
    for len in 85..whole.len() {
        let error = read(&format!("the file ends at byte {len}, inside the block at byte 84"));
        check("in a block", &whole[..len], &[packet(b"abc", SECOND)], Some(&error));
    }
}

#[test]
fn pcapng_blocks_that_make_no_sense() {
    let end = End::Big;
    let head = |kind: u32, bytes: u32| [end.u32(kind), end.u32(bytes), end.u32(0)].concat();
    let blocks = |change: &dyn Fn(Ng) -> Ng| change(one_packet(end)).file.split_off(84);
    let huge = u32::try_from(FILE_BLOCK_BYTES).unwrap() + 4;
    let long = u32::try_from(FILE_PACKET_BYTES).unwrap() + 1;
    let lying = |kind: u32, captured: u32| {
        let words = [0, 0, 0, captured, 9].map(|word| end.u32(word)).concat();
        blocks(&|ng| ng.block(kind, &words))
    };
    let cases: &[(Vec<u8>, &str)] = &[
        (head(99, 0), "has the impossible length 0"),
        (head(99, 11), "has the impossible length 11"),
        (head(99, 13), "has the impossible length 13"),
        (head(99, huge), "has the impossible length 16777220"),
        (head(99, u32::MAX), "has the impossible length 4294967295"),
        (head(0x0a0d_0d0a, 28), "has no byte-order magic"),
        (
            [head(0x0a0d_0d0a, 24)[..8].to_vec(), end.u32(0x1a2b_3c4d).to_vec()].concat(),
            "has the impossible length 24",
        ),
        (
            blocks(&|ng| ng.packet(1, 0, 1, b"x")),
            "has a packet of interface 1, which was not described",
        ),
        (
            blocks(&|ng| ng.obsolete(0xffff, 0, 1, b"x")),
            "has a packet of interface 65535, which was not described",
        ),
        (blocks(&|ng| ng.block(6, &[0; 16])), "is too short for a packet"),
        (blocks(&|ng| ng.block(2, &[0; 16])), "is too short for a packet"),
        (blocks(&|ng| ng.block(3, b"")), "is too short for a packet"),
        (blocks(&|ng| ng.block(1, &[0; 4])), "is too short for an interface description"),
        (
            blocks(&|ng| ng.block(1, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 5, 6, 0, 0, 0])),
            "has an option that is longer than the block",
        ),
        (lying(6, 1), "is too short for its packet of 1 captured bytes"),
        (lying(2, 4), "is too short for its packet of 4 captured bytes"),
        (lying(6, long), "claims 1048577 captured bytes, more than 1048576"),
        (
            blocks(&|ng| ng.simple(long, &vec![0; long as usize])),
            "claims 1048577 captured bytes, more than 1048576",
        ),
    ];
    for (block, cause) in cases {
        let file = [one_packet(end).file, block.clone()].concat();
        let error = read(&format!("the file is damaged: the block at byte 84 {cause}"));
        check(cause, &file, &[packet(b"abc", SECOND)], Some(&error));
    }
}

#[test]
fn a_section_forgets_the_interfaces_before_it() {
    let end = End::Little;
    let section = || one_packet(end).section(end);
    for file in [section().packet(0, 0, 1, b"x"), section().simple(1, b"x")] {
        let error = read(
            "the file is damaged: the block at byte 112 has a packet of interface 0, \
             which was not described",
        );
        check("section", &file.file, &[packet(b"abc", SECOND)], Some(&error));
    }
}

#[test]
fn a_section_describes_so_many_interfaces_and_no_more() {
    let many = |count| (0..count).fold(Ng::new(End::Little), |ng, _| ng.interface(1, 0, &[]));
    let file = many(FILE_INTERFACES).packet(65_535, 1_000_000, 1, b"x").file;
    assert_eq!(super::outcome(&file, usize::MAX), (vec![packet(b"x", SECOND)], None));
    let at = 28 + 20 * FILE_INTERFACES;
    let error = read(&format!(
        "the file is damaged: the block at byte {at} describes interface number 65536"
    ));
    let file = many(FILE_INTERFACES + 1).packet(0, 1_000_000, 1, b"x").file;
    assert_eq!(super::outcome(&file, usize::MAX), (vec![], Some(error)));
}

#[test]
fn the_length_behind_a_block_is_not_looked_at() {
    let mut file = one_packet(End::Big).file;
    let last = file.len() - 1;
    file[last] ^= 0xff;
    check("trailing length", &file, &[packet(b"abc", SECOND)], None);
}

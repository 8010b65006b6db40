//! Blocks as a kernel would write them, and as none should.

use std::fs::File;
use std::os::fd::{AsFd, FromRawFd};

use super::*;

const BLOCK_BYTES: u32 = 4096;
const BLOCKS: u32 = 2;

/// The other side of the ring: writes blocks.
struct Kernel {
    mapping: Mapping,
    block: usize,
}

/// A packet in a block: header fields, and its bytes at `tp_mac`.
#[derive(Clone)]
struct Fake {
    header: libc::tpacket3_hdr,
    kind: u8,
    bytes: Vec<u8>,
}

fn both() -> (Kernel, Ring) {
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"ring".as_ptr(), 0) };
    assert!(fd >= 0, "memfd_create");
    // SAFETY: it is open, and nothing else has it.
    let file = unsafe { File::from_raw_fd(fd) };
    let bytes = BLOCK_BYTES * BLOCKS;
    file.set_len(bytes.into()).unwrap();
    let map = || Mapping::shared(file.as_fd(), 0, bytes as usize).unwrap();
    let ring = Ring::new(map(), BLOCKS, BLOCK_BYTES, true).unwrap();
    (Kernel { mapping: map(), block: 0 }, ring)
}

/// A packet of these bytes; `next` is where the one after it is, 0 for none.
fn fake(bytes: &[u8], next: u32) -> Fake {
    let len = u32::try_from(bytes.len()).unwrap();
    let header = libc::tpacket3_hdr {
        tp_next_offset: next,
        tp_sec: 7,
        tp_nsec: 9,
        tp_snaplen: len,
        tp_len: len,
        tp_status: libc::TP_STATUS_USER,
        tp_mac: 98,
        tp_net: 112,
        hv1: libc::tpacket_hdr_variant1 {
            tp_rxhash: 0,
            tp_vlan_tci: 0,
            tp_vlan_tpid: 0,
            tp_padding: 0,
        },
        tp_padding: [0; 8],
    };
    Fake { header, kind: libc::PACKET_HOST, bytes: bytes.to_vec() }
}

impl Kernel {
    fn write<T>(&self, offset: usize, value: T) {
        let at = self.block * BLOCK_BYTES as usize + offset;
        let to = self.mapping.at::<T>(at, 1).expect("tests write inside the mapping");
        // SAFETY: `at` has checked it, and the ring does not look before `retire`.
        unsafe { to.write(value) };
    }

    /// Writes a block, its packets 256 bytes apart, and hands it over.
    fn retire(&mut self, packets: &[Fake]) {
        for (number, packet) in packets.iter().enumerate() {
            let offset = 48 + 256 * number;
            let mut address = [0; 20];
            address[10] = packet.kind;
            self.write(offset, packet.header);
            self.write(offset + 48, address);
            for (at, byte) in packet.bytes.iter().enumerate() {
                self.write(offset + 98 + at, *byte);
            }
        }
        self.retire_as(u32::try_from(packets.len()).unwrap(), 48);
    }

    fn retire_as(&mut self, packets: u32, first_offset: u32) {
        self.write(12, packets);
        self.write(16, first_offset);
        self.status().store(libc::TP_STATUS_USER, Ordering::Release);
        self.block = (self.block + 1) % BLOCKS as usize;
    }

    fn status(&self) -> &AtomicU32 {
        let at = self.mapping.at(self.block * BLOCK_BYTES as usize + 8, 1).unwrap();
        // SAFETY: aligned and inside the mapping, which lives as long as `self`.
        unsafe { at.as_ref() }
    }

    /// Whether the block that it would fill next is its own.
    fn has_room(&self) -> bool {
        self.status().load(Ordering::Acquire) == libc::TP_STATUS_KERNEL
    }
}

/// What the ring gives, and how many were invalid.
fn taken(ring: &mut Ring, max: usize) -> (Vec<Vec<u8>>, u32) {
    let mut packets = Vec::new();
    let found = ring.receive(max, |packet| packets.push(packet.bytes.to_vec()));
    assert_eq!(found.shown, packets.len());
    (packets, found.invalid)
}

#[test]
fn packets_come_in_order_and_blocks_go_back_when_all_was_shown() {
    let (mut kernel, mut ring) = both();
    assert_eq!(taken(&mut ring, 64), (vec![], 0), "nothing yet");
    for round in 0..5_u8 {
        let packets = [fake(&[round; 60], 256), fake(&[round + 1; 61], 256), fake(&[9; 62], 0)];
        kernel.retire(&packets);
        kernel.retire(&[fake(&[77; 1], 0)]);
        assert!(!kernel.has_room(), "both blocks are the ring's");
        assert_eq!(taken(&mut ring, 2).0, [vec![round; 60], vec![round + 1; 61]]);
        assert!(!kernel.has_room(), "one packet of it is left");
        assert_eq!(taken(&mut ring, 1).0, [vec![9; 62]]);
        assert!(kernel.has_room(), "back at once");
        assert_eq!(taken(&mut ring, 64), (vec![vec![77; 1]], 0));
        assert_eq!(taken(&mut ring, 64), (vec![], 0));
    }
}

#[test]
fn what_the_kernel_says_of_a_packet_arrives() {
    let (mut kernel, mut ring) = both();
    let mut long = fake(&[1; 60], 256);
    long.header.tp_len = 1_500;
    let mut sent = fake(&[2; 60], 0);
    sent.kind = libc::PACKET_OUTGOING;
    kernel.retire(&[long, sent]);
    let mut seen = Vec::new();
    ring.receive(64, |p| seen.push((p.wire_len, p.seconds, p.nanoseconds, p.is_outgoing)));
    assert_eq!(seen, [(1_500, 7, 9, false), (60, 7, 9, true)]);
}

#[test]
fn a_tag_that_was_taken_out_is_put_back() {
    let frame: Vec<u8> = (0..60).collect();
    let tagged = |protocol: [u8; 2], control: [u8; 2]| {
        [&frame[..12], &protocol[..], &control[..], &frame[12..]].concat()
    };
    for (status, protocol, expected) in [
        (libc::TP_STATUS_VLAN_VALID, 0, tagged([0x81, 0x00], [0x20, 0x05])),
        (
            libc::TP_STATUS_VLAN_VALID | libc::TP_STATUS_VLAN_TPID_VALID,
            0x88a8,
            tagged([0x88, 0xa8], [0x20, 0x05]),
        ),
        (0, 0x8100, frame.clone()),
    ] {
        let (mut kernel, mut ring) = both();
        let mut packet = fake(&frame, 0);
        packet.header.tp_status |= status;
        packet.header.hv1.tp_vlan_tci = 0x2005;
        packet.header.hv1.tp_vlan_tpid = protocol;
        kernel.retire(&[packet]);
        let mut seen = Vec::new();
        ring.receive(1, |packet| seen.push((packet.bytes.to_vec(), packet.wire_len as usize)));
        assert_eq!(seen, [(expected.clone(), expected.len())], "status {status:#x}");
    }
}

#[test]
fn what_is_not_in_the_block_is_invalid_and_counted() {
    type Damage = fn(&mut libc::tpacket3_hdr);
    // Of three packets the second is damaged: what is shown, and what is invalid.
    let cases: [(&str, Damage, usize, u32); 9] = [
        ("nothing", |_| {}, 3, 0),
        ("too long", |h| h.tp_snaplen = BLOCK_BYTES, 2, 1),
        ("far too long", |h| h.tp_snaplen = u32::MAX, 2, 1),
        ("begins in its header", |h| h.tp_mac = 67, 2, 1),
        ("begins behind the block", |h| h.tp_mac = u16::MAX, 2, 1),
        ("no room for its tag", |h| (h.tp_mac, h.tp_status) = (70, u32::MAX), 2, 1),
        ("too short for a tag", |h| (h.tp_snaplen, h.tp_status) = (11, u32::MAX), 2, 1),
        // Then nothing is known of those behind it.
        ("leads to itself", |h| h.tp_next_offset = 0, 1, 2),
        ("leads out of the block", |h| h.tp_next_offset = u32::MAX - 400, 2, 1),
    ];
    for (name, damage, shown, invalid) in cases {
        let (mut kernel, mut ring) = both();
        let mut packets = vec![fake(&[5; 60], 256); 3];
        damage(&mut packets[1].header);
        kernel.retire(&packets);
        kernel.retire(&[fake(&[6; 60], 0)]);
        let (packets, found) = taken(&mut ring, 64);
        assert_eq!((packets.len(), found), (shown + 1, invalid), "{name}");
        assert_eq!(packets.last().unwrap(), &[6; 60], "{name}: the next block is whole");
        assert!(kernel.has_room(), "{name}: the block went back");
    }
}

#[test]
fn blocks_that_make_no_sense_go_back() {
    for (packets, first) in [(1, BLOCK_BYTES - 67), (5, u32::MAX), (1, 2)] {
        let (mut kernel, mut ring) = both();
        kernel.retire_as(packets, first);
        kernel.retire(&[fake(&[6; 60], 0)]);
        assert_eq!(taken(&mut ring, 64), (vec![vec![6; 60]], packets), "{packets} at {first}");
    }
    // More packets than a block holds: the walk ends where the block does.
    let (mut kernel, mut ring) = both();
    let packets = vec![fake(&[1; 60], 256); 15];
    kernel.retire(&packets);
    kernel.block = 0;
    kernel.retire_as(u32::MAX, 48);
    let (packets, invalid) = taken(&mut ring, usize::MAX);
    assert_eq!((packets.len(), invalid), (15, u32::MAX - 15));
}

#[test]
fn a_ring_is_what_was_mapped() {
    let mapped = || Mapping::anonymous(8192).unwrap();
    assert!(Ring::new(mapped(), 2, 4096, true).is_some());
    assert!(Ring::new(mapped(), 3, 4096, true).is_none(), "more");
    assert!(Ring::new(mapped(), 1, 4096, true).is_none(), "less");
    assert!(Ring::new(mapped(), 4, 2048, true).is_none(), "no pages");
    assert!(Ring::new(mapped(), 0, 4096, true).is_none(), "none");
}

//! Frames into packets.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use etherparse::{LaxSlicedPacket, SlicedPacket};
use flowtap::decode::Packet;

use crate::again;
use crate::pieces::ITEMS;
use crate::pieces::decode::{Decode, decoder};
use crate::pieces::frames::{Captured, general, straight};

#[divan::bench]
fn ours_straight(bencher: Bencher<'_, '_>) {
    again(bencher, Decode::new(straight()));
}

#[divan::bench]
fn ours_general(bencher: Bencher<'_, '_>) {
    again(bencher, Decode::new(general()));
}

#[divan::bench]
fn etherparse_straight(bencher: Bencher<'_, '_>) {
    etherparse(bencher, &straight());
}

#[divan::bench]
fn etherparse_general(bencher: Bencher<'_, '_>) {
    etherparse(bencher, &general());
}

/// It finds the headers, checks their lengths, and makes neither key nor hash of them.
fn etherparse(bencher: Bencher<'_, '_>, frames: &[Captured]) {
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        let sliced = frames.iter().filter_map(|f| SlicedPacket::from_ethernet(&f.bytes).ok());
        sliced.filter(|packet| packet.net.is_some()).count()
    });
}

/// The same, for packets that may be cut, as ours may.
#[divan::bench]
fn etherparse_lax_straight(bencher: Bencher<'_, '_>) {
    let frames = straight();
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        let sliced = frames.iter().filter_map(|f| LaxSlicedPacket::from_ethernet(&f.bytes).ok());
        sliced.filter(|packet| packet.net.is_some()).count()
    });
}

/// Our general path, on the frames that it is spared.
#[divan::bench]
fn general_straight(bencher: Bencher<'_, '_>) {
    let (mut decoder, frames) = (decoder(), straight());
    let mut packet = Packet::NONE;
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        let mut sum = 0;
        for captured in &frames {
            if decoder.decode_general(&captured.frame(), &mut packet).is_ok() {
                sum ^= black_box(&packet).hash;
            }
        }
        sum
    });
}

/// The least that one can do: load every byte that a packet is made of, and hash as many as a
/// key has. It looks at the EtherType only, checks lengths, and makes nothing of what it loads.
#[divan::bench]
fn load_and_hash_straight(bencher: Bencher<'_, '_>) {
    let frames = straight();
    let load =
        |sum: u64, captured: &Captured| Some(sum ^ black_box(load_and_hash(&captured.bytes)?));
    bencher
        .counter(ItemsCount::new(ITEMS))
        .bench_local(|| frames.iter().fold(0, |sum, captured| load(sum, captured).unwrap_or(sum)));
}

fn load_and_hash(frame: &[u8]) -> Option<u64> {
    let word = |at: usize| Some(u64::from_le_bytes(*frame.get(at..)?.first_chunk()?));
    let link: &[u8; 18] = frame.first_chunk()?;
    let [.., a, b, c, d, e, f] = *link;
    let (at, ether_type) = if [a, b] == [0x81, 0x00] { (18, [e, f]) } else { (14, [a, b]) };
    let macs = word(0)? ^ word(4)?;
    let tag = u64::from(u16::from_be_bytes([c, d]));
    // The key's words, and what is loaded beside it.
    let (addresses, lengths, ports, tcp) = if ether_type == [0x08, 0x00] {
        let _: &[u8; 40] = frame.get(at..)?.first_chunk()?;
        ([word(at + 8)?, 0, word(at + 12)?, 0], word(at)?, word(at + 20)?, word(at + 28)?)
    } else {
        let _: &[u8; 60] = frame.get(at..)?.first_chunk()?;
        let addresses = [word(at + 8)?, word(at + 16)?, word(at + 24)?, word(at + 32)?];
        (addresses, word(at)?, word(at + 40)?, word(at + 48)?)
    };
    let [a, b, c, d] = addresses;
    let (low, high) = (fold(a ^ SEED[0], b ^ SEED[1]), fold(c ^ SEED[2], d ^ SEED[3]));
    let rest = fold((ports << 16 | tag) ^ SEED[4], lengths ^ SEED[5]);
    let hash = fold(low ^ high.rotate_left(32) ^ SEED[6], high ^ rest ^ SEED[7]);
    Some(hash ^ tcp ^ macs)
}

/// Any odd words.
const SEED: [u64; 8] = [
    0x9e37_79b9_7f4a_7c15,
    0x3c6e_f372_fe94_f82b,
    0xdaa6_6d2c_7ddf_7441,
    0x78dd_e6e5_fd29_f057,
    0x1715_609f_7c74_6c6d,
    0xb54c_da58_fbbe_e883,
    0x5384_5412_7b09_6499,
    0xf1bb_cdcb_fa53_e0af,
];

/// As our hash does it: the two halves of the product.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    u64::try_from(product & u128::from(u64::MAX)).unwrap_or(0)
        ^ u64::try_from(product >> 64).unwrap_or(0)
}

//! Frames into packets.

use divan::Bencher;
use divan::counter::ItemsCount;
use etherparse::{LaxSlicedPacket, SlicedPacket};

use crate::again;
use crate::pieces::ITEMS;
use crate::pieces::decode::Decode;
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

/// The least that one can do: go to the ports, and take addresses, ports and protocol.
#[divan::bench]
fn walk_straight(bencher: Bencher<'_, '_>) {
    let frames = straight();
    bencher
        .counter(ItemsCount::new(ITEMS))
        .bench_local(|| frames.iter().filter_map(|f| walk(&f.bytes)).fold(0, |sum, n| sum ^ n));
}

fn walk(frame: &[u8]) -> Option<u64> {
    let be16 = |at: usize| Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?));
    let word = |at: usize| Some(u64::from_be_bytes(*frame.get(at..)?.first_chunk()?));
    let (mut at, mut ether_type) = (14, be16(12)?);
    while ether_type == 0x8100 {
        ether_type = be16(at + 2)?;
        at += 4;
    }
    let (addresses, protocol, transport) = match ether_type {
        0x0800 => {
            let header = usize::from(frame.get(at)? & 0x0f) * 4;
            (word(at + 12)?, *frame.get(at + 9)?, at + header)
        }
        0x86dd => {
            let words = [word(at + 8)?, word(at + 16)?, word(at + 24)?, word(at + 32)?];
            (words.iter().fold(0, |sum, word| sum ^ word), *frame.get(at + 6)?, at + 40)
        }
        _ => return None,
    };
    let ports = u64::from(be16(transport)?) << 16 | u64::from(be16(transport + 2)?);
    Some(addresses ^ ports ^ u64::from(protocol) << 32)
}

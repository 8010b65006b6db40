//! Frames into packets, and keys into hashes.

use std::hint::black_box;

use flowtap::decode::{Decoder, Packet, TunnelPorts, Tunnels};
use flowtap::flow::{FlowKey, KeyHasher};

use super::frames::Captured;
use super::{Piece, frames, hasher};

/// As the program makes it.
pub(crate) fn decoder() -> Decoder {
    Decoder::new(hasher()).with_tunnels(Tunnels::Inner(TunnelPorts::default()))
}

/// Decodes frames.
#[derive(Debug)]
pub(crate) struct Decode {
    decoder: Decoder,
    frames: Vec<Captured>,
}

impl Decode {
    pub(crate) fn new(frames: Vec<Captured>) -> Self {
        let this = Self { decoder: decoder(), frames };
        // All are well-formed, and this asserts it.
        assert_eq!(packets(&this.frames).len(), this.frames.len());
        this
    }
}

impl Piece for Decode {
    fn run(&mut self) -> u64 {
        let mut packet = Packet::NONE;
        let mut sum = 0;
        for captured in &self.frames {
            if self.decoder.decode_to(&captured.frame(), &mut packet).is_ok() {
                // All of it is written, as it is where a batch is filled.
                sum ^= black_box(&packet).hash;
            }
        }
        sum
    }
}

/// The packets in frames, none of which may be without one.
pub(crate) fn packets(frames: &[Captured]) -> Vec<Packet> {
    let mut decoder = decoder();
    let decode = |captured: &Captured| decoder.decode(&captured.frame()).expect("well-formed");
    frames.iter().map(decode).collect()
}

/// Hashes keys.
#[derive(Debug)]
pub(crate) struct Hash {
    hasher: KeyHasher,
    keys: Vec<FlowKey>,
}

impl Hash {
    pub(crate) fn new() -> Self {
        Self { hasher: hasher(), keys: keys() }
    }
}

impl Piece for Hash {
    fn run(&mut self) -> u64 {
        self.keys.iter().fold(0, |sum, key| sum ^ self.hasher.hash(key))
    }
}

pub(crate) fn keys() -> Vec<FlowKey> {
    packets(&frames::straight()).iter().map(|packet| packet.key).collect()
}

//! Any bytes as a frame of any link type: the fast path says what the general path says, and both
//! what etherparse says, where it can (`engine/src/decode/tests/second.rs` has the exceptions).
//!
//! The first byte of an input chooses the link type and whether tunnels are opened.

#![no_main]

#[path = "../../engine/src/decode/tests/second.rs"]
mod second;

use flowtap::decode::{Cause, Decoder, Packet, TcpHeader, TunnelPorts, Tunnels};
use flowtap::flow::KeyHasher;
use flowtap::limits::IPV6_EXTENSIONS;
use flowtap::source::{Frame, LinkType};
use libfuzzer_sys::fuzz_target;

/// All that the decoder knows.
const LINKS: [u16; 21] =
    [1, 0, 9, 12, 14, 50, 101, 104, 108, 113, 127, 105, 228, 229, 239, 276, 51, 192, 204, 219, 226];

/// Bytes that were on the wire and not captured.
const CUT: [u32; 4] = [0, 1, 1_000, 70_000];

fuzz_target!(|input: &[u8]| {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let link = LinkType(LINKS[usize::from(choice & 31) % LINKS.len()]);
    let is_open = choice & 32 != 0;
    let tunnels = if is_open { Tunnels::Inner(TunnelPorts::default()) } else { Tunnels::Outer };
    let wire_len = u32::try_from(bytes.len()).expect("short") + CUT[usize::from(choice >> 6)];
    let frame = Frame { bytes, wire_len, timestamp: Some(0), link };
    let decoder = || Decoder::new(KeyHasher::seeded(&Seed::default())).with_tunnels(tunnels);

    let ours = decoder().decode(&frame);
    let mut packet = Packet::NONE;
    let general = decoder().decode_general(&frame, &mut packet).map(|_| packet);
    assert_eq!(ours, general, "the fast path and the general path");
    if let Ok(packet) = &ours {
        assert!(packet.payload_bytes <= packet.bytes && packet.bytes >= 20, "{packet:?}");
    }
    if link == LinkType::ETHERNET
        && !is_open
        && let Err(difference) = second::agrees(bytes, &ours)
    {
        panic!("{difference}");
    }
});

/// The same hash in every run.
type Seed = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

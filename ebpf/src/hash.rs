//! A hash of a packet's flow that is the same for both directions.
//!
//! Plain arithmetic for `no_std`; the engine's tests compile this very file. It has no secret:
//! the same flows are kept on every interface and every machine that samples one in as many,
//! which is what lets a tap's two directions, or two taps, be put together.

/// The hash of two ends, each an address in network order and a port, and of what they talk.
#[inline(always)]
pub(crate) fn flow_hash<const N: usize>(
    source: [u32; N],
    source_port: u16,
    destination: [u32; N],
    destination_port: u16,
    protocol: u8,
) -> u32 {
    // A sum does not tell which end comes first.
    let ends = end_hash(source, source_port).wrapping_add(end_hash(destination, destination_port));
    (mix(ends ^ protocol as u64) >> 32) as u32
}

/// Whether one of `every` hashes, of which this is one, is to be kept.
#[inline(always)]
pub(crate) fn is_kept(hash: u32, every: u32) -> bool {
    (hash as u64 * every as u64) >> 32 == 0
}

#[inline(always)]
fn end_hash<const N: usize>(address: [u32; N], port: u16) -> u64 {
    let mut hash = port as u64;
    for word in address {
        hash = mix(hash ^ word as u64);
    }
    hash
}

/// The last steps of SplitMix64.
#[inline(always)]
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

//! One file for each protocol that says names. A parser takes bytes and gives what they said.
//!
//! None keeps anything between two calls, but `quic`, whose keys belong to a connection; putting
//! payloads together is the work of [`super::conversations`]. All bytes are hostile: nothing here
//! panics, loops or allocates without bound, and what is not understood gives nothing.

pub(super) mod dhcp;
pub(super) mod dns;
pub(super) mod gquic;
pub(super) mod greeting;
pub(super) mod http;
mod ja4;
pub(super) mod nbns;
pub(super) mod neighbours;
pub(super) mod pieces;
pub(super) mod quic;
#[cfg(test)]
pub(super) mod sample;
pub(super) mod ssdp;
pub(super) mod ssh;
pub(super) mod text;
pub(super) mod tls;

/// What a parser of a stream made of its beginning.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read<T> {
    /// This is it.
    Done(T),
    /// It may be, with what follows.
    More,
    /// It is something else, or damaged.
    No,
}

/// Two bytes in network order at `at`.
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_be_bytes(*two))
}

/// Four bytes in network order at `at`.
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

//! One file for each protocol that says names. A parser takes bytes and gives what they said.
//!
//! None keeps anything between two calls, but `quic`, whose keys belong to a connection; putting
//! payloads together is the work of [`super::conversations`]. All bytes are hostile: nothing here
//! panics, loops or allocates without bound, and what is not understood gives nothing.

mod certificate;
pub(super) mod dhcp;
pub(super) mod dns;
pub(super) mod gquic;
pub(super) mod greeting;
pub(super) mod http;
mod ja4;
pub(super) mod nbns;
pub(super) mod neighbours;
pub(super) mod pieces;
pub(super) mod proxy;
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
    /// This is its beginning, and with what follows there may be more behind it.
    Part(T),
    /// It may be, with what follows.
    More,
    /// It is something else, or damaged.
    No,
}

impl<T> Read<T> {
    /// With what `make` makes of what was read.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Read<U> {
        match self {
            Self::Done(read) => Read::Done(make(read)),
            Self::Part(read) => Read::Part(make(read)),
            Self::More => Read::More,
            Self::No => Read::No,
        }
    }
}

/// Two bytes in network order at `at`.
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_be_bytes(*two))
}

/// Three bytes in network order at `at`.
fn be24(bytes: &[u8], at: usize) -> Option<usize> {
    let [a, b, c] = *bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes([0, a, b, c]) as usize)
}

/// Four bytes in network order at `at`.
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

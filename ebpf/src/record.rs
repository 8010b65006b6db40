//! What the program `observe` and the engine both know: the layout of what goes up and of what
//! is counted.
//!
//! Plain data for `no_std`. The engine compiles this very file (`engine/src/xdp/observer.rs`),
//! so that the two sides cannot disagree.

/// What stands before a packet's bytes in its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RecordHeader {
    /// When the program saw it, in ns of `CLOCK_TAI`.
    pub tai_ns: u64,
    /// Its length on the wire.
    pub wire_len: u32,
    /// How many of its bytes follow.
    pub len: u32,
    /// The receive queue it came by.
    pub queue: u32,
    /// Always 0, so that all bytes are written.
    pub reserved: u32,
}

/// Room for the bytes of a packet that is not longer; others get room for the snap length.
pub(crate) const SMALL_BYTES: u32 = 64;

/// The longest snap length. The shortest is [`SMALL_BYTES`].
pub(crate) const MAX_SNAP_BYTES: u32 = 4_096;

/// What one CPU has counted, by that CPU only: `seen_packets` is the sum of all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Copies {
    /// Packets that reached the program, all of which went on to the host.
    pub seen_packets: u64,
    /// Packets of which a copy went up.
    pub copied_packets: u64,
    /// Packets for which there was no room in the ring buffer.
    pub ring_full_packets: u64,
    /// Packets that the kernel did not let the program read.
    pub unreadable_packets: u64,
}

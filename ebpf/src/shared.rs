//! What the XDP program and the engine both know: the layout and names of the maps.
//!
//! Plain data for `no_std`. The engine compiles this very file (`engine/src/xdp/program.rs`),
//! so that the two sides cannot disagree.

/// Entries of the socket map: the most queues one interface may have.
pub const SOCKETS: u32 = 64;

/// What became of the frames that one CPU has shown to the program: one value per CPU,
/// written by that CPU only.
///
/// `seen_packets = passed_packets + redirected_packets + aborted_packets` in each of them.
///
/// Redirected means that the program has said so, and that a socket was there. What the
/// socket then refuses it counts itself (`XDP_STATISTICS`): no room in its rings, or a frame
/// that is too large. A redirect that fails for another reason (a socket that goes away
/// under the packet) has no counter in the kernel: it shows as redirected but neither
/// delivered nor dropped, which is a residual of the loss ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Verdicts {
    /// Frames that reached the program.
    pub seen_packets: u64,
    /// Their length in bytes, layer 2 included, without the frame check sequence.
    pub seen_bytes: u64,
    /// Frames given on to the host's network stack, as their queue has no socket.
    pub passed_packets: u64,
    /// Frames given to the socket of their queue.
    pub redirected_packets: u64,
    /// Frames that the redirect helper refused (`XDP_ABORTED`): the kernel drops them.
    pub aborted_packets: u64,
}

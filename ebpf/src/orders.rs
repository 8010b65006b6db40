//! What the program `feed` and `cargo xtask gen --to` both know: the layout of its maps.
//!
//! Plain data for `no_std`. xtask compiles this very file (`xtask/src/live/orders.rs`), so that
//! the two sides cannot disagree. Values are arrays of words, since those need no promise about
//! their layout.

/// How many kinds of frames there can be.
pub(crate) const KINDS: u32 = 8;

/// The value of the map `ORDERS`: what is the same for all frames.
pub(crate) type Orders = [u32; order::COUNT];

/// Where each of them is.
pub(crate) mod order {
    /// Number of the interface that frames go to.
    pub(crate) const INTERFACE: usize = 0;
    /// How many flows there are.
    pub(crate) const FLOWS: usize = 1;
    /// The low 16 bits of the first destination address, and how many there are.
    pub(crate) const TO_FIRST: usize = 2;
    /// See [`TO_FIRST`].
    pub(crate) const TO_SPAN: usize = 3;
    /// Likewise of the source.
    pub(crate) const FROM_FIRST: usize = 4;
    /// See [`FROM_FIRST`].
    pub(crate) const FROM_SPAN: usize = 5;
    /// The first source port, and how many there are.
    pub(crate) const PORT_FIRST: usize = 6;
    /// See [`PORT_FIRST`].
    pub(crate) const PORT_SPAN: usize = 7;
    /// 1 for UDP, 0 for TCP.
    pub(crate) const IS_UDP: usize = 8;
    /// 1 if the program in `RECEIVER` is to get the frames, or the host if there is none; else they
    /// go to the interface.
    pub(crate) const IS_RECEIVED: usize = 9;
    /// How many orders there are.
    pub(crate) const COUNT: usize = 10;
}

/// A value of the map `KIND`: a kind of frames.
pub(crate) type Kind = [u32; kind::COUNT];

/// Where what is in a kind.
pub(crate) mod kind {
    /// It is this kind if a random number is not greater, and greater than that of the kind
    /// before.
    pub(crate) const UP_TO: usize = 0;
    /// Bytes to take from the end of the frame that the kernel made.
    pub(crate) const SHORTER: usize = 1;
    /// Length of the IP packet.
    pub(crate) const IP_LEN: usize = 2;
    /// Sum of the IPv4 header, with zero for addresses' low halves and for its checksum.
    pub(crate) const IP_SUM: usize = 3;
    /// Sum of the pseudo header and all above IP, likewise, and with zero for the source port.
    pub(crate) const TRANSPORT_SUM: usize = 4;
    /// Nanoseconds from one of these frames to the next frame, at least.
    pub(crate) const INTERVAL_NS: usize = 5;
    /// How many words there are.
    pub(crate) const COUNT: usize = 6;
}

/// The value of the map `STATE`.
pub(crate) type State = [u64; state::COUNT];

/// Where what is in the state.
pub(crate) mod state {
    /// Frames made so far.
    pub(crate) const MADE: usize = 0;
    /// The last random number.
    pub(crate) const RANDOM: usize = 1;
    /// When the next frame may go, by the kernel's monotonic clock.
    pub(crate) const DUE_NS: usize = 2;
    /// How many words there are.
    pub(crate) const COUNT: usize = 3;
}

//! What the program `feed` and `cargo xtask gen --to` both know: the layout of its maps.
//!
//! Plain data for `no_std`. xtask compiles this very file (`xtask/src/live/feed.rs`), so that
//! the two sides cannot disagree. Values are arrays of words, since those need no promise about
//! their layout.

/// Where each of the orders is in the one value of the map `ORDERS`.
pub mod order {
    /// Number of the interface that frames go to.
    pub const INTERFACE: usize = 0;
    /// How many flows there are.
    pub const FLOWS: usize = 1;
    /// The low 16 bits of the first destination address, and how many there are.
    pub const TO_FIRST: usize = 2;
    /// See [`TO_FIRST`].
    pub const TO_SPAN: usize = 3;
    /// Likewise of the source.
    pub const FROM_FIRST: usize = 4;
    /// See [`FROM_FIRST`].
    pub const FROM_SPAN: usize = 5;
    /// The first source port, and how many there are.
    pub const PORT_FIRST: usize = 6;
    /// See [`PORT_FIRST`].
    pub const PORT_SPAN: usize = 7;
    /// Sum of the IPv4 header with zero for what is written, and for its checksum.
    pub const IP_SUM: usize = 8;
    /// Sum of the pseudo header and all above IP, likewise.
    pub const TRANSPORT_SUM: usize = 9;
    /// Where the checksum of the transport is in the frame.
    pub const CHECKSUM_AT: usize = 10;
    /// How many orders there are.
    pub const COUNT: usize = 11;
}

/// The value of the map `ORDERS`.
pub type Orders = [u32; order::COUNT];

/// The value of the map `STATE`: frames made so far, and the last random number.
pub type State = [u64; 2];

/// The flow of the next frame: each once, then any. All that is random is in `state`.
#[inline(always)]
pub fn next_flow(state: &mut State, flows: u32) -> u32 {
    let made = state[0];
    state[0] = made + 1;
    if made < flows as u64 {
        return made as u32;
    }
    // Constants of Knuth's MMIX; the high half is the random one.
    state[1] =
        state[1].wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (((state[1] >> 32) * flows as u64) >> 32) as u32
}

//! What the XDP program and the engine both know: the layout and names of the maps.
//!
//! Plain data for `no_std`. The engine compiles this very file (`engine/src/xdp/program.rs`),
//! so that the two sides cannot disagree. Values are integers or arrays of them, since those
//! need no promise about their layout.

/// Entries of the socket map: the most queues one interface may have.
pub const SOCKETS: u32 = 64;

/// UDP ports behind which the engine looks for tunnels.
pub const TUNNELS: usize = 8;

/// Sets of filter rules: one that is in force, and one that is being written.
pub(crate) const RULE_SETS: u32 = 2;

/// Address prefixes of one family in one rule set.
pub(crate) const PREFIXES: u32 = 4_096;

/// Flows that may be shunted at one time. Each has its place in `SHUNT_COUNTS` on each CPU.
pub(crate) const SHUNTED_FLOWS: u32 = 4_096;

/// A key of the map `SHUNTED`: the words of the engine's flow key.
pub(crate) type ShuntKey = [u64; 6];

/// A value of the map `SHUNTED`.
pub(crate) type ShuntEntry = [u32; 2];

/// Where what is in it.
pub(crate) mod shunt_entry {
    /// The place of the flow's counts.
    pub(crate) const NUMBER: usize = 0;
    /// Not 0 once a SYN, FIN or RST has come: nothing more is counted.
    #[allow(dead_code, reason = "the program's business")]
    pub(crate) const IS_OVER: usize = 1;
}

/// A value of the map `SHUNT_COUNTS`: what one CPU has counted of a flow.
pub(crate) type ShuntCounts = [u64; shunt_count::COUNT];

/// Where what is in it.
pub(crate) mod shunt_count {
    /// Packets that are counted in all that follows. Written last, read first.
    pub(crate) const DONE: usize = 0;
    /// Where the counts begin of the direction from the lower end to the higher one.
    pub(crate) const FORWARD: usize = 1;
    /// Likewise of the other.
    pub(crate) const REVERSE: usize = 5;

    /// From there on: packets,
    pub(crate) const PACKETS: usize = 0;
    /// bytes by IP length,
    pub(crate) const IP_BYTES: usize = 1;
    /// bytes by frame length,
    pub(crate) const FRAME_BYTES: usize = 2;
    /// and bytes above the transport header.
    pub(crate) const PAYLOAD_BYTES: usize = 3;

    /// When the last packet came, by the kernel's monotonic clock.
    pub(crate) const LAST_NS: usize = 9;
    /// TCP's flag bytes or-ed, in the lowest byte those of the forward direction, then those of
    /// the other.
    pub(crate) const TCP_FLAGS: usize = 10;
    /// Packets that are counted in anything at all. Written first, read last: where it is
    /// [`DONE`], what was read between is of these packets, no more and no less.
    pub(crate) const BEGUN: usize = 11;
    /// How many words there are.
    pub(crate) const COUNT: usize = 12;
}

/// What became of the frames that one CPU has shown to the program: one value per CPU,
/// written by that CPU only.
///
/// In each of them `seen_packets` is the sum of all others.
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
    /// Frames given on to the host's network stack, as their queue has no socket.
    pub passed_packets: u64,
    /// Frames given to the socket of their queue.
    pub redirected_packets: u64,
    /// Frames that the redirect helper refused (`XDP_ABORTED`): the kernel drops them.
    pub aborted_packets: u64,
    /// Frames that the filter rejected: the kernel drops them.
    pub filtered_packets: u64,
    /// Frames that sampling left out: the kernel drops them.
    pub sampled_out_packets: u64,
    /// Frames of shunted flows, which are counted in the map `SHUNT_COUNTS`: likewise.
    pub shunted_packets: u64,
}

/// The one entry of the map `CONTROL`: which rule set is in force, and how packets are sampled.
///
/// The kernel may copy the word byte by byte, so that only one byte of it is changed while packets
/// come: the rule set, of which a run of the program sees all or nothing. Zero is what it is at
/// load: everything is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Control(pub(crate) u64);

impl Control {
    const SET_BITS: u64 = 0b11;
    const BY_PACKET: u64 = 1 << 2;
    const SHUNT: u64 = 1 << 3;
    const EVERY_SHIFT: u32 = 32;

    /// The rule set in force, if there is one; then one flow, or packet, of so many is kept.
    #[allow(dead_code, reason = "the engine writes it, the program reads it")]
    pub(crate) const fn new(set: Option<u32>, every: u32, by_packet: bool) -> Self {
        let set = match set {
            Some(set) => set as u64 + 1,
            None => 0,
        };
        let every = if every > 1 { (every as u64) << Self::EVERY_SHIFT } else { 0 };
        Self(set | every | if by_packet && every != 0 { Self::BY_PACKET } else { 0 })
    }

    /// The same, with a shunt.
    #[allow(dead_code, reason = "the engine writes it, the program reads it")]
    pub(crate) const fn with_shunt(self) -> Self {
        Self(self.0 | Self::SHUNT)
    }

    /// Whether there are flows whose packets the program counts by itself.
    #[allow(dead_code, reason = "the program's question")]
    pub(crate) const fn has_shunt(self) -> bool {
        self.0 & Self::SHUNT != 0
    }

    /// Whether there is neither a filter nor sampling.
    #[allow(dead_code, reason = "the program's question")]
    pub(crate) const fn keeps_all(self) -> bool {
        self.0 & !Self::SHUNT == 0
    }

    /// The rule set in force.
    pub(crate) const fn set(self) -> Option<u32> {
        ((self.0 & Self::SET_BITS) as u32).checked_sub(1)
    }

    /// One of so many is kept; 0 if all are.
    pub(crate) const fn every(self) -> u32 {
        (self.0 >> Self::EVERY_SHIFT) as u32
    }

    /// Whether that is one packet, or one flow.
    pub(crate) const fn is_by_packet(self) -> bool {
        self.0 & Self::BY_PACKET != 0
    }
}

/// A value of the map `RULES`: what a rule set asks for.
pub(crate) type Rules = [u64; rule::COUNT];

/// Where what is in a rule set.
pub(crate) mod rule {
    /// Flags, below.
    pub(crate) const FLAGS: usize = 0;
    /// Four words, a bit for each protocol number.
    pub(crate) const PROTOCOLS: usize = 1;
    /// How many words there are.
    pub(crate) const COUNT: usize = 5;

    /// An address must match.
    pub(crate) const HAS_PREFIXES: u64 = 1 << 0;
    /// A port must match.
    pub(crate) const HAS_PORTS: u64 = 1 << 1;
    /// The protocol must match.
    pub(crate) const HAS_PROTOCOLS: u64 = 1 << 2;
    /// What matches is rejected, and not what does not.
    pub(crate) const DENIES: u64 = 1 << 3;
    /// What cannot be told to match or not to is rejected.
    pub(crate) const REJECTS_UNSURE: u64 = 1 << 4;
    /// Nothing is told of what is behind VLAN tags or IPv6 extension headers.
    pub(crate) const PLAIN_ONLY: u64 = 1 << 5;
}

/// The ends of a packet that a prefix or port is meant for, as bits: values of the maps of
/// prefixes, and two bits for each port in the map `PORTS`.
pub(crate) mod end {
    /// The sender's.
    pub(crate) const SOURCE: u32 = 1;
    /// The receiver's.
    pub(crate) const DESTINATION: u32 = 2;
}

/// Ports in one word of the map `PORTS`.
pub(crate) const PORTS_PER_WORD: u32 = 32;

/// Words of the map `PORTS` for one rule set.
pub(crate) const PORT_WORDS: u32 = 65_536 / PORTS_PER_WORD;

/// The data of an IPv4 prefix: the rule set and the address, each in network order.
pub(crate) type PrefixV4 = [u32; 2];

/// The data of an IPv6 prefix, likewise.
pub(crate) type PrefixV6 = [u32; 5];

/// Bits before the address.
pub(crate) const SET_BITS: u32 = u32::BITS;

/// What stands in front of a packet's first byte, if stamps are wanted: when it came.
pub(crate) type Stamp = [u64; stamp::COUNT];

/// Where what is in a stamp.
pub(crate) mod stamp {
    /// Nanoseconds, by the clock that the mark names.
    pub(crate) const TIME_NS: usize = 0;
    /// Which clock; anything else than the numbers below is no stamp.
    pub(crate) const MARK: usize = 1;
    /// How many words there are.
    pub(crate) const COUNT: usize = 2;

    /// The kernel's clock of international atomic time (`CLOCK_TAI`).
    pub(crate) const KERNEL_TAI: u64 = u64::from_ne_bytes(*b"flowtap\x01");
}

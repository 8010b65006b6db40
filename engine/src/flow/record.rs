//! A flow's record: the immutable state in the global map, and what is exported.

use crate::flow::delta::{Delta, Opening, TcpEvents};
use crate::flow::key::{Direction, FlowKey};
use crate::flow::protocol;

/// TCP flag bits (RFC 9293 section 3.1).
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgement field counts.
    pub const ACK: u8 = 0x10;
}

/// What a record describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A flow, or a part of one.
    Flow,
    /// Packets for which there was no room, added up by protocol and destination prefix.
    Overflow,
}

/// How far a TCP connection got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpState {
    /// The handshake was finished.
    Established,
    /// The handshake began and was not finished.
    HalfOpen,
    /// FIN both ways.
    Closed,
    /// RST.
    Reset,
    /// Seen from the middle: no SYN.
    Midstream,
}

/// A flow and everything that was counted of it, or that one delta has of it. Never changed
/// in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowRecord {
    /// Flow or overflow aggregate.
    pub kind: RecordKind,
    /// The flow.
    pub key: FlowKey,
    /// What was counted.
    pub total: Delta,
    /// When that was; of a delta, and where somebody asks for it.
    pub counted: Counted,
}

/// The intervals of packet time that a delta belongs to ([`crate::time::Grid`]). It stands beside
/// the record in room that is there anyway, so it is of small pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// The lower and the upper half of the number.
    interval: [u16; 2],
    end_after: u16,
}

const _: () = assert!(size_of::<FlowRecord>() == size_of::<(Delta, FlowKey, RecordKind)>());

impl Counted {
    /// In the interval of this number, and over as many after that, or as many as fit.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "these are the halves")]
    pub fn new(interval: u32, end_after: u32) -> Self {
        let end_after = u16::try_from(end_after).unwrap_or(u16::MAX);
        Self { interval: [interval as u16, (interval >> 16) as u16], end_after }
    }

    /// In which its packets came: those of a delta are all of one.
    #[must_use]
    pub fn interval(self) -> u32 {
        u32::from(self.interval[0]) | u32::from(self.interval[1]) << 16
    }

    /// How many intervals after that one the flow was over, if it ends with this.
    #[must_use]
    pub fn end_after(self) -> u32 {
        self.end_after.into()
    }
}

impl FlowRecord {
    /// The record of a flow, or of one delta of it.
    #[must_use]
    #[inline]
    pub fn flow(key: FlowKey, total: Delta) -> Self {
        Self { kind: RecordKind::Flow, key, total, counted: Counted::default() }
    }

    /// How the flow began, if its first packet has been merged.
    #[must_use]
    pub fn opening(&self) -> Option<&Opening> {
        self.total.opening.as_ref()
    }

    /// The direction of the initiator's packets.
    #[must_use]
    pub fn initiator(&self) -> Direction {
        self.opening().map_or(Direction::Forward, |opening| opening.initiator)
    }

    /// The same in all parts of one flow, on every machine and in every run.
    #[must_use]
    pub fn flow_id(&self) -> u64 {
        let (start, ordinal) =
            self.opening().map_or((None, 0), |opening| (opening.flow_start, opening.ordinal));
        let mut seed = [0; 17];
        seed[..8].copy_from_slice(&start.unwrap_or_default().to_le_bytes());
        seed[8..16].copy_from_slice(&u64::from(ordinal).to_le_bytes());
        seed[16] = u8::from(start.is_some());
        let seed = xxhash_rust::xxh3::xxh3_64(&seed);
        xxhash_rust::xxh3::xxh3_64_with_seed(&self.key.stable_bytes(), seed)
    }

    /// How far the connection got by the end of this part; `None` for other protocols than TCP.
    /// Events know what earlier parts have shown, and which ACK is of this connection; flags, what
    /// is rebuilt from a file without them.
    #[must_use]
    pub fn tcp_state(&self) -> Option<TcpState> {
        use tcp_flags::{ACK, RST, SYN};
        if self.key.protocol() != protocol::TCP {
            return None;
        }
        let initiator = self.initiator();
        let source = self.total.sides[initiator.idx()].tcp_flags;
        let destination = self.total.sides[initiator.opposite().idx()].tcp_flags;
        let either = source | destination;
        let was = |event| self.total.tcp.contains(event);
        let have_both_acknowledged = source & ACK != 0 && destination & ACK != 0;
        let is_established = match was(TcpEvents::OPENED) {
            true => was(TcpEvents::ESTABLISHED),
            false => have_both_acknowledged,
        };
        Some(if was(TcpEvents::CLOSED) {
            TcpState::Closed
        } else if was(TcpEvents::RESET) || either & RST != 0 {
            TcpState::Reset
        } else if !was(TcpEvents::OPENED) && either & SYN == 0 {
            TcpState::Midstream
        } else if is_established {
            TcpState::Established
        } else {
            TcpState::HalfOpen
        })
    }
}

//! A copy of what a packet carried above its transport header, as parsers see it.

use crate::flow::{Direction, FlowKey};
use crate::time::{Tick, Timestamp};

/// Bytes above the transport header of one packet, and where they belong.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    /// The packet's flow.
    pub key: FlowKey,
    /// Which way it went.
    pub direction: Direction,
    /// When it was captured.
    pub timestamp: Option<Timestamp>,
    /// The packet clock at this packet.
    pub tick: Tick,
    /// The packet's place among the frames of its decoder.
    pub ordinal: u64,
    /// TCP: the sequence number of the first of `bytes`. Else `None`.
    pub sequence: Option<u32>,
    /// The payload, as far as it was captured and copied.
    pub bytes: &'a [u8],
    /// Bytes that the payload had on the wire; never less than there are.
    pub wire_bytes: u32,
}

//! A copy of what a packet carried above its transport header, as parsers see it.

use std::net::{IpAddr, Ipv4Addr};

use crate::decode::{Announced, FragmentPlace};
use crate::flow::{Direction, FlowKey};
use crate::limits::COPIED_BYTES;
use crate::time::{Tick, Timestamp};

/// The flow of a tunnel that stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carrier {
    /// Its key.
    pub key: FlowKey,
    /// Whether all tunnels stay closed, so that what is inside is in no other flow.
    pub is_all: bool,
}

/// Bytes above the transport header of one packet, or what a frame without one announces, and where
/// they belong.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    /// What kind of announcement it is; `None` for a packet's payload.
    pub announced: Option<Announced>,
    /// The packet's flow. Of an announcement only the VLANs in it count.
    pub key: FlowKey,
    /// The flow that it counts in, if it came in a tunnel that stays closed.
    pub carrier: Option<Carrier>,
    /// Which way it went.
    pub direction: Direction,
    /// When it was captured.
    pub timestamp: Option<Timestamp>,
    /// The packet clock at this packet.
    pub tick: Tick,
    /// The packet's place among the frames of its decoder.
    pub ordinal: u64,
    /// Source and destination MAC address of its frame.
    pub macs: [Option<[u8; 6]>; 2],
    /// The packet's time to live, or hop limit; 0 for an announcement.
    pub ttl: u8,
    /// TCP: the sequence number of the first of `bytes`. Else `None`.
    pub sequence: Option<u32>,
    /// TCP: the sequence number that its direction begins with, behind its SYN: said with the first
    /// payload that came of it, which may have overtaken others.
    pub begins_at: Option<u32>,
    /// Where it stands in its datagram, of a fragment that is joined with others.
    pub fragment: Option<FragmentPlace>,
    /// The payload, as far as it was captured and copied.
    pub bytes: &'a [u8],
    /// Bytes that the payload had on the wire; never less than there are.
    pub wire_bytes: u32,
}

impl Payload<'_> {
    /// Nothing, of no flow: what others are made of.
    pub const NONE: Self = Self {
        announced: None,
        key: FlowKey::NONE,
        carrier: None,
        direction: Direction::Forward,
        timestamp: None,
        tick: 0,
        ordinal: 0,
        macs: [None; 2],
        ttl: 0,
        sequence: None,
        begins_at: None,
        fragment: None,
        bytes: &[],
        wire_bytes: 0,
    };

    /// Whether it is longer than what is copied of one ([`COPIED_BYTES`]), and so is not all here.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        self.bytes.len() >= COPIED_BYTES && self.wire_bytes as usize > self.bytes.len()
    }

    /// Who sent the packet; no address for an announcement.
    #[must_use]
    pub fn sender(&self) -> IpAddr {
        match self.announced {
            Some(_) => Ipv4Addr::UNSPECIFIED.into(),
            None => self.key.source_ip(self.direction),
        }
    }
}

//! What is in tunnels that stay closed, for who looks for names: the packet inside counts in no
//! flow, but what it says is said by the tunnel's.
//!
//! A tunnel stays closed where the outermost header makes the flow, and in a datagram that came in
//! fragments. The first of those has the headers inside. What the others have of a segment of TCP
//! is a segment by itself: so nothing is held back, and nothing is put together but by who puts
//! segments together anyway. A datagram's fragments are told by its identification, for as long as
//! they may take, and until another begins with the same.

use std::collections::VecDeque;

use crate::decode::{Decoder, FragmentPlace, Packet, TcpHeader, TunnelPorts, Tunnels};
use crate::flow::{Direction, FlowKey, Tunnel, TunnelKind};
use crate::limits::{FRAGMENT_LIFE_NS, SPLIT_SEGMENTS};
use crate::source::Frame;

/// Looks into them, frame by frame.
#[derive(Debug)]
pub struct ClosedTunnels {
    decoder: Decoder,
    ports: TunnelPorts,
    /// Whether those are all tunnels.
    are_all: bool,
    /// The packet inside of the last one that was opened.
    inside: Packet,
    /// The same, if others have the rest of its segment.
    split: Option<Split>,
    /// Those whose rest is wanted, the oldest first.
    wanted: VecDeque<Split>,
}

/// A segment of TCP whose rest is in later fragments of the tunnel's datagram.
#[derive(Debug, Clone)]
struct Split {
    /// Of the tunnel's flow.
    key: FlowKey,
    direction: Direction,
    identification: u32,
    segment: Packet,
    /// Where its payload begins in the datagram, in bytes.
    start: u32,
}

impl Split {
    /// Whether a fragment of a packet is of the same datagram.
    fn has(&self, packet: &Packet, place: FragmentPlace) -> bool {
        self.identification == place.identification
            && (self.direction, self.key) == (packet.direction, packet.key)
    }

    fn is_again(&self, other: &Self) -> bool {
        let numbers = |split: &Self| (split.segment.direction, split.segment.tcp.sequence());
        self.segment.key == other.segment.key && numbers(self) == numbers(other)
    }
}

impl ClosedTunnels {
    /// Those that such a decoder leaves closed.
    #[must_use]
    pub fn of(decoder: &Decoder) -> Self {
        let tunnels = decoder.tunnels();
        let (ports, are_all) = (tunnels.ports(), tunnels == Tunnels::Outer);
        let decoder = Decoder {
            opens_fragments: true,
            // What is said of a flow's hash is said of it inside, too.
            ..Decoder::new(decoder.hasher.clone()).with_tunnels(Tunnels::Inner(ports))
        };
        let (split, wanted) = Default::default();
        Self { decoder, ports, are_all, inside: Packet::NONE, split, wanted }
    }

    /// Whether all tunnels stay closed.
    #[must_use]
    pub fn are_all(&self) -> bool {
        self.are_all
    }

    /// Whether a packet of this flow may be a tunnel's, whose packets are of others' flows where it
    /// is opened.
    #[must_use]
    pub fn may_be(&self, key: &FlowKey) -> bool {
        let ways = [Direction::Forward, Direction::Reverse];
        let ports = ways.map(|way| key.source_port(way).unwrap_or_default());
        self.ports.may_carry(key.protocol(), ports)
    }

    /// The innermost packet in the tunnel that `packet` of `frame` is of, and what was captured of
    /// its payload. `payload` is where that of `packet` begins in the frame. A segment whose rest
    /// others have is as long as what this one has.
    pub fn open<'a>(
        &mut self,
        packet: &Packet,
        frame: &Frame<'a>,
        payload: usize,
    ) -> Option<(&Packet, &'a [u8])> {
        self.split = None;
        let place = FragmentPlace::find(packet, frame, payload);
        if let Some(place) = place {
            self.wanted.retain(|old| !old.has(packet, place));
        }
        let at = self.decoder.decode_general(frame, &mut self.inside).ok()?;
        let inside = &mut self.inside;
        if inside.key.tunnel().is_none() || inside.key == packet.key || inside.later_fragment {
            return None;
        }
        let Packet { tick, ordinal, interface, .. } = *packet;
        (inside.tick, inside.ordinal, inside.interface) = (tick, ordinal, interface);
        if self.are_all {
            inside.key = apart(inside.key, &packet.key);
            inside.hash = self.decoder.hasher.hash(&inside.key);
        }
        let (end, bytes) = up_to_end(packet, frame, payload, at);
        let bytes = &bytes[..bytes.len().min(inside.payload_bytes as usize)];
        let there = u32::try_from(bytes.len()).ok()?;
        let is_cut = inside.tcp.is_there() && there < inside.payload_bytes;
        if let Some(place) = place.filter(|_| is_cut && end <= frame.bytes.len())
            && let Some(before) = packet.payload_bytes.checked_sub(there)
        {
            self.split = Some(Split {
                key: packet.key,
                direction: packet.direction,
                identification: place.identification,
                segment: *inside,
                start: place.start + before,
            });
            inside.payload_bytes = there;
        }
        Some((inside, bytes))
    }

    /// Whether the segment that was opened last has come before, and its rest is wanted.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        let split = self.split.as_ref();
        split.is_some_and(|split| self.wanted.iter().any(|old| old.is_again(split)))
    }

    /// The rest of the segment that was opened last is wanted, if it has one.
    pub fn want(&mut self) -> &Packet {
        if let Some(split) = self.split.take() {
            self.wanted.retain(|old| !old.is_again(&split));
            if self.wanted.len() >= SPLIT_SEGMENTS {
                self.wanted.pop_front();
            }
            self.wanted.push_back(split);
        }
        &self.inside
    }

    /// What a later fragment has of a segment that is wanted, as one by itself.
    pub fn rest<'a>(
        &mut self,
        packet: &Packet,
        frame: &Frame<'a>,
        payload: usize,
    ) -> Option<(&Packet, &'a [u8])> {
        if self.wanted.is_empty() {
            return None;
        }
        let place = FragmentPlace::find(packet, frame, payload)?;
        let number = self.wanted.iter().position(|split| split.has(packet, place))?;
        let Split { segment, start, .. } = self.wanted[number].clone();
        let is_over = packet.tick.saturating_sub(segment.tick) > FRAGMENT_LIFE_NS;
        if is_over || place.is_last {
            self.wanted.remove(number);
        }
        if is_over {
            return None;
        }
        let (_, bytes) = up_to_end(packet, frame, payload, payload);
        // Behind its first fragment, which has the headers.
        let from = place.start.checked_sub(start)?;
        let left = segment.payload_bytes.checked_sub(from)?;
        let bytes = &bytes[..bytes.len().min(left as usize)];
        let payload_bytes = u32::try_from(bytes.len()).ok().filter(|bytes| *bytes > 0)?;
        let sequence = segment.tcp.payload_sequence().wrapping_add(from);
        let Packet { timestamp, tick, ordinal, interface, .. } = *packet;
        let tcp = TcpHeader::new(0, sequence, 0, u16::MAX);
        self.inside = Packet { timestamp, tick, ordinal, interface, tcp, payload_bytes, ..segment };
        Some((&self.inside, bytes))
    }
}

/// A key of what is inside that tells tunnels apart: the same may be in several.
fn apart(inside: FlowKey, outer: &FlowKey) -> FlowKey {
    let kind = inside.tunnel().map_or(TunnelKind::IpIp, |tunnel| tunnel.kind);
    inside.in_tunnel(Tunnel { kind, id: Some((outer.mixed() >> 32) as u32) })
}

/// Where the payload of `packet` ends, which begins at `payload`, and what was captured of its
/// frame from `start` to there: padding behind that is not part of it.
fn up_to_end<'a>(
    packet: &Packet,
    frame: &Frame<'a>,
    payload: usize,
    start: usize,
) -> (usize, &'a [u8]) {
    let end = payload.saturating_add(packet.payload_bytes as usize);
    (end, frame.bytes.get(start..end.min(frame.bytes.len())).unwrap_or_default())
}

#[cfg(test)]
mod tests;

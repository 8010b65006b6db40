//! What is in tunnels that stay closed, for who looks for names: the packet inside counts in no flow,
//! but what it says is said by the tunnel's.
//!
//! A tunnel stays closed where the outermost header makes the flow, and in a datagram that came in
//! fragments. The first of those has the headers inside. What the others have of a segment of TCP
//! is a segment by itself: so nothing is held back, and nothing is put together but by who puts
//! segments together anyway.

use std::collections::VecDeque;

use crate::decode::{Decoder, FragmentPlace, Packet, TcpHeader, TunnelPorts, Tunnels};
use crate::flow::{Direction, FlowKey, KeyHasher, protocol};
use crate::limits::SPLIT_SEGMENTS;
use crate::source::Frame;

/// Looks into them, frame by frame.
#[derive(Debug)]
pub struct ClosedTunnels {
    decoder: Decoder,
    ports: TunnelPorts,
    /// The packet inside of the last one that was opened.
    inside: Packet,
    /// The oldest first.
    splits: VecDeque<Split>,
}

/// A segment of TCP whose rest is in later fragments of the tunnel's datagram.
#[derive(Debug)]
struct Split {
    /// Of the tunnel's flow.
    key: FlowKey,
    direction: Direction,
    identification: u32,
    segment: Packet,
    /// Where its payload begins in the datagram, in bytes.
    start: u32,
}

impl ClosedTunnels {
    /// Those that a decoder with these `tunnels` leaves closed.
    #[must_use]
    pub fn of(tunnels: Tunnels) -> Self {
        let ports = match tunnels {
            Tunnels::Inner(ports) => ports,
            Tunnels::Outer => TunnelPorts::default(),
        };
        let decoder = Decoder::new(KeyHasher::default()).with_tunnels(Tunnels::Inner(ports));
        let decoder = Decoder { opens_fragments: true, ..decoder };
        Self { decoder, ports, inside: Packet::NONE, splits: VecDeque::new() }
    }

    /// Whether a packet of this flow may be a tunnel's, whose packets are others' flows' where it is
    /// opened.
    #[must_use]
    pub fn may_be(&self, key: &FlowKey) -> bool {
        match key.protocol() {
            protocol::IP_IN_IP | protocol::IPV6_IN_IP | protocol::GRE => true,
            protocol::UDP => {
                let [from, to] = [Direction::Forward, Direction::Reverse];
                let ports = key.source_port(from).zip(key.source_port(to));
                ports.is_some_and(|(from, to)| self.ports.may_be([from, to]))
            }
            _ => false,
        }
    }

    /// The innermost packet in the tunnel that `packet` of `frame` is of, and what was captured of
    /// its payload. `payload` is where that of `packet` begins in the frame.
    pub fn open<'a>(
        &mut self,
        packet: &Packet,
        frame: &Frame<'a>,
        payload: usize,
    ) -> Option<(&Packet, &'a [u8])> {
        let start = self.decoder.decode_general(frame, &mut self.inside).ok()?;
        let inside = &mut self.inside;
        if inside.key.tunnel().is_none() || inside.key == packet.key || inside.later_fragment {
            return None;
        }
        let Packet { tick, ordinal, interface, .. } = *packet;
        (inside.tick, inside.ordinal, inside.interface) = (tick, ordinal, interface);
        let bytes = between(packet, frame, payload, start);
        Some((inside, &bytes[..bytes.len().min(inside.payload_bytes as usize)]))
    }

    /// The same packet and bytes again, of a payload that is wanted: if others have the rest of it,
    /// these are the segment, and [`ClosedTunnels::rest`] tells of the others.
    pub fn want<'a>(
        &mut self,
        packet: &Packet,
        frame: &Frame<'a>,
        payload: usize,
        bytes: &'a [u8],
    ) -> (&Packet, &'a [u8]) {
        let (there, inside) = (bytes.len(), &self.inside);
        let is_split = inside.tcp.is_there() && there < inside.payload_bytes as usize;
        let is_captured = frame.bytes.len() >= payload + packet.payload_bytes as usize;
        if is_split
            && is_captured
            && let Some(place) = FragmentPlace::find(packet, frame, payload)
            && let Ok(there) = u32::try_from(there)
            // It goes on to the fragment's end.
            && let Some(before) = packet.payload_bytes.checked_sub(there)
        {
            if self.splits.len() >= SPLIT_SEGMENTS {
                self.splits.pop_front();
            }
            self.splits.push_back(Split {
                key: packet.key,
                direction: packet.direction,
                identification: place.identification,
                segment: self.inside,
                start: place.start + before,
            });
            self.inside.payload_bytes = there;
        }
        (&self.inside, bytes)
    }

    /// What a later fragment has of a segment that is wanted, as one by itself.
    pub fn rest<'a>(
        &mut self,
        packet: &Packet,
        frame: &Frame<'a>,
        payload: usize,
    ) -> Option<(&Packet, &'a [u8])> {
        if self.splits.is_empty() {
            return None;
        }
        let place = FragmentPlace::find(packet, frame, payload)?;
        let is_of_it = |split: &&Split| {
            (split.identification, split.direction) == (place.identification, packet.direction)
                && split.key == packet.key
        };
        let Split { segment, start, .. } = self.splits.iter().rev().find(is_of_it)?;
        let bytes = between(packet, frame, payload, payload);
        // Behind its first fragment, which has the headers.
        let from = place.start.checked_sub(*start)?;
        let left = segment.payload_bytes.checked_sub(from).filter(|left| *left > 0)?;
        let bytes = &bytes[..bytes.len().min(left as usize)];
        let sequence = segment.tcp.payload_sequence().wrapping_add(from);
        let Packet { timestamp, tick, ordinal, interface, .. } = *packet;
        self.inside = Packet {
            timestamp,
            tick,
            ordinal,
            interface,
            tcp: TcpHeader::new(0, sequence, 0, u16::MAX),
            payload_bytes: u32::try_from(bytes.len()).ok()?,
            ..*segment
        };
        Some((&self.inside, bytes))
    }
}

/// What was captured of a frame from `start` to the end of the payload of `packet`, which begins at
/// `payload`: padding behind that is not part of it.
fn between<'a>(packet: &Packet, frame: &Frame<'a>, payload: usize, start: usize) -> &'a [u8] {
    let end = payload.saturating_add(packet.payload_bytes as usize).min(frame.bytes.len());
    frame.bytes.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;

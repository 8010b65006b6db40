//! Frames in, packets out: one decoder for every source.
//!
//! [`Decoder::decode`] reads what almost all frames are in a straight line ([`straight`]). Of all
//! others it takes the link layer off ([`link`]), reads the IP header ([`ip`]) and what stands
//! above it ([`transport`]), goes on inside of tunnels ([`tunnel`]), and makes later fragments
//! belong to their datagram's flow ([`fragments`]). What it cannot decode it names by [`Cause`],
//! and where in it a device tells of itself ([`announcement`]); what carried a packet it enters
//! into a list ([`carriers`]). Where in its datagram a fragment stands it says to who joins them
//! ([`place`]). What few packets need taken apart it copies as it stands ([`tcp`],
//! [`macs`]). What is in a tunnel that is not opened it shows to who asks ([`closed`]). It trusts
//! no length that a packet claims, and never reads behind the captured bytes.

mod announcement;
mod carriers;
pub mod cause;
mod closed;
mod fragments;
mod ip;
mod link;
mod macs;
mod place;
mod straight;
mod tcp;
mod transport;
mod tunnel;

pub use announcement::{Announced, Announcement};
pub use cause::Cause;
pub use closed::ClosedTunnels;
pub use fragments::FragmentNotes;
pub use macs::Macs;
pub use place::FragmentPlace;
pub use tcp::TcpHeader;
pub use tunnel::{TUNNEL_PORTS, TunnelPorts, Tunnels, VXLAN_PORTS};

use std::net::IpAddr;

use crate::decode::carriers::Carriers;
use crate::decode::fragments::{Fragments, Ports};
use crate::decode::ip::IpHeader;
use crate::decode::link::Network;
use crate::decode::straight::TunnelMarks;
use crate::decode::transport::Segment;
use crate::flow::encapsulation::Number;
use crate::flow::{Direction, Encapsulation, Encapsulations, Endpoint, FlowKey, KeyHasher};
use crate::limits::{MAX_CORES, TUNNEL_DEPTH};
use crate::source::{Frame, LinkType};
use crate::sync::Arc;
use crate::time::{Calendar, PacketClock, Tick, Timestamp};

/// One decoded packet: what the flow table needs of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// The flow it belongs to.
    pub key: FlowKey,
    /// The key's hash.
    pub hash: u64,
    /// Which way it went.
    pub direction: Direction,
    /// When it was captured.
    pub timestamp: Option<Timestamp>,
    /// The packet clock at this packet.
    pub tick: Tick,
    /// Its place among the frames of this decoder.
    pub ordinal: u64,
    /// Where it was captured: a number in the run's list of interfaces.
    pub interface: u16,
    /// IP length in bytes.
    pub bytes: u32,
    /// Frame length on the wire in bytes.
    pub frame_bytes: u32,
    /// Bytes above the transport header.
    pub payload_bytes: u32,
    /// Whether it is a later fragment of a datagram.
    pub later_fragment: bool,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Differentiated services code point (RFC 2474): the upper six bits of the traffic class.
    pub dscp: u8,
    /// What counts of the TCP header: [`TcpHeader::NONE`] of other packets, of later fragments, and
    /// if its flags were not captured.
    pub tcp: TcpHeader,
    /// ICMP type and code.
    pub icmp: Option<(u8, u8)>,
    /// Source and destination MAC address.
    pub macs: Macs,
    /// What carried it, by its number in the run's list.
    pub encapsulation: Option<Number>,
}

impl Packet {
    /// No packet: what one is written over.
    pub const NONE: Self = Self {
        key: FlowKey::NONE,
        hash: 0,
        direction: Direction::Forward,
        timestamp: None,
        tick: 0,
        ordinal: 0,
        interface: 0,
        bytes: 0,
        frame_bytes: 0,
        payload_bytes: 0,
        later_fragment: false,
        ttl: 0,
        dscp: 0,
        tcp: TcpHeader::NONE,
        icmp: None,
        macs: Macs::NONE,
        encapsulation: None,
    };

    /// Where the payload begins in a frame whose IP header begins at `network`.
    #[inline]
    fn payload_in(&self, network: usize) -> usize {
        network + self.bytes.saturating_sub(self.payload_bytes) as usize
    }
}

/// What a decoder counts beside packets and causes, of packets that are in flows all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes {
    /// Packets for whose encapsulation the run's list had no room.
    pub encapsulation_not_kept: u64,
    /// Packets with more VLAN tags than tell flows apart.
    pub vlan_not_kept: u64,
    /// Steps back in time that began another recording. See [`PacketClock`].
    pub steps_back: u64,
    /// Of fragments.
    pub fragments: FragmentNotes,
}

/// Turns the frames of one source into packets. Owns the packet clock and the memory of
/// fragmented datagrams, so all frames of a flow must come through one decoder for
/// fragments to find their flow.
#[derive(Debug)]
pub struct Decoder {
    hasher: KeyHasher,
    clock: PacketClock,
    fragments: Fragments,
    frames: u64,
    interface: u16,
    tunnels: TunnelMarks,
    carriers: Carriers,
    vlan_not_kept: u64,
    /// Whether the first fragment of a tunnel's datagram is looked into.
    opens_fragments: bool,
}

impl Decoder {
    /// A decoder that hashes keys with the engine's `hasher`.
    #[must_use]
    pub fn new(hasher: KeyHasher) -> Self {
        Self {
            hasher,
            clock: PacketClock::default(),
            fragments: Fragments::default(),
            frames: 0,
            interface: 0,
            tunnels: TunnelMarks::new(Tunnels::Outer),
            carriers: Carriers::default(),
            vlan_not_kept: 0,
            opens_fragments: false,
        }
    }

    /// The same, where what carried packets is entered into the run's list.
    #[must_use]
    pub fn with_encapsulations(self, encapsulations: &Arc<Encapsulations>) -> Self {
        Self { carriers: Carriers::of(encapsulations), ..self }
    }

    /// What was of note since the last call.
    pub fn take_notes(&mut self) -> Notes {
        Notes {
            encapsulation_not_kept: self.carriers.take_not_kept(),
            vlan_not_kept: std::mem::take(&mut self.vlan_not_kept),
            steps_back: self.clock.take_steps_back(),
            fragments: self.fragments.take_notes(),
        }
    }

    /// How many fragmented datagrams are remembered: [`crate::limits::FRAGMENT_DATAGRAMS`] at most.
    #[must_use]
    pub fn fragmented_datagrams(&self) -> usize {
        self.fragments.held()
    }

    /// The same, for other tunnels.
    #[must_use]
    pub fn with_tunnels(self, tunnels: Tunnels) -> Self {
        Self { tunnels: TunnelMarks::new(tunnels), ..self }
    }

    /// The same, with a packet clock whose intervals are those of the packets' times: `calendar` says
    /// which.
    #[must_use]
    pub fn with_aligned_clock(self, every_ns: Tick, calendar: &Arc<Calendar>) -> Self {
        Self { clock: PacketClock::aligned(every_ns, calendar), ..self }
    }

    /// What it does about tunnels.
    #[must_use]
    pub(crate) fn tunnels(&self) -> Tunnels {
        *self.tunnels.tunnels()
    }

    /// Another one for one of several receive queues: they number frames from places that are
    /// far apart, also modulo 2^32.
    #[must_use]
    pub fn for_queue(&self, queue: usize) -> Self {
        const _: () = assert!(MAX_CORES <= 1 << 6);
        let first = Self::new(self.hasher.clone()).with_tunnels(self.tunnels());
        Self { frames: (queue as u64) << 26, carriers: self.carriers.for_another(), ..first }
    }

    /// Says where the frames that follow were captured.
    pub fn set_interface(&mut self, interface: u16) {
        self.interface = interface;
    }

    /// The packet in `frame`, or why there is none.
    ///
    /// # Errors
    /// The cause, for frames without a usable IP packet.
    pub fn decode(&mut self, frame: &Frame<'_>) -> Result<Packet, Cause> {
        let mut packet = Packet::NONE;
        self.decode_to(frame, &mut packet).map(|_| packet)
    }

    /// The same, written to where it is wanted, as copying a packet takes as long as decoding
    /// it. Returns where its payload begins in the frame, which may be behind what was captured.
    ///
    /// # Errors
    /// The cause, for frames without a usable IP packet; then `packet` is of no use.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what goes through memory is waited for")]
    pub fn decode_to(&mut self, frame: &Frame<'_>, packet: &mut Packet) -> Result<usize, Cause> {
        let place = self.arrive(frame);
        if frame.link == LinkType::ETHERNET
            && straight::parse_untagged_v4(frame.bytes, &self.tunnels, packet)
        {
            return Ok(self.complete(frame, place, straight::UNTAGGED, packet));
        }
        // A copy: so the frame itself stays in registers where it is not needed as a whole.
        let frame = *frame;
        self.decode_other(&frame, place, packet)
    }

    /// The same of any frame but the most common ones.
    #[inline(never)]
    fn decode_other(
        &mut self,
        frame: &Frame<'_>,
        place: (Tick, u64),
        packet: &mut Packet,
    ) -> Result<usize, Cause> {
        if frame.link == LinkType::ETHERNET
            && let Some(network) = straight::parse(frame.bytes, &self.tunnels, packet)
        {
            return Ok(self.complete(frame, place, network, packet));
        }
        self.decode_any(frame, place, packet)
    }

    /// Completes a packet that the straight line has read, whose IP header is at `network`. Returns
    /// where its payload begins.
    #[inline(always)]
    fn complete(
        &self,
        frame: &Frame<'_>,
        (tick, ordinal): (Tick, u64),
        network: usize,
        packet: &mut Packet,
    ) -> usize {
        packet.hash = self.hasher.hash(&packet.key);
        packet.timestamp = frame.timestamp;
        packet.tick = tick;
        packet.ordinal = ordinal;
        packet.interface = self.interface;
        packet.frame_bytes = frame.wire_len;
        packet.later_fragment = false;
        packet.icmp = None;
        packet.encapsulation = None;
        packet.payload_in(network)
    }

    /// The same by the general path only: what the straight line is held against.
    ///
    /// # Errors
    /// As [`Decoder::decode_to`].
    pub fn decode_general(
        &mut self,
        frame: &Frame<'_>,
        packet: &mut Packet,
    ) -> Result<usize, Cause> {
        let place = self.arrive(frame);
        self.decode_any(frame, place, packet)
    }

    /// The packet clock at this frame, and its place among all.
    #[inline]
    fn arrive(&mut self, frame: &Frame<'_>) -> (Tick, u64) {
        let ordinal = self.frames;
        self.frames += 1;
        (self.clock.advance(frame.timestamp), ordinal)
    }

    /// The general path, for any frame, which came at this tick and place.
    fn decode_any(
        &mut self,
        frame: &Frame<'_>,
        (tick, ordinal): (Tick, u64),
        packet: &mut Packet,
    ) -> Result<usize, Cause> {
        let mut network = Network::nothing();
        link::strip(frame, &mut network)?;
        let header = ip::parse(frame, &network)?;
        let segment = transport::parse(frame.bytes, &header)?;
        let layers = Layers { network: &network, header: &header, segment: &segment };
        let place = Place { frame, tick, ordinal };
        match self.tunnels.tunnels() {
            Tunnels::Inner(ports) if layers.may_be_tunnel(ports) => {
                self.decode_inside(&place, layers, packet)
            }
            _ => Ok(self.write(&place, layers, None, packet)),
        }
    }

    /// Of a packet that may be a tunnel's: the innermost one. Apart, so that what is known of all
    /// others stays in registers, for which their layers' functions are inlined too.
    #[inline(never)]
    fn decode_inside(
        &mut self,
        place: &Place<'_>,
        outer: Layers<'_>,
        packet: &mut Packet,
    ) -> Result<usize, Cause> {
        let Tunnels::Inner(ports) = self.tunnels() else {
            return Ok(self.write(place, outer, None, packet));
        };
        let mut frame = *place.frame;
        let mut opened: Option<Opened> = None;
        for _ in 0..TUNNEL_DEPTH {
            let layers = opened.as_ref().map_or(outer, Opened::layers);
            if !layers.may_be_tunnel(&ports) {
                break;
            }
            let Layers { network, header, segment } = layers;
            let opens_fragments = self.opens_fragments;
            let inside =
                tunnel::open(&frame, network, header, segment.ports, &ports, opens_fragments);
            let Some(inside) = inside else { break };
            let ends = header.ends();
            frame.bytes = &frame.bytes[..inside.end];
            let segment = transport::parse(frame.bytes, &inside.header)?;
            opened = Some(Opened { inside, segment, ends });
        }
        let layers = opened.as_ref().map_or(outer, Opened::layers);
        Ok(self.write(place, layers, opened.as_ref(), packet))
    }

    /// Writes what the layers of a frame say, and the tunnel that was `opened`; every field,
    /// whatever stood there. Returns where the payload begins.
    #[inline(always)]
    fn write(
        &mut self,
        place: &Place<'_>,
        Layers { network, header, segment }: Layers<'_>,
        opened: Option<&Opened>,
        packet: &mut Packet,
    ) -> usize {
        let tunnel = opened.map(|opened| opened.inside.tunnel);
        let (mut protocol, mut ports) = (header.protocol, segment.ports);
        if header.fragment.is_some() {
            let own = (protocol, ports);
            (protocol, ports) = self.fragments.resolve(network, tunnel, header, own, place.tick);
        }
        let (key, direction) = FlowKey::canonical(
            Endpoint { address: header.source, port: ports.source },
            Endpoint { address: header.destination, port: ports.destination },
            header.version,
            protocol,
            ports.kind,
            network.key_vlans(),
        );
        let key = tunnel.map_or(key, |tunnel| key.in_tunnel(tunnel));
        let third_vlan = network.third_vlan();
        self.vlan_not_kept += u64::from(third_vlan != 0);
        let mut encapsulation = None;
        if tunnel.is_some() || !network.labels.is_empty() || third_vlan != 0 {
            let ends = opened.map(|opened| opened.ends);
            let id = opened.and_then(|opened| opened.inside.id);
            let carrier = Encapsulation { ends, id, labels: network.labels, third_vlan };
            encapsulation = self.carriers.number(&carrier);
        }
        *packet = Packet {
            key,
            hash: self.hasher.hash(&key),
            direction,
            timestamp: place.frame.timestamp,
            tick: place.tick,
            ordinal: place.ordinal,
            interface: self.interface,
            bytes: header.length,
            frame_bytes: place.frame.wire_len,
            payload_bytes: segment.payload_bytes,
            later_fragment: header.is_later_fragment(),
            ttl: header.ttl,
            dscp: header.dscp,
            tcp: segment.tcp,
            icmp: segment.icmp,
            macs: network.macs(place.frame.bytes),
            encapsulation,
        };
        packet.payload_in(header.offset)
    }

    /// The packet clock: what timeouts are held against.
    #[must_use]
    pub fn tick(&mut self) -> Tick {
        self.clock.advance(None)
    }

    /// Sets the packet clock, which from then on stands still but for being set (live
    /// capture).
    pub fn set_tick(&mut self, tick: Tick) {
        self.clock.set(tick);
    }
}

/// A frame, and where it stands among all.
struct Place<'a> {
    frame: &'a Frame<'a>,
    tick: Tick,
    ordinal: u64,
}

/// What a packet's headers said.
#[derive(Clone, Copy)]
struct Layers<'a> {
    network: &'a Network,
    header: &'a IpHeader,
    segment: &'a Segment,
}

impl Layers<'_> {
    /// Whether a look inside is worth it.
    #[inline(always)]
    fn may_be_tunnel(&self, ports: &TunnelPorts) -> bool {
        let Ports { source, destination, .. } = self.segment.ports;
        ports.may_carry(self.header.protocol, [source, destination])
    }
}

/// A tunnel that was opened.
struct Opened {
    inside: tunnel::Inside,
    segment: Segment,
    /// Of the tunnel: source and destination.
    ends: [IpAddr; 2],
}

impl Opened {
    fn layers(&self) -> Layers<'_> {
        let tunnel::Inside { network, header, .. } = &self.inside;
        Layers { network, header, segment: &self.segment }
    }
}

/// Two bytes in network order at `at`, if they were captured.
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// Two bytes in little-endian order at `at`, if they were captured.
fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

/// Four bytes in little-endian order at `at`, if they were captured.
fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

/// Four bytes in network order at `at`, if they were captured.
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

#[cfg(test)]
mod tests;

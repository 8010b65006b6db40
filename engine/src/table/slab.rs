//! The slots of a core table, and what one flow remembers between its packets.

use std::collections::TryReserveError;

use crate::decode::{Packet, TcpHeader};
use crate::flow::protocol::{ICMP, ICMPV6, TCP, UDP, UDP_LITE};
use crate::flow::record::tcp_flags::{ACK, FIN, RST, SYN};
use crate::flow::{Delta, Direction, EndReason, FlowKey, Opening, TcpEvents, Timeouts};
use crate::time::Tick;

/// How far a TCP connection is, as far as its timeout is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not TCP.
    NotTcp,
    /// Opened by a SYN, and the initiator has not acknowledged anything yet.
    HalfOpen,
    /// With data, or picked up midstream.
    Open,
    /// FIN both ways, or RST.
    Finished,
}

/// One flow on this core.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) key: FlowKey,
    pub(crate) hash: u64,
    /// What was counted since the slot last published.
    pub(crate) delta: Delta,
    live: bool,
    /// A part is open: its first packet was counted, its end was not decided.
    part_open: bool,
    /// Packets in the open part, up to two: whether it is a one-packet flow.
    part_packets: u8,
    phase: Phase,
    /// Directions that have sent a FIN.
    fins: [bool; 2],
    /// Initial sequence number of each direction's latest SYN.
    syn_sequence: [Option<u32>; 2],
    last_tick: Tick,
    part_start: Tick,
    /// The number of the next part to open.
    next_part: u32,
    /// How the flow began.
    opening: Opening,
}

impl Slot {
    fn new(packet: &Packet) -> Self {
        let syn_ack = |tcp: TcpHeader| tcp.flags & (SYN | ACK) == SYN | ACK;
        let initiator = if packet.tcp.is_some_and(syn_ack) {
            packet.direction.opposite()
        } else {
            packet.direction
        };
        let phase = match packet.tcp {
            _ if packet.key.protocol() != TCP => Phase::NotTcp,
            Some(tcp) if tcp.flags & SYN != 0 => Phase::HalfOpen,
            _ => Phase::Open,
        };
        Self {
            key: packet.key,
            hash: packet.hash,
            delta: Delta::EMPTY,
            live: true,
            part_open: false,
            part_packets: 0,
            phase,
            fins: [false; 2],
            syn_sequence: [None; 2],
            last_tick: packet.tick,
            part_start: packet.tick,
            next_part: 0,
            opening: Opening {
                is_midstream: phase == Phase::Open,
                flow_start: packet.timestamp,
                ordinal: packet.ordinal,
                initiator,
                macs: packet.macs,
                first_packet: packet.direction,
                icmp: packet.icmp,
                interface: packet.interface,
            },
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Whether something was counted that is not published.
    pub(crate) fn is_dirty(&self) -> bool {
        self.delta.packets() != 0
    }

    /// Whether one packet is all that the flow is.
    pub(crate) fn is_single_packet(&self) -> bool {
        self.live && self.part_open && self.part_packets == 1 && self.next_part == 1
    }

    /// Why the flow is over when the packet clock stands at `now`, if it is.
    pub(crate) fn expired(&self, now: Tick, timeouts: &Timeouts) -> Option<EndReason> {
        let idle = self.idle_timeout(timeouts);
        let is_over = self.last_tick.saturating_add(idle) < now;
        is_over.then(|| self.end_reason(EndReason::Idle))
    }

    /// Whether a packet at `now` begins another part. Only a packet does: a flow that is cut
    /// goes on.
    pub(crate) fn is_to_be_cut(&self, now: Tick, timeouts: &Timeouts) -> bool {
        self.phase != Phase::Finished && self.part_start.saturating_add(timeouts.active_ns) < now
    }

    /// The reason to give for an end: a finished connection ended by itself, whatever
    /// `otherwise` says.
    pub(crate) fn end_reason(&self, otherwise: EndReason) -> EndReason {
        if self.phase == Phase::Finished { EndReason::EndDetected } else { otherwise }
    }

    fn idle_timeout(&self, timeouts: &Timeouts) -> Tick {
        match (self.phase, self.key.protocol()) {
            (Phase::Finished, _) => timeouts.linger_ns,
            (Phase::HalfOpen, _) => timeouts.half_open_idle_ns,
            (Phase::NotTcp, UDP | UDP_LITE | ICMP | ICMPV6) => timeouts.datagram_idle_ns,
            (Phase::NotTcp | Phase::Open, _) => timeouts.idle_ns,
        }
    }

    /// Whether `packet` begins another connection on the ports of this finished one.
    pub(crate) fn is_ended_by(&self, packet: &Packet) -> bool {
        let Some(tcp) = packet.tcp else { return false };
        self.phase == Phase::Finished
            && tcp.flags & (SYN | ACK) == SYN
            && self.syn_sequence[packet.direction.idx()] != Some(tcp.sequence)
    }

    /// Counts a packet of this flow.
    pub(crate) fn count(&mut self, packet: &Packet) {
        if !self.part_open {
            self.open_part(packet);
        }
        self.last_tick = packet.tick;
        self.part_packets = self.part_packets.saturating_add(1);

        if let Some(timestamp) = packet.timestamp {
            self.delta.first = self.delta.first.min(timestamp);
            self.delta.last = self.delta.last.max(timestamp);
        }
        let side = &mut self.delta.sides[packet.direction.idx()];
        side.packets += 1;
        side.bytes += u64::from(packet.bytes);
        side.frame_bytes += u64::from(packet.frame_bytes);
        side.payload_bytes += u64::from(packet.payload_bytes);
        side.fragments += u64::from(packet.later_fragment);
        if let Some(tcp) = packet.tcp {
            side.tcp_flags |= tcp.flags;
            self.follow(packet.direction, tcp);
        }
    }

    fn open_part(&mut self, packet: &Packet) {
        self.part_open = true;
        self.part_packets = 0;
        self.part_start = packet.tick;
        self.delta.opening = Some(self.opening);
        self.delta.open_halves += 1;
        self.delta.part = self.next_part;
        self.next_part += 1;
    }

    /// Marks the end of the open part in the delta; the next packet opens another.
    pub(crate) fn close_part(&mut self, reason: EndReason, core: u8) {
        assert!(self.part_open, "a part is closed once");
        self.part_open = false;
        self.delta.open_halves -= 1;
        self.delta.closed_cores |= 1 << core;
        self.delta.end = Some(reason);
    }

    /// Follows the connection's state.
    fn follow(&mut self, direction: Direction, tcp: TcpHeader) {
        if tcp.flags & SYN != 0 {
            self.syn_sequence[direction.idx()] = Some(tcp.sequence);
        }
        if tcp.flags & FIN != 0 {
            self.fins[direction.idx()] = true;
        }
        if self.phase == Phase::Finished {
            return;
        }
        if self.fins == [true; 2] {
            self.phase = Phase::Finished;
            self.delta.tcp.insert(TcpEvents::CLOSED);
        } else if tcp.flags & RST != 0 {
            self.phase = Phase::Finished;
            self.delta.tcp.insert(TcpEvents::RESET);
        } else if tcp.flags & (SYN | ACK) == ACK && direction == self.opening.initiator {
            self.phase = Phase::Open;
        }
    }
}

/// All slots of a table. Memory is reserved at start and touched as flows need it.
#[derive(Debug)]
pub(crate) struct Slab {
    slots: Vec<Slot>,
    free: Vec<u32>,
    capacity: usize,
}

impl Slab {
    /// # Errors
    /// If the system does not give the memory.
    pub(crate) fn new(capacity: usize) -> Result<Self, TryReserveError> {
        assert!(capacity <= crate::limits::MAX_FLOWS, "slot numbers are 32 bits wide");
        let (mut slots, mut free) = (Vec::new(), Vec::new());
        slots.try_reserve_exact(capacity)?;
        free.try_reserve_exact(capacity)?;
        Ok(Self { slots, free, capacity })
    }

    /// Slots that have ever been in use stand below this number.
    #[expect(clippy::cast_possible_truncation, reason = "bounded by MAX_FLOWS")]
    pub(crate) fn high_water(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free.is_empty() && self.slots.len() == self.capacity
    }

    pub(crate) fn slot(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    pub(crate) fn slot_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// A slot for the flow that `packet` begins, if there is room.
    pub(crate) fn take(&mut self, packet: &Packet) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Slot::new(packet);
            return Some(slot);
        }
        if self.slots.len() == self.capacity {
            return None;
        }
        self.slots.push(Slot::new(packet));
        Some(self.high_water() - 1)
    }

    pub(crate) fn release(&mut self, slot: u32) {
        let freed = &mut self.slots[slot as usize];
        assert!(freed.live, "slot {slot} released twice");
        freed.live = false;
        self.free.push(slot);
    }
}

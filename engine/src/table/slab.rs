//! The slots of a core table: what one flow remembers between its packets.
//!
//! A [`Slot`] is what every packet of a flow touches, two cache lines. An [`Origin`], beside
//! it, is written by the first packet and read when the flow is published for the first
//! time.

use std::io;

use crate::decode::{Packet, TcpHeader};
use crate::flow::protocol::{ICMP, ICMPV6, TCP, UDP, UDP_LITE};
use crate::flow::record::tcp_flags::{ACK, FIN, RST, SYN};
use crate::flow::{Delta, Direction, EndReason, FlowKey, Opening, SideCounts, TcpEvents, Timeouts};
use crate::memory::{Fixed, Pages, Share};
use crate::time::{Tick, Timestamp};

/// What a flow's idle timeout depends on: for TCP, how far the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No flow: the slot is free.
    Free,
    /// UDP, UDP-Lite, ICMP.
    Datagram,
    /// Neither that nor TCP.
    Other,
    /// Opened by a SYN, and the initiator has not acknowledged anything yet.
    HalfOpen,
    /// With data, or picked up midstream.
    Open,
    /// FIN both ways, or RST.
    Finished,
}

/// The timeouts as slots look at them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Idle timeout by phase.
    idle_ns: [Tick; 6],
    /// One more than that, where a packet within it has nothing to change; else 0.
    goes_on_ns: [Tick; 6],
    active_ns: Tick,
}

impl From<&Timeouts> for Limits {
    fn from(timeouts: &Timeouts) -> Self {
        let mut idle_ns = [timeouts.idle_ns; 6];
        idle_ns[Phase::Datagram as usize] = timeouts.datagram_idle_ns;
        idle_ns[Phase::HalfOpen as usize] = timeouts.half_open_idle_ns;
        idle_ns[Phase::Finished as usize] = timeouts.linger_ns;
        let mut goes_on_ns = idle_ns.map(|idle_ns| idle_ns.saturating_add(1));
        goes_on_ns[Phase::Free as usize] = 0;
        goes_on_ns[Phase::Finished as usize] = 0;
        Self { idle_ns, goes_on_ns, active_ns: timeouts.active_ns }
    }
}

/// What a slot knows in one bit each. Where two follow each other they are for the forward
/// and the reverse direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marks(u16);

impl Marks {
    /// Directions that have sent a FIN.
    const FINS: [Self; 2] = [Self(1), Self(2)];
    /// Directions with a SYN in `syn_sequence`.
    const SYNS: [Self; 2] = [Self(4), Self(8)];
    /// Whether the first packet came with a source and with a destination MAC address.
    const MACS: [Self; 2] = [Self(16), Self(32)];
    /// The initiator's packets go in reverse direction.
    const INITIATOR_REVERSE: Self = Self(64);
    /// The first packet went in reverse direction.
    const FIRST_REVERSE: Self = Self(128);
    /// The first packet had an ICMP type and code.
    const ICMP: Self = Self(512);
    /// The first packet had a timestamp.
    const TIMED: Self = Self(1024);
    /// Nothing of the flow has been published yet.
    const UNPUBLISHED: Self = Self(2048);
    /// See [`TcpEvents::CLOSED`].
    const CLOSED: Self = Self(4096);
    /// See [`TcpEvents::RESET`].
    const RESET: Self = Self(8192);

    fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    fn add_if(&mut self, is_so: bool, mark: Self) {
        self.0 |= if is_so { mark.0 } else { 0 };
    }

    fn direction(self, reverse: Self) -> Direction {
        if self.has(reverse) { Direction::Reverse } else { Direction::Forward }
    }
}

/// What one direction has counted since the slot was last published: four numbers of 32 bits
/// in two words, which are added at once. Narrow, as that is not long ago; what would not fit
/// is published first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    /// Packets below, bytes above.
    packets_bytes: u64,
    /// Frame bytes below, payload bytes above.
    frame_payload: u64,
}

impl Counts {
    /// The top bit of each number.
    const TOPS: u64 = 1 << 63 | 1 << 31;

    #[inline]
    fn of(packet: &Packet) -> Self {
        Self {
            packets_bytes: u64::from(packet.bytes) << 32 | 1,
            frame_payload: u64::from(packet.payload_bytes) << 32 | u64::from(packet.frame_bytes),
        }
    }

    /// The sum; `None` if a number of it does not fit.
    #[inline]
    fn with(self, more: Self) -> Option<Self> {
        let all = self.packets_bytes | self.frame_payload | more.packets_bytes | more.frame_payload;
        if all & Self::TOPS != 0 {
            return self.with_much(more);
        }
        // No number carries into its neighbour: two of 31 bits fit into 32.
        Some(Self {
            packets_bytes: self.packets_bytes + more.packets_bytes,
            frame_payload: self.frame_payload + more.frame_payload,
        })
    }

    #[cold]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    fn with_much(self, more: Self) -> Option<Self> {
        let add = |one: u64, two: u64| {
            let low = (one as u32).checked_add(two as u32)?;
            let high = ((one >> 32) as u32).checked_add((two >> 32) as u32)?;
            Some(u64::from(high) << 32 | u64::from(low))
        };
        Some(Self {
            packets_bytes: add(self.packets_bytes, more.packets_bytes)?,
            frame_payload: add(self.frame_payload, more.frame_payload)?,
        })
    }
}

/// One flow on this core.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Slot {
    key: FlowKey,
    last_tick: Tick,
    /// When the part began, of a live slot; of a free one, the next free one's number.
    part_start: Tick,
    first: Timestamp,
    last: Timestamp,
    counts: [Counts; 2],
    /// Sequence number of each direction's latest SYN; for ICMP, type and code of the first
    /// packet.
    syn_sequence: [u32; 2],
    marks: Marks,
    fragments: [u8; 2],
    tcp_flags: [u8; 2],
    phase: Phase,
    /// Whether the flow has had no packet but its first.
    is_single: bool,
}

const _: () = assert!(size_of::<Slot>() == 128);

/// How a flow began, as far as only its first publication tells: two bytes aligned, so that
/// none are lost.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Origin {
    flow_start: [u16; 4],
    ordinal: [u16; 2],
    macs: [[u8; 6]; 2],
    interface: u16,
}

const _: () = assert!(size_of::<Origin>() == 26);

impl Slot {
    fn new(packet: &Packet) -> Self {
        let phase = match packet.key.protocol() {
            UDP | UDP_LITE | ICMP | ICMPV6 => Phase::Datagram,
            TCP if packet.tcp.is_some_and(|tcp| tcp.flags & SYN != 0) => Phase::HalfOpen,
            TCP => Phase::Open,
            _ => Phase::Other,
        };
        let syn_ack = |tcp: TcpHeader| tcp.flags & (SYN | ACK) == SYN | ACK;
        let is_answer = packet.tcp.is_some_and(syn_ack);
        let is_reverse = packet.direction == Direction::Reverse;
        let mut marks = Marks::UNPUBLISHED;
        marks.add_if(is_reverse, Marks::FIRST_REVERSE);
        marks.add_if(is_reverse != is_answer, Marks::INITIATOR_REVERSE);
        marks.add_if(packet.icmp.is_some(), Marks::ICMP);
        marks.add_if(packet.timestamp.is_some(), Marks::TIMED);
        marks.add_if(packet.macs[0].is_some(), Marks::MACS[0]);
        marks.add_if(packet.macs[1].is_some(), Marks::MACS[1]);
        let (kind, code) = packet.icmp.unwrap_or_default();
        Self {
            key: packet.key,
            last_tick: packet.tick,
            part_start: packet.tick,
            first: Timestamp::MAX,
            last: Timestamp::MIN,
            counts: [Counts::default(); 2],
            syn_sequence: [u32::from(kind), u32::from(code)],
            marks,
            fragments: [0; 2],
            tcp_flags: [0; 2],
            phase,
            is_single: true,
        }
    }

    pub(crate) fn key(&self) -> &FlowKey {
        &self.key
    }

    pub(crate) fn is_live(&self) -> bool {
        self.phase != Phase::Free
    }

    /// Whether this is the slot of a flow.
    #[inline]
    pub(crate) fn is_of(&self, key: &FlowKey) -> bool {
        self.key == *key && self.is_live()
    }

    /// Whether something was counted that is not published.
    pub(crate) fn is_dirty(&self) -> bool {
        self.counts != [Counts::default(); 2]
    }

    /// Whether nothing of the flow was published, and it spans less than `stay_ns`.
    pub(crate) fn is_short(&self, stay_ns: Tick) -> bool {
        self.marks.has(Marks::UNPUBLISHED) && self.last_tick - self.part_start < stay_ns
    }

    /// Whether one packet is all that the flow is.
    pub(crate) fn is_single_packet(&self) -> bool {
        self.is_live() && self.is_single
    }

    /// The time from one of this slot's ticks to `now`: the packet clock of a table never
    /// goes back.
    fn since(&self, then: Tick, now: Tick) -> Tick {
        debug_assert!(now >= then || !self.is_live(), "the clock went back to {now} from {then}");
        now.wrapping_sub(then)
    }

    /// Why the flow is over when the packet clock stands at `now`, if it is.
    #[inline]
    pub(crate) fn expired(&self, now: Tick, limits: &Limits) -> Option<EndReason> {
        let is_over = self.since(self.last_tick, now) > limits.idle_ns[self.phase as usize];
        is_over.then(|| self.end_reason(EndReason::Idle))
    }

    /// Whether a packet at `now` begins another part. Only a packet does: a flow that is cut
    /// goes on.
    #[inline]
    pub(crate) fn is_to_be_cut(&self, now: Tick, limits: &Limits) -> bool {
        self.since(self.part_start, now) > limits.active_ns && self.phase != Phase::Finished
    }

    /// Whether the packet is surely one more of the same part of this slot's flow: neither
    /// expired, nor to be cut, nor finished.
    #[inline]
    pub(crate) fn goes_on_with(&self, packet: &Packet, limits: &Limits) -> bool {
        let now = packet.tick;
        self.key == packet.key
            && self.since(self.last_tick, now) < limits.goes_on_ns[self.phase as usize]
            && self.since(self.part_start, now) <= limits.active_ns
    }

    /// The reason to give for an end: a finished connection ended by itself, whatever
    /// `otherwise` says.
    pub(crate) fn end_reason(&self, otherwise: EndReason) -> EndReason {
        if self.phase == Phase::Finished { EndReason::EndDetected } else { otherwise }
    }

    /// Whether `packet` begins another connection on the ports of this finished one.
    #[inline]
    pub(crate) fn is_ended_by(&self, packet: &Packet) -> bool {
        if self.phase != Phase::Finished {
            return false;
        }
        let Some(tcp) = packet.tcp else { return false };
        let direction = packet.direction.idx();
        let is_known =
            self.marks.has(Marks::SYNS[direction]) && self.syn_sequence[direction] == tcp.sequence;
        tcp.flags & (SYN | ACK) == SYN && !is_known
    }

    /// Counts another packet than the first. See [`Slot::count`].
    #[inline(always)]
    pub(crate) fn count_more(&mut self, packet: &Packet) -> bool {
        self.is_single = false;
        self.count(packet)
    }

    /// Counts a packet of this flow. False if its counts do not fit: then nothing changed,
    /// and it does fit into a slot that was just published.
    #[inline(always)]
    pub(crate) fn count(&mut self, packet: &Packet) -> bool {
        let direction = packet.direction.idx();
        let Some(counts) = self.counts[direction].with(Counts::of(packet)) else { return false };
        if packet.later_fragment {
            let Some(fragments) = self.fragments[direction].checked_add(1) else { return false };
            self.fragments[direction] = fragments;
        }
        self.counts[direction] = counts;
        self.last_tick = packet.tick;
        if let Some(timestamp) = packet.timestamp {
            self.first = self.first.min(timestamp);
            self.last = self.last.max(timestamp);
        }
        if let Some(tcp) = packet.tcp {
            self.tcp_flags[direction] |= tcp.flags;
            if self.phase == Phase::HalfOpen || tcp.flags & (SYN | FIN | RST) != 0 {
                self.follow(packet.direction, tcp);
            }
        }
        true
    }

    /// Follows the connection's state.
    #[inline(never)]
    fn follow(&mut self, direction: Direction, tcp: TcpHeader) {
        if tcp.flags & SYN != 0 {
            self.syn_sequence[direction.idx()] = tcp.sequence;
            self.marks.add_if(true, Marks::SYNS[direction.idx()]);
        }
        self.marks.add_if(tcp.flags & FIN != 0, Marks::FINS[direction.idx()]);
        if self.phase == Phase::Finished {
            return;
        }
        if Marks::FINS.iter().all(|&fin| self.marks.has(fin)) {
            self.phase = Phase::Finished;
            self.marks.add_if(true, Marks::CLOSED);
        } else if tcp.flags & RST != 0 {
            self.phase = Phase::Finished;
            self.marks.add_if(true, Marks::RESET);
        } else if tcp.flags & (SYN | ACK) == ACK
            && self.phase == Phase::HalfOpen
            && direction == self.marks.direction(Marks::INITIATOR_REVERSE)
        {
            self.phase = Phase::Open;
        }
    }

    /// Begins another part with the packet at `now`; the delta of the last one was taken.
    fn begin_part(&mut self, now: Tick) {
        self.part_start = now;
    }

    /// What was counted since the last time, which is then forgotten.
    fn take_delta(&mut self, origin: &Origin) -> Delta {
        let side = |direction: usize| {
            let low = |word: u64| word & u64::from(u32::MAX);
            let Counts { packets_bytes, frame_payload } = self.counts[direction];
            SideCounts {
                packets: low(packets_bytes),
                bytes: packets_bytes >> 32,
                frame_bytes: low(frame_payload),
                payload_bytes: frame_payload >> 32,
                fragments: self.fragments[direction].into(),
                tcp_flags: self.tcp_flags[direction],
            }
        };
        let mut tcp = TcpEvents::default();
        if self.marks.has(Marks::CLOSED) {
            tcp.insert(TcpEvents::CLOSED);
        }
        if self.marks.has(Marks::RESET) {
            tcp.insert(TcpEvents::RESET);
        }
        let is_first = self.marks.has(Marks::UNPUBLISHED);
        let delta = Delta {
            sides: [side(0), side(1)],
            first: self.first,
            last: self.last,
            opening: is_first.then(|| self.opening(origin)),
            tcp,
            ..Delta::EMPTY
        };
        self.marks.0 &= !Marks::UNPUBLISHED.0;
        self.counts = [Counts::default(); 2];
        self.first = Timestamp::MAX;
        self.last = Timestamp::MIN;
        self.fragments = [0; 2];
        self.tcp_flags = [0; 2];
        delta
    }

    fn opening(&self, origin: &Origin) -> Opening {
        let macs = [0, 1].map(|end| self.marks.has(Marks::MACS[end]).then_some(origin.macs[end]));
        let [kind, code] = self.syn_sequence.map(|word| word.to_le_bytes()[0]);
        Opening {
            flow_start: self.marks.has(Marks::TIMED).then(|| origin.flow_start()),
            ordinal: origin.ordinal(),
            initiator: self.marks.direction(Marks::INITIATOR_REVERSE),
            macs,
            first_packet: self.marks.direction(Marks::FIRST_REVERSE),
            icmp: self.marks.has(Marks::ICMP).then_some((kind, code)),
            interface: origin.interface,
        }
    }
}

impl Origin {
    fn new(packet: &Packet) -> Self {
        let [a, b, c, d, e, f, g, h] = packet.timestamp.unwrap_or_default().to_le_bytes();
        let start = [[a, b], [c, d], [e, f], [g, h]];
        // Modulo 2^32: see `Opening`.
        let [a, b, c, d, ..] = packet.ordinal.to_le_bytes();
        Self {
            flow_start: start.map(u16::from_le_bytes),
            ordinal: [[a, b], [c, d]].map(u16::from_le_bytes),
            macs: packet.macs.map(Option::unwrap_or_default),
            interface: packet.interface,
        }
    }

    fn flow_start(&self) -> Timestamp {
        self.flow_start.iter().rev().fold(0, |all, &part| all << 16 | Timestamp::from(part))
    }

    fn ordinal(&self) -> u32 {
        self.ordinal.iter().rev().fold(0, |all, &part| all << 16 | u32::from(part))
    }
}

/// All slots of a table. Memory is promised at start, and taken then or as flows need it.
#[derive(Debug)]
pub(crate) struct Slab {
    slots: Fixed<Slot>,
    origins: Fixed<Origin>,
    /// The free slot to take next; the others follow from it.
    free: Option<u32>,
    live: usize,
}

/// Stands for "no slot" where free slots are chained.
const LAST: Tick = Tick::MAX;

impl Slab {
    /// # Errors
    /// If the system does not give the memory.
    pub(crate) fn new(capacity: usize) -> io::Result<Self> {
        let (slots, origins) = (Fixed::new(capacity)?, Fixed::new(capacity)?);
        Ok(Self { slots, origins, free: None, live: 0 })
    }

    /// Takes all memory now, and not when flows need it.
    pub(crate) fn populate(&self) -> io::Result<()> {
        self.slots.populate()?;
        self.origins.populate()
    }

    /// The memory of slots and origins, to be taken ahead.
    pub(crate) fn shares(&self) -> [Share; 2] {
        [self.slots.share(), self.origins.share()]
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.bytes() + self.origins.bytes()
    }

    pub(crate) fn pages(&self) -> Pages {
        self.slots.pages().min(self.origins.pages())
    }

    /// Slots that have ever been in use stand below this number.
    #[expect(clippy::cast_possible_truncation, reason = "slot numbers are 24 bits wide")]
    pub(crate) fn high_water(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free.is_none() && self.slots.is_full()
    }

    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        self.slots.prefetch(slot as usize);
    }

    /// The same for a slot that is taken out: its origin too.
    #[inline]
    pub(crate) fn prefetch_all(&self, slot: u32) {
        self.slots.prefetch(slot as usize);
        self.origins.prefetch(slot as usize);
    }

    #[inline]
    pub(crate) fn slot(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    /// The slot that a guess names, if there is one.
    #[inline]
    pub(crate) fn guessed(&mut self, guess: u32) -> Option<&mut Slot> {
        self.slots.get_mut(guess as usize)
    }

    #[inline]
    pub(crate) fn slot_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// A slot for the flow that `packet` begins, if there is room.
    pub(crate) fn take(&mut self, packet: &Packet) -> Option<u32> {
        let (slot, origin) = (Slot::new(packet), Origin::new(packet));
        if let Some(number) = self.free {
            let next = self.slots[number as usize].part_start;
            self.free = u32::try_from(next).ok();
            self.slots[number as usize] = slot;
            self.origins[number as usize] = origin;
            self.live += 1;
            return Some(number);
        }
        if self.slots.is_full() {
            return None;
        }
        self.slots.push(slot);
        self.origins.push(origin);
        self.live += 1;
        Some(self.high_water() - 1)
    }

    pub(crate) fn release(&mut self, slot: u32) {
        let freed = &mut self.slots[slot as usize];
        assert!(freed.is_live(), "slot {slot} released twice");
        freed.phase = Phase::Free;
        freed.part_start = self.free.map_or(LAST, Tick::from);
        self.free = Some(slot);
        self.live -= 1;
    }

    /// What a slot has counted since the last time.
    pub(crate) fn take_delta(&mut self, slot: u32) -> Delta {
        self.slots[slot as usize].take_delta(&self.origins[slot as usize])
    }

    /// The same, of a flow that goes on in another part from `now`.
    pub(crate) fn take_part(&mut self, slot: u32, now: Tick) -> Delta {
        let mut delta = self.take_delta(slot);
        delta.end = Some(EndReason::Active);
        self.slots[slot as usize].begin_part(now);
        delta
    }
}

//! What one flow remembers between its packets.
//!
//! A [`Slot`] is what every packet of a flow touches, two cache lines. An [`Origin`], beside
//! it, is written by the first packet and read when the flow is published for the first
//! time. All slots of a table are its [`super::slab`]'s.

mod counts;
mod marks;
mod origin;

pub(super) use origin::Origin;

use counts::Counts;
use marks::Marks;

use crate::decode::{Packet, TcpHeader};
use crate::flow::protocol::{ICMP, ICMPV6, TCP, UDP, UDP_LITE};
use crate::flow::record::tcp_flags::{ACK, FIN, RST, SYN};
use crate::flow::{Delta, Direction, EndReason, FlowKey, Opening, SideCounts, TcpEvents, Timeouts};
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

/// Stands for "no slot" where free slots are chained.
const LAST: Tick = Tick::MAX;

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

impl Slot {
    pub(super) fn new(packet: &Packet) -> Self {
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

    /// The free slot after this free one.
    #[inline]
    pub(super) fn next_free(&self) -> Option<u32> {
        u32::try_from(self.part_start).ok()
    }

    /// Frees it, `next` being the free slot after it.
    pub(super) fn set_free(&mut self, next: Option<u32>) {
        self.phase = Phase::Free;
        self.part_start = next.map_or(LAST, Tick::from);
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
    pub(super) fn begin_part(&mut self, now: Tick) {
        self.part_start = now;
    }

    /// What was counted since the last time, which is then forgotten.
    pub(super) fn take_delta(&mut self, origin: &Origin) -> Delta {
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

//! What one flow remembers between its packets.
//!
//! A [`Slot`] is what every packet of a flow touches, two cache lines. An [`Origin`], beside
//! it, is for packets that are not simply the next one of their flow: its first ones, those of
//! TCP with flags, out of [`sequence`] or without a header, later fragments, those without a time
//! or out of time; and for publications. All slots of a table are its [`super::slab`]'s.

mod connection;
mod counts;
mod handshake;
mod marks;
mod origin;
mod sequence;

pub(super) use origin::Origin;

use counts::Counts;
use marks::Marks;

use crate::decode::Packet;
use crate::flow::encapsulation::Number;
use crate::flow::protocol::{ICMP, ICMPV6, TCP, UDP, UDP_LITE};
use crate::flow::record::tcp_flags::{ACK, FIN, RST, SYN};
use crate::flow::{Delta, Direction, EndReason, FlowKey, Opening, PortKind, SideCounts, Timeouts};
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
    /// Opened by a SYN, and nothing seen yet that only follows the whole handshake.
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

/// System ports, also called well known, end before this one (RFC 6335 section 6).
const FIRST_USER_PORT: u16 = 1_024;

/// Whether a flow's first packet was sent by its responder: then the initiator is its receiver,
/// and stays so in all parts of the flow.
///
/// That is a SYN/ACK, unless both ends are the same; or where TCP is picked up midstream, without
/// a SYN, a segment from a well-known port to another one. Only TCP says that something came
/// before: of UDP the sender of the first packet is the initiator, as it well may be (traps,
/// beacons, time).
fn is_answer(packet: &Packet) -> bool {
    if !packet.tcp.is_there() {
        return false;
    }
    let ways = [packet.direction, packet.direction.opposite()];
    let [from, to] = ways.map(|way| packet.key.source_port(way).unwrap_or_default());
    if packet.tcp.has(SYN) {
        let [sender, receiver] = ways.map(|way| packet.key.source_ip(way));
        return packet.tcp.has(ACK) && (from, sender) != (to, receiver);
    }
    from < FIRST_USER_PORT && to >= FIRST_USER_PORT
}

/// Least and greatest of none.
const NO_TTLS: [u8; 2] = [u8::MAX, u8::MIN];

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
    /// The latest timestamp of this part, if any packet of it had one.
    last: Timestamp,
    counts: [Counts; 2],
    /// Where each direction of TCP goes on: the end of the segment that reached furthest.
    next_sequence: [u32; 2],
    marks: Marks,
    fragments: [u8; 2],
    tcp_flags: [u8; 2],
    /// Least and greatest of this part, by direction.
    ttls: [[u8; 2]; 2],
    /// Of the flow's first packet in each direction, once there was one.
    dscp: [u8; 2],
    /// What carried the first packet.
    encapsulation: Option<Number>,
    phase: Phase,
    /// Whether the flow has had no packet but its first.
    is_single: bool,
}

const _: () = assert!(size_of::<Slot>() == 128);

impl Slot {
    pub(super) fn new(packet: &Packet) -> Self {
        let phase = match packet.key.protocol() {
            UDP | UDP_LITE | ICMP | ICMPV6 => Phase::Datagram,
            TCP if packet.tcp.has(SYN) => Phase::HalfOpen,
            TCP => Phase::Open,
            _ => Phase::Other,
        };
        let is_answer = is_answer(packet);
        let is_reverse = packet.direction == Direction::Reverse;
        let mut marks = Marks::UNPUBLISHED;
        marks.add_if(is_reverse, Marks::FIRST_REVERSE);
        marks.add_if(is_reverse != is_answer, Marks::INITIATOR_REVERSE);
        Self {
            key: packet.key,
            last_tick: packet.tick,
            part_start: packet.tick,
            last: Timestamp::MIN,
            counts: [Counts::default(); 2],
            next_sequence: [0; 2],
            marks,
            fragments: [0; 2],
            tcp_flags: [0; 2],
            ttls: [NO_TTLS; 2],
            dscp: [SideCounts::NO_DSCP; 2],
            encapsulation: packet.encapsulation,
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

    /// The packet clock at the last packet.
    pub(crate) fn last_tick(&self) -> Tick {
        self.last_tick
    }

    /// Whether there was no packet since `start`.
    #[inline]
    pub(crate) fn is_before(&self, start: Tick) -> bool {
        self.last_tick < start
    }

    /// When the flow is over, if no packet comes.
    pub(crate) fn over_at(&self, limits: &Limits) -> Tick {
        self.last_tick.saturating_add(limits.idle_ns[self.phase as usize]).saturating_add(1)
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
    /// goes on. A finished one has as long again as it lingers, so that its last packets are no
    /// part by themselves; but it may go on, as not every RST is accepted by its receiver.
    #[inline]
    pub(crate) fn is_to_be_cut(&self, now: Tick, limits: &Limits) -> bool {
        let is_finished = self.phase == Phase::Finished;
        let linger_ns = if is_finished { limits.idle_ns[Phase::Finished as usize] } else { 0 };
        self.since(self.part_start, now) > limits.active_ns.saturating_add(linger_ns)
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

    /// Whether the kernel may count further packets: an established TCP connection, or UDP,
    /// in no tunnel, with so many packets since it was last published.
    pub(crate) fn is_elephant(&self, packets: u64) -> bool {
        let may_be = match self.phase {
            Phase::Open => true,
            Phase::Datagram => self.key.protocol() == UDP,
            _ => false,
        };
        let counted: u64 =
            self.counts.iter().map(|counts| counts.packets_bytes & u64::from(u32::MAX)).sum();
        let is_seen_by_kernel =
            self.key.port_kind() == PortKind::Ports && self.key.tunnel().is_none();
        may_be && counted >= packets && is_seen_by_kernel
    }

    /// As [`Slot::is_to_be_cut`], by a packet that may be older than the slot's last one.
    pub(crate) fn is_cut_by_shunted(&self, last: Tick, limits: &Limits) -> bool {
        last > self.part_start && self.is_to_be_cut(last, limits)
    }

    /// Takes note of packets that the kernel has counted, up to `last`: they go straight into
    /// a delta. Where a direction's sequence is by now is not known.
    pub(crate) fn note_shunted(&mut self, last: Tick) {
        self.is_single = false;
        Marks::SEQUENCES.iter().for_each(|&sequence| self.marks.remove(sequence));
        Marks::GO_ON.iter().for_each(|&mark| self.marks.remove(mark));
        self.last_tick = self.last_tick.max(last);
    }

    /// Counts another packet than the first; where the slot was `GUESSED`, only if it does not
    /// begin another connection. See [`Slot::count`].
    #[inline(always)]
    pub(super) fn count_more<'a, const GUESSED: bool>(
        &mut self,
        packet: &Packet,
        origin: impl FnOnce() -> &'a mut Origin,
    ) -> bool {
        self.is_single = false;
        self.count::<GUESSED>(packet, origin)
    }

    /// Counts the first packet of this flow. See [`Slot::count`].
    pub(super) fn count_first<'a>(
        &mut self,
        packet: &Packet,
        origin: impl FnOnce() -> &'a mut Origin,
    ) -> bool {
        self.count::<false>(packet, origin)
    }

    /// Counts a packet of this flow. False if its counts do not fit: then nothing changed,
    /// and it does fit into a slot that was just published. Few packets need the `origin`.
    #[inline(always)]
    fn count<'a, const GUESSED: bool>(
        &mut self,
        packet: &Packet,
        origin: impl FnOnce() -> &'a mut Origin,
    ) -> bool {
        let way = packet.direction.idx();
        let Some(counts) = self.counts[way].with(Counts::of(packet)) else { return false };
        if self.is_next(packet) {
            let next = &mut self.next_sequence[way];
            *next = next.wrapping_add(packet.tcp.sequence_bytes(packet.payload_bytes));
            if packet.tcp.has(FIN) {
                self.follow_end(packet.direction, packet.tcp.flags());
            }
            self.last = packet.timestamp.unwrap_or(self.last);
        } else {
            let origin = origin();
            if GUESSED && self.is_ended_by(packet, origin) || !self.note(packet, origin) {
                return false;
            }
        }
        self.counts[way] = counts;
        self.last_tick = packet.tick;
        let [least, greatest] = &mut self.ttls[way];
        if [*least, *greatest] != [packet.ttl; 2] {
            (*least, *greatest) = ((*least).min(packet.ttl), (*greatest).max(packet.ttl));
        }
        self.tcp_flags[way] |= packet.tcp.flags();
        true
    }

    /// Whether the packet is simply the next one of its flow: not the first of its direction or
    /// part, not before another in time, no later fragment; of TCP, in sequence and without
    /// anything to note but its end, for which the origin is not needed.
    #[inline(always)]
    fn is_next(&self, packet: &Packet) -> bool {
        let way = packet.direction.idx();
        let is_later = packet.timestamp.is_some_and(|timestamp| timestamp >= self.last);
        // Without TCP this holds: its sequence number is 0 and its flow's next one stays that, its
        // window is open, and it has no flags.
        let is_in_sequence = packet.tcp.sequence() == self.next_sequence[way]
            && packet.tcp.window() != 0
            && !packet.tcp.has(SYN | RST);
        self.marks.goes_on(packet.direction) && is_in_sequence && is_later && !packet.later_fragment
    }

    /// Whether a packet of this direction, in time and in sequence, is simply the next one.
    fn may_go_on(&self, way: usize) -> bool {
        let is_followed = match self.phase {
            Phase::HalfOpen => false,
            Phase::Open | Phase::Finished => self.marks.has(Marks::SEQUENCES[way]),
            // A free slot has no packets.
            Phase::Free | Phase::Datagram | Phase::Other => true,
        };
        let is_known = self.dscp[way] != SideCounts::NO_DSCP;
        is_followed && is_known && self.marks.has(Marks::PART_TIMED)
    }

    /// Notes what there is to note of any other packet. False if a count of that may not fit:
    /// then nothing changed.
    #[inline(never)]
    fn note(&mut self, packet: &Packet, origin: &mut Origin) -> bool {
        let way = packet.direction.idx();
        let more = u8::from(packet.later_fragment);
        let Some(fragments) = self.fragments[way].checked_add(more) else { return false };
        let tcp = packet.tcp;
        if tcp.is_there() {
            if !origin.odd[way].has_room() {
                return false;
            }
            self.note_stray(origin, way, tcp);
            self.follow_sequence(origin, packet, tcp);
            self.time_handshake(origin, packet, tcp);
            self.follow(origin, packet, tcp);
        }
        if self.dscp[way] == SideCounts::NO_DSCP {
            self.dscp[way] = packet.dscp;
        }
        // What is not before the latest one is not before the first one: the origin may be far.
        if let Some(timestamp) = packet.timestamp
            && (timestamp < self.last || !self.marks.has(Marks::PART_TIMED))
        {
            origin.first = origin.first.min(timestamp);
            self.marks.add_if(true, Marks::PART_TIMED);
        }
        self.last = packet.timestamp.map_or(self.last, |timestamp| self.last.max(timestamp));
        self.fragments[way] = fragments;
        // One direction's packet can make way for the other's, too.
        for way in [0, 1] {
            self.marks.remove(Marks::GO_ON[way]);
            self.marks.add_if(self.may_go_on(way), Marks::GO_ON[way]);
        }
        true
    }

    /// Begins another part with the packet at `now`; the delta of the last one was taken.
    pub(super) fn begin_part(&mut self, now: Tick, origin: &mut Origin) {
        self.part_start = now;
        self.marks.remove(Marks::PART_TIMED);
        Marks::GO_ON.iter().for_each(|&mark| self.marks.remove(mark));
        (origin.first, self.last) = (Timestamp::MAX, Timestamp::MIN);
        self.ttls = [NO_TTLS; 2];
    }

    /// What was counted since the last time, which is then forgotten. What adds up to the same
    /// however often it is added (times, times to live, how the flow began) stays here.
    #[expect(clippy::inline_always, reason = "a delta is written once, where it is sent")]
    #[inline(always)]
    pub(super) fn take_delta(&mut self, origin: &mut Origin) -> Delta {
        let side = |way: usize| {
            let low = |word: u64| word & u64::from(u32::MAX);
            let Counts { packets_bytes, frame_payload } = self.counts[way];
            let [ttl_min, ttl_max] = self.ttls[way];
            SideCounts {
                packets: low(packets_bytes),
                bytes: packets_bytes >> 32,
                frame_bytes: low(frame_payload),
                payload_bytes: frame_payload >> 32,
                fragments: self.fragments[way].into(),
                retransmits: origin.odd[way].retransmits.into(),
                out_of_order: origin.odd[way].out_of_order.into(),
                zero_windows: origin.odd[way].zero_windows.into(),
                tcp_flags: self.tcp_flags[way],
                ttl_min,
                ttl_max,
                dscp: self.dscp[way],
            }
        };
        let is_timed = self.marks.has(Marks::PART_TIMED);
        let is_first = self.marks.has(Marks::UNPUBLISHED);
        let delta = Delta {
            sides: [side(0), side(1)],
            first: if is_timed { origin.first } else { Timestamp::MAX },
            last: if is_timed { self.last } else { Timestamp::MIN },
            opening: is_first.then(|| self.opening(origin)),
            handshake: origin.handshake,
            tcp: self.marks.tcp_events(),
            ..Delta::EMPTY
        };
        self.marks.remove(Marks::UNPUBLISHED);
        self.counts = [Counts::default(); 2];
        origin.odd = [sequence::Odd::default(); 2];
        self.fragments = [0; 2];
        self.tcp_flags = [0; 2];
        delta
    }

    fn opening(&self, origin: &Origin) -> Opening {
        Opening {
            flow_start: origin.flow_start(),
            ordinal: origin.ordinal,
            initiator: self.marks.direction(Marks::INITIATOR_REVERSE),
            macs: origin.macs(),
            first_packet: self.marks.direction(Marks::FIRST_REVERSE),
            icmp: origin.icmp(),
            interface: origin.interface,
            encapsulation: self.encapsulation,
        }
    }
}

//! The reference: a flow meter as simple as the rules allow. One map, one packet at a time,
//! no batches, no threads; it shares no code with the tables, only the words of records.

use std::collections::HashMap;

use flowtap::decode::Packet;
use flowtap::flow::features::Spread;
use flowtap::flow::protocol::{ICMP, ICMPV6, TCP, UDP, UDP_LITE};
use flowtap::flow::record::tcp_flags::{ACK, FIN, RST, SYN};
use flowtap::flow::{
    EndReason, Features, FeaturesSet, FlowKey, SideCounts, SideFeatures, TcpEvents, Timeouts,
};
use flowtap::time::{Tick, Timestamp};

use crate::segments::Connection;
use crate::sink::Exported;

/// The records of `packets`, which one packet clock has stamped, when the input ends at
/// `end`.
pub(crate) fn meter(
    packets: &[Packet],
    end: Tick,
    timeouts: &Timeouts,
    set: FeaturesSet,
) -> Vec<Exported> {
    let mut flows = HashMap::<FlowKey, Flow>::new();
    let mut records = Vec::new();
    for packet in packets {
        if let Some(flow) = flows.get_mut(&packet.key) {
            if flow.is_idle(packet.tick, timeouts) {
                records.push(flow.record(flow.own_end(EndReason::Idle)));
                flows.remove(&packet.key);
            } else if flow.is_succeeded_by(packet) {
                records.push(flow.record(EndReason::EndDetected));
                flows.remove(&packet.key);
            } else if flow.is_long(packet.tick, timeouts) {
                records.push(flow.record(EndReason::Active));
                flow.begin_part(packet.tick);
            }
        }
        flows.entry(packet.key).or_insert_with(|| Flow::begun_by(packet)).count(packet);
    }
    for flow in flows.values() {
        let otherwise =
            if flow.is_idle(end, timeouts) { EndReason::Idle } else { EndReason::Forced };
        records.push(flow.record(flow.own_end(otherwise)));
    }
    if !set.is_extended() {
        records.iter_mut().for_each(|record| record.features = None);
    }
    records
}

/// A flow that is going on.
struct Flow {
    /// The open part as it would be exported.
    part: Exported,
    part_start: Tick,
    latest: Tick,
    /// A TCP handshake that is not finished.
    is_half_open: bool,
    /// FIN both ways, or RST.
    is_finished: bool,
    /// By direction: lengths and gaps of the part's packets, one by one.
    values: [[Vec<u64>; 2]; 2],
    /// By direction: the latest timestamp of the flow.
    last: [Option<Timestamp>; 2],
    /// By direction.
    fins: [bool; 2],
    /// By direction: the sequence number of the latest SYN.
    syns: [Option<u32>; 2],
    /// By direction: what its latest SYN has acknowledged.
    answered: [Option<u32>; 2],
    /// Whether a SYN without ACK has come since a RST was all that has ended the connection.
    is_tried_again: bool,
    /// Whether a SYN that is not this connection's has come while it was open.
    has_had_stray: bool,
    connection: Connection,
    /// Whether a packet was counted.
    has_begun: bool,
}

impl Flow {
    fn begun_by(packet: &Packet) -> Self {
        let flags = packet.tcp.flags();
        let is_half_open = flags & SYN != 0;
        let from = packet.key.source_port(packet.direction);
        let to = packet.key.source_port(packet.direction.opposite());
        let [sender, receiver] =
            [packet.direction, packet.direction.opposite()].map(|way| packet.key.source_ip(way));
        // What one end sends to itself is its own.
        let is_to_itself = (sender, from) == (receiver, to);
        let is_answer = match packet.tcp.is_there() {
            true if flags & SYN != 0 => flags & ACK != 0 && !is_to_itself,
            true => from.is_some_and(|port| port < 1_024) && to.is_some_and(|port| port >= 1_024),
            false => false,
        };
        Self {
            part: Exported {
                key: packet.key,
                is_overflow: false,
                flow_id: 0,
                ordinal: u32::try_from(packet.ordinal).ok(),
                flow_start: packet.timestamp,
                part: 0,
                initiator: if is_answer { packet.direction.opposite() } else { packet.direction },
                macs: packet.macs.get(),
                first_packet: Some(packet.direction),
                icmp: packet.icmp,
                first: Timestamp::MAX,
                last: Timestamp::MIN,
                sides: Default::default(),
                handshake: [None; 2],
                features: None,
                tcp: 0,
                end: None,
                is_complete: false,
            },
            part_start: packet.tick,
            latest: packet.tick,
            is_half_open,
            is_finished: false,
            values: Default::default(),
            last: [None; 2],
            fins: [false; 2],
            syns: [None; 2],
            answered: [None; 2],
            is_tried_again: false,
            has_had_stray: false,
            connection: Connection::default(),
            has_begun: false,
        }
    }

    fn is_idle(&self, now: Tick, timeouts: &Timeouts) -> bool {
        let timeout = match self.part.key.protocol() {
            TCP if self.is_finished => timeouts.linger_ns,
            TCP if self.is_half_open => timeouts.half_open_idle_ns,
            UDP | UDP_LITE | ICMP | ICMPV6 => timeouts.datagram_idle_ns,
            _ => timeouts.idle_ns,
        };
        now - self.latest > timeout
    }

    /// Whether `packet` begins another connection on these ports.
    fn is_succeeded_by(&self, packet: &Packet) -> bool {
        let (tcp, way) = (packet.tcp, packet.direction.idx());
        let is_new = self.syns[way] != Some(tcp.sequence());
        let may_be_late = tcp.flags() & ACK != 0 && self.syns[way].is_none();
        let has_ended = self.is_finished || self.fins[way];
        let is_answer = tcp.flags() & ACK != 0;
        let was_stray = self.has_had_stray && !is_answer;
        let answers_stray = self.has_had_stray
            && self.is_open()
            && is_answer
            && is_new
            && self.syns[1 - way].is_some_and(|syn| tcp.acknowledgment() == syn.wrapping_add(1));
        let follows =
            has_ended && (is_new || was_stray) && !may_be_late && !self.is_taken_up_by(packet);
        tcp.flags() & SYN != 0 && (follows || answers_stray)
    }

    fn is_open(&self) -> bool {
        !self.is_half_open && !self.is_finished
    }

    /// Whether `packet` is a SYN, but not this connection's, which is open: that one may have been
    /// overtaken by a window without a scale.
    fn is_strayed_to_by(&self, packet: &Packet) -> bool {
        let (tcp, way) = (packet.tcp, packet.direction.idx());
        let was_overtaken = self
            .connection
            .next(way)
            .is_some_and(|next| (1..=65_536).contains(&next.wrapping_sub(tcp.sequence())));
        tcp.flags() & (SYN | ACK) == SYN
            && self.is_open()
            && self.syns[way] != Some(tcp.sequence())
            && !was_overtaken
    }

    /// Whether `packet` answers a SYN that came again after a RST.
    fn is_taken_up_by(&self, packet: &Packet) -> bool {
        let is_answer = packet.tcp.flags() & (SYN | ACK) == SYN | ACK;
        self.is_tried_again
            && is_answer
            && self.connection.acknowledges_syn(1 - packet.direction.idx(), packet.tcp)
    }

    /// Whether the initiator goes on behind its SYN, and acknowledges the other's; of those seen.
    fn acknowledges(&self, packet: &Packet) -> bool {
        let way = packet.direction.idx();
        let numbers = [packet.tcp.sequence(), packet.tcp.acknowledgment()];
        [way, 1 - way].into_iter().zip(numbers).all(|(way, number)| {
            self.syns[way].is_none_or(|syn| {
                let ahead = i64::from(number) - i64::from(syn);
                (1..1 << 30).contains(&ahead.rem_euclid(1 << 32))
            })
        })
    }

    /// Whether the responder, which has sent a SYN, shows that it was answered.
    fn has_had_answer(&self, packet: &Packet) -> bool {
        let way = packet.direction.idx();
        let acknowledges_more = self.syns[1 - way].is_none()
            && self.answered[way].is_some_and(|answered| {
                packet.tcp.acknowledgment().wrapping_sub(answered).cast_signed() > 0
            });
        let is_fin = packet.tcp.flags() & FIN != 0;
        self.syns[way].is_some() && (packet.payload_bytes > 0 || is_fin || acknowledges_more)
    }

    fn is_long(&self, now: Tick, timeouts: &Timeouts) -> bool {
        let linger_ns = if self.is_finished { timeouts.linger_ns } else { 0 };
        now - self.part_start > timeouts.active_ns.saturating_add(linger_ns)
    }

    /// The reason for an end: a finished connection has ended by itself.
    fn own_end(&self, otherwise: EndReason) -> EndReason {
        if self.is_finished { EndReason::EndDetected } else { otherwise }
    }

    fn record(&self, end: EndReason) -> Exported {
        // A part that is cut leaves the flow open.
        let is_complete = end != EndReason::Active;
        let features = self.values.each_ref().map(|[lengths, gaps]| SideFeatures {
            lengths: spread(lengths),
            gaps: spread_of_ms(gaps),
            gap_sum_ns: gaps.iter().sum(),
        });
        let features = Some(Features(features));
        Exported { end: Some(end), is_complete, features, ..self.part.clone() }
    }

    fn begin_part(&mut self, now: Tick) {
        self.part_start = now;
        self.part.part += 1;
        self.part.first = Timestamp::MAX;
        self.part.last = Timestamp::MIN;
        for side in &mut self.part.sides {
            *side = SideCounts { dscp: side.dscp, ..SideCounts::default() };
        }
        self.values = Default::default();
    }

    fn count(&mut self, packet: &Packet) {
        self.latest = packet.tick;
        if let Some(timestamp) = packet.timestamp {
            self.part.first = self.part.first.min(timestamp);
            self.part.last = self.part.last.max(timestamp);
        }
        let is_taken_up = self.is_taken_up_by(packet);
        let is_stray = packet.tcp.is_there() && self.is_strayed_to_by(packet);
        self.has_had_stray |= is_stray;
        let way = packet.direction.idx();
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let side = &mut self.part.sides[way];
        count(side, packet);
        side.ttl_min = side.ttl_min.min(packet.ttl);
        side.ttl_max = side.ttl_max.max(packet.ttl);
        if side.dscp == SideCounts::NO_DSCP {
            side.dscp = packet.dscp;
        }
        let [lengths, gaps] = &mut self.values[way];
        lengths.push(packet.bytes.into());
        // The earliest time there is counts as none.
        let time = packet.timestamp.filter(|&time| time > Timestamp::MIN);
        if let (Some(before), Some(now)) = (self.last[way], time) {
            gaps.push(if now > before { now.abs_diff(before) } else { 0 });
        }
        self.last[way] = self.last[way].max(time);
        let tcp = packet.tcp;
        if !tcp.is_there() {
            return;
        }
        let initiator = self.part.initiator.idx();
        let is_half_open = self.is_half_open && !self.is_finished;
        self.connection.count(side, packet, tcp, (initiator, is_first), is_half_open);
        self.part.handshake = self.connection.handshake();
        if is_taken_up {
            (self.is_half_open, self.is_finished, self.is_tried_again) = (true, false, false);
            self.fins = [false; 2];
        } else if tcp.flags() & (SYN | ACK) == SYN {
            let was_closed = self.part.tcp & TcpEvents::CLOSED.0 != 0;
            self.is_tried_again |= self.is_finished && !was_closed;
        }
        if tcp.flags() & SYN != 0 {
            if self.syns[way] != Some(tcp.sequence()) {
                self.fins[way] = false;
            }
            self.syns[way] = Some(tcp.sequence());
            if tcp.flags() & ACK != 0 {
                self.answered[way] = Some(tcp.acknowledgment());
            }
            self.part.tcp |= TcpEvents::OPENED.0;
        }
        self.fins[way] |= tcp.flags() & FIN != 0;
        if self.is_finished {
            return;
        }
        if self.fins[0] && self.fins[1] {
            self.is_finished = true;
            self.part.tcp |= TcpEvents::CLOSED.0;
        } else if tcp.flags() & RST != 0 {
            self.is_finished = true;
            self.part.tcp |= TcpEvents::RESET.0;
        } else if tcp.flags() & ACK != 0
            && tcp.flags() & SYN == 0
            && match packet.direction == self.part.initiator {
                true => self.acknowledges(packet),
                false => self.has_had_answer(packet),
            }
        {
            self.is_half_open = false;
        }
        if !self.is_finished && !self.is_half_open {
            self.part.tcp |= TcpEvents::ESTABLISHED.0;
        }
    }
}

/// How values are spread.
fn spread(values: &[u64]) -> Spread {
    let bins = [0, 16, 32, 64, 128, 256, 512, 1_024, u64::MAX];
    let is_in = |value: &u64, idx: usize| (bins[idx]..bins[idx + 1]).contains(value);
    Spread {
        min: values.iter().copied().min().unwrap_or(u64::MAX),
        max: values.iter().copied().max().unwrap_or(0),
        squares: values.iter().map(|&value| u128::from(value) * u128::from(value)).sum(),
        histogram: [0, 1, 2, 3, 4, 5, 6, 7]
            .map(|idx| values.iter().filter(|value| is_in(value, idx)).count() as u64),
    }
}

/// The same for nanoseconds whose milliseconds are in bins.
fn spread_of_ms(values: &[u64]) -> Spread {
    let ms: Vec<_> = values.iter().map(|value| value / 1_000_000).collect();
    Spread { histogram: spread(&ms).histogram, ..spread(values) }
}

/// Counts a packet of one direction, but for what depends on others or does not add up.
pub(crate) fn count(side: &mut SideCounts, packet: &Packet) {
    side.packets += 1;
    side.bytes += u64::from(packet.bytes);
    side.frame_bytes += u64::from(packet.frame_bytes);
    side.payload_bytes += u64::from(packet.payload_bytes);
    side.fragments += u64::from(packet.later_fragment);
    side.tcp_flags |= packet.tcp.flags();
}

/// Adds up counts of one direction, but for those.
pub(crate) fn add(sum: &mut SideCounts, more: &SideCounts) {
    sum.packets += more.packets;
    sum.bytes += more.bytes;
    sum.frame_bytes += more.frame_bytes;
    sum.payload_bytes += more.payload_bytes;
    sum.fragments += more.fragments;
    sum.tcp_flags |= more.tcp_flags;
}

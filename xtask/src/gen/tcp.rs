//! TCP flows of an exact number of packets, as a meter in the middle of the path sees them:
//! sequence numbers, acknowledgements, timestamps and round trips fit together.
//! Called by [`super::mix`], and by [`super::session`] for what goes on inside.

use super::flow::{Body, Ends, Life, Options, Packet, Segment, flags};
use super::number::{low16, low32};
use super::rng::Rng;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
/// When a SYN without an answer is sent: RFC 6298 doubles the time-out of one second.
const SYN_TIMES_NS: [u64; 4] = [0, 1_000_000_000, 3_000_000_000, 7_000_000_000];

/// How a TCP flow goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Story {
    /// Handshake, data, FIN both ways.
    Fin,
    /// Handshake, data, RST by either side.
    Reset,
    /// A SYN answered by a RST.
    Refused,
    /// A SYN without an answer, sent again.
    HalfOpen,
    /// Data without handshake and end.
    Midstream,
    /// Handshake and data, and it goes on.
    Open,
}

impl Story {
    /// The fewest packets it can be told with.
    pub(crate) fn min_packets(self) -> u64 {
        match self {
            Self::Fin => 8,
            Self::Reset => 5,
            Self::Refused => 2,
            Self::HalfOpen => 1,
            Self::Midstream => 2,
            Self::Open => 4,
        }
    }

    /// How it looks in the truth.
    pub(crate) fn life(self) -> Life {
        match self {
            Self::Fin => Life::Fin,
            Self::Reset | Self::Refused => Life::Rst,
            Self::HalfOpen => Life::HalfOpen,
            Self::Midstream => Life::Midstream,
            Self::Open => Life::Open,
        }
    }
}

/// How many SYNs without an answer fit into `duration_ns`, at most.
pub(crate) fn syns_within(duration_ns: u64) -> u64 {
    SYN_TIMES_NS.iter().filter(|&&at| at < duration_ns / 2).count().max(1) as u64
}

/// The packets of one flow: `count` of them, at least [`Story::min_packets`].
pub(crate) fn packets(story: Story, ends: &Ends, count: u64, rng: &mut Rng) -> Vec<Packet> {
    let mut talk = Talk::new(ends, count, rng);
    match story {
        Story::HalfOpen => talk.knock(),
        Story::Refused => {
            talk.send(true, flags::SYN, 0);
            talk.wait(talk.server_trip_ns);
            talk.send(false, flags::RST | flags::ACK, 0);
        }
        Story::Midstream => {
            talk.join_late();
            talk.exchange(0);
        }
        Story::Open => {
            talk.shake_hands();
            talk.exchange(0);
        }
        Story::Reset => {
            talk.shake_hands();
            talk.exchange(1);
            let by_client = talk.rng.percent(50);
            talk.wait(MILLISECOND);
            talk.send(by_client, flags::RST | flags::ACK, 0);
        }
        Story::Fin => {
            talk.shake_hands();
            talk.exchange(4);
            talk.close();
        }
    }
    talk.packets
}

/// A connection in progress.
pub(super) struct Talk<'a> {
    pub(super) rng: &'a mut Rng,
    pub(super) packets: Vec<Packet>,
    count: u64,
    now_ns: u64,
    /// Meter to server and back; meter to client and back.
    pub(super) server_trip_ns: u64,
    pub(super) client_trip_ns: u64,
    /// Next sequence number of the server and of the client.
    next: [u32; 2],
    /// What each side has acknowledged of the other's.
    acknowledged: [u32; 2],
    /// Last timestamp of each side; none without the option.
    stamps: Option<[u32; 2]>,
    stamp_offsets: [u32; 2],
    /// What the peer may send in one segment, options excluded.
    mss: u16,
    pub(super) max_payload: u16,
}

impl<'a> Talk<'a> {
    pub(super) fn new(ends: &Ends, count: u64, rng: &'a mut Rng) -> Self {
        let mss = ends.tags.mtu() - if ends.ipv6 { 60 } else { 40 };
        let stamped = rng.percent(60);
        Self {
            packets: Vec::with_capacity(usize::try_from(count).unwrap_or(0)),
            count,
            now_ns: 0,
            server_trip_ns: rng.between(500, 60_000) * MICROSECOND,
            client_trip_ns: rng.between(100, 8_000) * MICROSECOND,
            next: [rng.word(), rng.word()],
            acknowledged: [0; 2],
            stamps: stamped.then_some([0; 2]),
            stamp_offsets: [rng.word(), rng.word()],
            mss,
            max_payload: if stamped { mss - 12 } else { mss },
            rng,
        }
    }

    pub(super) fn wait(&mut self, ns: u64) {
        self.now_ns += ns;
    }

    pub(super) fn wait_between(&mut self, low: u64, high: u64, unit_ns: u64) {
        let drawn = self.rng.between(low, high);
        self.wait(drawn * unit_ns);
    }

    pub(super) fn left(&self) -> u64 {
        self.count.saturating_sub(self.packets.len() as u64)
    }

    /// Sends a segment now. An acknowledgement covers all that the meter has seen so far.
    fn send(&mut self, from_client: bool, flag_byte: u8, len: u16) {
        let body = Body::Tcp(self.segment(from_client, flag_byte, len));
        self.packets.push(Packet { at_ns: self.now_ns, from_client, body });
    }

    /// Sends `len` bytes that begin with `head`, in full segments and a last one, with an
    /// acknowledgement between every two.
    pub(super) fn stream(&mut self, from_client: bool, head: &[u8], len: usize) {
        let mut rest = head;
        let mut at = 0;
        let mut sent = 0;
        while at < len {
            let part = low16((len - at).min(self.max_payload.into()) as u64);
            at += usize::from(part);
            let (now, later) = rest.split_at(rest.len().min(part.into()));
            rest = later;
            let pushed = if at == len { flags::PSH } else { 0 };
            let segment = self.segment(from_client, flags::ACK | pushed, part);
            let body = Body::Opening { segment, head: now.into() };
            self.packets.push(Packet { at_ns: self.now_ns, from_client, body });
            sent += 1;
            self.wait_between(12, 60, MICROSECOND);
            if sent % 2 == 0 && at < len {
                let trip = if from_client { self.server_trip_ns } else { self.client_trip_ns };
                self.wait(trip / 32);
                self.send(!from_client, flags::ACK, 0);
                self.wait_between(12, 60, MICROSECOND);
            }
        }
    }

    /// The next segment of a side, as counted.
    fn segment(&mut self, from_client: bool, flag_byte: u8, len: u16) -> Segment {
        let (me, peer) = if from_client { (1, 0) } else { (0, 1) };
        if flag_byte & flags::ACK != 0 {
            self.acknowledged[me] = self.next[peer];
        }
        // Milliseconds; they may wrap, as they do on a real host.
        let clock = low32(self.now_ns / MILLISECOND);
        let stamps = self.stamps.as_mut().map(|stamps| {
            stamps[me] = self.stamp_offsets[me].wrapping_add(clock);
            (stamps[me], if flag_byte & flags::ACK != 0 { stamps[peer] } else { 0 })
        });
        let options = match stamps {
            _ if flag_byte & flags::SYN != 0 => Options::Syn { mss: self.mss, stamps },
            // RFC 7323 asks for them in every segment but RST.
            Some((value, echo)) if flag_byte & flags::RST == 0 => Options::Stamps(value, echo),
            _ => Options::None,
        };
        let reset = flag_byte & flags::RST != 0;
        let sequence = self.next[me];
        let phantom = u32::from(flag_byte & (flags::SYN | flags::FIN) != 0);
        self.next[me] = sequence.wrapping_add(u32::from(len) + phantom);
        Segment {
            flags: flag_byte,
            sequence,
            acknowledged: self.acknowledged[me],
            window: if reset { 0 } else { 501 + 8 * u16::from(from_client) },
            len,
            options,
        }
    }

    pub(super) fn shake_hands(&mut self) {
        self.send(true, flags::SYN, 0);
        self.wait(self.server_trip_ns);
        self.send(false, flags::SYN | flags::ACK, 0);
        self.wait(self.client_trip_ns);
        self.send(true, flags::ACK, 0);
    }

    /// The same SYN again and again.
    fn knock(&mut self) {
        let first = self.next[1];
        for at_ns in SYN_TIMES_NS {
            if self.left() == 0 {
                return;
            }
            self.now_ns = at_ns;
            self.next[1] = first;
            self.send(true, flags::SYN, 0);
        }
    }

    /// Both sides are in the middle of a connection whose beginning nobody saw.
    fn join_late(&mut self) {
        self.now_ns = 0;
        self.acknowledged = [self.next[1], self.next[0]];
        if let Some(stamps) = &mut self.stamps {
            *stamps = self.stamp_offsets;
        }
        if self.rng.percent(30) {
            // The first packet seen is the server's.
            let len = self.rng.length(1, self.max_payload);
            self.send(false, flags::ACK | flags::PSH, len);
            self.wait(self.client_trip_ns);
        }
    }

    /// Requests and answers until only `reserve` packets are left.
    fn exchange(&mut self, reserve: u64) {
        while self.left() > reserve {
            let len = self.rng.length(40, self.max_payload.min(900));
            self.wait_between(50, 3_000, MICROSECOND);
            self.send(true, flags::ACK | flags::PSH, len);
            self.wait(self.server_trip_ns);
            let segments = (self.rng.weight() * self.rng.between(1, 6)).min(4_096);
            self.answer(segments, reserve);
            if self.rng.percent(20) {
                self.wait_between(5, 200, MILLISECOND);
            }
        }
    }

    /// Up to `segments` full ones, every second acknowledged, and a last one of any length.
    fn answer(&mut self, segments: u64, reserve: u64) {
        for sent in 1..=segments {
            if self.left() <= reserve {
                return;
            }
            if sent == segments {
                let len = self.rng.length(1, self.max_payload);
                self.send(false, flags::ACK | flags::PSH, len);
            } else {
                self.send(false, flags::ACK, self.max_payload);
            }
            self.wait_between(12, 60, MICROSECOND);
            if (sent % 2 == 0 || sent == segments) && self.left() > reserve {
                self.wait(self.client_trip_ns / 32);
                self.send(true, flags::ACK, 0);
                self.wait_between(12, 60, MICROSECOND);
            }
        }
    }

    /// FIN both ways in four packets.
    pub(super) fn close(&mut self) {
        let first = self.rng.percent(70);
        let trip = |to_client| if to_client { self.client_trip_ns } else { self.server_trip_ns };
        let (there, back) = (trip(!first), trip(first));
        self.wait(MILLISECOND);
        self.send(first, flags::FIN | flags::ACK, 0);
        self.wait(there);
        self.send(!first, flags::ACK, 0);
        self.wait(100 * MICROSECOND);
        self.send(!first, flags::FIN | flags::ACK, 0);
        self.wait(back);
        self.send(first, flags::ACK, 0);
    }
}

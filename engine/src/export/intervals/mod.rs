//! Interval statistics (`--stats FILE.jsonl`, `.csv`, `.hlog`): what came in each interval of
//! packet time, and not what ended in it.
//!
//! ```text
//! rx-n: table ── deltas, each of one interval ══▶ merge: Collector ── lines, histograms ──▶ queues
//!    └─ cores: lengths of packets, batch times ═══════▲  (the one writer)
//! ```
//!
//! A table publishes what a slot has counted before it counts a packet of a later interval there
//! ([`crate::table`]). So deltas say what came in an interval, of long flows too; the `merge`
//! thread, which has them all, adds them up in the interval that they name ([`collector`]). An
//! interval is closed once each core has published all of it, which it says ([`cores`]): the lines
//! of a file are the same with 1 or 8 workers.
//!
//! **Which times an interval is of** says a [`Calendar`]. In `read` packets' times do, and whoever
//! reads them writes it; live it is the wall's clock, also after somebody has put that ([`wall`]).
//! Once a clock was put back, the same times may have lines again: these are of another *recording*,
//! and say so. In a recording an interval has its lines once.
//!
//! Names and talkers are bounded in number ([`heavy`]). Lines are written as JSON lines and CSV
//! ([`text`]), histograms as HdrHistogram's log ([`log`]), each by a sink with the queue, the
//! thread and the account that all sinks have. Nothing of this is there unless it is asked for.

mod collector;
mod cores;
mod heavy;
mod interval;
mod log;
mod text;
mod wall;

pub use collector::Collector;
pub use cores::CoreIntervals;
pub(super) use log::IntervalLog;
pub(super) use text::{IntervalCsv, IntervalJsonLines};
pub use wall::{LatestGrid, WallWatch};

use std::net::IpAddr;

use hdrhistogram::Histogram;

use crate::flow::{Delta, Direction, FlowRecord, RecordKind};
use crate::limits::KEY_VLANS;
use crate::sync::{Arc, Gauge};
use crate::time::{Calendar, Tick, Timestamp};

/// What all that deals with intervals of a run must know.
#[derive(Debug)]
pub struct IntervalsPlan {
    /// How long one is, in ns; not 0.
    pub every_ns: Tick,
    /// How many names and how many talkers have lines of their own.
    pub top: usize,
    /// Which times intervals are of.
    pub calendar: Arc<Calendar>,
    /// When they begin, where it is not packets that say what time it is.
    pub grid: LatestGrid,
    /// Packets lost so far by each interface, of a run that may lose some. Its one writer is
    /// `main`.
    pub lost: Vec<Gauge>,
}

impl IntervalsPlan {
    /// Of a run in which so many interfaces may lose packets.
    #[must_use]
    pub fn new(every_ns: Tick, top: usize, interfaces: usize) -> Self {
        let lost = std::iter::repeat_with(Gauge::default).take(interfaces).collect();
        let (calendar, grid) = Default::default();
        Self { every_ns, top, calendar, grid, lost }
    }
}

/// What was counted of something in an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Packets from initiators and from responders; of a talker, those that it has sent and got.
    pub packets: [u64; 2],
    /// The same in bytes, by IP length.
    pub bytes: [u64; 2],
    /// Flows that began in it.
    pub begun: u64,
    /// Flows that were over in it.
    pub ended: u64,
}

impl Sums {
    /// What a delta says but of an end; the flow's initiator sends in this direction.
    fn of(delta: &FlowRecord, initiator: Direction) -> Self {
        let is_flow = delta.kind == RecordKind::Flow;
        let Delta { sides, opening, .. } = &delta.total;
        let sides = [&sides[initiator.idx()], &sides[initiator.opposite().idx()]];
        Self {
            packets: sides.map(|side| side.packets),
            bytes: sides.map(|side| side.bytes),
            begun: u64::from(is_flow && opening.is_some()),
            ended: 0,
        }
    }

    fn add(&mut self, other: &Self) {
        for way in 0..2 {
            self.packets[way] += other.packets[way];
            self.bytes[way] += other.bytes[way];
        }
        self.begun += other.begun;
        self.ended += other.ended;
    }

    /// The same from the other side.
    fn turned(&self) -> Self {
        let ([a, b], [c, d]) = (self.packets, self.bytes);
        Self { packets: [b, a], bytes: [d, c], ..*self }
    }

    /// Packets both ways.
    #[must_use]
    pub fn all_packets(&self) -> u64 {
        self.packets[0] + self.packets[1]
    }

    /// Bytes both ways.
    #[must_use]
    pub fn all_bytes(&self) -> u64 {
        self.bytes[0] + self.bytes[1]
    }
}

/// What a line is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// All traffic.
    Total,
    /// What an interface or a file gave, by its number.
    Interface(u16),
    /// An IP protocol.
    Protocol(u8),
    /// The VLANs that flows are in, outermost first; 0 where there is none.
    Vlan([u16; KEY_VLANS]),
    /// What a responder is called.
    Name(Arc<str>),
    /// An address.
    Talker(IpAddr),
}

/// When an interval was: its beginning and its end. Packets without a time are in none.
pub type Bounds = Option<(Timestamp, Timestamp)>;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub bounds: Bounds,
    /// How often the clock had been put back before.
    pub recording: u32,
    /// Of what.
    pub subject: Subject,
    /// How much.
    pub sums: Sums,
    /// Packets lost since the line before, where some may be.
    pub lost: Option<u64>,
    /// So many bytes at most are not in the sums, where keys are bounded in number.
    pub error_bytes: Option<u64>,
}

/// What a histogram is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// IP lengths of packets, in bytes.
    PacketSize,
    /// From SYN to SYN/ACK, in ns.
    RttServer,
    /// From SYN/ACK to ACK, in ns.
    RttClient,
    /// How long batches of packets took to count, in ns.
    BatchTime,
}

impl Series {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::PacketSize, Self::RttServer, Self::RttClient, Self::BatchTime];

    /// Its tag in a log, with the unit.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::PacketSize => "packet_size_bytes",
            Self::RttServer => "rtt_server_ns",
            Self::RttClient => "rtt_client_ns",
            Self::BatchTime => "batch_time_ns",
        }
    }

    /// An empty histogram for it, of three significant digits.
    fn histogram(self) -> Histogram<u64> {
        let most = match self {
            // What is longer, an IPv6 jumbogram, counts as this long.
            Self::PacketSize => u64::from(u16::MAX),
            Self::RttServer | Self::RttClient => u64::from(u32::MAX),
            Self::BatchTime => 60_000_000_000,
        };
        Histogram::new_with_bounds(1, most, 3)
            .expect("these bounds are within what a histogram can hold")
    }
}

/// A histogram of one interval.
#[derive(Debug, Clone)]
pub struct IntervalHistogram {
    /// When.
    pub bounds: Bounds,
    /// Of what.
    pub series: Series,
    /// Its values.
    pub values: Histogram<u64>,
}

/// What sinks of interval statistics write: lines, or histograms.
#[derive(Debug)]
pub enum Entry {
    /// Into JSON lines and CSV.
    Line(Line),
    /// Into a log.
    Histogram(IntervalHistogram),
}

#[cfg(test)]
mod tests;

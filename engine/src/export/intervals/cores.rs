//! What a core has of intervals beside its deltas: up to where it has published them, and where
//! somebody asks for that, how long packets are and how long batches take.
//!
//! Nothing here reads and modifies an atomic or allocates after the start. Where the `merge` thread
//! is behind, a live core goes on in the histograms that it has, so that what was counted last is
//! in an earlier interval; a core of `read` waits.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::decode::Packet;
use crate::export::WhenFull;
use crate::export::intervals::{IntervalsPlan, Series};
use crate::limits::METERS_BUFFERS;
use crate::sync::buffers::{Drainer, Filler, buffers};
use crate::sync::{Arc, AtomicU64, Ordering, thread};
use crate::time::{Grid, Tick};

/// How long a core that can wait sleeps when there is no room.
const WAIT: Duration = Duration::from_micros(50);

/// Of one interval.
#[derive(Debug)]
pub(super) struct Meters {
    pub(super) number: u32,
    pub(super) sizes: Histogram<u64>,
    pub(super) batches: Histogram<u64>,
}

impl Meters {
    fn new() -> Self {
        let [sizes, batches] = [Series::PacketSize, Series::BatchTime].map(Series::histogram);
        Self { number: 0, sizes, batches }
    }

    fn is_empty(&self) -> bool {
        self.sizes.is_empty() && self.batches.is_empty()
    }

    fn clear(&mut self) {
        self.sizes.reset();
        self.batches.reset();
    }
}

/// The core's end.
#[derive(Debug)]
pub struct CoreIntervals {
    plan: Arc<IntervalsPlan>,
    /// That of the plan of this number, or that of the beginning.
    grid: Grid,
    grid_number: u64,
    reached: Arc<AtomicU64>,
    /// What it holds.
    told: u32,
    meters: Option<CoreMeters>,
}

#[derive(Debug)]
struct CoreMeters {
    grid: Grid,
    filling: Meters,
    /// The first tick behind the interval that is filled.
    end: Tick,
    out: Filler<Meters>,
    when_full: WhenFull,
}

/// The collector's end.
#[derive(Debug)]
pub(super) struct CoreInbox {
    reached: Arc<AtomicU64>,
    meters: Option<Drainer<Meters>>,
}

/// Both ends, for the intervals of a plan; `has_meters` says whether lengths and times are wanted.
pub(super) fn core_intervals(
    plan: &Arc<IntervalsPlan>,
    has_meters: bool,
    when_full: WhenFull,
) -> (CoreIntervals, CoreInbox) {
    let reached = Arc::new(AtomicU64::new(0));
    let (plan, grid) = (Arc::clone(plan), Grid::new(plan.every_ns, 0));
    let (meters, inbox) = has_meters
        .then(|| {
            let (out, inbox) = buffers(METERS_BUFFERS, Meters::new);
            let (filling, end) = (Meters::new(), grid.bounds(0).1);
            (CoreMeters { grid, filling, end, out, when_full }, inbox)
        })
        .unzip();
    let core = Arc::clone(&reached);
    let core = CoreIntervals { plan, grid, grid_number: 0, reached: core, told: 0, meters };
    (core, CoreInbox { reached, meters: inbox })
}

impl CoreIntervals {
    /// The intervals.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// The intervals from now on, where the clock that they are aligned to was put.
    #[inline]
    pub fn new_grid(&mut self) -> Option<Grid> {
        let number = self.plan.grid.number();
        (number != self.grid_number).then(|| self.follow(number))
    }

    #[cold]
    fn follow(&mut self, number: u64) -> Grid {
        self.grid_number = number;
        self.grid = self.plan.grid.latest();
        if let Some(meters) = &mut self.meters {
            meters.grid = self.grid;
            meters.end = self.grid.bounds(meters.filling.number).1;
        }
        self.grid
    }

    /// Measures packets that this core has counted, in a batch that took `ns`.
    pub fn measure(&mut self, packets: &[Packet], ns: u64) {
        let Some(meters) = &mut self.meters else { return };
        if packets.is_empty() {
            return;
        }
        for packet in packets {
            if packet.tick >= meters.end {
                meters.turn(meters.grid.number(packet.tick));
            }
            meters.filling.sizes.saturating_record(packet.bytes.into());
        }
        meters.filling.batches.saturating_record(ns);
    }

    /// The same of a packet that has no batch.
    pub fn measure_one(&mut self, packet: &Packet) {
        if let Some(meters) = &mut self.meters {
            meters.filling.sizes.saturating_record(packet.bytes.into());
        }
    }

    /// Whether the collector does not know yet that all below this interval is published.
    #[must_use]
    pub fn is_news(&self, below: u32) -> bool {
        below > self.told
    }

    /// Whether measuring may wait for room.
    pub fn may_wait(&self) -> bool {
        self.meters.as_ref().is_some_and(|meters| meters.when_full == WhenFull::Wait)
    }

    /// All deltas of the intervals below this one are sent.
    pub fn reach(&mut self, below: u32) {
        if let Some(meters) = &mut self.meters
            && meters.filling.number < below
            && !meters.turn(below)
        {
            return;
        }
        self.told = below;
        // Release: pairs with the acquire in `CoreInbox::reached`; without it the collector could
        // see how far this core is, and not yet what it sent before that.
        self.reached.store(below.into(), Ordering::Release);
    }

    /// Nothing more comes.
    pub fn finish(&mut self) {
        if let Some(meters) = &mut self.meters {
            meters.when_full = WhenFull::Wait;
        }
        self.reach(u32::MAX);
    }
}

impl CoreMeters {
    /// Hands over what was measured, and goes on with this interval. False if there is no room.
    fn turn(&mut self, number: u32) -> bool {
        while !self.filling.is_empty() {
            if self.out.is_abandoned() {
                self.filling.clear();
            } else if self.out.send(&mut self.filling) {
                break;
            } else if self.when_full == WhenFull::Drop {
                return false;
            } else {
                thread::park_timeout(WAIT);
            }
        }
        self.filling.number = number;
        self.end = self.grid.bounds(number).1;
        true
    }
}

impl CoreInbox {
    /// Of the intervals below this number everything is on its way.
    pub(super) fn reached(&self) -> u32 {
        // Acquire: pairs with the release in `CoreIntervals::reach`.
        u32::try_from(self.reached.load(Ordering::Acquire)).unwrap_or(u32::MAX)
    }

    /// Passes on what was measured.
    pub(super) fn take(&mut self, mut each: impl FnMut(&Meters)) {
        let Some(inbox) = &mut self.meters else { return };
        while let Some(mut meters) = inbox.take() {
            each(&meters);
            meters.clear();
            inbox.give_back(meters);
        }
    }
}

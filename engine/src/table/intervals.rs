//! Which interval of packet time a table counts in ([`crate::time::Grid`]), where somebody asks for
//! that: then what a slot has counted is published before a packet of a later interval is counted
//! there, and each delta is of one interval.
//!
//! The hand brings home what no packet does. Once it has gone a whole round that began in an
//! interval, everything of those before is published ([`Intervals::complete_below`]).

use crate::time::{Grid, Tick};

/// Where packet time stands.
#[derive(Debug)]
pub(super) struct Intervals {
    grid: Grid,
    now: Tick,
    number: u32,
    /// Of the interval of this number: its first tick, and the first behind it.
    bounds: (Tick, Tick),
    /// In which interval the hand has begun its round.
    round: u32,
    complete_below: u32,
}

impl Intervals {
    pub(super) fn new(grid: Grid) -> Self {
        let bounds = grid.bounds(0);
        Self { grid, now: 0, number: 0, bounds, round: 0, complete_below: 0 }
    }

    pub(super) fn is_on(&self) -> bool {
        self.grid.is_on()
    }

    /// The clock that intervals are aligned to was put. Numbers go up all the same, also where time
    /// has gone on before this is known here.
    pub(super) fn put(&mut self, grid: Grid) {
        self.grid = grid;
        self.turn(self.now);
    }

    /// The packet clock stands at `now`.
    #[inline(always)]
    pub(super) fn enter(&mut self, now: Tick) {
        self.now = now;
        if now >= self.bounds.1 {
            self.turn(now);
        }
    }

    #[cold]
    fn turn(&mut self, now: Tick) {
        self.number = self.grid.number(now).max(self.number);
        self.bounds = self.grid.bounds(self.number);
        // Where the clock was put back just after it had begun, it goes on, and is long.
        self.bounds.0 = self.bounds.0.min(now);
    }

    /// The first tick of the interval that time is in.
    #[inline(always)]
    pub(super) fn start(&self) -> Tick {
        self.bounds.0
    }

    pub(super) fn now(&self) -> Tick {
        self.now
    }

    /// The interval that something of this tick counts in. What comes too late for its own counts
    /// in the first that may still change.
    pub(super) fn of(&self, tick: Tick) -> u32 {
        let is_here = (self.bounds.0..self.bounds.1).contains(&tick);
        let number = if is_here { self.number } else { self.grid.number(tick) };
        number.max(self.complete_below)
    }

    /// The hand has gone round, and begins again. Of the interval of the tick `held` something is
    /// not published.
    pub(super) fn round_begins(&mut self, held: Option<Tick>) {
        let held = held.map_or(u32::MAX, |tick| self.grid.number(tick));
        self.complete_below = self.complete_below.max(self.round.min(held));
        self.round = self.number;
    }

    /// Of the intervals below this number nothing will be published any more.
    pub(super) fn complete_below(&self) -> u32 {
        self.complete_below
    }
}

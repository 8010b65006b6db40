//! The clock of a live capture.

use std::time::{Instant, SystemTime};

use crate::time::{Tick, Timestamp};

/// One clock for order and timeouts, which nobody can put back and on which all queues agree;
/// and how far the wall's is from it, for time stamps.
pub(super) struct Clock {
    start: Instant,
    /// What the wall's clock said at the start, in ns.
    wall_start: Timestamp,
}

impl Clock {
    pub(super) fn since(start: Instant) -> Self {
        let mut clock = Self { start, wall_start: 0 };
        clock.set_by_wall();
        clock
    }

    /// Time since the start, in ns.
    pub(super) fn tick(&self) -> Tick {
        Tick::try_from(self.start.elapsed().as_nanos()).unwrap_or(Tick::MAX)
    }

    /// Follows the wall's clock where that was put forward or back.
    pub(super) fn set_by_wall(&mut self) {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = Timestamp::try_from(wall.as_nanos()).unwrap_or(Timestamp::MAX);
        self.wall_start = wall.saturating_sub_unsigned(self.tick());
    }

    /// What the wall's clock says at `tick`.
    pub(super) fn wall(&self, tick: Tick) -> Timestamp {
        self.wall_start.saturating_add_unsigned(tick)
    }
}

//! Nanoseconds, and the clock that packets drive.

use crate::limits::REORDER_NS;

/// Nanoseconds since 1970-01-01 00:00:00 UTC. 64 bits with a sign reach from 1677 to 2262.
pub type Timestamp = i64;

/// Nanoseconds of [`PacketClock`] time.
pub type Tick = u64;

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// The time that timeouts are measured in: how far packet time has moved forward.
///
/// It is a function of the packets' timestamps in their order and of nothing else, so
/// that a timeout is decided the same way however threads run. It never goes back:
/// within [`REORDER_NS`] a late packet leaves it where it is. A larger step back is taken
/// as the start of another recording: a gap like one forward, so that no flow reaches from
/// one recording into the other.
///
/// Where packets are captured live the capture's own clock is set instead, which nobody can
/// put back, and on which several queues agree.
#[derive(Debug, Clone, Default)]
pub struct PacketClock {
    newest: Option<Timestamp>,
    tick: Tick,
    is_set: bool,
}

impl PacketClock {
    /// Sets the clock, which from then on stands still but for being set.
    pub fn set(&mut self, tick: Tick) {
        self.tick = self.tick.max(tick);
        self.is_set = true;
    }

    /// The tick of a packet with this timestamp, or of now for a packet without one.
    pub fn advance(&mut self, timestamp: Option<Timestamp>) -> Tick {
        let Some(timestamp) = timestamp.filter(|_| !self.is_set) else { return self.tick };
        let newest = *self.newest.get_or_insert(timestamp);
        let step = newest.abs_diff(timestamp);
        if timestamp >= newest || step > REORDER_NS {
            // Saturating: timestamps may jump there and back as often as they like.
            self.tick = self.tick.saturating_add(step);
            self.newest = Some(timestamp);
        }
        self.tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(timestamps: &[i64]) -> Vec<u64> {
        let mut clock = PacketClock::default();
        timestamps.iter().map(|&t| clock.advance(Some(t * 1_000_000_000)) / SECOND_NS).collect()
    }

    #[test]
    fn the_clock_moves_forward_only_and_by_packet_time() {
        assert_eq!(ticks(&[100, 101, 105]), [0, 1, 5]);
        assert_eq!(ticks(&[100, 105, 101, 106]), [0, 5, 5, 6], "reordering");
        assert_eq!(ticks(&[1000, 1005, 10, 12]), [0, 5, 1000, 1002], "another recording");
        assert_eq!(ticks(&[-5, 5]), [0, 10], "before 1970");
        let ends = [i64::MIN, i64::MAX, i64::MIN, i64::MAX];
        let mut clock = PacketClock::default();
        let last = ends.map(|end| clock.advance(Some(end)))[3];
        assert_eq!(last, Tick::MAX, "jumps do not overflow");
        let mut clock = PacketClock::default();
        clock.advance(Some(7));
        assert_eq!(clock.advance(None), 0, "no timestamp");
        clock.set(5);
        clock.set(3);
        assert_eq!(clock.advance(Some(1_000)), 5, "set, and never back");
    }
}

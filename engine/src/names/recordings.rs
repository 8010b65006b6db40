//! Where recordings begin that are read one after the other.
//!
//! Each of them has its own hours, which may be those of another. What is read later says nothing
//! of what was read before, and what is kept of one is not put together with what another says.

use crate::limits::REORDER_NS;
use crate::names::Payload;
use crate::time::{Tick, Timestamp};

/// Where something was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The packet's place among the frames of its decoder.
    pub ordinal: u64,
    /// Its recording: no frame of an earlier one comes at this place or after it, and the first
    /// payload of this one does.
    pub recording: u64,
}

/// How far packet time was ahead of the packet clock at most, in the recording that is read.
#[derive(Debug, Default)]
pub(super) struct Ahead(Option<i128>);

impl Ahead {
    /// Whether a packet is the first of another recording, each in its turn.
    ///
    /// The packet clock takes a step back by more than [`REORDER_NS`] for another recording, and
    /// goes on forward by as much (see [`crate::time::PacketClock`]). So within a recording packet
    /// time less packet clock varies by no more than that, and with another it falls by twice as
    /// much at least.
    pub(super) fn begins_another(&mut self, timestamp: Timestamp, tick: Tick) -> bool {
        let ahead_ns = i128::from(timestamp) - i128::from(tick);
        let most_ns = *self.0.get_or_insert(ahead_ns);
        let begins = ahead_ns < most_ns - i128::from(REORDER_NS);
        self.0 = Some(if begins { ahead_ns } else { ahead_ns.max(most_ns) });
        begins
    }
}

/// Tells recordings apart.
#[derive(Debug, Default)]
pub(super) struct Recordings {
    ahead: Ahead,
    recording: u64,
    /// Behind the last payload.
    next: u64,
}

impl Recordings {
    /// The place of a payload, each in its turn.
    pub(super) fn place(&mut self, payload: &Payload<'_>) -> Place {
        if payload.timestamp.is_some_and(|time| self.ahead.begins_another(time, payload.tick)) {
            self.recording = self.next;
        }
        // What a frame without a packet announces has no place of its own.
        if payload.announced.is_none() {
            self.next = payload.ordinal.saturating_add(1);
        }
        Place { ordinal: self.last(), recording: self.recording }
    }

    /// The place of the last payload.
    pub(super) fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }
}

/// The place whose lower 32 bits are `low`, as flows keep it: of all there are the one that is
/// nearest to `near`, and so within 2^31 frames of it.
pub(super) fn nearest(near: u64, low: u32) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "its lower bits")]
    let behind = low.wrapping_sub(near as u32).cast_signed();
    near.saturating_add_signed(behind.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Announced;
    use crate::flow::{Direction, FlowKey};
    use crate::time::PacketClock;

    #[test]
    fn a_step_back_begins_a_recording_and_reordering_none() {
        let mut clock = PacketClock::default();
        let mut recordings = Recordings::default();
        let seconds = [1_000, 1_050, 995, 1_060, 5_000, 4_941, 5_001, 900, 900, 5_002, 901, 841];
        let places = (0..).step_by(10).zip(seconds).map(|(ordinal, second)| {
            let timestamp = Some(second * 1_000_000_000);
            let (key, direction, bytes) = (FlowKey::NONE, Direction::Forward, &[][..]);
            let (tick, sequence, wire_bytes) = (clock.advance(timestamp), None, 0);
            recordings.place(&Payload {
                key,
                direction,
                timestamp,
                tick,
                ordinal,
                sequence,
                bytes,
                wire_bytes,
                ..Payload::NONE
            })
        });
        let recordings: Vec<_> = places.map(|place| place.recording).collect();
        assert_eq!(recordings, [0, 0, 0, 0, 0, 0, 0, 61, 61, 61, 91, 91]);
    }

    #[test]
    fn what_is_announced_is_where_the_packet_before_it_was() {
        let mut recordings = Recordings::default();
        let mut place = |seconds, ordinal, announced| {
            let timestamp = Some(seconds * 1_000_000_000_i64);
            let place =
                recordings.place(&Payload { timestamp, ordinal, announced, ..Payload::NONE });
            (place.ordinal, place.recording)
        };
        assert_eq!(place(1_000, 7, None), (7, 0));
        assert_eq!(place(1_001, 0, Some(Announced::Arp)), (7, 0));
        assert_eq!(place(100, 9, None), (9, 8), "behind the last packet of the recording before");
    }

    #[test]
    fn a_place_is_found_by_its_lower_bits() {
        const ROUND: u64 = 1 << 32;
        for (near, low, want) in [
            (5, 3, 3),
            (5, 9, 9),
            (ROUND + 5, 3, ROUND + 3),
            (ROUND + 5, u32::MAX, ROUND - 1),
            (ROUND - 5, 3, ROUND + 3),
            (0, u32::MAX, 0),
        ] {
            assert_eq!(nearest(near, low), want, "{near} {low}");
        }
    }
}

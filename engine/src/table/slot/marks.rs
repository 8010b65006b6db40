//! What a slot knows in one bit each.

use crate::flow::{Direction, TcpEvents};

/// What a slot knows in one bit each. Where two follow each other they are for the forward
/// and the reverse direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks(u16);

const _: () = assert!(Marks::GO_ON[0].0 == 1 && Marks::GO_ON[1].0 == 2, "picked by shifting");

const _: () = assert!(
    Marks::CLOSED.0 >> Marks::EVENTS_AT == TcpEvents::CLOSED.0 as u16
        && Marks::RESET.0 >> Marks::EVENTS_AT == TcpEvents::RESET.0 as u16
        && Marks::ESTABLISHED.0 >> Marks::EVENTS_AT == TcpEvents::ESTABLISHED.0 as u16
        && Marks::OPENED.0 >> Marks::EVENTS_AT == TcpEvents::OPENED.0 as u16,
    "taken over by shifting"
);

impl Marks {
    /// Directions of which a packet in time and in sequence is simply the next one: the two lowest
    /// bits, so that one is picked by its direction's number.
    pub(super) const GO_ON: [Self; 2] = [Self(1), Self(2)];
    /// Directions that have sent a FIN.
    pub(super) const FINS: [Self; 2] = [Self(4), Self(8)];
    /// Directions with a SYN in [`super::Origin::syn_sequence`].
    pub(super) const SYNS: [Self; 2] = [Self(16), Self(32)];
    /// Directions whose `next_sequence` is known.
    pub(super) const SEQUENCES: [Self; 2] = [Self(64), Self(128)];
    /// The initiator's packets go in reverse direction.
    pub(super) const INITIATOR_REVERSE: Self = Self(256);
    /// The first packet went in reverse direction.
    pub(super) const FIRST_REVERSE: Self = Self(512);
    /// A packet of this part had a timestamp.
    pub(super) const PART_TIMED: Self = Self(1024);
    /// Nothing of the flow has been published yet.
    pub(super) const UNPUBLISHED: Self = Self(2048);
    /// See [`crate::flow::TcpEvents::CLOSED`].
    pub(super) const CLOSED: Self = Self(4096);
    /// See [`crate::flow::TcpEvents::RESET`].
    pub(super) const RESET: Self = Self(8192);
    /// See [`crate::flow::TcpEvents::ESTABLISHED`].
    pub(super) const ESTABLISHED: Self = Self(16384);

    /// See [`crate::flow::TcpEvents::OPENED`].
    pub(super) const OPENED: Self = Self(32768);

    /// From this bit on, the uppermost four are those of [`TcpEvents`].
    const EVENTS_AT: u32 = 12;

    /// Whether [`Marks::GO_ON`] is set for this direction.
    #[inline]
    pub(super) fn goes_on(self, direction: Direction) -> bool {
        self.0 >> direction.idx() & 1 != 0
    }

    pub(super) fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    pub(super) fn remove(&mut self, mark: Self) {
        self.0 &= !mark.0;
    }

    pub(super) fn add_if(&mut self, is_so: bool, mark: Self) {
        self.0 |= if is_so { mark.0 } else { 0 };
    }

    /// What the order of TCP's packets has shown so far.
    #[inline]
    pub(super) fn tcp_events(self) -> TcpEvents {
        let [events, _] = (self.0 >> Self::EVENTS_AT).to_le_bytes();
        TcpEvents(events)
    }

    pub(super) fn direction(self, reverse: Self) -> Direction {
        if self.has(reverse) { Direction::Reverse } else { Direction::Forward }
    }
}

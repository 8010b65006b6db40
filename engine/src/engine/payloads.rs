//! The hook of the packet path for names: what may say one is handed over to the `names` thread.

use std::time::Duration;

use crate::decode::{Announcement, Cause, ClosedTunnels, Decoder, FragmentPlace, Packet};
use crate::export::WhenFull;
use crate::names::payload::Carrier;
use crate::names::{NamesCounters, PayloadSender, Picks};
use crate::source::Frame;
use crate::sync::{Arc, thread};
use crate::time::Tick;

/// How long a thread that may wait sleeps when there is no room.
const WAIT: Duration = Duration::from_micros(50);

/// One decoder's way to the `names` thread.
pub(super) struct Payloads {
    picks: Picks,
    closed: ClosedTunnels,
    way: Way,
}

/// Where payloads go.
struct Way {
    sender: PayloadSender,
    counters: Arc<NamesCounters>,
    /// Its place in the counters.
    number: usize,
}

impl Payloads {
    /// One for each decoder, which is as `decoder`.
    pub(super) fn all(
        senders: Vec<PayloadSender>,
        decoder: &Decoder,
        counters: &Arc<NamesCounters>,
    ) -> Vec<Self> {
        let make = |(number, sender)| Self {
            picks: Picks::default(),
            closed: ClosedTunnels::of(decoder),
            way: Way { sender, counters: Arc::clone(counters), number },
        };
        senders.into_iter().enumerate().map(make).collect()
    }

    /// Hands over the payload of `packet`, which begins at `payload` in its frame, if there may
    /// be a name in it. Never waits: what finds no room is counted.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "most packets are told by little")]
    pub(super) fn offer(&mut self, packet: &Packet, frame: &Frame<'_>, payload: usize) {
        if self.picks.may_pick(packet, captured(packet, frame, payload)) {
            self.pick(packet, frame, payload, WhenFull::Drop);
        }
    }

    /// The same for packets that can wait.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "most packets are told by little")]
    pub(super) fn hand_over(&mut self, packet: &Packet, frame: &Frame<'_>, payload: usize) {
        if self.picks.may_pick(packet, captured(packet, frame, payload)) {
            self.pick(packet, frame, payload, WhenFull::Wait);
        }
    }

    /// Hands over what may have a name in it.
    #[inline(never)]
    fn pick(&mut self, packet: &Packet, frame: &Frame<'_>, payload: usize, when_full: WhenFull) {
        // First, as the other port of a tunnel may be any.
        let is_tunnel =
            self.closed.may_be(&packet.key) && self.pick_inside(packet, frame, payload, when_full);
        let bytes = captured(packet, frame, payload);
        if !is_tunnel && self.picks.picks(packet, bytes) {
            let place = || FragmentPlace::find(packet, frame, payload);
            let fragment = Picks::is_joined(packet).then(place).flatten();
            let begins_at = self.picks.begins_at();
            return self.way.push(when_full, |sender| {
                sender.push_part(packet, bytes, fragment, begins_at, None)
            });
        }
        let counters = &self.way.counters.handovers[self.way.number];
        counters.malformed.set(self.picks.malformed());
        counters.fragments_alone.set(self.picks.lone_refused());
    }

    /// Hands over what is in a packet of a tunnel that stays closed, if there may be a name in it.
    /// Whether it is one.
    fn pick_inside(
        &mut self,
        packet: &Packet,
        frame: &Frame<'_>,
        payload: usize,
        when_full: WhenFull,
    ) -> bool {
        let Self { picks, closed, way } = self;
        let carrier = Some(Carrier { key: packet.key, is_all: closed.are_all() });
        if packet.later_fragment {
            let Some((inside, bytes)) = closed.rest(packet, frame, payload) else { return false };
            way.push(when_full, |sender| sender.push_part(inside, bytes, None, None, carrier));
            return true;
        }
        let Some((inside, bytes)) = closed.open(packet, frame, payload) else { return false };
        // A segment comes again where a fragment of it was lost.
        let is_picked = picks.may_pick(inside, bytes) && picks.picks(inside, bytes);
        if is_picked || closed.is_wanted() {
            let begins_at = picks.begins_at();
            let inside = closed.want();
            way.push(when_full, |sender| sender.push_part(inside, bytes, None, begins_at, carrier));
        }
        true
    }

    /// Hands over what a frame announces that could not be decoded for `cause`, if it does.
    /// Never waits: what finds no room is counted.
    #[cold]
    pub(super) fn offer_announcement(&mut self, frame: &Frame<'_>, cause: Cause, tick: Tick) {
        self.announce(frame, cause, tick, WhenFull::Drop);
    }

    /// The same for frames that can wait.
    #[cold]
    pub(super) fn hand_over_announcement(&mut self, frame: &Frame<'_>, cause: Cause, tick: Tick) {
        self.announce(frame, cause, tick, WhenFull::Wait);
    }

    fn announce(&mut self, frame: &Frame<'_>, cause: Cause, tick: Tick, when_full: WhenFull) {
        let Some(announcement) = Announcement::find(frame, cause) else { return };
        self.way.push(when_full, |sender| {
            sender.push_announcement(&announcement, frame.timestamp, tick)
        });
    }

    /// Sends what is under way, as far as there is room.
    pub(super) fn flush(&mut self) {
        self.way.sender.flush();
    }

    /// The same, unless there is much to read: then more is to come with it.
    pub(super) fn flush_unless_behind(&mut self) {
        self.way.sender.flush_unless_behind();
    }

    /// Sends what is under way once there is room.
    pub(super) fn flush_all(&mut self) {
        while !self.way.sender.flush() {
            thread::park_timeout(WAIT);
        }
    }

    /// Sends what is under way, and says that nothing up to `tick` will come after it.
    pub(super) fn reach(&mut self, tick: Tick) {
        self.way.sender.reach(tick);
    }
}

impl Way {
    /// Counts what `push` hands over, or that there was no room for it.
    fn push(&mut self, when_full: WhenFull, mut push: impl FnMut(&mut PayloadSender) -> bool) {
        let counters = &self.counters.handovers[self.number];
        while !push(&mut self.sender) {
            match when_full {
                WhenFull::Drop => return counters.ring_full.add(1),
                WhenFull::Wait => thread::park_timeout(WAIT),
            }
        }
        counters.handed.add(1);
    }
}

/// What was captured of a payload.
#[inline]
fn captured<'a>(packet: &Packet, frame: &Frame<'a>, payload: usize) -> &'a [u8] {
    let bytes = frame.bytes.get(payload..).unwrap_or_default();
    &bytes[..bytes.len().min(packet.payload_bytes as usize)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::KeyHasher;
    use crate::names::handover::handover;
    use crate::source::LinkType;

    fn decoder() -> Decoder {
        Decoder::new(KeyHasher::default())
    }

    /// A datagram of DNS with this payload, handed to `run` as it is decoded.
    fn with_datagram(payload: &[u8], run: impl FnOnce(&Packet, &Frame<'_>, usize)) {
        let mut frame = Vec::new();
        let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([192, 0, 2, 1], [192, 0, 2, 53], 64)
            .udp(40_000, 53);
        builder.write(&mut frame, payload).unwrap();
        let wire_len = u32::try_from(frame.len()).unwrap();
        let link = LinkType::ETHERNET;
        let frame = Frame { bytes: &frame, wire_len, timestamp: Some(0), link };
        let mut packet = Packet::NONE;
        let start = decoder().decode_to(&frame, &mut packet).unwrap();
        assert_eq!(captured(&packet, &frame, start), payload);
        run(&packet, &frame, start);
    }

    #[test]
    fn what_is_no_message_is_counted_and_not_handed_over() {
        let (sender, _receiver) = handover();
        let counters = Arc::new(NamesCounters::new(1, 0));
        let mut payloads = Payloads::all(vec![sender], &decoder(), &counters).remove(0);
        for _ in 0..2 {
            with_datagram(b"on a port of DNS", |packet, frame, start| {
                payloads.hand_over(packet, frame, start);
            });
        }
        with_datagram(b"\0\0\x01\0\0\0\0\0\0\0\0\0", |packet, frame, start| {
            payloads.hand_over(packet, frame, start);
        });
        let of_it = &counters.handovers[0];
        assert_eq!((of_it.malformed.get(), of_it.handed.get()), (2, 1));
    }

    #[test]
    fn with_the_ring_full_payloads_are_counted_and_packets_go_on() {
        let (sender, receiver) = handover();
        let counters = Arc::new(NamesCounters::new(1, 0));
        let mut payloads = Payloads::all(vec![sender], &decoder(), &counters).remove(0);
        let offered = 20_000;
        with_datagram(b"a question", |packet, frame, start| {
            (0..offered).for_each(|_| payloads.offer(packet, frame, start));
        });
        let (handed, dropped) =
            (counters.handovers[0].handed.get(), counters.handovers[0].ring_full.get());
        assert!(handed > 0 && dropped > 0, "{handed} handed over, {dropped} dropped");
        assert_eq!(handed + dropped, offered);
        drop(receiver);
    }
}

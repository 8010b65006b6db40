//! How payloads get from the threads that decode to the one that reads them: copied into chunks
//! of a fixed size, which go there over a bounded ring and come back over another.
//!
//! Nothing here waits or allocates after the start. A payload that finds no room is not taken,
//! and whoever has it counts it, or tries again (`read`).
//!
//! # Who knows how far it is
//!
//! [`Progress`] has two counts of each sender's payloads: how many were handed over, and how many
//! the tables have. A record whose packets were decoded before the first count was loaded is told
//! from the tables all that those packets said, once the second has come up to it.

use crate::decode::{Announced, Announcement, FragmentPlace, Packet};
use crate::flow::{Direction, FlowKey};
use crate::limits::{CHUNK_BYTES, CHUNK_PAYLOADS, COPIED_BYTES, HANDOVER_CHUNKS};
use crate::names::Payload;
use crate::names::payload::Carrier;
use crate::sync::buffers::{Drainer, Filler, buffers};
use crate::sync::{Alone, Arc, AtomicU64, Ordering};
use crate::time::{Tick, Timestamp};

const _: () = assert!(COPIED_BYTES <= CHUNK_BYTES, "an empty chunk takes any payload");

/// Payloads, one behind the other.
#[derive(Debug)]
struct Chunk {
    heads: Vec<Head>,
    bytes: Vec<u8>,
}

impl Chunk {
    fn new() -> Self {
        Self { heads: Vec::with_capacity(CHUNK_PAYLOADS), bytes: Vec::with_capacity(CHUNK_BYTES) }
    }

    fn clear(&mut self) {
        self.heads.clear();
        self.bytes.clear();
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.heads.len() < CHUNK_PAYLOADS && self.bytes.len() + bytes <= CHUNK_BYTES
    }
}

/// What is known of a payload beside its bytes.
#[derive(Debug, Clone, Copy)]
struct Head {
    announced: Option<Announced>,
    key: FlowKey,
    carrier: Option<Carrier>,
    direction: Direction,
    timestamp: Option<Timestamp>,
    tick: Tick,
    ordinal: u64,
    macs: [Option<[u8; 6]>; 2],
    ttl: u8,
    sequence: Option<u32>,
    begins_at: Option<u32>,
    fragment: Option<FragmentPlace>,
    /// Where its bytes end in the chunk.
    end: usize,
    wire_bytes: u32,
}

/// How far a sender is, and how far the tables are behind it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Written by the sender.
    sender: Alone<[AtomicU64; 2]>,
    /// Written by the `names` thread.
    taken: Alone<AtomicU64>,
}

impl Progress {
    /// Everything that there will ever be.
    pub const ALL: u64 = u64::MAX;

    /// Payloads handed over so far, or on their way into a chunk.
    pub fn handed(&self) -> u64 {
        // Acquire: pairs with the release in `set_handed`. A record that comes from a packet
        // comes over rings that order as much; this holds for whoever looks without one.
        self.sender.0[0].load(Ordering::Acquire)
    }

    fn set_handed(&self, payloads: u64) {
        // Release: pairs with the acquire in `handed`.
        self.sender.0[0].store(payloads, Ordering::Release);
    }

    /// The tick up to which nothing will be handed over any more.
    pub(super) fn reached(&self) -> Tick {
        // Acquire: pairs with the release in `set_reached`.
        self.sender.0[1].load(Ordering::Acquire)
    }

    fn set_reached(&self, tick: Tick) {
        // Release: pairs with the acquire in `reached`; without it the `names` thread could see
        // how far the sender is, and not yet the chunks before that.
        self.sender.0[1].store(tick, Ordering::Release);
    }

    /// How many of the payloads the tables have.
    pub fn taken(&self) -> u64 {
        // Acquire: pairs with the release in `set_taken`; without it what is found next in the
        // tables could be older than the count.
        self.taken.0.load(Ordering::Acquire)
    }

    pub(super) fn set_taken(&self, payloads: u64) {
        // Release: pairs with the acquire in `taken`.
        self.taken.0.store(payloads, Ordering::Release);
    }
}

/// The end that payloads go in at.
#[derive(Debug)]
pub struct PayloadSender {
    filling: Chunk,
    full: Filler<Chunk>,
    handed: u64,
    progress: Arc<Progress>,
}

/// The end that they come out at.
#[derive(Debug)]
pub struct PayloadReceiver {
    /// The chunk whose payloads are taken, and which is next.
    chunk: Option<(Chunk, usize)>,
    full: Drainer<Chunk>,
    taken: u64,
    progress: Arc<Progress>,
}

/// A way for payloads, with room for [`HANDOVER_CHUNKS`] chunks.
#[must_use]
pub fn handover() -> (PayloadSender, PayloadReceiver) {
    let (filler, drainer) = buffers(HANDOVER_CHUNKS, Chunk::new);
    let progress = Arc::new(Progress::default());
    let sender = PayloadSender {
        filling: Chunk::new(),
        full: filler,
        handed: 0,
        progress: Arc::clone(&progress),
    };
    (sender, PayloadReceiver { chunk: None, full: drainer, taken: 0, progress })
}

impl PayloadSender {
    /// How far this is.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Copies what was captured of a packet's payload, up to [`COPIED_BYTES`]. False if there is
    /// no room.
    pub fn push(&mut self, packet: &Packet, captured: &[u8]) -> bool {
        self.push_part(packet, captured, None, None, None)
    }

    /// The same, up to [`CHUNK_BYTES`] of a fragment that is to be joined with others; and with
    /// where its direction [begins](Payload::begins_at), and the flow that it counts in, if that is
    /// another.
    pub fn push_part(
        &mut self,
        packet: &Packet,
        captured: &[u8],
        fragment: Option<FragmentPlace>,
        begins_at: Option<u32>,
        carrier: Option<Carrier>,
    ) -> bool {
        let head = Head {
            announced: None,
            key: packet.key,
            carrier,
            direction: packet.direction,
            timestamp: packet.timestamp,
            tick: packet.tick,
            ordinal: packet.ordinal,
            macs: packet.macs.get(),
            ttl: packet.ttl,
            sequence: packet.tcp.is_there().then(|| packet.tcp.payload_sequence()),
            begins_at,
            fragment,
            end: 0,
            wire_bytes: packet.payload_bytes,
        };
        self.push_bytes(head, captured)
    }

    /// The same for what a frame without a packet announces, which came at this time.
    pub fn push_announcement(
        &mut self,
        announcement: &Announcement<'_>,
        timestamp: Option<Timestamp>,
        tick: Tick,
    ) -> bool {
        let head = Head {
            announced: Some(announcement.kind),
            key: announcement.key(),
            carrier: None,
            direction: Direction::Forward,
            timestamp,
            tick,
            // No flow is named by it.
            ordinal: 0,
            macs: announcement.macs,
            ttl: 0,
            sequence: None,
            begins_at: None,
            fragment: None,
            end: 0,
            wire_bytes: u32::try_from(announcement.bytes.len()).unwrap_or(u32::MAX),
        };
        self.push_bytes(head, announcement.bytes)
    }

    fn push_bytes(&mut self, head: Head, captured: &[u8]) -> bool {
        let most = if head.fragment.is_some() { CHUNK_BYTES } else { COPIED_BYTES };
        let bytes = &captured[..captured.len().min(most)];
        if !self.filling.has_room(bytes.len()) && !self.flush() {
            return false;
        }
        let chunk = &mut self.filling;
        chunk.bytes.extend_from_slice(bytes);
        chunk.heads.push(Head { end: chunk.bytes.len(), ..head });
        self.handed += 1;
        self.progress.set_handed(self.handed);
        true
    }

    /// Sends what is under way. False if there is no room; what is under way stays here. Where the
    /// receiver is gone nobody needs it.
    pub fn flush(&mut self) -> bool {
        if self.filling.heads.is_empty() {
            return true;
        }
        if self.full.is_abandoned() {
            self.filling.clear();
            return true;
        }
        self.full.send(&mut self.filling)
    }

    /// Sends what is under way, unless the receiver has much to do: then it waits until its chunk
    /// is full, as each takes a place in the ring. Whether nothing is under way after that.
    pub fn flush_unless_behind(&mut self) -> bool {
        let is_behind = self.full.slots() <= HANDOVER_CHUNKS / 2;
        self.filling.heads.is_empty() || (!is_behind && self.flush())
    }

    /// The same. Says that nothing up to `tick` will be handed over after this, if nothing waits.
    pub fn reach(&mut self, tick: Tick) {
        if self.flush_unless_behind() {
            self.progress.set_reached(tick);
        }
    }
}

impl Drop for PayloadSender {
    fn drop(&mut self) {
        self.progress.set_reached(Progress::ALL);
    }
}

impl PayloadReceiver {
    /// How far the sender is.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether the ring is half full or more.
    pub(super) fn is_behind(&self) -> bool {
        self.full.waiting() >= HANDOVER_CHUNKS / 2
    }

    /// Tick and time of the next payload, if there is one.
    pub(super) fn head(&mut self) -> Option<(Tick, Option<Timestamp>)> {
        loop {
            match &mut self.chunk {
                Some((chunk, next)) if *next < chunk.heads.len() => {
                    let head = &chunk.heads[*next];
                    return Some((head.tick, head.timestamp));
                }
                done => {
                    if let Some((mut chunk, _)) = done.take() {
                        chunk.clear();
                        self.full.give_back(chunk);
                    }
                    self.chunk = Some((self.full.take()?, 0));
                }
            }
        }
    }

    /// Passes the next payload to `take`, if there is one.
    pub(super) fn take(&mut self, take: impl FnOnce(&Payload<'_>)) {
        if self.head().is_none() {
            return;
        }
        let Some((chunk, next)) = &mut self.chunk else { return };
        let start = next.checked_sub(1).map_or(0, |before| chunk.heads[before].end);
        let head = &chunk.heads[*next];
        *next += 1;
        self.taken += 1;
        take(&Payload {
            announced: head.announced,
            key: head.key,
            carrier: head.carrier,
            direction: head.direction,
            timestamp: head.timestamp,
            tick: head.tick,
            ordinal: head.ordinal,
            macs: head.macs,
            ttl: head.ttl,
            sequence: head.sequence,
            begins_at: head.begins_at,
            fragment: head.fragment,
            bytes: &chunk.bytes[start..head.end],
            wire_bytes: head.wire_bytes,
        });
    }

    /// Says that the tables have everything that was taken so far.
    pub(super) fn publish_taken(&self) {
        self.progress.set_taken(self.taken);
    }

    /// Whether the sender is gone, and everything was taken.
    pub(super) fn is_finished(&mut self) -> bool {
        // In this order: what the sender sent before it went is seen by the second look.
        self.full.is_abandoned() && self.head().is_none()
    }
}

/// Nobody waits for a thread that is gone.
impl Drop for PayloadReceiver {
    fn drop(&mut self) {
        self.progress.set_taken(Progress::ALL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(tick: Tick) -> Packet {
        Packet { tick, payload_bytes: 9_000, ..Packet::NONE }
    }

    /// What comes out: ticks, lengths and first bytes.
    fn take_all(receiver: &mut PayloadReceiver) -> Vec<(Tick, usize, u8)> {
        let mut out = Vec::new();
        while receiver.head().is_some() {
            receiver.take(|p| out.push((p.tick, p.bytes.len(), p.bytes[0])));
        }
        out
    }

    #[test]
    fn payloads_come_out_in_order_and_cut_to_what_is_copied() {
        let (mut sender, mut receiver) = handover();
        let mut want = Vec::new();
        for tick in 0..200_u8 {
            let bytes = vec![tick; 1 + usize::from(tick) * 40];
            assert!(sender.push(&packet(tick.into()), &bytes));
            want.push((tick.into(), bytes.len().min(COPIED_BYTES), tick));
        }
        assert!(sender.flush());
        assert_eq!(take_all(&mut receiver), want);
        assert_eq!(sender.progress().taken(), 0, "nothing is published");
        receiver.publish_taken();
        assert_eq!(sender.progress().taken(), sender.progress().handed());
        assert!(!receiver.is_finished());
        drop(sender);
        assert!(receiver.is_finished());
    }

    #[test]
    fn a_full_ring_takes_nothing_more_until_chunks_come_back() {
        let (mut sender, mut receiver) = handover();
        let bytes = [7; COPIED_BYTES];
        let mut taken = 0;
        while sender.push(&packet(taken), &bytes) {
            taken += 1;
        }
        let in_chunk = CHUNK_BYTES / COPIED_BYTES;
        assert_eq!(taken, ((HANDOVER_CHUNKS + 1) * in_chunk) as u64);
        assert_eq!(sender.progress().handed(), taken, "what finds no room does not count");
        assert_eq!(take_all(&mut receiver).len(), HANDOVER_CHUNKS * in_chunk);
        assert!(sender.push(&packet(taken), &bytes));
        assert!(sender.flush());
        assert_eq!(take_all(&mut receiver).len(), in_chunk + 1);
    }

    #[test]
    fn a_sender_says_how_far_it_is_only_when_all_before_is_sent() {
        let (mut sender, mut receiver) = handover();
        sender.reach(5);
        assert_eq!(receiver.progress().reached(), 5);
        for tick in 6..10_000 {
            assert!(sender.push(&packet(tick), &[1]));
            sender.reach(tick);
            if receiver.progress().reached() < tick {
                break;
            }
        }
        let reached = receiver.progress().reached();
        assert!(receiver.is_behind(), "half the ring is full at {reached}");
        assert_eq!(take_all(&mut receiver).last().map(|(tick, ..)| *tick), Some(reached));
        drop(sender);
        assert_eq!(receiver.progress().reached(), Progress::ALL);
    }

    #[test]
    fn nobody_waits_for_a_receiver_that_is_gone() {
        let (mut sender, receiver) = handover();
        assert!(sender.push(&packet(1), &[1]));
        drop(receiver);
        assert_eq!(sender.progress().taken(), Progress::ALL);
    }
}

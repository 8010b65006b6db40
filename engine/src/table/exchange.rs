//! How packets reach the core that counts their flow, where they arrive on any.
//!
//! The two directions of a flow may arrive on different receive queues. When it ends, where
//! the active timeout cuts it, which connection a packet belongs to and how long its answer
//! took depend on the order of all its packets, so one core has to see them all. Each core
//! passes on what it receives, by the hash of the key, over a bounded lane to each core (and
//! to itself). Each takes from the lanes to it in one [`Order`], as far as nothing earlier can
//! come any more: a sender says how far it is ([`Reached`]).
//!
//! # Why nothing is passed by
//!
//! Let a receiver load what a sender has [`Reached`]. The sender stored that after it had sent
//! all packets up to there, so the receiver, which looks into the lane after that load, finds
//! them. Or it loaded an earlier value, and waits. It takes a packet only if all senders have
//! reached its place: whatever comes before it is then in a lane, and is taken first.
//!
//! # Why no one waits for ever
//!
//! Where packets wait for room ([`Order::Place`]), look at the sender that has reached least.
//! If it has sent all it had it goes on with the input. If not, a lane of it is full; and all
//! that is in this lane comes before the packet that finds no room, so every sender has
//! reached it, the receiver may take it, and there is room again.
//!
//! # Who comes later
//!
//! A queue that is added while packets are captured brings a [`joining`] core, which counts no flow
//! itself: flows stay on the cores that there were at the start. To these it is one more sender,
//! once they have been told to [`Exchange::join`] its lane; only then is it to pass on anything.
//!
//! # Who sleeps
//!
//! A receiver may sleep while nothing comes to it, longer than its lanes have room for. It is
//! [rung for](Exchange::with_bells) when one of them runs full: if that is overlooked, as it is just
//! about to sleep, then not the next time, as there is one for as long as packets come.

use crate::decode::Packet;
use crate::limits::BATCH_PACKETS;
use crate::sync::bell::Bell;
use crate::sync::lane::{Receiver, Sender, lane};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::table::outbox::lane_of;
use crate::time::Tick;

/// What packets are taken in the order of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Their place in one input: exact. Whoever has no room waits.
    Place,
    /// The time at which each queue has stamped them, which is as good as the stamps are.
    /// Nobody waits: a packet that finds no room is not passed on, a receiver whose lane runs
    /// full takes what it has, and what comes later than it should is taken as of now.
    Time,
}

impl Order {
    /// A packet's place in this order.
    fn of(self, packet: &Packet) -> u64 {
        match self {
            Self::Place => packet.ordinal,
            Self::Time => packet.tick.min(Reached::ALL - 1),
        }
    }
}

/// How far a sender is: everything up to here can be received. On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Reached(AtomicU64);

impl Reached {
    /// There is nothing under way, and nothing will come.
    const ALL: u64 = u64::MAX;

    fn set(&self, place: u64) {
        // Release: pairs with the acquire in `get`; without it a receiver could see how far the
        // sender is, and not yet the last batches in its lane.
        self.0.store(place, Ordering::Release);
    }

    fn get(&self) -> u64 {
        // Acquire: pairs with the release in `set`.
        self.0.load(Ordering::Acquire)
    }
}

/// A lane to each of several receivers.
#[derive(Debug)]
pub struct Senders {
    lanes: Vec<Sender<Packet>>,
    /// Of the receivers, if they sleep.
    bells: Vec<Arc<Bell>>,
    /// Batches in a lane above which it runs full.
    much: usize,
    order: Order,
    reached: Arc<Reached>,
}

/// The end of one sender's lane.
#[derive(Debug)]
pub struct Incoming {
    lane: Receiver<Packet>,
    /// Batches in it above which it runs full.
    much: usize,
    reached: Arc<Reached>,
    batch: Vec<Packet>,
    next: usize,
}

/// Lanes from one sender to each of `receivers`, each with room for `batches` of
/// `batch_packets`.
#[must_use]
pub fn senders(
    receivers: usize,
    order: Order,
    batches: usize,
    batch_packets: usize,
) -> (Senders, Vec<Incoming>) {
    let reached = Arc::new(Reached::default());
    let much = batches / 2;
    let (lanes, incoming) = (0..receivers)
        .map(|_| {
            let (sender, lane) = lane(batches, batch_packets);
            let reached = Arc::clone(&reached);
            (sender, Incoming { lane, much, reached, batch: Vec::new(), next: 0 })
        })
        .unzip();
    (Senders { lanes, bells: Vec::new(), much, order, reached }, incoming)
}

impl Senders {
    /// Sends a packet to one receiver, when a batch is full. False if there is no room.
    pub fn send(&mut self, receiver: usize, packet: &Packet) -> bool {
        let lane = &mut self.lanes[receiver];
        // Only here is it looked at how far the receiver is: that moves a cache line.
        if lane.is_batch_full() && !lane.flush() {
            return false;
        }
        lane.push(*packet);
        if lane.is_batch_full() {
            lane.flush();
        }
        true
    }

    /// Sends what is under way, as far as there is room, and says so: no packet up to `place`
    /// will be sent after this. Whether all is sent.
    pub fn flush(&mut self, place: u64) -> bool {
        let (mut all, mut reached) = (true, place);
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            // A lane that runs full has room for few batches, so they are not sent by the
            // packet: its receiver has enough to do.
            let waits = self.order == Order::Time && lane.waiting() > self.much;
            if waits && let Some(bell) = self.bells.get(number) {
                bell.ring_if_asleep();
            }
            if waits && !lane.is_batch_full() && !lane.unsent().is_empty() {
                all = false;
            } else if !lane.flush() {
                all = false;
                if self.order == Order::Place {
                    let unsent = lane.unsent().first().map(|first| self.order.of(first));
                    reached = reached.min(unsent.unwrap_or(place).saturating_sub(1));
                }
            }
        }
        self.reached.set(reached);
        all
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        self.reached.set(Reached::ALL);
    }
}

impl Incoming {
    /// The next packet.
    fn head(&mut self) -> Option<&Packet> {
        if self.next == self.batch.len() {
            self.next = 0;
            let done = std::mem::take(&mut self.batch);
            // Before asking for more: the sender may have no other.
            if done.capacity() > 0 {
                self.lane.give_back(done);
            }
            self.batch = self.lane.take().unwrap_or_default();
        }
        self.batch.get(self.next)
    }

    /// Passes a batch of packets to `take`. False if there was none.
    ///
    /// # Panics
    /// After [`Exchange::forward`] has begun to take them.
    pub fn receive(&mut self, take: impl FnOnce(&[Packet])) -> bool {
        assert!(self.batch.is_empty(), "packets are passed on, or counted");
        self.lane.receive(take)
    }

    /// Whether the sender is gone, and everything it sent was taken.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.next == self.batch.len() && self.lane.is_finished()
    }
}

/// One core's place in an exchange of packets among several.
#[derive(Debug)]
pub struct Exchange {
    /// To each core, until there is nothing more to pass on.
    to: Option<Senders>,
    from: Vec<Incoming>,
    /// The place of each one's next packet, as far as it is known.
    heads: Vec<Option<u64>>,
    order: Order,
    taken: Vec<Packet>,
    newest: Tick,
}

/// An exchange among `cores`; each lane holds `batches` of `batch_packets`.
#[must_use]
pub fn exchange(cores: usize, order: Order, batches: usize, batch_packets: usize) -> Vec<Exchange> {
    let mut from: Vec<_> = (0..cores).map(|_| Vec::with_capacity(cores)).collect();
    let mut all_senders = Vec::with_capacity(cores);
    for _ in 0..cores {
        let (senders, incoming) = senders(cores, order, batches, batch_packets);
        all_senders.push(senders);
        from.iter_mut().zip(incoming).for_each(|(from, incoming)| from.push(incoming));
    }
    let make = |(to, from)| Exchange::new(to, from);
    all_senders.into_iter().zip(from).map(make).collect()
}

/// One more core, which only passes on, to each of `receivers`; what they are to join; of lanes
/// likewise. As long as it does nothing nobody waits for it.
#[must_use]
pub fn joining(
    receivers: usize,
    order: Order,
    batches: usize,
    batch_packets: usize,
) -> (Exchange, Vec<Incoming>) {
    let (to, incoming) = senders(receivers, order, batches, batch_packets);
    let mut exchange = Exchange::new(to, Vec::new());
    exchange.rest();
    (exchange, incoming)
}

impl Exchange {
    fn new(to: Senders, from: Vec<Incoming>) -> Self {
        Self {
            heads: vec![None; from.len()],
            order: to.order,
            to: Some(to),
            from,
            taken: Vec::with_capacity(BATCH_PACKETS),
            newest: 0,
        }
    }

    /// The same, among cores that sleep, each with its bell.
    ///
    /// # Panics
    /// After [`Exchange::close`].
    #[must_use]
    pub fn with_bells(mut self, bells: &[Arc<Bell>]) -> Self {
        self.senders().bells = bells.to_vec();
        self
    }

    /// The same, of a core whose table has come to `now` without it.
    #[must_use]
    pub fn since(self, now: Tick) -> Self {
        Self { newest: now, ..self }
    }

    /// Takes from one more lane from now on.
    pub fn join(&mut self, incoming: Incoming) {
        self.from.push(incoming);
        self.heads.push(None);
    }

    /// Passes a packet on to its flow's core. False if there is no room.
    ///
    /// # Panics
    /// After [`Exchange::close`].
    pub fn send(&mut self, packet: &Packet) -> bool {
        let to = self.senders();
        to.send(lane_of(packet.hash, to.lanes.len()), packet)
    }

    fn senders(&mut self) -> &mut Senders {
        self.to.as_mut().expect("nothing is passed on after the end")
    }

    /// Sends what is under way, and says that nothing up to `tick` will come after this.
    pub fn flush(&mut self, tick: Tick) {
        self.senders().flush(tick);
    }

    /// Sends what is under way, and lets nobody wait for more.
    pub fn rest(&mut self) {
        self.flush(Reached::ALL);
    }

    /// Passes on what comes from the reader, as far as there is room. Whether there was
    /// anything.
    pub fn forward(&mut self, reader: &mut Incoming) -> bool {
        // Before looking into the lane: all up to there is in it.
        let mut place = reader.reached.get();
        let mut any = false;
        if self.to.is_none() {
            return false;
        }
        while let Some(packet) = reader.head() {
            let its = self.order.of(packet);
            if !self.send(packet) {
                place = its.saturating_sub(1);
                break;
            }
            // The reader sends in order.
            place = place.max(its);
            reader.next += 1;
            any = true;
        }
        if reader.is_finished() {
            self.close();
        } else {
            self.senders().flush(place);
        }
        any
    }

    /// Ends passing on, once all is sent; else to be called again.
    pub fn close(&mut self) {
        if self.to.as_mut().is_some_and(|to| to.flush(Reached::ALL)) {
            self.to = None;
        }
    }

    /// Whether this core has passed on all, and taken all there will ever be.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.to.is_none() && self.from.iter().all(Incoming::is_finished)
    }

    /// What the time is for this core's table when nothing can be taken: `now`, unless
    /// packets from before that may still come. What comes from before all the same counts
    /// as of this time.
    pub fn now(&mut self, now: Tick) -> Tick {
        self.newest = self.bound().min(now).max(self.newest);
        self.newest
    }

    /// From how many cores it takes.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.from.len()
    }

    /// The time of this core's table: of the latest packet that was taken, or later.
    #[must_use]
    pub fn newest(&self) -> Tick {
        self.newest
    }

    /// Takes the packets whose turn it is, in order: at most `most`.
    pub fn receive(&mut self, most: usize) -> &[Packet] {
        self.taken.clear();
        // Before looking into the lanes: all up to there is in them.
        let mut bound = self.bound();
        if self.order == Order::Time && self.from.iter().any(|from| from.lane.waiting() > from.much)
        {
            bound = Reached::ALL;
        }
        for lane in 0..self.from.len() {
            self.look(lane);
        }
        while self.taken.len() < most
            && let Some((lane, until)) = self.next_lane(bound)
        {
            self.take_run(lane, until, most);
        }
        &self.taken
    }

    /// Whether all packets up to this place that are for this core are in its lanes, or taken. Asked
    /// before [`Exchange::receive`], which then takes them.
    #[must_use]
    pub fn has_all_up_to(&self, place: u64) -> bool {
        self.bound() >= place
    }

    fn bound(&self) -> u64 {
        self.from.iter().map(|from| from.reached.get()).min().unwrap_or(Reached::ALL)
    }

    fn look(&mut self, lane: usize) {
        let order = self.order;
        self.heads[lane] = self.from[lane].head().map(|packet| order.of(packet));
    }

    /// The lane whose turn it is, and up to where; none if what is next comes after `bound`.
    fn next_lane(&self, bound: u64) -> Option<(usize, u64)> {
        let mut first = None;
        let mut until = bound;
        for (lane, head) in self.heads.iter().enumerate() {
            let Some(head) = *head else { continue };
            match first {
                Some((_, earliest)) if head >= earliest => until = until.min(head),
                before => {
                    until = before.map_or(until, |(_, earliest)| until.min(earliest));
                    first = Some((lane, head));
                }
            }
        }
        let (lane, earliest) = first?;
        (earliest <= bound).then_some((lane, until))
    }

    /// Takes packets of one lane as long as it is their turn.
    fn take_run(&mut self, lane: usize, until: u64, most: usize) {
        while self.taken.len() < most && self.heads[lane].is_some_and(|head| head <= until) {
            let from = &mut self.from[lane];
            let mut packet = from.batch[from.next];
            from.next += 1;
            // What is late counts as of now: a table's clock never goes back.
            packet.tick = packet.tick.max(self.newest);
            self.newest = packet.tick;
            self.taken.push(packet);
            self.look(lane);
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(all(test, loom))]
mod models;

//! The source and the cores as virtual threads: what `engine::read`, `engine::capture` and
//! `engine::stage` do, in steps that never wait.

use std::collections::VecDeque;

use flowtap::decode::Packet;
use flowtap::ledger::Accounts;
use flowtap::sync::lane::{Receiver, Sender};
use flowtap::table::outbox::lane_of;
use flowtap::table::{CoreTable, Outlet};
use flowtap::time::{PacketClock, Tick, Timestamp};

use crate::fault::Tap;
use crate::traffic::Sent;
use crate::world::{Shared, say};

/// Between the source and the cores of a capture, and what the source tells the cores.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Packets that no core has received yet, by queue.
    queues: Vec<VecDeque<Packet>>,
    /// The time of the latest packet: the wall clock of `capture`.
    now: Option<Timestamp>,
    /// Whether the source has stopped, and all that will come is in the queues.
    is_drained: bool,
}

impl Wire {
    pub(crate) fn new(cores: usize) -> Self {
        let queues = (0..cores).map(|_| VecDeque::new()).collect();
        Self { queues, now: None, is_drained: false }
    }
}

/// The reader of files, or the network.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    rest: &'a [Sent],
    /// To each core (`read`); empty for the network.
    lanes: Vec<Sender<Packet>>,
    cores: usize,
    clock: PacketClock,
    accounts: &'a Accounts,
}

impl<'a> Source<'a> {
    pub(crate) fn new(
        rest: &'a [Sent],
        lanes: Vec<Sender<Packet>>,
        cores: usize,
        accounts: &'a Accounts,
    ) -> Self {
        Self { rest, lanes, cores, clock: PacketClock::default(), accounts }
    }

    /// Leaves the rest of the input where it is. Whether there was any.
    pub(crate) fn stop(&mut self) -> bool {
        !std::mem::take(&mut self.rest).is_empty()
    }

    /// Sends some packets. Whether it is done: then it must be dropped.
    pub(crate) fn step(&mut self, shared: &mut Shared) -> bool {
        for _ in 0..shared.rng.pick(&[1, 1, 4, 64]) {
            let Some((sent, rest)) = self.rest.split_first() else {
                return self.finish(shared);
            };
            if !self.send(sent, shared) {
                break;
            }
            self.rest = rest;
            self.accounts.sources[0].seen.set(shared.books.packets());
            self.accounts.receives[0][0].received.add(1);
            self.accounts.receives[0][0].decoded.add(1);
        }
        // Whatever the records are, they do not depend on how packets come in batches.
        if !self.lanes.is_empty() && shared.rng.one_in(32) {
            let lane = shared.rng.below(self.lanes.len());
            self.lanes[lane].flush();
        }
        false
    }

    /// Sends one packet. False if there was no room.
    fn send(&mut self, sent: &Sent, shared: &mut Shared) -> bool {
        let mut packet = sent.packet;
        if self.lanes.is_empty() {
            shared.wire.queues[sent.queue % self.cores].push_back(packet);
            shared.wire.now = packet.timestamp.or(shared.wire.now);
        } else {
            let lane = &mut self.lanes[lane_of(packet.hash, self.cores)];
            if lane.room() == 0 {
                return false;
            }
            let input = &mut shared.inputs[0];
            packet.tick = self.clock.advance(packet.timestamp);
            packet.ordinal = u32::try_from(input.packets.len()).expect("few packets");
            input.packets.push(packet);
            lane.push(packet);
        }
        shared.books.enter(&packet);
        true
    }

    fn finish(&mut self, shared: &mut Shared) -> bool {
        if self.lanes.is_empty() {
            shared.wire.is_drained = true;
        } else if self.lanes.iter_mut().all(Sender::flush) {
            shared.inputs[0].end = self.clock.advance(None);
        } else {
            return false;
        }
        say!(shared, "the source is done");
        true
    }
}

/// Where a core's packets come from.
#[derive(Debug)]
pub(crate) enum Feed {
    /// From the reader, which has decoded them.
    Dealt(Receiver<Packet>),
    /// From a queue of its own, to be stamped by a packet clock of its own.
    Queue { clock: PacketClock, ordinal: u32 },
}

impl Feed {
    /// Ordinals that no other core gives (the engine's may be equal, on several queues, for
    /// packets of one nanosecond).
    pub(crate) fn queue(number: usize) -> Self {
        Self::Queue {
            clock: PacketClock::default(),
            ordinal: u32::try_from(number << 24).expect("few cores"),
        }
    }
}

/// How far a core is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    Draining(Tick),
    Flushing,
}

/// A core: `engine::stage::Core` and the thread around it.
#[derive(Debug)]
pub(crate) struct Core<'a> {
    number: usize,
    table: CoreTable<'a>,
    tap: Tap,
    feed: Feed,
    batch_packets: usize,
    stage: Stage,
    /// The packet clock as of the latest batch.
    tick: Tick,
}

impl<'a> Core<'a> {
    pub(crate) fn new(
        number: usize,
        table: CoreTable<'a>,
        tap: Tap,
        feed: Feed,
        batch_packets: usize,
    ) -> Self {
        Self { number, table, tap, feed, batch_packets, stage: Stage::Running, tick: 0 }
    }

    /// One step. Whether it is done: then it must be dropped, which closes its lanes.
    pub(crate) fn step(&mut self, shared: &mut Shared) -> bool {
        let number = self.number;
        match self.stage {
            Stage::Running => match shared.rng.below(8) {
                0 => {
                    say!(shared, "core {number} moves its hand");
                    self.table.advance(self.tick, &mut self.tap);
                }
                1 => {
                    let all = self.tap.outbox.flush();
                    say!(shared, "core {number} flushes: {all}");
                }
                _ => self.work(shared),
            },
            Stage::Draining(end) => {
                let is_empty = self.table.drain(end, &mut self.tap);
                say!(shared, "core {number} drains at tick {end}: {is_empty}");
                if is_empty {
                    self.stage = Stage::Flushing;
                }
            }
            Stage::Flushing => {
                let all = self.tap.outbox.flush();
                say!(shared, "core {number} flushes, to end: {all}");
                return all;
            }
        }
        false
    }

    fn work(&mut self, shared: &mut Shared) {
        let Self { number, table, tap, tick, .. } = self;
        match &mut self.feed {
            Feed::Dealt(receiver) => {
                if receiver.is_finished() {
                    self.stage = Stage::Draining(shared.inputs[0].end);
                } else if tap.room() < self.batch_packets {
                    say!(shared, "core {number} waits for room");
                } else {
                    receiver.receive(|packets| {
                        say!(shared, "core {number} counts {:?}", ordinals(packets));
                        table.count(packets, tap);
                        *tick = packets.last().map_or(*tick, |packet| packet.tick);
                    });
                }
            }
            Feed::Queue { clock, ordinal } => {
                // Before looking into the queue, so that nothing can come after.
                let is_last = shared.wire.is_drained;
                let queue = &mut shared.wire.queues[*number];
                let received = queue.len().min(shared.rng.between(1, self.batch_packets));
                let mut packets: Vec<_> = queue.drain(..received).collect();
                for packet in &mut packets {
                    packet.tick = clock.advance(packet.timestamp);
                    packet.ordinal = *ordinal;
                    *ordinal += 1;
                }
                let input = &mut shared.inputs[*number];
                input.packets.extend_from_slice(&packets);
                if packets.is_empty() {
                    *tick = shared.wire.now.map_or(*tick, |now| clock.advance(Some(now)));
                    table.advance(*tick, tap);
                    tap.outbox.flush();
                } else {
                    say!(shared, "core {number} counts {:?}", ordinals(&packets));
                    table.count(&packets, tap);
                    *tick = clock.advance(None);
                }
                if packets.is_empty() && is_last {
                    input.end = clock.advance(None);
                    self.stage = Stage::Draining(input.end);
                }
            }
        }
    }
}

fn ordinals(packets: &[Packet]) -> Vec<u32> {
    packets.iter().map(|packet| packet.ordinal).collect()
}

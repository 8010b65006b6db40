//! The source and the cores as virtual threads: what `engine::read`, `engine::capture` and
//! `engine::stage` do, in steps that never wait.

use std::collections::VecDeque;

use flowtap::decode::Packet;
use flowtap::ledger::Accounts;
use flowtap::table::exchange::{Exchange, Incoming, Senders};
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
    /// To the cores (`read`); none for the network.
    to_cores: Option<Senders>,
    /// Whether each flow's packets all go to its core.
    is_by_flow: bool,
    cores: usize,
    clock: PacketClock,
    accounts: &'a Accounts,
}

impl<'a> Source<'a> {
    pub(crate) fn new(
        rest: &'a [Sent],
        to_cores: Option<Senders>,
        is_by_flow: bool,
        cores: usize,
        accounts: &'a Accounts,
    ) -> Self {
        Self { rest, to_cores, is_by_flow, cores, clock: PacketClock::default(), accounts }
    }

    /// Leaves the rest of the input where it is. Whether there was any.
    pub(crate) fn stop(&mut self) -> bool {
        !std::mem::take(&mut self.rest).is_empty()
    }

    /// Sends some packets. Whether it is done: then it must be dropped.
    pub(crate) fn step(&mut self, shared: &mut Shared) -> bool {
        let mut is_stuck = false;
        for _ in 0..shared.rng.pick(&[1, 1, 4, 64]) {
            let Some((sent, rest)) = self.rest.split_first() else {
                return self.finish(shared);
            };
            is_stuck = !self.send(sent, shared);
            if is_stuck {
                break;
            }
            self.rest = rest;
            self.accounts.sources[0].seen.set(shared.books.packets());
            self.accounts.receives[0][0].received.add(1);
            self.accounts.receives[0][0].decoded.add(1);
        }
        // Whatever the records are, they do not depend on how packets come in batches. But
        // where a lane is full others may wait for what lies here.
        if is_stuck || shared.rng.one_in(32) {
            self.flush(shared);
        }
        false
    }

    /// Sends one packet. False if there was no room.
    fn send(&mut self, sent: &Sent, shared: &mut Shared) -> bool {
        let mut packet = sent.packet;
        if let Some(to_cores) = &mut self.to_cores {
            let input = &mut shared.inputs[0];
            packet.tick = self.clock.advance(packet.timestamp);
            packet.ordinal = input.packets.len() as u64;
            let by_flow = lane_of(packet.hash, self.cores);
            let core = if self.is_by_flow { by_flow } else { sent.queue % self.cores };
            if !to_cores.send(core, &packet) {
                return false;
            }
            input.packets.push(packet);
        } else {
            shared.wire.queues[sent.queue % self.cores].push_back(packet);
            shared.wire.now = packet.timestamp.or(shared.wire.now);
        }
        shared.books.enter(&packet);
        true
    }

    /// Sends what is under way to the cores. Whether that is all.
    fn flush(&mut self, shared: &Shared) -> bool {
        let Some(to_cores) = &mut self.to_cores else { return true };
        to_cores.flush((shared.inputs[0].packets.len() as u64).saturating_sub(1))
    }

    fn finish(&mut self, shared: &mut Shared) -> bool {
        if !self.flush(shared) {
            return false;
        }
        if self.to_cores.is_some() {
            shared.inputs[0].end = self.clock.advance(None);
        } else {
            shared.wire.is_drained = true;
        }
        say!(shared, "the source is done");
        true
    }
}

/// Where a core's packets come from.
#[derive(Debug)]
pub(crate) enum Feed {
    /// From the reader, which has decoded them, and deals each flow to its core.
    Dealt(Incoming),
    /// The same, but dealt anywhere, and passed on.
    Passed(Incoming, Exchange),
    /// From a queue of its own, and passed on if there are several.
    Queue(Queue),
}

/// A receive queue, whose packets are stamped by a packet clock of its own.
#[derive(Debug)]
pub(crate) struct Queue {
    number: usize,
    clock: PacketClock,
    ordinal: u64,
    exchange: Option<Exchange>,
}

impl Queue {
    /// All clocks count from the `start` of the capture. Ordinals are numbers that no other
    /// queue gives.
    pub(crate) fn new(number: usize, start: Timestamp, exchange: Option<Exchange>) -> Self {
        let mut clock = PacketClock::default();
        clock.advance(Some(start));
        Self { number, clock, ordinal: (number as u64) << 24, exchange }
    }

    /// Receives up to `most` packets: those that its own core is to count, where there is
    /// no other, or all are sent on. Also says how many there were.
    fn receive(
        &mut self,
        most: usize,
        table: &mut CoreTable<'_>,
        shared: &mut Shared,
    ) -> (usize, Vec<Packet>) {
        let queue = &mut shared.wire.queues[self.number];
        let received = queue.len().min(most);
        let mut packets: Vec<_> = queue.drain(..received).collect();
        for packet in &mut packets {
            packet.tick = self.clock.advance(packet.timestamp);
            packet.ordinal = self.ordinal;
            self.ordinal += 1;
        }
        let Some(exchange) = &mut self.exchange else { return (received, packets) };
        for packet in &packets {
            if !exchange.send(packet) {
                say!(shared, "core {}: no room to pass on {}", self.number, packet.ordinal);
                table.count_not_passed_on(packet);
            }
        }
        if received == 0 {
            exchange.rest();
        } else if shared.rng.one_in(4) {
            exchange.flush(self.clock.advance(None));
        }
        (received, Vec::new())
    }
}

/// How far a core is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// Its own input has ended: it waits for what others pass on.
    Closing,
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
            Stage::Closing => self.close(shared),
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
        let has_room = self.tap.room() >= self.batch_packets;
        let Self { number, table, tap, tick, .. } = self;
        let mut count = |packets: &[Packet]| {
            if let Some(last) = packets.last() {
                say!(shared, "core {number} counts {:?}", ordinals(packets));
                table.count(packets, tap);
                *tick = last.tick;
            }
        };
        match &mut self.feed {
            Feed::Dealt(reader) if reader.is_finished() => {
                self.stage = Stage::Draining(shared.inputs[0].end);
            }
            Feed::Dealt(reader) if has_room => _ = reader.receive(count),
            Feed::Passed(_, exchange) if exchange.is_finished() => {
                self.stage = Stage::Draining(shared.inputs[0].end);
            }
            Feed::Passed(reader, exchange) => {
                exchange.forward(reader);
                if has_room {
                    count(exchange.receive(self.batch_packets));
                }
            }
            Feed::Dealt(_) => say!(shared, "core {number} waits for room"),
            Feed::Queue(_) => self.receive(shared),
        }
    }

    /// What an `rx` thread does in one turn.
    fn receive(&mut self, shared: &mut Shared) {
        let Self { table, tap, tick, .. } = self;
        let Feed::Queue(queue) = &mut self.feed else { unreachable!("asked for a queue only") };
        // Before looking into the queue, so that nothing can come after.
        let is_last = shared.wire.is_drained;
        let most = shared.rng.between(1, self.batch_packets);
        let (received, packets) = queue.receive(most, table, shared);
        let taken = queue.exchange.as_mut().map_or(&*packets, |e| e.receive(self.batch_packets));
        if let Some(last) = taken.last() {
            say!(shared, "core {} counts {:?}", self.number, ordinals(taken));
            table.count(taken, tap);
            shared.inputs[self.number].packets.extend_from_slice(taken);
            *tick = last.tick;
        }
        if received == 0 && taken.is_empty() {
            let clock = &mut queue.clock;
            let now = clock.advance(shared.wire.now);
            *tick = queue.exchange.as_mut().map_or(now, |exchange| exchange.now(now));
            table.advance(*tick, tap);
            tap.outbox.flush();
            if is_last {
                self.stage = Stage::Closing;
            }
        }
    }

    /// What an `rx` thread does when its source has stopped.
    fn close(&mut self, shared: &mut Shared) {
        let Self { number, table, tap, tick, .. } = self;
        let Feed::Queue(queue) = &mut self.feed else { unreachable!("it has stopped") };
        let mut end = queue.clock.advance(None);
        if let Some(exchange) = &mut queue.exchange {
            let taken = exchange.receive(self.batch_packets);
            if let Some(last) = taken.last() {
                say!(shared, "core {number} counts {:?} of others", ordinals(taken));
                table.count(taken, tap);
                shared.inputs[*number].packets.extend_from_slice(taken);
                *tick = last.tick;
            }
            exchange.close();
            tap.outbox.flush();
            if !exchange.is_finished() {
                return;
            }
            end = end.max(exchange.newest());
        }
        shared.inputs[*number].end = end;
        self.stage = Stage::Draining(end);
    }
}

fn ordinals(packets: &[Packet]) -> Vec<u64> {
    packets.iter().map(|packet| packet.ordinal).collect()
}

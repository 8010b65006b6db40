//! Packets of few keys through lanes of any size, in any order of steps: each comes out on its
//! flow's core, once, in its place.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::flow::{Endpoint, FlowKey, PortKind};
use crate::socket::poll;
use crate::sync::thread;

/// Packet `number`, on any core.
pub(super) fn packet(number: u64) -> Packet {
    let end = Endpoint { address: [1; 16], port: 1 };
    Packet {
        key: FlowKey::canonical(end, end, 4, 17, PortKind::Ports, [0; 2]).0,
        // As good as any.
        hash: number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        tick: 10 * number,
        ordinal: number,
        ..Packet::NONE
    }
}

/// A reader, which deals packets in their order, and the workers, which pass them on.
struct Read {
    reader: Option<Senders>,
    cores: Vec<(Incoming, Exchange, Vec<u64>)>,
    next: u64,
}

impl Read {
    fn new(cores: usize, batches: usize, batch_packets: usize) -> Self {
        let (reader, incoming) = senders(cores, Order::Place, batches, batch_packets);
        let exchanges = exchange(cores, Order::Place, batches, batch_packets);
        let cores = incoming.into_iter().zip(exchanges);
        let cores = cores.map(|(incoming, exchange)| (incoming, exchange, Vec::new())).collect();
        Self { reader: Some(reader), cores, next: 0 }
    }

    fn is_finished(&self) -> bool {
        self.cores.iter().all(|(_, exchange, _)| exchange.is_finished())
    }

    /// The reader deals one packet, or flushes; at the end it goes.
    fn deal(&mut self, receivers: &[usize], flush: bool) {
        let Some(reader) = &mut self.reader else { return };
        let last = self.next.saturating_sub(1);
        match receivers.get(usize::try_from(self.next).unwrap()) {
            Some(receiver) if !flush => {
                let receiver = receiver % self.cores.len();
                if reader.send(receiver, &packet(self.next)) {
                    self.next += 1;
                } else {
                    reader.flush(last);
                }
            }
            Some(_) => _ = reader.flush(last),
            None => {
                if reader.flush(last) {
                    self.reader = None;
                }
            }
        }
    }

    fn work(&mut self, core: usize) {
        let (incoming, exchange, out) = &mut self.cores[core];
        exchange.forward(incoming);
        out.extend(exchange.receive(BATCH_PACKETS).iter().map(|packet| packet.ordinal));
    }
}

proptest! {
    /// Whatever waits goes on at some time, however small the lanes are.
    #[test]
    fn all_that_was_read_comes_out_in_its_place(
        cores in 1usize..5, batches in 1usize..4, batch_packets in 1usize..5,
        receivers in vec(0usize..4, 0..200),
        skewed: bool,
        turns in vec(0usize..7, 1..50),
    ) {
        let mut read = Read::new(cores, batches, batch_packets);
        let receivers: Vec<_> = receivers.iter().map(|r| if skewed { r / 3 } else { *r }).collect();
        let mut left = 200_000;
        // Each turn comes again and again, and so does everyone else's, or nothing is proved
        // of those whose turn it never is.
        for turn in turns.iter().flat_map(|&turn| [turn; 5]).chain(0..7).cycle() {
            match turn {
                0 | 1 => read.deal(&receivers, false),
                2 => read.deal(&receivers, true),
                _ => read.work(turn % cores),
            }
            left -= 1;
            prop_assert!(left > 0, "it does not end");
            if read.is_finished() {
                break;
            }
        }
        for (core, (_, _, out)) in read.cores.iter().enumerate() {
            let here = |number: &u64| lane_of(packet(*number).hash, cores) == core;
            let want: Vec<_> = (0..receivers.len() as u64).filter(here).collect();
            prop_assert_eq!(out, &want, "core {}", core);
        }
    }

    /// By time nobody waits: what is refused is all that is missing; time never goes back; and
    /// where no lane ran full, and no one rested with a packet to come, the order is kept. One that
    /// joins at some time, which only passes on, changes none of that.
    #[test]
    fn by_time_nothing_is_lost_but_what_is_refused(
        cores in 1usize..4, batches in 1usize..5, batch_packets in 1usize..5,
        steps in vec((0usize..4, 0u8..8), 0..300), joins_at in 0usize..400,
    ) {
        let mut exchanges = exchange(cores, Order::Time, batches, batch_packets);
        let (mut number, mut refused, mut rests) = (0, 0, false);
        let mut out: Vec<Vec<Packet>> = vec![Vec::new(); cores + 1];
        for (step, (core, what)) in steps.into_iter().enumerate() {
            if step == joins_at {
                let (mut joins, incoming) = joining(cores, Order::Time, batches, batch_packets);
                // From then on it is in order like any other.
                joins.flush(10 * number);
                exchanges.iter_mut().zip(incoming).for_each(|(core, from)| core.join(from));
                exchanges.push(joins);
            }
            let core = core % exchanges.len();
            match what {
                0 => exchanges[core].flush(10 * number),
                1 => {
                    rests = true;
                    exchanges[core].rest();
                }
                2..4 => out[core].extend_from_slice(exchanges[core].receive(BATCH_PACKETS)),
                _ => {
                    number += 1;
                    refused += usize::from(!exchanges[core].send(&packet(number)));
                }
            }
        }
        while !exchanges.iter().all(Exchange::is_finished) {
            for (exchange, out) in exchanges.iter_mut().zip(&mut out) {
                exchange.close();
                out.extend_from_slice(exchange.receive(BATCH_PACKETS));
            }
        }
        let taken: usize = out.iter().map(Vec::len).sum();
        prop_assert_eq!(taken + refused, usize::try_from(number).unwrap());
        let mut seen: Vec<_> = out.iter().flatten().map(|packet| packet.ordinal).collect();
        seen.sort_unstable();
        seen.dedup();
        prop_assert_eq!(seen.len(), taken, "taken twice");
        for (core, out) in out.iter().enumerate() {
            prop_assert!(out.iter().all(|packet| lane_of(packet.hash, cores) == core));
            prop_assert!(out.is_sorted_by_key(|packet| packet.tick));
            let was_full = refused > 0 || number > (batches / 2 * batch_packets) as u64;
            prop_assert!(rests || was_full || out.is_sorted_by_key(|packet| packet.ordinal));
        }
    }
}

/// One that has just joined holds up nobody, and a table that was there before goes on from where
/// it is.
#[test]
fn one_that_counted_alone_goes_on_with_another() {
    let mut alone = exchange(1, Order::Time, 4, 4).remove(0).since(35);
    let (mut joins, mut incoming) = joining(1, Order::Time, 4, 4);
    alone.join(incoming.remove(0));
    assert_eq!((alone.newest(), alone.now(100)), (35, 35), "what it has itself may still come");
    assert!(alone.send(&packet(4)));
    alone.flush(50);
    let ticks = |exchange: &mut Exchange| -> Vec<_> {
        exchange.receive(BATCH_PACKETS).iter().map(|packet| (packet.ordinal, packet.tick)).collect()
    };
    assert_eq!(ticks(&mut alone), [(4, 40)]);
    for number in [3, 5] {
        assert!(joins.send(&packet(number)));
    }
    joins.flush(50);
    assert_eq!(ticks(&mut alone), [(3, 40), (5, 50)], "what is late counts as of now");
    joins.close();
    assert!(joins.is_finished() && !alone.is_finished());
    alone.close();
    assert!(ticks(&mut alone).is_empty() && alone.is_finished());
}

#[test]
fn threads_pass_on_a_million_packets_in_order() {
    const PACKETS: u64 = 1_000_000;
    const CORES: usize = 3;
    let (mut reader, incoming) = senders(CORES, Order::Place, 2, 16);
    let exchanges = exchange(CORES, Order::Place, 2, 16);
    let taken: u64 = thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..PACKETS {
                // Long runs to one worker, then to all in turn.
                let receiver = if number % 4_096 < 2_048 { 0 } else { number % 3 };
                while !reader.send(usize::try_from(receiver).unwrap(), &packet(number)) {
                    reader.flush(number.saturating_sub(1));
                    thread::yield_now();
                }
            }
            while !reader.flush(PACKETS - 1) {
                thread::yield_now();
            }
        });
        let work = |(mut incoming, mut exchange): (Incoming, Exchange)| {
            let (mut taken, mut next) = (0, 0);
            while !exchange.is_finished() {
                let forwarded = exchange.forward(&mut incoming);
                let packets = exchange.receive(BATCH_PACKETS);
                for packet in packets {
                    assert!(packet.ordinal >= next, "{} after {next}", packet.ordinal);
                    next = packet.ordinal + 1;
                    taken += 1;
                }
                if !forwarded && packets.is_empty() {
                    thread::yield_now();
                }
            }
            taken
        };
        let threads: Vec<_> = incoming
            .into_iter()
            .zip(exchanges)
            .map(|both| scope.spawn(move || work(both)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(taken, PACKETS);
}

#[test]
fn who_sleeps_is_rung_for_when_a_lane_runs_full() {
    let bells: Vec<_> = (0..2).map(|_| Arc::new(Bell::new().unwrap())).collect();
    let sender = exchange(2, Order::Time, 4, 4).remove(0);
    let mut sender = sender.with_bells(&bells);
    let mut to_second = (0..).map(packet).filter(|packet| lane_of(packet.hash, 2) == 1);
    // Of four batches more than two must wait.
    for (batches, want) in [(2, false), (1, true)] {
        let is_rung = bells[1].sleep(|event| {
            to_second.by_ref().take(4 * batches).for_each(|packet| assert!(sender.send(&packet)));
            sender.flush(0);
            poll(event, None, Duration::ZERO).unwrap() != 0
        });
        assert_eq!(is_rung, want, "{batches} more");
    }
    let is_rung = bells[0].sleep(|event| poll(event, None, Duration::ZERO).unwrap() != 0);
    assert!(!is_rung, "for whom there is nothing");
}

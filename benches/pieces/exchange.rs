//! A packet that is passed on to its flow's core.

use flowtap::decode::Packet;
use flowtap::limits::{BATCH_PACKETS, EXCHANGE_BATCH, EXCHANGE_PACKETS};
use flowtap::table::exchange::{Exchange, Order, exchange};

use super::{Piece, decode, frames};

/// Passes packets on among so many cores, and takes them in their order. One thread plays all
/// of them, so the way from one cache to another is not in it.
#[derive(Debug)]
pub(crate) struct PassOn {
    exchanges: Vec<Exchange>,
    packets: Vec<Packet>,
}

impl PassOn {
    pub(crate) fn new(cores: usize) -> Self {
        let batches = (EXCHANGE_PACKETS / EXCHANGE_BATCH / cores).max(4);
        Self {
            exchanges: exchange(cores, Order::Time, batches, EXCHANGE_BATCH),
            packets: decode::packets(&frames::straight()),
        }
    }
}

impl Piece for PassOn {
    fn run(&mut self) -> u64 {
        let mut sum = 0;
        // Every core passes on a batch, then every core takes what has come for it.
        for turn in self.packets.chunks(self.exchanges.len() * BATCH_PACKETS) {
            for (batch, exchange) in turn.chunks(BATCH_PACKETS).zip(&mut self.exchanges) {
                batch.iter().for_each(|packet| assert!(exchange.send(packet), "there is room"));
            }
            self.exchanges.iter_mut().for_each(Exchange::rest);
            for exchange in &mut self.exchanges {
                loop {
                    let taken = exchange.receive(BATCH_PACKETS);
                    if taken.is_empty() {
                        break;
                    }
                    sum = taken.iter().fold(sum, |sum, packet| sum ^ packet.hash);
                }
            }
        }
        sum
    }
}

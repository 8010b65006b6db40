//! The packet path of one core from a frame to its flow, with and without names.

use flowtap::decode::{Decoder, Packet};
use flowtap::devices::DevicesSetup;
use flowtap::limits::BATCH_PACKETS;
use flowtap::names::{Labeller, Names, NamesCounters, NamesThread, PayloadSender, Picks};
use flowtap::sync::Arc;
use flowtap::table::CoreTable;

use super::decode::decoder;
use super::frames::{Captured, web};
use super::table::table;
use super::{ITEMS, Piece, Sum};

/// What hands payloads over, and what keeps its other end going.
struct Hook {
    picks: Picks,
    sender: PayloadSender,
    _labellers: Vec<Labeller>,
}

/// Decodes frames and counts their packets.
pub(crate) struct Path {
    frames: Vec<Captured>,
    decoder: Decoder,
    batch: Vec<Packet>,
    names: Option<Hook>,
    table: CoreTable<'static>,
    published: Sum,
}

impl Path {
    fn new(names: Option<Hook>) -> Self {
        let batch = vec![Packet::NONE; BATCH_PACKETS];
        let (table, _) = table(ITEMS);
        let (frames, decoder, published) = (web(), decoder(), Sum::default());
        Self { frames, decoder, batch, names, table, published }
    }

    /// Without names.
    pub(crate) fn bare() -> Self {
        Self::new(None)
    }

    /// With names, and what becomes of the thread that reads what is handed over.
    pub(crate) fn with_names(read: impl FnOnce(NamesThread)) -> Self {
        let counters = Arc::new(NamesCounters::new(1, 1));
        let Names { mut senders, labellers, thread, .. } =
            Names::new(&counters, ITEMS, &DevicesSetup::default(), None);
        read(thread);
        let (picks, sender) = (Picks::default(), senders.remove(0));
        Self::new(Some(Hook { picks, sender, _labellers: labellers }))
    }
}

impl Piece for Path {
    fn run(&mut self) -> u64 {
        let Self { frames, decoder, batch, names, table, published } = self;
        let mut dropped = 0;
        for frames in frames.chunks(BATCH_PACKETS) {
            for (captured, packet) in frames.iter().zip(&mut *batch) {
                let frame = captured.frame();
                let payload = decoder.decode_to(&frame, packet).expect("well-formed");
                let Some(Hook { picks, sender, .. }) = names else { continue };
                let bytes = &frame.bytes[payload..][..packet.payload_bytes as usize];
                if picks.may_pick(packet, bytes) {
                    // As live: what finds no room is counted.
                    dropped += u64::from(picks.picks(packet, bytes) && !sender.push(packet, bytes));
                }
            }
            table.count(&batch[..frames.len()], published);
            names.iter_mut().for_each(|names| _ = names.sender.flush_unless_behind());
        }
        published.packets + dropped
    }
}

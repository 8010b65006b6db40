//! The packet path of one core from a frame to its flow, with and without names.

use flowtap::decode::{Decoder, Packet};
use flowtap::devices::DevicesSetup;
use flowtap::limits::BATCH_PACKETS;
use flowtap::names::{Labeller, Names, NamesCounters, NamesThread, PayloadSender, Picks};
use flowtap::source::Frame;
use flowtap::sync::Arc;
use flowtap::table::CoreTable;

use super::decode::decoder;
use super::frames::{Captured, web};
use super::table::table;
use super::{ITEMS, Piece, Sum};

/// What hands payloads over, and what keeps its other end going.
pub(crate) struct Hook {
    picks: Picks,
    sender: PayloadSender,
    _labellers: Vec<Labeller>,
}

/// Decodes frames and counts their packets.
pub(crate) struct Path {
    frames: Vec<Captured>,
    counting: Counting,
}

/// What a frame goes through.
pub(crate) struct Counting {
    decoder: Decoder,
    batch: Vec<Packet>,
    /// Packets in the batch.
    taken: usize,
    names: Option<Hook>,
    /// Payloads that found no room.
    dropped: u64,
    table: CoreTable<'static>,
    published: Sum,
}

impl Path {
    /// Without names.
    pub(crate) fn bare() -> Self {
        Self { frames: web(), counting: Counting::new(None) }
    }

    /// With names, and what becomes of the thread that reads what is handed over.
    pub(crate) fn with_names(read: impl FnOnce(NamesThread)) -> Self {
        Self { frames: web(), counting: Counting::with_names(read) }
    }
}

impl Piece for Path {
    fn run(&mut self) -> u64 {
        let Self { frames, counting } = self;
        frames.iter().for_each(|captured| counting.take(&captured.frame()));
        counting.finish()
    }
}

impl Counting {
    pub(crate) fn new(names: Option<Hook>) -> Self {
        let batch = vec![Packet::NONE; BATCH_PACKETS];
        let (table, _) = table(ITEMS);
        let (decoder, published) = (decoder(), Sum::default());
        Self { decoder, batch, taken: 0, names, dropped: 0, table, published }
    }

    pub(crate) fn with_names(read: impl FnOnce(NamesThread)) -> Self {
        let counters = Arc::new(NamesCounters::new(1, 1));
        let Names { mut senders, labellers, thread, .. } =
            Names::new(&counters, ITEMS, &DevicesSetup::default(), None);
        read(thread);
        let (picks, sender) = (Picks::default(), senders.remove(0));
        Self::new(Some(Hook { picks, sender, _labellers: labellers }))
    }

    /// Takes one frame; a batch of them is counted together.
    #[inline(always)]
    pub(crate) fn take(&mut self, frame: &Frame<'_>) {
        let packet = &mut self.batch[self.taken];
        let payload = self.decoder.decode_to(frame, packet).expect("well-formed");
        if let Some(Hook { picks, sender, .. }) = &mut self.names {
            let bytes = &frame.bytes[payload..][..packet.payload_bytes as usize];
            if picks.may_pick(packet, bytes) {
                // As live: what finds no room is counted.
                let is_dropped = picks.picks(packet, bytes) && !sender.push(packet, bytes);
                self.dropped += u64::from(is_dropped);
            }
        }
        self.taken += 1;
        if self.taken == self.batch.len() {
            self.count();
        }
    }

    /// Counts what was taken, and says what there was.
    pub(crate) fn finish(&mut self) -> u64 {
        self.count();
        self.published.packets + self.dropped
    }

    fn count(&mut self) {
        self.table.count(&self.batch[..self.taken], &mut self.published);
        self.taken = 0;
        self.names.iter_mut().for_each(|names| _ = names.sender.flush_unless_behind());
    }
}

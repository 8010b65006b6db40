//! What one core does with packets: count them, and go round with the hand.

use flowtap::decode::Packet;
use flowtap::flow::{FeaturesSet, Timeouts};
use flowtap::limits::{BATCH_PACKETS, HAND_SLOTS, SWEEP_SLOTS};
use flowtap::sync::Counter;
use flowtap::table::{CoreTable, Pace, TableConfig, TableCounters};
use flowtap::time::Tick;

use super::{ITEMS, Piece, Sum, decode, frames, hasher};

const SECOND_NS: Tick = 1_000_000_000;

/// An empty table, and its counters: few bytes, which stay for good.
pub(crate) fn table(capacity: usize) -> (CoreTable<'static>, &'static TableCounters) {
    let config = TableConfig {
        capacity,
        timeouts: Timeouts::default(),
        pace: Pace::LIVE,
        sweep_slots: SWEEP_SLOTS,
        is_populated: true,
        features_set: FeaturesSet::Basic,
    };
    let counters = Box::leak(Box::new(TableCounters::default()));
    (CoreTable::new(config, hasher(), counters).expect("there is memory"), counters)
}

/// Counts packets: of flows that are there, of new flows, or of flows that find no room.
#[derive(Debug)]
pub(crate) struct Count {
    table: CoreTable<'static>,
    packets: Vec<Packet>,
    published: Sum,
    /// Packets that were counted where they are meant to be.
    counted: &'static Counter,
}

impl Count {
    fn new(capacity: usize, packets: Vec<Packet>) -> Self {
        let (table, counters) = table(capacity);
        Self { table, packets, published: Sum::default(), counted: &counters.in_flows }
    }

    /// Into so many flows, all of which are there.
    pub(crate) fn known(flows: usize, is_zipf: bool) -> Self {
        let mut this = Self::new(flows, decode::packets(&frames::of_flows(0..flows)));
        this.run();
        // Time goes on.
        let all = frames::of_flows((0..flows).chain(frames::some(flows, is_zipf)));
        this.packets = decode::packets(&all).split_off(flows);
        this
    }

    /// Each into a flow of its own.
    pub(crate) fn new_flows() -> Self {
        Self::new(2 * ITEMS, decode::packets(&frames::of_flows(0..ITEMS)))
    }

    /// Without room, to so many destination prefixes.
    pub(crate) fn without_room(prefixes: usize) -> Self {
        let mut frames = frames::of_flows(0..=ITEMS);
        for (number, captured) in frames.iter_mut().enumerate() {
            let prefix = u16::try_from(number % prefixes).expect("few prefixes");
            captured.bytes[30..32].copy_from_slice(&prefix.to_be_bytes());
        }
        let (table, counters) = table(1);
        let mut packets = decode::packets(&frames);
        let first = packets.remove(0);
        let counted = &counters.in_overflow;
        let mut this = Self { table, packets, published: Sum::default(), counted };
        // The one slot is taken by a flow that is not given up.
        this.table.count(&[first; 2], &mut this.published);
        this
    }
}

impl Piece for Count {
    fn run(&mut self) -> u64 {
        let before = self.counted.get();
        for batch in self.packets.chunks(BATCH_PACKETS) {
            self.table.count(batch, &mut self.published);
        }
        let counted = self.counted.get() - before;
        assert_eq!(counted, self.packets.len() as u64, "all are counted where they should be");
        counted + self.published.packets
    }
}

/// What the hand finds at each slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Find {
    /// A flow with counts to publish.
    Dirty,
    /// A flow that has counted nothing since the last round.
    Clean,
    /// A flow that is over.
    Over,
}

/// Lets the hand go round once.
#[derive(Debug)]
pub(crate) struct Round {
    table: CoreTable<'static>,
    now: Tick,
    published: Sum,
    /// Deltas of a round.
    expected: usize,
}

impl Round {
    pub(crate) fn new(find: Find) -> Self {
        let mut packets = decode::packets(&frames::of_flows(0..ITEMS));
        let mut this =
            Self { table: table(ITEMS).0, now: 0, published: Sum::default(), expected: 0 };
        // Twice, some seconds apart: a flow that is young is left where it is.
        for _ in 0..2 {
            this.now += 3 * SECOND_NS;
            this.count(&mut packets);
        }
        // Once round, and then all have counts: no time passes meanwhile.
        this.go_round();
        this.count(&mut packets);
        match find {
            Find::Dirty => this.now += SECOND_NS,
            Find::Clean => {
                this.now += SECOND_NS;
                this.go_round();
                this.now += SECOND_NS;
            }
            Find::Over => this.now += 200 * SECOND_NS,
        }
        this.published = Sum::default();
        this.expected = if find == Find::Clean { 0 } else { ITEMS };
        this
    }

    fn count(&mut self, packets: &mut [Packet]) {
        for batch in packets.chunks_mut(BATCH_PACKETS) {
            batch.iter_mut().for_each(|packet| packet.tick = self.now);
            self.table.count(batch, &mut self.published);
        }
    }

    /// As many steps as slots; none is owed after that, until time passes.
    fn go_round(&mut self) {
        for _ in 0..ITEMS.div_ceil(HAND_SLOTS as usize) {
            self.table.advance(self.now, &mut self.published);
        }
    }
}

impl Piece for Round {
    fn run(&mut self) -> u64 {
        self.go_round();
        assert_eq!(self.published.taken, self.expected, "each slot is as it should be");
        self.published.packets
    }
}

//! What a seed's engine is like: its shape, its sizes and its timeouts.

use flowtap::flow::{FeaturesSet, KeyHasher, Timeouts};
use flowtap::limits::BATCH_PACKETS;
use flowtap::table::Pace;
use flowtap::time::SECOND_NS;

use crate::rng::Rng;
use crate::traffic::Traffic;

/// Which of the engine's ways is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As `engine::read`: one packet clock, packets are dealt to cores by hash, and cores
    /// wait for room.
    Read,
    /// The same, but packets are dealt anywhere, and cores pass them on.
    Direction,
    /// As `engine::capture` with one queue: nothing waits.
    OneQueue,
    /// As `engine::capture` with several: packets arrive anywhere, with a clock for each
    /// queue, and cores pass them on.
    Queues,
}

impl Mode {
    /// Whether there is one packet clock, and packets wait for room.
    pub(crate) fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::Direction)
    }
}

/// What a run is made with.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) mode: Mode,
    pub(crate) cores: usize,
    pub(crate) merges: usize,
    /// Slots of each core.
    pub(crate) capacity: usize,
    /// Slots that a packet looks at for a flow that is over, when the table is full.
    pub(crate) sweep_slots: usize,
    /// Whether each core has a slot for every key.
    pub(crate) is_ample: bool,
    pub(crate) timeouts: Timeouts,
    pub(crate) pace: Pace,
    pub(crate) hasher: KeyHasher,
    /// Packets that a core counts at once at most.
    pub(crate) batch_packets: usize,
    /// Batches of packets on their way to a core.
    pub(crate) packet_batches: usize,
    pub(crate) batch_deltas: usize,
    pub(crate) delta_batches: usize,
    pub(crate) hints: usize,
    pub(crate) batch_records: usize,
    /// Batches of records that wait for the sink; more, and whoever has records waits.
    pub(crate) record_batches: usize,
    /// The step at which the run is told to stop, if it is.
    pub(crate) stop_at: Option<usize>,
    /// How often each thread runs, relative to the others; taken in turn.
    pub(crate) speeds: Vec<usize>,
    pub(crate) features_set: FeaturesSet,
}

impl Setting {
    pub(crate) fn random(rng: &mut Rng, traffic: &Traffic) -> Self {
        let mode = rng.pick(&[
            Mode::Read,
            Mode::Read,
            Mode::Direction,
            Mode::Direction,
            Mode::Direction,
            Mode::OneQueue,
            Mode::Queues,
            Mode::Queues,
        ]);
        let cores = match mode {
            Mode::Read | Mode::Direction => rng.between(1, 4),
            Mode::OneQueue => 1,
            Mode::Queues => rng.between(2, 4),
        };
        let batch_deltas = rng.pick(&[1, 1, 2, 5, 128]);
        let mut delta_batches = rng.pick(&[1, 1, 2, 3, 16]);
        if traffic.has_unfit || mode == Mode::Queues {
            // What no slot can take, and what cannot be passed on, goes into aggregates,
            // however large the table is.
            delta_batches = delta_batches.max(traffic.aggregates());
        }
        // More aggregates than a lane holds would never be published; `limits` holds the
        // engine's sizes against that.
        let may_overflow = traffic.aggregates() <= batch_deltas * delta_batches;
        let keys = traffic.conversations();
        let capacity = if may_overflow && rng.one_in(2) {
            rng.between(1, keys)
        } else {
            rng.pick(&[keys, keys + 1, 100])
        };
        Self {
            mode,
            cores,
            merges: rng.between(1, 2),
            capacity,
            sweep_slots: rng.pick(&[0, 1, capacity]),
            is_ample: capacity >= keys,
            timeouts: traffic.timeouts,
            pace: if rng.one_in(2) { Pace::LIVE } else { Pace::REPLAY },
            hasher: traffic.hasher.clone(),
            // A core that waits for room for a batch must be able to get it.
            batch_packets: rng.pick(&[1, 2, 7, BATCH_PACKETS]).min(batch_deltas * delta_batches),
            packet_batches: rng.pick(&[1, 2, 16]),
            batch_deltas,
            delta_batches,
            hints: rng.pick(&[1, 2, 64]),
            batch_records: rng.pick(&[1, 3, 256]),
            record_batches: rng.pick(&[1, 2, 256]),
            stop_at: rng.one_in(3).then(|| rng.pick(&[50, 500, 5_000])).map(|end| rng.below(end)),
            speeds: (0..7).map(|_| rng.pick(&[1, 4, 4, 16])).collect(),
            features_set: rng.pick(&[FeaturesSet::Basic, FeaturesSet::Extended]),
        }
    }
}

/// Timeouts of a seed: the defaults, short ones, none, never.
pub(crate) fn timeouts(rng: &mut Rng) -> Timeouts {
    if rng.one_in(3) {
        return Timeouts::default();
    }
    let mut pick = |from: &[u64]| match rng.pick(from) {
        u64::MAX => Timeouts::NEVER,
        seconds => seconds * SECOND_NS,
    };
    Timeouts {
        idle_ns: pick(&[1, 5, 60, 600, u64::MAX]),
        datagram_idle_ns: pick(&[0, 1, 30, 100]),
        half_open_idle_ns: pick(&[0, 1, 10, 60]),
        linger_ns: pick(&[0, 1, 5, 5, 60]),
        active_ns: pick(&[0, 1, 3, 30, 60, 100, 1_800, u64::MAX]),
    }
}

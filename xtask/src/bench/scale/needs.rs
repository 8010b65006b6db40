//! What traffic at 100 GbE would need, in numbers: by the model, and by the prices of all else
//! that was measured. [`super::line_rate`] tells it.

use serde::{Deserialize, Serialize};

use super::model::{Load, Model};

/// Packets a second of 64 bytes (and 20 of preamble and gap) on 100 Gbit/s.
pub(super) const RATE: f64 = 100e9 / (84.0 * 8.0);

/// Bytes of a cache line.
pub(super) const LINE: f64 = 64.0;

/// What receiving a packet costs one core, and who says so.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Receive {
    pub(super) ns: f64,
    pub(super) source: String,
}

impl Receive {
    /// Nothing here can measure a card and its driver.
    pub(super) fn assumed() -> Self {
        let source = "an assumption, not measured: 20 M packets/s a core through AF_XDP with \
            zero-copy, driver, XDP program and rings on the core that counts; \
            `--receive-ns` takes another";
        Self { ns: 50.0, source: source.into() }
    }

    pub(super) fn given(ns: f64) -> Self {
        Self { ns, source: "given with `--receive-ns`".into() }
    }
}

/// What is measured besides, one price each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prices {
    pub(super) receive_ns: f64,
    pub(super) decode_ns: f64,
    /// A merge thread's own time for a delta that goes through the map, and for a whole flow
    /// that passes it by.
    pub(super) merge_delta_ns: f64,
    pub(super) merge_whole_ns: f64,
    /// For each record, and its bytes.
    pub(super) export_ns: f64,
    pub(super) export_bytes: f64,
    pub(super) slot_bytes: f64,
    pub(super) map_bytes: f64,
    pub(super) delta_bytes: f64,
    pub(super) record_bytes: f64,
}

/// Traffic at line rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    /// In the tables at one time.
    pub(super) flows: f64,
    pub(super) new_share: f64,
}

/// A busy link.
pub(super) const TYPICAL: Scenario = Scenario { flows: 1e7, new_share: 0.01 };

pub(super) const SCENARIOS: [Scenario; 6] = [
    Scenario { flows: 1e6, new_share: 0.0 },
    Scenario { flows: 1e6, new_share: 0.001 },
    Scenario { flows: 1e7, new_share: 0.001 },
    TYPICAL,
    Scenario { flows: 1e8, new_share: 0.01 },
    Scenario { flows: 1e8, new_share: 0.1 },
];

/// What a scenario needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// Flows that begin in a second, and how long each may stay in the tables.
    pub(super) new_per_s: f64,
    pub(super) stay_s: f64,
    pub(super) table_ns: f64,
    /// Cores that receive, decode and count, each of them always busy.
    pub(super) cores: f64,
    /// Lines from and to memory for each packet, and bytes of them in a second.
    pub(super) lines: f64,
    pub(super) memory_bytes_per_s: f64,
    /// Deltas in a second, and merge threads for them, all through the map.
    pub(super) deltas_per_s: f64,
    pub(super) merge_threads: f64,
    /// Merge threads if every flow is whole when it comes.
    pub(super) merge_threads_whole: f64,
    pub(super) export_threads: f64,
    pub(super) export_bytes_per_s: f64,
    pub(super) table_bytes: f64,
    pub(super) map_bytes: f64,
}

/// Cores that share a third-level cache: on this machine nobody knows, on servers about so many.
pub(super) const L3_CORES: f64 = 8.0;

/// How long a record may span before it is cut, by default.
const ACTIVE_S: f64 = 1_800.0;

/// Lines of a received frame: the card writes the frame, its completion and the driver the
/// descriptors of the two rings (about a line together); the core reads both.
pub(super) const RECEIVE_LINES: f64 = 4.0;

/// Lines of counting: the bucket is read, both lines of the slot are read and written back.
pub(super) const COUNT_LINES: f64 = 5.0;

/// Lines of the hand at a slot: the same without the bucket; a delta that it publishes comes
/// on top, written by one core and read by another.
pub(super) const VISIT_LINES: f64 = 4.0;

/// Lines of a flow that begins and ends, besides its packets: two buckets written back, the
/// slot's origin written and read, the two lines of the slot when it is freed.
pub(super) const NEW_LINES: f64 = 8.0;

impl Model {
    /// What line rate needs. Cores are found by trying: with more of them each has fewer flows.
    pub(super) fn needs(&self, scenario: &Scenario, prices: &Prices) -> Needs {
        let Scenario { flows, new_share } = *scenario;
        let mut cores = 1.0_f64;
        let mut load;
        let mut table_ns;
        let mut rounds = 0;
        loop {
            load = Load {
                core_slots: flows / cores,
                shared_slots: flows / cores * cores.min(L3_CORES),
                slot_bytes: prices.slot_bytes,
                visits: flows / RATE,
                new_share,
            };
            table_ns = self.ns(&load);
            let busy = RATE * (prices.receive_ns + prices.decode_ns + table_ns) / 1e9;
            rounds += 1;
            if (busy - cores).abs() < 0.01 || rounds == 100 {
                break;
            }
            cores = busy.max(1.0);
        }
        let new_per_s = RATE * new_share;
        let delta_lines = 2.0 * (prices.delta_bytes / LINE).ceil();
        let record_lines = 2.0 * (prices.record_bytes / LINE).ceil();
        let visit_lines = VISIT_LINES * load.miss3(&self.caches) + delta_lines;
        let new_lines = NEW_LINES + delta_lines + record_lines;
        let lines = RECEIVE_LINES
            + COUNT_LINES * load.miss3(&self.caches)
            + visit_lines * load.visits
            + new_lines * new_share;
        let deltas_per_s = flows + new_per_s;
        let records_per_s = new_per_s + flows / ACTIVE_S;
        Needs {
            new_per_s,
            stay_s: flows / new_per_s,
            table_ns,
            cores,
            lines,
            memory_bytes_per_s: lines * LINE * RATE,
            deltas_per_s,
            merge_threads: deltas_per_s * prices.merge_delta_ns / 1e9,
            merge_threads_whole: new_per_s * prices.merge_whole_ns / 1e9,
            export_threads: records_per_s * prices.export_ns / 1e9,
            export_bytes_per_s: records_per_s * prices.export_bytes,
            table_bytes: flows * prices.slot_bytes,
            map_bytes: flows * prices.map_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::figure::Caches;
    use super::*;

    #[test]
    fn line_rate_takes_its_packets_times_their_cost() {
        let factors = [Some(10.0), None, None, None, None, None];
        let model = Model { factors, caches: Caches { l2: 1e6, l3: 3e7 } };
        let prices = Prices {
            receive_ns: 50.0,
            decode_ns: 10.0,
            merge_delta_ns: 500.0,
            merge_whole_ns: 5.0,
            export_ns: 1_000.0,
            export_bytes: 300.0,
            slot_bytes: 160.0,
            map_bytes: 280.0,
            delta_bytes: 200.0,
            record_bytes: 200.0,
        };
        let needs = model.needs(&Scenario { flows: 1e7, new_share: 0.01 }, &prices);
        assert!((RATE / 1e6 - 148.81).abs() < 0.01);
        assert!((needs.cores - 148.81 * 0.070).abs() < 0.1, "{needs:?}");
        assert!((needs.new_per_s / 1e6 - 1.488).abs() < 0.001);
        assert!((needs.merge_threads - 11.488 * 0.5).abs() < 0.01, "{needs:?}");
        assert!((needs.table_bytes - 1.6e9).abs() < 1.0);
        assert!(needs.lines > RECEIVE_LINES + COUNT_LINES * 0.9, "{needs:?}");
    }
}

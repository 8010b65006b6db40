//! What counting a packet costs, as a sum of causes whose prices are fitted to the measurements.

use super::figure::{Caches, Table};
use super::fit::{Factors, fit, predict};

/// The terms of the cost, and what each factor is the price of.
pub(super) const TERMS: [(&str, &str); 6] = [
    ("1", "a packet of a flow that is in the caches"),
    ("miss2", "share of slots that are not in the second-level cache"),
    ("miss3", "share of slots that are not in the third-level cache"),
    ("visits", "slots that the hand visits for each packet, publishing what has changed"),
    ("new", "share of packets that begin a flow; as many end"),
    ("new x miss3", "the same, where slots are not in the third-level cache"),
];

/// What the cost depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Slots in use in one core's table.
    pub(super) core_slots: f64,
    /// Slots in use in the tables of all cores that share a third-level cache.
    pub(super) shared_slots: f64,
    pub(super) slot_bytes: f64,
    /// Slots that the hand visits for each packet.
    pub(super) visits: f64,
    /// Share of packets that begin a flow.
    pub(super) new_share: f64,
}

impl Load {
    /// As it was measured.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(super) fn of(table: &Table) -> Self {
        let core_slots = table.used as f64;
        Self {
            core_slots,
            shared_slots: core_slots * f64::from(table.workers),
            slot_bytes: table.bytes as f64 / table.slots as f64,
            visits: core_slots / table.packets_per_s as f64,
            new_share: table.new_share,
        }
    }

    /// The share of so many slots that a cache has no room for.
    fn miss(&self, slots: f64, cache: f64) -> f64 {
        (1.0 - cache / (slots * self.slot_bytes)).max(0.0)
    }

    pub(super) fn miss3(&self, caches: &Caches) -> f64 {
        self.miss(self.shared_slots, caches.l3)
    }

    fn terms(&self, caches: &Caches) -> [f64; TERMS.len()] {
        let miss2 = self.miss(self.core_slots, caches.l2);
        let miss3 = self.miss3(caches);
        [1.0, miss2, miss3, self.visits, self.new_share, self.new_share * miss3]
    }
}

/// The cost of counting a packet in a table, fitted.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) factors: Factors<{ TERMS.len() }>,
    pub(super) caches: Caches,
}

impl Model {
    /// From all measurements of one worker; `None` if they do not determine it. No cause has a
    /// price below nothing: if one comes out so, what it explains is noise, and the most
    /// negative is left out until none is.
    pub(super) fn of<'a>(tables: impl Iterator<Item = &'a Table>, caches: Caches) -> Option<Self> {
        let alone = tables.filter(|table| table.workers == 1);
        let mut rows: Vec<_> =
            alone.map(|table| (Load::of(table).terms(&caches), table.ns)).collect();
        loop {
            let factors = fit(&rows)?;
            let priced =
                factors.iter().enumerate().filter_map(|(at, factor)| Some((at, (*factor)?)));
            match priced.min_by(|one, other| one.1.total_cmp(&other.1)) {
                Some((at, factor)) if factor < 0.0 => {
                    rows.iter_mut().for_each(|(terms, _)| terms[at] = 0.0);
                }
                _ => return Some(Self { factors, caches }),
            }
        }
    }

    /// Whether any table was larger than all caches: without one nothing can be said of those
    /// that are.
    pub(super) fn reaches_memory<'a>(&self, mut tables: impl Iterator<Item = &'a Table>) -> bool {
        tables.any(|table| Load::of(table).miss3(&self.caches) > 0.5)
    }

    /// Nanoseconds for a packet.
    pub(super) fn ns(&self, load: &Load) -> f64 {
        predict(&self.factors, &load.terms(&self.caches))
    }

    /// How far it is off a measurement, in relation to that.
    pub(super) fn error(&self, table: &Table) -> f64 {
        self.ns(&Load::of(table)) / table.ns - 1.0
    }

    /// As a formula.
    pub(super) fn formula(&self) -> String {
        let terms = self.factors.iter().zip(TERMS).filter_map(|(factor, (name, _))| {
            let factor = (*factor)?;
            Some(if name == "1" { format!("{factor:.1}") } else { format!("{factor:.1} {name}") })
        });
        format!("ns = {}", terms.collect::<Vec<_>>().join(" + ")).replace("+ -", "- ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHES: Caches = Caches { l2: 1e6, l3: 3e7 };

    fn table(flows: u64, packets_per_s: u64, new_share: f64) -> Table {
        Table {
            flows,
            used: flows,
            workers: 1,
            packets_per_s,
            new_share,
            ns: 0.0,
            slots: flows,
            bytes: 160 * flows,
            pages: "Small".into(),
            given_up: 0,
            in_overflow: 0,
        }
    }

    #[test]
    fn a_made_up_machine_is_found_again() {
        let factors = [5.0, 30.0, 20.0, 40.0, 60.0, 200.0].map(Some);
        let made_up = Model { factors, caches: CACHES };
        let mut tables = Vec::new();
        for flows in [10_000, 100_000, 1_000_000, 10_000_000] {
            for (packets_per_s, new_share) in [(10_000_000, 0.0), (flows, 0.1), (flows, 1.0)] {
                let table = table(flows, packets_per_s, new_share);
                let ns = made_up.ns(&Load::of(&table));
                tables.push(Table { ns, ..table });
            }
        }
        let model = Model::of(tables.iter(), CACHES).unwrap();
        for (found, known) in model.factors.iter().zip(factors) {
            assert!((found.unwrap() - known.unwrap()).abs() < 1e-6, "{:?}", model.factors);
        }
        assert!(tables.iter().all(|table| model.error(table).abs() < 1e-9));
        assert!(model.reaches_memory(tables.iter()) && !model.reaches_memory(tables[..3].iter()));
        assert!(model.formula().starts_with("ns = 5.0 + 30.0 miss2 + "), "{}", model.formula());
    }

    #[test]
    fn no_cause_has_a_price_below_nothing() {
        let ns = [(10_000, 40.0), (20_000, 30.0), (40_000, 20.0)];
        let tables = ns.map(|(flows, ns)| Table { ns, ..table(flows, 10_000_000, 0.0) });
        let model = Model::of(tables.iter(), CACHES).unwrap();
        assert!(model.factors.iter().flatten().all(|factor| *factor >= 0.0), "{model:?}");
    }
}

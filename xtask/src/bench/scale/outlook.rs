//! What the model makes of the measurements: memory, how well it fits, and what was not measured;
//! what it says of 100 GbE is in [`super::line_rate`].

use crate::bench::document::{Block, short, table};

use super::fit::fit;
use super::line_rate::{limits, line_rate};
use super::model::{Load, Model, TERMS};
use super::needs::Prices;
use super::result::Scale;

/// What follows from a result.
pub(super) struct Outlook {
    pub(super) model: Option<Model>,
    prices: Option<Prices>,
    /// Bytes of the whole program: without flows, and for each of them.
    memory: Option<[f64; 2]>,
}

impl Outlook {
    #[expect(clippy::cast_precision_loss, reason = "bytes and flows are far below 2^52")]
    pub(super) fn of(scale: &Scale) -> Self {
        let alone = scale.programs.iter().filter(|program| program.workers == 1);
        let rows: Vec<_> = alone.map(|one| ([1.0, one.flows as f64], one.rss_bytes())).collect();
        let memory = fit(&rows).and_then(|[base, each]| Some([base?, each?]));
        Self { model: Model::of(scale.tables(), scale.caches), prices: prices(scale), memory }
    }

    pub(super) fn blocks(&self, scale: &Scale) -> Vec<Block> {
        let mut blocks = self.memory(scale);
        blocks.push(Block::Heading(3, "A model of the cost".into()));
        let Some(model) = &self.model else {
            let text = "These measurements do not determine one: run it with more flows.";
            blocks.push(Block::Text(text.into()));
            return blocks;
        };
        blocks.extend(fitted(model, scale));
        match &self.prices {
            Some(prices) if model.reaches_memory(scale.tables()) => {
                blocks.extend(line_rate(model, prices, scale));
            }
            _ => blocks.push(Block::Text(
                "No table was much larger than all caches: this says nothing of line rate. Run it \
                 without `--small`."
                    .into(),
            )),
        }
        blocks
    }

    fn memory(&self, scale: &Scale) -> Vec<Block> {
        let mut items = Vec::new();
        if let Some(prices) = &self.prices {
            items.push(format!(
                "Core tables: {:.0} bytes for each flow that there is to be room for.",
                prices.slot_bytes
            ));
        }
        for global in scale.globals() {
            items.push(format!(
                "Global map: {} bytes for each flow that has gone on for more than a second; \
                 measured with {}.",
                global.bytes, global.live
            ));
        }
        if let Some([base, each]) = self.memory {
            items.push(format!(
                "The whole of `flowtap read`, most of it resident: {:.0} MB and {each:.0} bytes \
                 for each flow, fitted to the runs with one worker.",
                base / 1e6
            ));
        }
        vec![Block::Heading(3, "Memory".into()), Block::List(items)]
    }

    /// What of the program is in the way.
    pub(super) fn losses(&self, scale: &Scale) -> Vec<String> {
        match (&self.model, &self.prices) {
            (Some(model), Some(prices)) if model.reaches_memory(scale.tables()) => {
                limits(model, prices)
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn gaps(scale: &Scale) -> Vec<String> {
        let rate = scale.merges().filter(|merge| merge.deltas > 1).map(|merge| merge.flows_per_s);
        let rate = rate.fold(0.0, f64::max);
        vec![
            format!(
                "Scaling: more than {} cores. All that the model says of more is a guess.",
                scale.available
            ),
            format!("Scaling: receiving from a card: {}.", scale.receive.source),
            format!(
                "Scaling: `reap`, one thread however many merge threads there are. It kept up with \
                 {} flows/s that went through the map here, on processors that it shared; what it \
                 can do at most is not known.",
                short(rate)
            ),
            "Scaling: a table that is full under attack: `cargo bench --bench table -- attack`."
                .into(),
        ]
    }
}

/// What is measured besides the tables; `None` if something is missing.
#[expect(clippy::cast_precision_loss, reason = "bytes are far below 2^52")]
fn prices(scale: &Scale) -> Option<Prices> {
    let global = scale.globals().next()?;
    let dearest = |deltas: u32| {
        let times = scale.merges().filter(|merge| (merge.deltas > 1) == (deltas > 1));
        times.map(|merge| merge.own_ns / f64::from(merge.deltas)).reduce(f64::max)
    };
    let export = scale.exports().find(|export| export.format == "Csv")?;
    // The largest, whose odd bytes are spread over the most slots.
    let largest = scale.tables().max_by_key(|table| table.slots)?;
    Some(Prices {
        receive_ns: scale.receive.ns,
        decode_ns: scale.decode_ns()?,
        merge_delta_ns: dearest(2)?,
        merge_whole_ns: dearest(1)?,
        export_ns: export.ns,
        export_bytes: export.bytes,
        slot_bytes: largest.bytes as f64 / largest.slots as f64,
        map_bytes: global.bytes as f64,
        delta_bytes: global.delta_bytes as f64,
        record_bytes: global.record_bytes as f64,
    })
}

fn fitted(model: &Model, scale: &Scale) -> Vec<Block> {
    let terms = TERMS.iter().zip(model.factors).map(|((name, about), factor)| {
        let factor =
            factor.map_or("left out or without a measurement".into(), |ns| format!("{ns:.1} ns"));
        format!("`{name}`, {factor}: {about}.")
    });
    let rows = scale.tables().map(|found| {
        let load = Load::of(found);
        [
            found.flows.to_string(),
            found.workers.to_string(),
            format!("{:.3}", load.visits),
            format!("{:.1}", found.new_share * 100.0),
            format!("{:.1}", found.ns),
            format!("{:.1}", model.ns(&load)),
            format!("{:+.0} %", model.error(found) * 100.0),
            if found.workers == 1 { "yes".into() } else { "no".into() },
        ]
    });
    let worst = |is_fitted| worst(model, scale, is_fitted) * 100.0;
    vec![
        Block::Text(format!(
            "`{}`: the cost of counting a decoded packet, by least squares of relative errors over \
             the figures of one worker. `miss2` and `miss3` are what caches of {:.0} KB and \
             {:.0} MB have no room for if all slots are alike: `max(0, 1 - cache / bytes in use)`. \
             Worst error: {:.0} %; with several workers, which were not fitted, {:.0} %.",
            model.formula(),
            model.caches.l2 / 1_024.0,
            model.caches.l3 / 1_048_576.0,
            worst(true),
            worst(false),
        )),
        Block::List(terms.collect()),
        table(
            ["flows", "workers", "visits", "% new", "measured ns", "model ns", "error", "fitted"],
            rows,
        ),
    ]
}

/// The worst error, of what was fitted or of what was not.
pub(super) fn worst(model: &Model, scale: &Scale, is_fitted: bool) -> f64 {
    let tables = scale.tables().filter(|table| (table.workers == 1) == is_fitted);
    tables.map(|table| model.error(table).abs()).fold(0.0, f64::max)
}

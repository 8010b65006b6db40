//! What was measured, told; what the model makes of it is in [`super::outlook`].

use serde::{Deserialize, Serialize};

use crate::bench::document::{self, Block, Lines, short, table};
use crate::bench::median;
use crate::bench::report::Findings;

use super::figure::{Caches, Export, Figure, Global, Merge, Program, Table};
use super::needs::Receive;
use super::outlook::Outlook;

/// Everything that was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Scale {
    pub(super) caches: Caches,
    pub(super) receive: Receive,
    /// Processors of this machine.
    pub(super) available: usize,
    pub(super) figures: Vec<Figure>,
    pub(super) programs: Vec<Program>,
}

/// Figures of one kind.
macro_rules! of_kind {
    ($name:ident, $kind:ident) => {
        pub(super) fn $name(&self) -> impl Iterator<Item = &$kind> {
            self.figures.iter().filter_map(|figure| match figure {
                Figure::$kind(found) => Some(found),
                _ => None,
            })
        }
    };
}

impl Scale {
    of_kind!(tables, Table);
    of_kind!(merges, Merge);
    of_kind!(globals, Global);
    of_kind!(exports, Export);

    /// Nanoseconds of decoding a frame that lies in the cache.
    pub(super) fn decode_ns(&self) -> Option<f64> {
        self.figures.iter().find_map(|figure| match figure {
            Figure::Decode { ns } => Some(*ns),
            _ => None,
        })
    }

    /// Cores, and nanoseconds of passing a packet on among them.
    pub(super) fn passing(&self) -> Vec<(u32, f64)> {
        let passing = self.figures.iter().filter_map(|figure| match figure {
            Figure::PassOn { cores, ns } => Some((*cores, *ns)),
            _ => None,
        });
        passing.collect()
    }

    /// For people at a terminal.
    pub(super) fn text(&self) -> String {
        document::text(&self.blocks())
    }

    /// All flows alike and without an end, packets as fast as they can be counted.
    fn still(&self) -> impl Iterator<Item = &Table> {
        self.tables().filter(|table| table.is_busy())
    }

    fn by_flows(&self, outlook: &Outlook) -> Vec<Block> {
        let alone = || self.still().filter(|table| table.workers == 1);
        #[expect(clippy::cast_precision_loss, reason = "a place on a chart")]
        let point = |table: &Table, ns| [table.flows as f64, ns];
        let mut lines = vec![("measured".into(), alone().map(|t| point(t, t.ns)).collect())];
        if let Some(model) = &outlook.model {
            let modelled = alone().map(|t| point(t, t.ns * (1.0 + model.error(t))));
            lines.push(("model".into(), modelled.collect()));
        }
        vec![
            Block::Heading(3, "By flows".into()),
            Block::Text(
                "What counting a decoded packet costs one core's table: packets of random flows, \
                 none of which begins or ends, 10 M packets a second of packet time, so that the \
                 hand comes to each slot once in 10 M packets."
                    .into(),
            ),
            Block::Lines(Lines { x: "flows".into(), y: "ns a packet".into(), lines }),
            table(
                ["flows", "ns a packet", "table MB", "pages"],
                alone().map(|found| {
                    let [flows, bytes] = [found.flows, found.bytes].map(|n| n.to_string());
                    let megabytes = bytes.parse::<f64>().unwrap_or(0.0) / 1e6;
                    let pages = found.pages.to_lowercase();
                    [flows, format!("{:.1}", found.ns), format!("{megabytes:.1}"), pages]
                }),
            ),
        ]
    }

    fn by_new_flows(&self) -> Vec<Block> {
        let turning = || self.tables().filter(|table| !table.is_busy());
        let mut sizes: Vec<_> = turning().map(|table| table.flows).collect();
        sizes.dedup();
        let of = |flows| turning().filter(move |table| table.flows == flows);
        let line = |&flows: &u64| {
            let points = of(flows).filter(|table| table.new_share > 0.0);
            let points = points.map(|table| [table.new_share * 100.0, table.ns]).collect();
            #[expect(clippy::cast_precision_loss, reason = "a name")]
            let name = format!("{} flows", short(flows as f64));
            (name, points)
        };
        let lines = sizes.iter().map(line).filter(|(_, points): &(_, Vec<_>)| !points.is_empty());
        vec![
            Block::Heading(3, "By new flows".into()),
            Block::Text(
                "The same where each flow has a packet a second, so that the hand comes to a \
                 slot for every packet and publishes what has changed, and where flows end after \
                 so many packets and others begin. What is over has its slot for another second \
                 or two: \"slots\" are in use at most."
                    .into(),
            ),
            Block::Lines(Lines {
                x: "% of packets that begin a flow".into(),
                y: "ns a packet".into(),
                lines: lines.collect(),
            }),
            table(
                ["flows", "% of packets that begin one", "ns a packet", "slots", "given up"],
                turning().map(|found| {
                    [
                        found.flows.to_string(),
                        format!("{:.1}", found.new_share * 100.0),
                        format!("{:.1}", found.ns),
                        found.used.to_string(),
                        (found.given_up + found.in_overflow).to_string(),
                    ]
                }),
            ),
        ]
    }

    fn by_workers(&self) -> Vec<Block> {
        let alone = |flows| {
            self.still().find(|table| table.workers == 1 && table.flows == flows).map(|one| one.ns)
        };
        let rows = self.still().filter(|table| table.workers > 1).map(|found| {
            let times = alone(found.flows).map_or(f64::NAN, |one| found.ns / one);
            [
                found.workers.to_string(),
                found.flows.to_string(),
                format!("{:.1}", found.ns),
                format!("{times:.2}"),
            ]
        });
        let programs = self.programs.iter().map(|program| {
            let cpu_s = program.runs.iter().map(|run| run.cpu_s).collect();
            [
                program.flows.to_string(),
                program.packets.to_string(),
                program.workers.to_string(),
                format!("{:.2}", program.rate() / 1e6),
                format!("{:.2}", median(cpu_s)),
                format!("{:.0}", program.rss_bytes() / 1e6),
            ]
        });
        vec![
            Block::Heading(3, "By workers".into()),
            Block::Text(
                "Tables side by side, each on a processor of its own with as many flows as one \
                 alone had, in each thread's own time."
                    .into(),
            ),
            table(["workers", "flows each", "ns a packet", "times one alone"], rows),
            Block::Text(format!(
                "The whole program: `flowtap read --workers N`, frames of 60 bytes from a file to \
                 CSV, all {} processors; besides workers it has a thread each to read, merge, reap \
                 and write. More flows in as many packets are also more new flows.",
                self.available
            )),
            table(
                ["flows", "packets", "workers", "M packets/s", "processor s", "memory MB"],
                programs,
            ),
        ]
    }

    fn by_others(&self) -> Vec<Block> {
        let passing = self.passing().into_iter();
        let merges = self.merges().map(|merge| {
            [
                merge.shape.clone(),
                merge.threads.to_string(),
                format!("{:.0}", merge.own_ns),
                short(1e9 / merge.own_ns),
                short(merge.flows_per_s),
            ]
        });
        let exports = self.exports().map(|export| {
            let rate = short(1e9 / export.ns);
            [
                export.format.clone(),
                format!("{:.0}", export.ns),
                rate,
                format!("{:.0}", export.bytes),
            ]
        });
        vec![
            Block::Heading(3, "Between cores".into()),
            Block::Text(
                "Where the card's hash does not send both directions to one queue, a packet is \
                 passed on to its flow's core. One thread plays all cores, a batch each by turns: \
                 what moving lines between real caches costs is not in it."
                    .into(),
            ),
            table(
                ["cores", "ns a packet"],
                passing.map(|(cores, ns)| [cores.to_string(), format!("{ns:.0}")]),
            ),
            Block::Heading(3, "Merging".into()),
            Block::Text(
                "Own time of the merge threads. By the clock also counts the source of deltas \
                 and `reap`, all on this machine's processors."
                    .into(),
            ),
            table(
                ["flows", "merge threads", "own ns a flow", "flows/s each", "flows/s by the clock"],
                merges,
            ),
            Block::Heading(3, "Exporting".into()),
            table(["format", "ns a record", "records/s", "bytes a record"], exports),
        ]
    }

    fn losses_of_workers(&self) -> Option<String> {
        let alone = self.programs.iter().filter(|program| program.workers == 1);
        let slower = alone.filter_map(|one| {
            let same = |other: &&Program| (other.flows, other.packets) == (one.flows, one.packets);
            let rates = self.programs.iter().filter(same).map(Program::rate);
            let best = rates.fold(0.0, f64::max);
            (best <= one.rate()).then(|| format!("{} flows", one.flows))
        });
        let slower: Vec<_> = slower.collect();
        (!slower.is_empty() && self.available > 1).then(|| {
            format!("Scaling: more workers make `read` no faster here with {}.", slower.join(", "))
        })
    }
}

impl Program {
    /// Packets a second: the median.
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    pub(super) fn rate(&self) -> f64 {
        median(self.runs.iter().map(|run| self.packets as f64 / run.wall_s).collect())
    }

    /// The median of the most memory.
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    pub(super) fn rss_bytes(&self) -> f64 {
        median(self.runs.iter().map(|run| run.rss_bytes as f64).collect())
    }
}

impl Findings for Scale {
    const TITLE: &'static str = "Scaling: flows, new flows, workers, and 100 GbE";

    fn blocks(&self) -> Vec<Block> {
        let outlook = Outlook::of(self);
        let mut blocks = self.by_flows(&outlook);
        blocks.extend(self.by_new_flows());
        blocks.extend(self.by_workers());
        blocks.extend(self.by_others());
        blocks.extend(outlook.blocks(self));
        blocks
    }

    fn losses(&self) -> Vec<String> {
        let dear = self.passing().into_iter().filter(|(_, ns)| *ns > 100.0).map(|(cores, ns)| {
            format!("Scaling: passing a packet on among {cores} cores costs {ns:.0} ns.")
        });
        let limits = Outlook::of(self).losses(self);
        self.losses_of_workers().into_iter().chain(dear).chain(limits).collect()
    }

    fn gaps(&self) -> Vec<String> {
        Outlook::gaps(self)
    }
}

//! What the runs on a link come to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::meter::{CEILING, IN_KERNEL, OURS};
use crate::bench::document::{Block, Lines, table};
use crate::bench::median;
use crate::bench::report::Findings;

/// One meter at one rate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(super) meter: String,
    /// Packets a second that were asked for.
    pub(super) rate: u64,
    /// And that there were.
    pub(super) offered: f64,
    pub(super) sent: u64,
    pub(super) counted: u64,
    /// Why there is no count; empty if there is.
    pub(super) error: String,
}

/// All runs with one kind of traffic.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(super) name: String,
    pub(super) runs: Vec<Run>,
}

/// All kinds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Live {
    pub(super) seconds: f64,
    pub(super) rounds: usize,
    pub(super) versions: BTreeMap<String, String>,
    /// Peers that were not there.
    pub(super) missing: Vec<String>,
    pub(super) series: Vec<Series>,
}

/// One meter's curve.
struct Curve<'a> {
    meter: &'a str,
    /// Packets a second: offered and counted; medians, by rate.
    points: Vec<[f64; 2]>,
    /// The highest rate up to which no run lost a packet.
    loss_free: f64,
    error: &'a str,
}

#[expect(clippy::cast_precision_loss, reason = "counts of packets of some seconds")]
fn curve<'a>(meter: &'a str, runs: &[&'a Run]) -> Curve<'a> {
    let mut by_rate = BTreeMap::<u64, Vec<&Run>>::new();
    runs.iter().for_each(|run| by_rate.entry(run.rate).or_default().push(run));
    let median_of = |runs: &[&Run], figure: &dyn Fn(&Run) -> f64| {
        median(runs.iter().map(|run| figure(run)).collect())
    };
    let counted = |run: &Run| run.offered * run.counted as f64 / run.sent as f64;
    let points = by_rate
        .values()
        .map(|runs| [median_of(runs, &|run| run.offered), median_of(runs, &counted)])
        .collect();
    let without_loss = by_rate
        .values()
        .take_while(|runs| runs.iter().all(|run| run.error.is_empty() && run.counted >= run.sent));
    let loss_free = without_loss.last().map_or(0.0, |runs| median_of(runs, &|run| run.offered));
    let error = runs.iter().map(|run| run.error.as_str()).find(|error| !error.is_empty());
    Curve { meter, points, loss_free, error: error.unwrap_or_default() }
}

impl Series {
    /// One for each meter, by what it counts at most.
    fn curves(&self) -> Vec<Curve<'_>> {
        let mut by_meter = BTreeMap::<&str, Vec<&Run>>::new();
        self.runs.iter().for_each(|run| by_meter.entry(&run.meter).or_default().push(run));
        let mut curves: Vec<_> =
            by_meter.into_iter().map(|(meter, runs)| curve(meter, &runs)).collect();
        curves.sort_by(|one, two| two.most().total_cmp(&one.most()));
        curves
    }

    pub(super) fn blocks(&self) -> Vec<Block> {
        let curves = self.curves();
        let ceiling = curves.iter().find(|curve| curve.meter == CEILING);
        let ceiling = ceiling.map_or(f64::NAN, |curve| curve.most());
        let rows = curves.iter().map(|curve| {
            [
                curve.meter.to_owned(),
                format!("{:.2}", curve.loss_free / 1e6),
                format!("{:.2}", curve.most() / 1e6),
                format!("{:.2}", curve.most() / ceiling),
                format!("{:.1}", curve.loss_percent()),
                curve.error.to_owned(),
            ]
        });
        let head = [
            "receiver",
            "without loss, M packets/s",
            "at most, M packets/s",
            "of bare",
            "loss at the highest rate, %",
            "remarks",
        ];
        let lines = curves.iter().map(|curve| (curve.meter.to_owned(), curve.points.clone()));
        vec![
            Block::Heading(3, self.name.clone()),
            Block::Lines(Lines {
                x: "offered, packets/s".into(),
                y: "counted, packets/s".into(),
                lines: lines.collect(),
            }),
            table(head, rows),
        ]
    }
}

impl Curve<'_> {
    fn most(&self) -> f64 {
        self.points.iter().map(|point| point[1]).fold(0.0, f64::max)
    }

    fn loss_percent(&self) -> f64 {
        self.points
            .last()
            .map_or(0.0, |[offered, counted]| (1.0 - counted / offered).max(0.0) * 100.0)
    }
}

impl Findings for Live {
    const TITLE: &'static str = "Live: from a link to a flow file";

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = vec![Block::Text(format!(
            "{} rounds by turns of {} s at each rate (longer until each flow has had a packet), medians; a veth between two namespaces, \
             frames made by the kernel and delivered on processor 1, addressed to another host \
             (as on a mirror port) unless said otherwise, all of the receiver on processor 0; Debian's meters on \
             packet sockets. Without a link: the kernel gives the frames to the receiver's XDP \
             program, or to the host's packet sockets where there is none, as if the interface had received them. A packet is counted if it is in the receiver's results. The bare \
             receiver has flowtap's XDP program and sockets, and counts; in the kernel the same \
             program drops and counts by its filter, and nothing comes up. softflowd keeps \
             statistics and sends no records; tcpdump writes to nowhere.",
            self.rounds, self.seconds
        ))];
        self.series.iter().for_each(|series| blocks.extend(series.blocks()));
        blocks
    }

    fn losses(&self) -> Vec<String> {
        let mut losses = Vec::new();
        for series in &self.series {
            let curves = series.curves();
            let Some(ours) = curves.iter().find(|curve| curve.meter == OURS) else { continue };
            let is_peer = |curve: &&Curve<'_>| {
                ![CEILING, IN_KERNEL].contains(&curve.meter) && !curve.meter.starts_with(OURS)
            };
            for peer in curves.iter().filter(is_peer) {
                if peer.loss_free > ours.loss_free || peer.most() > ours.most() {
                    losses.push(format!("Live, {}: {} takes more.", series.name, peer.meter));
                }
            }
        }
        losses
    }

    fn gaps(&self) -> Vec<String> {
        let mut gaps =
            vec!["Live: real network cards, zero-copy drivers, several queues at once.".to_owned()];
        let has = |name: &&str| self.series.iter().any(|series| series.name == *name);
        let left: Vec<_> =
            super::CASES.map(|case| case.name).into_iter().filter(|name| !has(name)).collect();
        if !left.is_empty() {
            gaps.push(format!("Live, not run: {}.", left.join("; ")));
        }
        if !self.missing.is_empty() {
            gaps.push(format!("Live peers that were not there: {}.", self.missing.join(", ")));
        }
        gaps
    }

    fn commands(&self) -> Vec<String> {
        let versions = self.versions.iter();
        versions.map(|(meter, version)| format!("{meter}, live ({version})")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::document::text;

    fn run(meter: &str, rate: u64, counted: u64) -> Run {
        Run {
            meter: meter.into(),
            rate,
            offered: u32::try_from(rate).unwrap().into(),
            sent: rate,
            counted,
            error: String::new(),
        }
    }

    #[test]
    fn the_highest_rate_without_loss_is_below_the_first_loss() {
        let runs = vec![
            run(OURS, 1_000_000, 1_000_000),
            run(OURS, 2_000_000, 1_900_000),
            run(OURS, 3_000_000, 3_000_000),
            run(CEILING, 3_000_000, 3_000_000),
            run("slow", 1_000_000, 500_000),
            run("quick", 1_000_000, 1_000_000),
            run("quick", 2_000_000, 2_000_000),
        ];
        let series = Series { name: "small".into(), runs };
        let said = text(&series.blocks());
        for row in
            ["| flowtap | 1.00 | 3.00 | 1.00 | 0.0 |", "| slow | 0.00 | 0.50 | 0.17 | 50.0 |"]
        {
            assert!(said.contains(row), "{row} is not in\n{said}");
        }
        let live = Live {
            seconds: 1.0,
            rounds: 1,
            versions: BTreeMap::new(),
            missing: vec!["argus".into()],
            series: vec![series],
        };
        assert_eq!(live.losses(), ["Live, small: quick takes more."]);
        assert!(live.gaps()[1].contains("10 k flows; 60 bytes, 1 M flows;"), "{:?}", live.gaps());
        assert!(live.gaps()[2].contains("argus"));
    }
}

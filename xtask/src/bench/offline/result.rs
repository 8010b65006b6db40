//! What the runs on capture files come to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bench::document::{Bar, Bars, Block, table};
use crate::bench::median;
use crate::bench::report::Findings;
use crate::bench::usage::Usage;

/// One run of one meter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(super) meter: String,
    /// flowtap itself, in one form or another.
    pub(super) is_ours: bool,
    pub(super) command: String,
    pub(super) writes: String,
    pub(super) cpus: String,
    pub(super) usage: Usage,
    pub(super) records: u64,
    /// What its result has wrong; empty if nothing.
    pub(super) wrong: String,
}

/// All runs on one capture.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(super) capture: String,
    pub(super) about: String,
    pub(super) packets: u64,
    pub(super) flows: u64,
    pub(super) capture_bytes: u64,
    pub(super) runs: Vec<Run>,
    /// Why a meter has no result, by its name; older reports do not say.
    #[serde(default)]
    pub(super) reasons: BTreeMap<String, String>,
}

/// All captures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Offline {
    pub(super) seed: u64,
    pub(super) rounds: usize,
    /// Idle and active timeout.
    pub(super) timeouts_s: [u32; 2],
    pub(super) versions: BTreeMap<String, String>,
    /// Peers that were not there.
    pub(super) missing: Vec<String>,
    pub(super) series: Vec<Series>,
}

/// What the runs of one meter come to.
struct Row<'a> {
    run: &'a Run,
    /// Packets a second: median, least, most.
    rate: [f64; 3],
    cpu_s: f64,
    rss_bytes: f64,
}

impl Series {
    /// One row for each meter, fastest first.
    fn rows(&self) -> Vec<Row<'_>> {
        let mut by_meter = BTreeMap::<&str, Vec<&Run>>::new();
        self.runs.iter().for_each(|run| by_meter.entry(&run.meter).or_default().push(run));
        let mut rows: Vec<_> = by_meter.values().map(|runs| self.row(runs)).collect();
        rows.sort_by(|one, two| two.rate[0].total_cmp(&one.rate[0]));
        rows
    }

    /// What the runs of one meter come to.
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    fn row<'a>(&self, runs: &[&'a Run]) -> Row<'a> {
        let rates: Vec<_> = runs.iter().map(|run| self.packets as f64 / run.usage.wall_s).collect();
        let least = rates.iter().copied().fold(f64::MAX, f64::min);
        let most = rates.iter().copied().fold(0.0, f64::max);
        Row {
            // Wrong in one run is wrong.
            run: runs.iter().find(|run| !run.wrong.is_empty()).unwrap_or(&runs[0]),
            rate: [median(rates), least, most],
            cpu_s: median(runs.iter().map(|run| run.usage.cpu_s).collect()),
            rss_bytes: median(runs.iter().map(|run| run.usage.rss_bytes as f64).collect()),
        }
    }

    pub(super) fn table(&self) -> Block {
        let rows = self.rows();
        // The figure that all others are held against.
        let ours = rows.iter().find(|row| row.run.meter == super::meter::OURS);
        let ours = ours.map_or(f64::NAN, |row| row.rate[0]);
        let shown =
            rows.iter().map(|Row { run, rate: [median, least, most], cpu_s, rss_bytes }| {
                [
                    run.meter.clone(),
                    format!("{:.2}", median / 1e6),
                    format!("{:.2}", median / ours),
                    format!("{:.2} to {:.2}", least / 1e6, most / 1e6),
                    format!("{cpu_s:.2}"),
                    format!("{:.0}", rss_bytes / 1e6),
                    run.records.to_string(),
                    run.writes.clone(),
                    run.cpus.clone(),
                    if run.wrong.is_empty() { "right".into() } else { run.wrong.clone() },
                ]
            });
        table(
            [
                "meter",
                "M packets/s",
                "of flowtap",
                "range",
                "processor s",
                "memory MB",
                "records",
                "writes",
                "processors",
                "result",
            ],
            shown,
        )
    }

    fn chart(&self) -> Block {
        let bars = self.rows().into_iter().map(|row| Bar {
            label: row.run.meter.clone(),
            value: row.rate[0],
            is_ours: row.run.is_ours,
        });
        Block::Bars(Bars { unit: "packets/s".into(), bars: bars.collect() })
    }

    pub(super) fn about(&self) -> String {
        format!(
            "{} packets in {} flows ({} MB): {}.",
            self.packets,
            self.flows,
            self.capture_bytes / 1_000_000,
            self.about
        )
    }

    /// Peers that beat ours by `figure`, whose least is best; those that get packets wrong are
    /// not counted.
    fn beaten_by(&self, figure: impl Fn(&Row<'_>) -> f64) -> Vec<String> {
        let rows = self.rows();
        let ours = rows.iter().find(|row| row.run.meter == super::meter::OURS);
        let ours = ours.map_or(f64::MAX, &figure);
        let better = rows.iter().filter(|row| {
            let is_peer = !row.run.is_ours && row.run.meter != super::meter::CEILING;
            is_peer && !row.run.wrong.starts_with("wrong") && figure(row) < ours
        });
        better.map(|row| format!("{} on {}", row.run.meter, self.capture)).collect()
    }

    /// How many times as fast ours is without names, if that is worth saying.
    fn cost_of_names(&self) -> Option<String> {
        let rows = self.rows();
        let rate = |meter| rows.iter().find(|row| row.run.meter == meter).map(|row| row.rate[0]);
        let times = rate(super::meter::WITHOUT_NAMES)? / rate(super::meter::OURS)?;
        (times > 1.1).then(|| format!("{times:.1} times on {}", self.capture))
    }
}

impl Findings for Offline {
    const TITLE: &'static str = "Offline: from a capture file to a flow file";

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = vec![Block::Text(format!(
            "Seed {}, {} rounds by turns, medians; the whole process, from a capture file to a \
             flow file, both on tmpfs, but that softflowd sends its records to a socket that \
             nobody reads and tshark prints a table; idle timeout {} s, active {} s where a meter \
             has them. Results are held against the truth: what was written is read back, but of \
             softflowd, YAF and tshark it is what they say themselves; 0 records: it does not say. \
             Memory is that of \
             the largest process. The ceiling is one thread that reads the file, walks its \
             packets' headers and hashes their keys, and does nothing else. A meter that takes \
             too long runs once.",
            self.seed, self.rounds, self.timeouts_s[0], self.timeouts_s[1],
        ))];
        for series in &self.series {
            blocks.push(Block::Heading(3, series.capture.clone()));
            blocks.push(Block::Text(series.about()));
            blocks.push(series.chart());
            blocks.push(series.table());
        }
        blocks
    }

    fn losses(&self) -> Vec<String> {
        let all = |figure: &dyn Fn(&Row<'_>) -> f64| -> Vec<String> {
            self.series.iter().flat_map(|series| series.beaten_by(figure)).collect()
        };
        let say = |what: &str, by: Vec<String>| {
            if by.is_empty() { None } else { Some(format!("{what} than: {}.", by.join(", "))) }
        };
        let slower = say("Offline, slower", all(&|row| -row.rate[0]));
        let larger = say("Offline, more memory", all(&|row| row.rss_bytes));
        let named: Vec<_> = self.series.iter().filter_map(Series::cost_of_names).collect();
        let named = (!named.is_empty())
            .then(|| format!("Offline, faster without names: {}.", named.join(", ")));
        slower.into_iter().chain(larger).chain(named).collect()
    }

    fn gaps(&self) -> Vec<String> {
        let mut gaps =
            vec![format!("Offline peers that were not there: {}.", self.missing.join(", "))];
        for series in &self.series {
            let has_run = |meter: &&String| series.runs.iter().any(|run| run.meter == **meter);
            let without = self.versions.keys().filter(|meter| !has_run(meter));
            let with_reason = |meter: &String| match series.reasons.get(meter) {
                Some(reason) => format!("{meter} ({reason})"),
                None => meter.clone(),
            };
            let without: Vec<_> = without.map(with_reason).collect();
            if !without.is_empty() {
                gaps.push(format!("No result on {}: {}.", series.capture, without.join(", ")));
            }
        }
        let has = |name: &&str| self.series.iter().any(|series| series.capture == *name);
        let left = super::CAPTURES.map(|kind| kind.name);
        let left: Vec<_> = left.into_iter().filter(|name| !has(name)).collect();
        if !left.is_empty() {
            gaps.push(format!("Offline, as it ended before: {}.", left.join(", ")));
        }
        gaps
    }

    fn commands(&self) -> Vec<String> {
        let runs = || self.series.iter().flat_map(|series| &series.runs);
        let tell = |(meter, version): (&String, &String)| {
            let run = runs().find(|run| run.meter == *meter);
            let command = run.map_or("no result", |run| &run.command);
            format!("{meter} ({version}): `{command}`")
        };
        self.versions.iter().map(tell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::document::text;

    fn run(meter: &str, wall_s: f64, rss_bytes: u64, wrong: &str) -> Run {
        Run {
            meter: meter.to_owned(),
            is_ours: meter == "flowtap",
            command: format!("{meter} CAPTURE"),
            writes: "CSV".to_owned(),
            cpus: "0".to_owned(),
            usage: Usage { wall_s, cpu_s: wall_s, rss_bytes },
            records: 1,
            wrong: wrong.to_owned(),
        }
    }

    #[test]
    fn the_text_says_who_is_faster_leaner_and_wrong() {
        let runs = vec![
            run("flowtap", 1.0, 50, ""),
            run("quick", 0.5, 90, "bytes +1 %"),
            run("careless", 0.1, 5, "wrong: 3 packets of 9"),
            run("flowtap", 2.0, 50, ""),
            run("small", 4.0, 10, ""),
            run("flowtap", 3.0, 50, ""),
        ];
        let series = Series {
            capture: "imix".to_owned(),
            about: "made up".to_owned(),
            packets: 2_000_000,
            flows: 1,
            capture_bytes: 1,
            runs,
            reasons: [("slow".to_owned(), "ended after 900 s".to_owned())].into(),
        };
        let offline = Offline {
            seed: 1,
            rounds: 3,
            timeouts_s: [1, 2],
            versions: [("small", "small 1.0"), ("slow", "slow 2")]
                .map(|(meter, version)| (meter.to_owned(), version.to_owned()))
                .into(),
            missing: vec!["yaf".to_owned()],
            series: vec![series],
        };
        let mut old = serde_json::to_value(&offline.series[0]).unwrap();
        old.as_object_mut().unwrap().remove("reasons").unwrap();
        assert!(serde_json::from_value::<Series>(old).unwrap().reasons.is_empty());
        let said = text(&offline.blocks());
        for part in
            ["| flowtap | 1.00 | 1.00 | 0.67 to 2.00 |", "| quick | 4.00 | 4.00 |", "wrong: 3"]
        {
            assert!(said.contains(part), "{part} is not in\n{said}");
        }
        assert_eq!(
            offline.losses(),
            ["Offline, slower than: quick on imix.", "Offline, more memory than: small on imix."]
        );
        assert_eq!(
            offline.gaps(),
            [
                "Offline peers that were not there: yaf.",
                "No result on imix: slow (ended after 900 s).",
                "Offline, as it ended before: small64, scan, web.",
            ]
        );
        let small = "small (small 1.0): `small CAPTURE`";
        assert_eq!(offline.commands(), ["slow (slow 2): `no result`", small]);
    }
}

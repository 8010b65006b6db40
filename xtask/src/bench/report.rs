//! Every run's figures, and what they come to: as JSON for programs, as one page for people, as
//! text for the repository.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::usage::Usage;

/// One run of one meter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) meter: String,
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
pub(super) struct Series {
    pub(super) capture: String,
    pub(super) about: String,
    pub(super) packets: u64,
    pub(super) flows: u64,
    pub(super) capture_bytes: u64,
    pub(super) runs: Vec<Run>,
}

/// A whole report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) command: String,
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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

    /// The figure that all others are held against.
    fn ours(&self) -> f64 {
        self.rows().iter().find(|row| row.run.meter == "flowtap").map_or(0.0, |row| row.rate[0])
    }

    /// A table in Markdown.
    pub(super) fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |text: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(out, "{text}");
        };
        line(&format!(
            "{}: {} packets in {} flows ({} MB): {}\n",
            self.capture,
            self.packets,
            self.flows,
            self.capture_bytes / 1_000_000,
            self.about
        ));
        line(
            "| meter | M packets/s | of flowtap | range | processor s | memory MB | writes | processors | result |",
        );
        line("|---|---|---|---|---|---|---|---|---|");
        let ours = self.ours();
        for Row { run, rate: [median, least, most], cpu_s, rss_bytes } in self.rows() {
            let wrong = if run.wrong.is_empty() { "right" } else { &run.wrong };
            line(&format!(
                "| {} | {:.2} | {:.2} | {:.2} to {:.2} | {cpu_s:.2} | {:.0} | {} | {} | {wrong} |",
                run.meter,
                median / 1e6,
                median / ours,
                least / 1e6,
                most / 1e6,
                rss_bytes / 1e6,
                run.writes,
                run.cpus,
            ));
        }
        out
    }

    /// Bars, as SVG.
    fn chart(&self) -> String {
        let rows = self.rows();
        let most = rows.first().map_or(1.0, |row| row.rate[0]);
        let mut out = format!(
            "<svg viewBox='0 0 720 {0}' width='720' height='{0}' role='img'>",
            rows.len() * 26 + 4
        );
        for (place, row) in rows.iter().enumerate() {
            let (top, width) = (place * 26 + 4, (row.rate[0] / most * 420.0).max(1.0));
            let colour = if row.run.meter.starts_with("flowtap") { "#1763a6" } else { "#8a8f98" };
            let _ = write!(
                out,
                "<text x='190' y='{}' text-anchor='end'>{}</text>\
                 <rect x='200' y='{top}' width='{width:.0}' height='18' fill='{colour}'/>\
                 <text x='{:.0}' y='{}'>{:.2} M/s</text>",
                top + 14,
                escape(&row.run.meter),
                width + 206.0,
                top + 14,
                row.rate[0] / 1e6,
            );
        }
        out + "</svg>"
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Report {
    /// # Errors
    /// If there is none, or it is none.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read(path).map_err(|error| {
            format!("read {}: {error}; make one with cargo xtask bench offline", path.display())
        })?;
        serde_json::from_slice(&text).map_err(|error| format!("read {}: {error}", path.display()))
    }

    /// Writes `report.json` and `report.html`.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(super) fn write(&self, folder: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("write {}: {error}", folder.display());
        fs::create_dir_all(folder).map_err(failed)?;
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        fs::write(folder.join("report.json"), text).map_err(failed)?;
        fs::write(folder.join("report.html"), self.page()).map_err(failed)?;
        eprintln!("bench: {0}/report.json and {0}/report.html", folder.display());
        Ok(())
    }

    fn about(&self) -> String {
        let machine = &self.machine;
        format!(
            "{} processors ({}), {} GB, {}, {}; flowtap at {}{}, {}. Seed {}, {} rounds by turns, \
             medians; whole process from capture file to flow file, both on tmpfs; idle timeout \
             {} s, active {} s. Times of a shared machine: only ratios within a table mean \
             anything.",
            machine.processors,
            machine.processor,
            machine.memory_bytes / 1_000_000_000,
            machine.kernel,
            machine.compiler,
            machine.commit,
            if machine.is_changed { " with changes" } else { "" },
            machine.date,
            self.seed,
            self.rounds,
            self.timeouts_s[0],
            self.timeouts_s[1],
        )
    }

    /// Meters that were there and gave no result on this capture.
    fn without_result(&self, series: &Series) -> Vec<&str> {
        let has_run = |meter: &&String| series.runs.iter().any(|run| run.meter == **meter);
        self.versions.keys().filter(|meter| !has_run(meter)).map(String::as_str).collect()
    }

    /// Meters that are faster somewhere.
    fn losses(&self) -> Vec<String> {
        let faster = self.series.iter().flat_map(|series| {
            let ours = series.ours();
            let rows = series.rows().into_iter();
            let others = rows.filter(|row| !row.run.meter.starts_with("flowtap"));
            let lost: Vec<_> = others
                .filter(|row| row.rate[0] > ours)
                .map(|row| format!("{} on {}", row.run.meter, series.capture))
                .collect();
            lost
        });
        faster.collect()
    }

    /// Meters that take less memory somewhere, and get packets right.
    fn leaner(&self) -> Vec<String> {
        let leaner = self.series.iter().flat_map(|series| {
            let rows = series.rows();
            let ours = rows.iter().find(|row| row.run.meter == "flowtap");
            let ours = ours.map_or(0.0, |row| row.rss_bytes);
            let is_leaner = |row: &&Row<'_>| {
                row.rss_bytes < ours
                    && !row.run.meter.starts_with("flowtap")
                    && !row.run.wrong.starts_with("wrong")
            };
            let name = |row: &Row<'_>| format!("{} on {}", row.run.meter, series.capture);
            rows.iter().filter(is_leaner).map(name).collect::<Vec<_>>()
        });
        leaner.collect()
    }

    /// `BENCHMARKS.md`.
    pub(super) fn text(&self) -> String {
        let mut out = String::from("# Benchmarks\n\n");
        let _ = writeln!(
            out,
            "Written by `cargo xtask bench text` from the report of `cargo xtask {}`. Make it \
             again: `scripts/bench --long`, then `cargo xtask bench text`.\n\n{}\n",
            self.command,
            self.about()
        );
        for series in &self.series {
            let _ = writeln!(out, "## {}\n\n{}", series.capture, series.table());
            let without = self.without_result(series);
            if !without.is_empty() {
                let _ = writeln!(out, "Without a result: {}.\n", without.join(", "));
            }
        }
        let list = |items: Vec<String>| {
            if items.is_empty() { "nowhere in these runs".to_owned() } else { items.join(", ") }
        };
        let _ = writeln!(
            out,
            "## Where flowtap loses\n\nSlower than: {}.\n\nMore memory than: {}.\n",
            list(self.losses()),
            list(self.leaner())
        );
        let _ = writeln!(
            out,
            "## Not measured\n\nPeers that were not there: {}. Live capture, scaling over \
             workers and flows, and the exporters by themselves are not part of this report.\n",
            self.missing.join(", ")
        );
        out += "## Versions and commands\n\n";
        for (meter, version) in &self.versions {
            let command = self.series.iter().flat_map(|series| &series.runs);
            let command = command.into_iter().find(|run| run.meter == *meter);
            let command = command.map_or("did not run", |run| &run.command);
            let _ = writeln!(out, "- {meter} ({version}): `{command}`");
        }
        out
    }

    /// One page, complete in itself.
    fn page(&self) -> String {
        let mut out = String::from(
            "<!doctype html><meta charset='utf-8'><title>flowtap benchmarks</title><style>body{font:15px/1.5 \
             system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}table{border-\
             collapse:collapse}td,th{padding:.2rem .6rem;border-bottom:1px solid #ddd;text-align:\
             right}td:first-child,th:first-child{text-align:left}svg text{font:13px system-ui}\
             code{font-size:12px}</style><h1>flowtap benchmarks</h1>",
        );
        let _ = write!(out, "<p>{}</p>", escape(&self.about()));
        for series in &self.series {
            let _ = write!(
                out,
                "<h2>{}</h2><p>{} packets in {} flows: {}</p>{}<table><tr><th>meter<th>M packets/s\
                 <th>of flowtap<th>range<th>processor s<th>memory MB<th>result</tr>",
                escape(&series.capture),
                series.packets,
                series.flows,
                escape(&series.about),
                series.chart()
            );
            let ours = series.ours();
            for Row { run, rate: [median, least, most], cpu_s, rss_bytes } in series.rows() {
                let wrong = if run.wrong.is_empty() { "right" } else { &run.wrong };
                let _ = write!(
                    out,
                    "<tr><td>{}<td>{:.2}<td>{:.2}<td>{:.2} to {:.2}<td>{cpu_s:.2}<td>{:.0}<td>{}</tr>",
                    escape(&run.meter),
                    median / 1e6,
                    median / ours,
                    least / 1e6,
                    most / 1e6,
                    rss_bytes / 1e6,
                    escape(wrong)
                );
            }
            out += "</table>";
            let without = self.without_result(series);
            if !without.is_empty() {
                let _ = write!(out, "<p>Without a result: {}</p>", escape(&without.join(", ")));
            }
        }
        let _ = write!(out, "<h2>Not there</h2><p>{}</p>", escape(&self.missing.join(", ")));
        let _ = write!(out, "<p>Processor: <code>{}</code></p>", escape(&self.machine.flags));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(meter: &str, wall_s: f64, rss_bytes: u64, wrong: &str) -> Run {
        Run {
            meter: meter.to_owned(),
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
            run("quick", 0.5, 90, "wrong: 3 packets of 9"),
            run("flowtap", 2.0, 50, ""),
            run("small", 4.0, 10, ""),
            run("flowtap", 3.0, 50, ""),
        ];
        let series = Series {
            capture: "imix".to_owned(),
            about: "<made up>".to_owned(),
            packets: 2_000_000,
            flows: 1,
            capture_bytes: 1,
            runs,
        };
        let report = Report {
            machine: Machine::here(),
            command: "bench offline".to_owned(),
            seed: 1,
            rounds: 3,
            timeouts_s: [1, 2],
            versions: [("small", "small 1.0"), ("slow", "slow 2")]
                .map(|(meter, version)| (meter.to_owned(), version.to_owned()))
                .into(),
            missing: vec!["yaf".to_owned()],
            series: vec![series],
        };
        let text = serde_json::to_string(&report).unwrap();
        let text = serde_json::from_str::<Report>(&text).unwrap().text();
        for part in [
            "| flowtap | 1.00 | 1.00 | 0.67 to 2.00 |",
            "| quick | 4.00 | 4.00 |",
            "wrong: 3 packets of 9",
            "Slower than: quick on imix.",
            "More memory than: small on imix.",
            "not there: yaf.",
            "- small (small 1.0): `small CAPTURE`",
            "Without a result: slow.",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let page = report.page();
        assert!(page.contains("&lt;made up&gt;") && page.contains("</svg>"), "{page}");
    }
}

//! The report: what each benchmark found, where and how, as JSON for programs, as one page for
//! people, as text for the repository. A benchmark that is run again replaces its own part.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::core::Pieces;
use super::document::{self, Block};
use super::live::result::Live;
use super::machine::Machine;
use super::offline::result::Offline;
use super::scale::result::Scale;

/// What one benchmark found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Measured<T> {
    pub(super) machine: Machine,
    /// The command that makes it again.
    pub(super) command: String,
    /// All that it found, every run's figures included.
    pub(super) result: T,
}

impl<T> Measured<T> {
    /// By this process, on a machine as it was when what is measured was built.
    pub(super) fn on(machine: Machine, result: T) -> Self {
        let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
        Self { machine, command: format!("cargo xtask {command}"), result }
    }
}

/// What a benchmark's result says.
pub(super) trait Findings {
    /// One or two words.
    const TITLE: &'static str;
    /// Everything that it found.
    fn blocks(&self) -> Vec<Block>;
    /// Where flowtap loses; each a sentence.
    fn losses(&self) -> Vec<String>;
    /// What was not measured; each a sentence.
    fn gaps(&self) -> Vec<String>;
    /// What was run, by version and command.
    fn commands(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A whole report: each benchmark's last result.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Report {
    pub(super) offline: Option<Measured<Offline>>,
    pub(super) live: Option<Measured<Live>>,
    pub(super) core: Option<Measured<Pieces>>,
    pub(super) scale: Option<Measured<Scale>>,
}

/// What is not in a report, and how it is made.
type Absent = (&'static str, &'static str);

impl Report {
    /// # Errors
    /// If there is none, or it is none.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read(path).map_err(|error| {
            format!("read {}: {error}; make one with cargo xtask bench offline", path.display())
        })?;
        serde_json::from_slice(&text).map_err(|error| {
            format!("read {}: {error}; remove it and make another", path.display())
        })
    }

    /// What is in `folder` is a report, or nothing: asked before hours are spent.
    ///
    /// # Errors
    /// If it is something else.
    pub(super) fn expect(folder: &Path) -> Result<(), String> {
        let path = folder.join("report.json");
        if path.exists() { Self::read(&path).map(drop) } else { Ok(()) }
    }

    /// Changes one part of the report in `folder`, and writes `report.json` and `report.html`
    /// there. What other benchmarks have found stays.
    ///
    /// # Errors
    /// If what is there is no report, or they cannot be written.
    pub(super) fn change(folder: &Path, change: impl FnOnce(&mut Self)) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("write {}: {error}", folder.display());
        fs::create_dir_all(folder).map_err(failed)?;
        let path = folder.join("report.json");
        let mut report = if path.exists() { Self::read(&path)? } else { Self::default() };
        change(&mut report);
        let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        fs::write(&path, text).map_err(failed)?;
        let page = document::page("flowtap benchmarks", &report.document());
        fs::write(folder.join("report.html"), page).map_err(failed)?;
        eprintln!("bench: {0}/report.json and {0}/report.html", folder.display());
        Ok(())
    }

    /// `BENCHMARKS.md`.
    pub(super) fn text(&self) -> String {
        document::text(&self.document())
    }

    fn document(&self) -> Vec<Block> {
        let mut parts = Parts::default();
        parts.add(self.offline.as_ref(), ("Offline", "cargo xtask bench offline"));
        parts.add(self.live.as_ref(), ("Live", "cargo xtask bench live"));
        parts.add(self.core.as_ref(), ("Pieces", "cargo xtask bench core"));
        parts.add(self.scale.as_ref(), ("Scaling", "cargo xtask bench scale"));
        parts.document()
    }
}

/// What all benchmarks together have to say.
#[derive(Default)]
struct Parts {
    found: Vec<Block>,
    losses: Vec<String>,
    gaps: Vec<String>,
    commands: Vec<String>,
}

impl Parts {
    fn add<T: Findings>(&mut self, measured: Option<&Measured<T>>, absent: Absent) {
        let Some(Measured { machine, command, result }) = measured else {
            let (what, command) = absent;
            self.gaps.push(format!("{what}: not in this report; `{command}` measures it."));
            return;
        };
        self.found.push(Block::Heading(2, T::TITLE.into()));
        self.found.push(Block::Text(format!("`{command}`. {}", machine.about())));
        self.found.extend(result.blocks());
        self.losses.extend(result.losses());
        self.gaps.extend(result.gaps());
        self.commands.extend(result.commands());
    }

    fn document(self) -> Vec<Block> {
        let or_none = |items: Vec<String>, none: &str| {
            if items.is_empty() { Block::Text(none.into()) } else { Block::List(items) }
        };
        let mut blocks = vec![
            Block::Heading(1, "Benchmarks".into()),
            Block::Text(
                "Written by `cargo xtask bench text` from `target/bench/report.json`, which the \
                 commands below write; each section is of the run whose commit it names. Times of \
                 a shared machine: only ratios within a table mean anything."
                    .into(),
            ),
        ];
        blocks.extend(self.found);
        blocks.push(Block::Heading(2, "Where flowtap loses".into()));
        blocks.push(or_none(self.losses, "Nowhere in these runs."));
        blocks.push(Block::Heading(2, "Not measured".into()));
        blocks.push(or_none(self.gaps, "Nothing is missing."));
        blocks.push(Block::Heading(2, "Versions and commands".into()));
        blocks.push(or_none(self.commands, "None but the above."));
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Serialize, Deserialize)]
    struct Made(String);

    impl Findings for Made {
        const TITLE: &'static str = "Made up";
        fn blocks(&self) -> Vec<Block> {
            vec![Block::Text(format!("found {}", self.0))]
        }
        fn losses(&self) -> Vec<String> {
            vec!["Slower than light.".into()]
        }
        fn gaps(&self) -> Vec<String> {
            Vec::new()
        }
    }

    #[test]
    fn a_part_is_told_and_a_missing_one_is_named() {
        let mut parts = Parts::default();
        let machine = Machine { commit: "0123abc".into(), is_changed: true, ..Machine::here() };
        let measured = Measured::on(machine, Made("it".into()));
        parts.add(Some(&measured), ("Made up", "make"));
        parts.add(None::<&Measured<Made>>, ("Another", "bench another"));
        let text = document::text(&parts.document());
        for part in [
            "## Made up",
            "flowtap at 0123abc with changes",
            "found it",
            "- Slower than light.",
            "- Another: not in this report; `bench another` measures it.",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn a_part_is_replaced_and_others_stay() {
        let folder = std::env::temp_dir().join(format!("flowtap-report-{}", std::process::id()));
        Report::change(&folder, |_| {}).unwrap();
        Report::change(&folder, |report| assert!(report.offline.is_none())).unwrap();
        assert!(Report::read(&folder.join("report.json")).is_ok());
        assert!(fs::read_to_string(folder.join("report.html")).unwrap().contains("<h1>"));
        fs::write(folder.join("report.json"), "{").unwrap();
        assert!(Report::change(&folder, |_| {}).unwrap_err().contains("remove it"));
        fs::remove_dir_all(&folder).unwrap();
    }
}

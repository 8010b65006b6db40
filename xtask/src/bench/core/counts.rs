//! Instructions of `benches/instructions`, as gungraun has them from callgrind, and the
//! committed counts that they are held against.
//!
//! The counts are those of one compiler (`rust-toolchain.toml` names it) and of the processor
//! that valgrind shows to programs: x86-64 with AVX2 and without the SHA extensions, on every
//! machine that has AVX2. Of what picks its code at run time that concerns memcpy(3) and the
//! SHA-1 of Community IDs, which real processors do in fewer instructions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ITEMS;
use crate::bench::document::{Block, table};

/// How many more instructions may go by, by how many there were.
const MOST: f64 = 1.05;

/// How to go on where the new counts are meant.
const ADVICE: &str = "if that is meant, run cargo xtask bench core --instructions \
                      --save-baseline, and commit the file with the reason";

/// Instructions for an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) instructions: f64,
    /// The committed count.
    pub(crate) baseline: Option<f64>,
    /// By the committed count.
    pub(crate) ratio: Option<f64>,
}

impl Count {
    /// What it is called in the baseline.
    fn key(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }
}

/// Counts all of them: a quarter of a minute, once they are built.
///
/// # Errors
/// If they cannot be run, or print something else.
pub(super) fn measure() -> Result<Vec<Count>, String> {
    let text = super::bench("instructions", "instructions", "counts", &["--output-format=json"])
        .map_err(|error| format!("{error}; scripts/setup-instructions installs what it needs"))?;
    parse(&text)
}

/// Of two runs the fewest of each, in the order of the first.
pub(super) fn fewest(counts: Vec<Count>, others: &[Count]) -> Vec<Count> {
    let fewer = |count: Count| {
        let other = others.iter().find(|other| other.key() == count.key());
        let instructions =
            other.map_or(count.instructions, |other| other.instructions.min(count.instructions));
        Count { instructions, ..count }
    };
    counts.into_iter().map(fewer).collect()
}

/// One object of JSON in each line.
fn parse(text: &str) -> Result<Vec<Count>, String> {
    let read = |line| {
        let value: Value = serde_json::from_str(line).ok()?;
        let counted = &value["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"];
        // A tenth of an instruction is enough.
        let instructions = (counted.as_f64()? / ITEMS * 10.0).round() / 10.0;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let (group, name) = (text("function_name")?, text("id")?);
        Some(Count { group, name, instructions, baseline: None, ratio: None })
    };
    let counts: Option<Vec<_>> = text.lines().map(read).collect();
    let counts = counts.filter(|counts| !counts.is_empty());
    counts.ok_or_else(|| format!("read benchmark instructions: no counts in\n{text}"))
}

/// All of them for people.
pub(super) fn shown(counts: &[Count]) -> Block {
    let rows = counts.iter().map(|count| {
        let Count { group, name, instructions, baseline, ratio } = count;
        let baseline = baseline.map(|count| format!("{count:.1}")).unwrap_or_default();
        let ratio = ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default();
        [format!("{group}, {name}"), format!("{instructions:.1}"), baseline, ratio]
    });
    table(["instructions an item", "now", "committed", "ratio"], rows)
}

/// Committed counts, and what they were made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Baseline {
    compiler: String,
    valgrind: String,
    /// By group and name.
    instructions_per_item: BTreeMap<String, f64>,
}

impl Baseline {
    pub(super) fn new(counts: &[Count], compiler: &str, valgrind: &str) -> Self {
        let by_key = counts.iter().map(|count| (count.key(), count.instructions));
        Self {
            compiler: compiler.to_owned(),
            valgrind: valgrind.to_owned(),
            instructions_per_item: by_key.collect(),
        }
    }

    /// # Errors
    /// If there is none, or it is none.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let failed =
            |error: &dyn std::fmt::Display| format!("read {}: {error}; {ADVICE}", path.display());
        let text = fs::read(path).map_err(|error| failed(&error))?;
        serde_json::from_slice(&text).map_err(|error| failed(&error))
    }

    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())? + "\n";
        fs::write(path, text).map_err(|error| format!("write {}: {error}", path.display()))
    }

    /// Writes to each count what it is held against.
    pub(super) fn apply_to(&self, counts: &mut [Count]) {
        for count in counts {
            count.baseline = self.instructions_per_item.get(&count.key()).copied();
            count.ratio = count.baseline.map(|baseline| count.instructions / baseline);
        }
    }

    /// Whether one of these is more than 5 % above.
    pub(super) fn is_exceeded_by(&self, counts: &[Count]) -> bool {
        counts.iter().any(|count| {
            let committed = self.instructions_per_item.get(&count.key());
            committed.is_some_and(|committed| count.instructions / committed > MOST)
        })
    }

    /// # Errors
    /// If one is more than 5 % above, has no committed count, or is gone. `now` is made of the
    /// same counts.
    pub(super) fn check(&self, counts: &[Count], now: &Self) -> Result<(), String> {
        let mut wrong = Vec::new();
        for count in counts {
            match count.ratio {
                None => wrong.push(format!("{}: no committed count", count.key())),
                Some(ratio) if ratio > MOST => {
                    let more = (ratio - 1.0) * 100.0;
                    wrong.push(format!("{}: {more:.1} % more instructions", count.key()));
                }
                Some(_) => {}
            }
        }
        let gone = self.instructions_per_item.keys();
        let gone = gone.filter(|key| !now.instructions_per_item.contains_key(*key));
        wrong.extend(gone.map(|key| format!("{key}: committed, and not there any more")));
        if wrong.is_empty() {
            return Ok(());
        }
        let made = |one: &Self| format!("{}, {}", one.compiler, one.valgrind);
        let with = if made(self) == made(now) {
            String::new()
        } else {
            format!(" (committed counts are of {}; these of {})", made(self), made(now))
        };
        Err(format!(
            "hold instructions against the committed counts: {}{with}; {ADVICE}",
            wrong.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(&str, f64)]) -> Vec<Count> {
        let line = |(name, total): &(&str, f64)| {
            format!(
                r#"{{"function_name":"decode","id":"{name}","profiles":[{{"data":{{"total":{{"metrics":{{"Ir":{{"values":{{"new":{total}}}}}}}}}}}}}]}}"#
            )
        };
        parse(&of.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap()
    }

    fn check(of: &[(&str, f64)]) -> Result<(), String> {
        let baseline = Baseline::new(&counts(&[("a", 409_600.0), ("b", 409_600.0)]), "c", "v");
        let text = serde_json::to_string(&baseline).unwrap();
        let baseline: Baseline = serde_json::from_str(&text).unwrap();
        let mut counts = counts(of);
        baseline.apply_to(&mut counts);
        baseline.check(&counts, &Baseline::new(&counts, "c", "other"))
    }

    #[test]
    fn more_than_five_percent_more_is_a_failure_and_less_is_none() {
        assert_eq!(check(&[("a", 429_900.0), ("b", 4_096.0)]), Ok(()));
        let error = check(&[("a", 450_560.0), ("b", 409_600.0)]).unwrap_err();
        assert!(error.contains("decode/a: 10.0 % more") && !error.contains("decode/b"), "{error}");
        assert!(
            error.contains("--save-baseline") && error.contains("these of c, other"),
            "{error}"
        );
    }

    #[test]
    fn of_two_runs_the_fewest_count() {
        let baseline = Baseline::new(&counts(&[("a", 409_600.0), ("b", 409_600.0)]), "c", "v");
        let one = counts(&[("a", 450_560.0), ("b", 409_600.0)]);
        let other = counts(&[("b", 450_560.0), ("a", 413_696.0)]);
        assert!(baseline.is_exceeded_by(&one) && baseline.is_exceeded_by(&other));
        let both = fewest(one, &other);
        assert!(!baseline.is_exceeded_by(&both));
        assert_eq!(both, counts(&[("a", 413_696.0), ("b", 409_600.0)]));
    }

    #[test]
    fn what_is_new_or_gone_is_a_failure() {
        let error = check(&[("a", 409_600.0), ("c", 409_600.0)]).unwrap_err();
        assert!(error.contains("decode/c: no committed count"), "{error}");
        assert!(error.contains("decode/b: committed, and not there"), "{error}");
    }

    #[test]
    fn what_is_no_count_is_said() {
        assert!(parse("nothing\n").is_err());
        assert!(parse("").is_err());
    }
}

//! Names of the files that a sink has completed: none of them is replaced by a later one. Kept
//! by the sink's thread, and bounded, however often a file is begun.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::limits::COMPLETED_NAMES;

/// What a sink has completed.
#[derive(Debug, Default)]
pub(crate) struct Completed {
    /// For each name the last number that was put into it; 1 is none.
    names: HashMap<PathBuf, u64>,
    /// Some were forgotten: from then on whatever is there may be of this run.
    has_forgotten: bool,
}

/// What a file is to be called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) name: PathBuf,
    /// Whether that of an earlier run, which has the name, goes.
    pub(crate) replaces: bool,
}

impl Completed {
    /// `name`, or `name` with a number before its first dot's ending if a file of this run has it
    /// and nobody has moved it away: `flows.jsonl`, `flows-2.jsonl`. Numbers only rise. If it
    /// `keeps_all`, other runs' files are not replaced either.
    pub(crate) fn choose(
        &mut self,
        name: &Path,
        keeps_all: bool,
        is_there: impl Fn(&Path) -> bool,
    ) -> Chosen {
        let known = self.names.get(name).copied();
        let may_be_ours = keeps_all || known.is_some() || self.has_forgotten;
        let last = known.unwrap_or(1);
        if known.is_none() && self.names.len() >= COMPLETED_NAMES {
            self.names.clear();
            self.has_forgotten = true;
        }
        let (mut number, mut chosen) = (last, name.to_owned());
        if may_be_ours && is_there(name) {
            while number == last || is_there(&chosen) {
                number += 1;
                chosen = numbered(name, number);
            }
        }
        self.names.insert(name.to_owned(), number);
        Chosen { name: chosen, replaces: !may_be_ours }
    }
}

fn numbered(name: &Path, number: u64) -> PathBuf {
    let file = name.file_name().unwrap_or_default().to_string_lossy();
    let (stem, endings) = match file.split_once('.') {
        Some((stem, endings)) => (stem, format!(".{endings}")),
        None => (&*file, String::new()),
    };
    name.with_file_name(format!("{stem}-{number}{endings}"))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn many_files_of_one_name_are_each_found_a_number_at_once() {
        let mut completed = Completed::default();
        let (there, looks) = (RefCell::new(HashSet::<PathBuf>::new()), Cell::new(0));
        for _ in 0..10_000 {
            let chosen = completed.choose(Path::new("d/flows.csv.gz"), false, |path| {
                looks.set(looks.get() + 1);
                there.borrow().contains(path)
            });
            assert!(there.borrow_mut().insert(chosen.name), "replaced");
        }
        assert!(there.borrow().contains(Path::new("d/flows-10000.csv.gz")));
        assert!(looks.get() <= 20_000, "{} looks", looks.get());
    }

    #[test]
    fn many_names_are_bounded_and_none_is_replaced_when_it_comes_again() {
        let mut completed = Completed::default();
        let mut there = HashSet::new();
        for number in 0..3 * COMPLETED_NAMES {
            let name = format!("{}.csv", number % (2 * COMPLETED_NAMES));
            let chosen = completed.choose(Path::new(&name), false, |path| there.contains(path));
            assert!(there.insert(chosen.name), "{name} was replaced");
            assert!(completed.names.len() <= COMPLETED_NAMES);
        }
    }

    #[test]
    fn files_of_other_runs_are_replaced_only_under_a_name_that_was_given() {
        let name = Path::new("flows-20260301.csv");
        let is_there = |path: &Path| path == name;
        let choose = |keeps_all| Completed::default().choose(name, keeps_all, is_there);
        assert_eq!(choose(false), Chosen { name: name.to_owned(), replaces: true });
        let numbered = PathBuf::from("flows-20260301-2.csv");
        assert_eq!(choose(true), Chosen { name: numbered, replaces: false });
    }
}

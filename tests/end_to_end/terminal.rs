//! On a terminal, which `script` (bsdutils) makes: a table and a progress bar for people.

use std::process::Command;

use libtest_mimic::Trial;

use crate::program::{FLOWTAP, Run, generate};
use crate::{Outcome, ensure};

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("terminal::flows_are_a_table", table)]
}

fn table() -> Outcome {
    let made = generate(2_000, 100, 9);
    let line = format!("{FLOWTAP} read {}", made.capture.display());
    let run = Run::of(Command::new("script").args(["-qec", &line, "/dev/null"])).expect(0)?;
    for word in ["SOURCE", "DESTINATION", "established", "everything adds up"] {
        ensure(run.stdout.contains(word), format!("no '{word}' on the terminal:\n{}", run.stdout))?;
    }
    ensure(!run.stdout.contains("\"flow_id\""), "JSON on a terminal")
}

//! `flowtap doctor`: what a capture would find here, as text or JSON.
//!
//! Facts and verdicts come from [`crate::host`]; this prints them. The exit code is 0 when no
//! verdict on the machine or on a given interface is bad, 1 otherwise. With `--restore` it sets
//! back what a killed capture has left changed, instead.

use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;

use crate::cli::args::DoctorArguments;
use crate::cli::console;
use crate::error::{Error, Result};
use crate::host::facts::Facts;
use crate::host::judge::{Finding, TUNE, Verdict, judge, judge_together};
use crate::host::tune::restore;

/// Everything that was found.
#[derive(Debug, Serialize)]
struct Report<'a> {
    /// Whether `capture` would work at its best on the interfaces that were given.
    is_ready: bool,
    findings: &'a [Finding],
    facts: &'a Facts,
}

/// Examines, prints, and says whether all is well.
///
/// # Errors
/// If there is no such interface, the kernel does not say, standard output is gone, or settings
/// cannot be set back.
pub(crate) fn run(arguments: &DoctorArguments) -> Result<bool> {
    if arguments.restore {
        restore(&arguments.interfaces, |text| console::say(&text))?;
        return Ok(true);
    }
    let facts = crate::host::examine(&arguments.interfaces)?;
    let mut findings = judge(&facts);
    if !arguments.interfaces.is_empty() {
        // Of the machine, behind what else there is of it.
        let at = findings.partition_point(|one| one.interface.is_none());
        findings.splice(at..at, judge_together(&facts));
    }
    let is_asked =
        |finding: &&Finding| finding.interface.is_none() || !arguments.interfaces.is_empty();
    let is_ready = findings.iter().filter(is_asked).all(|one| one.verdict != Verdict::Bad);
    let text = if arguments.json {
        let report = Report { is_ready, findings: &findings, facts: &facts };
        serde_json::to_string_pretty(&report).expect("facts are plain data") + "\n"
    } else {
        text(&findings, arguments.interfaces.is_empty())
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|e| Error::new("write to standard output", e))?;
    Ok(is_ready)
}

/// One line a finding, under a heading for each interface; `short`: one line an interface.
fn text(findings: &[Finding], is_short: bool) -> String {
    let mut text = String::new();
    for group in findings.chunk_by(|one, next| one.interface == next.interface) {
        match &group[0].interface {
            Some(name) if is_short => short(&mut text, name, group),
            name => {
                let name = name.as_deref().unwrap_or("this machine");
                _ = writeln!(text, "{name}");
                group.iter().for_each(|finding| line(&mut text, finding));
            }
        }
    }
    if is_short {
        text.push_str("more of an interface: flowtap doctor -i IF\n");
    }
    text
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Bad => "bad",
    }
}

fn line(text: &mut String, finding: &Finding) {
    let Finding { check, verdict, meaning, command, .. } = finding;
    _ = writeln!(text, "  {:4}  {check:13} {meaning}", word(*verdict));
    if let Some(command) = command {
        _ = writeln!(text, "{:22}`{command}`", "");
    }
}

/// The worst of an interface, its best way, and what a killed capture has left there.
fn short(text: &mut String, name: &str, group: &[Finding]) {
    let worst = group.iter().map(|one| one.verdict).max().unwrap_or(Verdict::Ok);
    let way = group.iter().find(|one| one.check == "xdp");
    let is_said = |one: &&Finding| one.verdict == Verdict::Bad || one.check == TUNE;
    let bad = group.iter().filter(is_said);
    let parts: Vec<_> = way.into_iter().chain(bad).map(|one| one.meaning.as_str()).collect();
    _ = writeln!(text, "{name}\n  {:4}  {}", word(worst), parts.join("; "));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::facts::{Interface, Xdp};

    #[test]
    fn each_finding_is_a_line_with_what_mends_it() {
        let xdp = Some(Xdp { native: true, redirect: true, ..Xdp::default() });
        let left_tuned = vec!["rx channels 2".to_owned(), "rx-gro on".to_owned()];
        let name = "eth0".into();
        let interface = Interface { name, mtu: 9000, xdp, left_tuned, ..Interface::default() };
        let facts = Facts { interfaces: vec![interface], ..Facts::default() };
        let findings = judge(&facts);
        let long = text(&findings, false);
        assert!(long.contains("eth0\n  bad   link          down"), "{long}");
        assert!(long.contains("`ip link set eth0 mtu 3490`"), "{long}");
        let left = "a killed capture has left it changed; before: rx channels 2, rx-gro on";
        assert!(long.contains(&format!("  warn  tune          {left}")), "{long}");
        assert!(long.contains("`flowtap doctor --restore`"), "{long}");
        let brief = text(&findings, true);
        assert!(brief.contains(left), "{brief}");
        assert!(brief.contains("eth0\n  bad   native copy"), "{brief}");
        assert!(brief.contains("; down (") && !brief.contains("rx ring"), "{brief}");
    }
}

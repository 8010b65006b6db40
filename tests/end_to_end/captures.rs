//! Real captures with independent truth, from the folder beside the project. It is not part
//! of the project: without it these tests are ignored, loudly.

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};

use crate::program::{Run, flowtap, folder, json_file};
use crate::{Outcome, ensure, not_here};

/// Captures that still differ from the truth, and why. This list may only shrink: one that
/// is right must be taken off it.
const STILL_DIFFERENT: &[(&str, &str)] = &[];

/// Timeouts to compare worker counts with.
const TIMEOUTS: [&[&str]; 3] = [
    &[],
    &["--idle-timeout", "off", "--active-timeout", "off"],
    &["--idle-timeout", "1s", "--active-timeout", "3s"],
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures")
}

/// All captures; none if they are not here.
pub(crate) fn files() -> Vec<PathBuf> {
    let entries = root().join("pcap").read_dir();
    let mut files: Vec<_> =
        entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// Where the truth of a capture is.
pub(crate) fn truth_of(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    root().join("oracle").join(format!("{name}.json"))
}

pub(crate) fn trials() -> Vec<Trial> {
    let root = root();
    let files = files();
    if files.is_empty() {
        return not_here(
            "captures",
            "there is no folder of captures with truth beside the project",
        );
    }
    let baselines = [("zeek", "zeek_conn.json"), ("ndpi", "ndpi_flows.json")];
    let baselines = baselines.into_iter().flat_map(|(whose, listed)| {
        let listed = root.join(listed);
        let of_it = files.iter().filter(move |file| file_name(file).starts_with(whose)).cloned();
        of_it.filter_map(move |file| {
            let listed = listed.clone();
            let name = file_name(&file);
            let is_in = std::fs::read_to_string(&listed).is_ok_and(|text| text.contains(&name));
            let trial = move || matches_baseline(whose, &listed, &file);
            is_in.then(|| Trial::test(format!("captures::baseline::{name}"), trial))
        })
    });
    let baselines: Vec<_> = baselines.collect();
    let of_oracle = files.into_iter().flat_map(|file| {
        let name = file_name(&file);
        let truth = truth_of(&file);
        let (one, two) = (file.clone(), file);
        let compare = root.join("compare.py");
        [
            Trial::test(format!("captures::truth::{name}"), move || {
                matches_truth("outer", &one, &truth, &compare)?;
                matches_truth("inner", &one, &truth, &compare)
            }),
            Trial::test(format!("captures::workers::{name}"), move || same_for_workers(&two)),
        ]
    });
    of_oracle.chain(baselines).collect()
}

fn file_name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The records are what Zeek or nDPI expect themselves, as far as they can be.
fn matches_baseline(whose: &str, listed: &Path, file: &Path) -> Outcome {
    let folder = folder();
    let compare = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/end_to_end/baselines.py");
    let mut comparison = Command::new("python3");
    comparison.arg(compare).arg(whose).arg(listed).arg(file_name(file));
    for view in ["inner", "outer"] {
        let records = folder.path().join(view).with_extension("jsonl");
        let mut arguments = vec!["read", "-q", "--tunnels", view];
        arguments.extend(TIMEOUTS[1]);
        let arguments = arguments.into_iter().map(PathBuf::from);
        let run = flowtap(arguments.chain(["-o".into(), records.clone(), file.to_owned()]));
        run.expect(0)?;
        comparison.arg(records);
    }
    let compared = Run::of(&mut comparison);
    ensure(compared.code == Some(0), format!("{}{}", compared.stdout, compared.stderr))
}

/// The records are what the truth says; damage is told, and what stood before it is right.
fn matches_truth(view: &str, file: &Path, truth: &Path, compare: &Path) -> Outcome {
    let folder = folder();
    let records = folder.path().join("records.jsonl");
    let stats = folder.path().join("stats.json");
    let mut arguments = vec!["read", "--tunnels", view, "--strict"];
    arguments.extend(TIMEOUTS[1]);
    let arguments = arguments.into_iter().map(PathBuf::from);
    let arguments =
        arguments.chain(["-o".into(), records.clone(), "--stats".into(), stats.clone()]);
    let run = flowtap(arguments.chain([file.to_owned()]));

    let info = &json_file(truth)?["info"];
    let is_damaged = info["truncated_tail"] == true || info.get("file_error").is_some();
    let run = run.expect(if is_damaged { 2 } else { 0 })?;
    if is_damaged {
        let said = run.stderr.lines().find(|line| line.contains(" at "));
        ensure(said.is_some(), format!("no word of the damage and its place: {}", run.stderr))?;
    }

    let frames = info["counters"]["frames"].as_u64().unwrap_or(0);
    let ledger = json_file(&stats)?;
    ensure(ledger["packets"]["delivered"] == frames, format!("frames: {ledger}"))?;
    for residual in ["interface", "packets", "flows"] {
        ensure(ledger["residuals"][residual] == 0, format!("residual {residual}: {ledger}"))?;
    }

    let name = file_name(file);
    let mut comparison = Command::new("python3");
    comparison.arg(compare).args(["--names", "--view", view]).arg(&records).arg(truth);
    let compared = Run::of(&mut comparison);
    let exception = STILL_DIFFERENT.iter().find(|(listed, _)| *listed == name);
    match (compared.code, exception) {
        (Some(0), None) => Ok(()),
        (Some(0), Some(_)) => Err("matches now: take it off STILL_DIFFERENT".into()),
        (_, Some((_, why))) => {
            eprintln!("{name} still differs: {why}");
            Ok(())
        }
        (_, None) => Err(format!("{}{}", compared.stdout, compared.stderr).into()),
    }
}

/// 1, 2, 4 and 8 workers give the same set of records, whatever the timeouts; also where the
/// two directions of each flow are dealt to different ones.
fn same_for_workers(file: &Path) -> Outcome {
    for timeouts in TIMEOUTS {
        let lines = |workers: &str, dispatch: &str| -> Result<_, Failed> {
            let mut arguments =
                vec!["read", "-q", "--workers", workers, "--dispatch", dispatch, "-o", "-"];
            arguments.extend(timeouts);
            let arguments = arguments.into_iter().map(PathBuf::from);
            Ok(flowtap(arguments.chain([file.to_owned()])).sorted_lines())
        };
        let one = lines("1", "flow")?;
        for workers in ["2", "4", "8"] {
            for dispatch in ["flow", "direction"] {
                let what = || format!("{workers} workers differ, by {dispatch}, {timeouts:?}");
                ensure(lines(workers, dispatch)? == one, what())?;
            }
        }
    }
    Ok(())
}

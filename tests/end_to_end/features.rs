//! Statistics of the extended set: held against a computation of their own from the capture.

use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;

use crate::program::{FLOWTAP, Generated, Run, flowtap, generate, generate_with, json_lines};
use crate::{Outcome, ensure};

/// Computes and compares.
const COMPARE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/end_to_end/features.py");

/// What such runs have in common.
const EXTENDED: [&str; 4] = ["read", "-q", "--features-set", "extended"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("features::statistics_are_those_of_the_packets", || {
            let more = ["--ipv6-percent", "30", "--vlan-percent", "20", "--duration", "5s"];
            compare(&generate_with("imix", 20_000, 1_500, 4, &more), &[], 1_500)
        }),
        Trial::test("features::packets_out_of_order_make_gaps_of_0", || {
            let more = ["--reorder-permille", "100", "--duration", "5s"];
            compare(&generate_with("imix", 20_000, 500, 5, &more), &[], 500)
        }),
        Trial::test("features::a_gap_belongs_to_the_part_of_its_second_packet", || {
            let made = generate_with("imix", 20_000, 500, 6, &["--duration", "20s"]);
            compare(&made, &["--active-timeout", "1s"], 2_000)
        }),
        Trial::test("features::any_number_of_workers_gives_the_same", workers_agree),
        Trial::test("features::the_basic_set_has_none", basic_has_none),
        Trial::test("features::a_table_too_small_loses_no_packet", small_table),
    ]
}

fn compare(made: &Generated, arguments: &[&str], at_least: usize) -> Outcome {
    let [lines, table] = ["a.jsonl", "a.csv"].map(|name| made.folder.path().join(name));
    let mut read = Command::new(FLOWTAP);
    read.args(EXTENDED).args(arguments).arg("--strict").arg("-o").arg(&lines).arg("-o").arg(&table);
    Run::of(read.arg(&made.capture)).expect(0)?;
    let mut python = Command::new("python3");
    let run = Run::of(python.arg(COMPARE).arg(&made.capture).arg(&lines).arg(&table)).expect(0)?;
    let records: usize = run.stdout.trim().parse()?;
    ensure(records >= at_least, format!("{records} records, fewer than {at_least}"))
}

fn read(arguments: &[&str], capture: &Path) -> Run {
    let arguments = arguments.iter().map(AsRef::as_ref);
    flowtap(arguments.chain(["-o".as_ref(), "-".as_ref(), capture.as_os_str()]))
}

fn workers_agree() -> Outcome {
    let made = generate_with("imix", 20_000, 1_000, 7, &["--duration", "20s"]);
    let lines = |more: &[&str]| -> Result<_, libtest_mimic::Failed> {
        let arguments = [&EXTENDED, &["--active-timeout", "2s"][..], more].concat();
        Ok(read(&arguments, &made.capture).expect(0)?.sorted_lines())
    };
    let one = lines(&["--workers", "1"])?;
    ensure(one.iter().all(|line| line.contains("_length_mean")), "a record without statistics")?;
    for workers in ["3", "8"] {
        for dispatch in ["flow", "direction"] {
            let more = ["--workers", workers, "--dispatch", dispatch];
            ensure(lines(&more)? == one, format!("{more:?} differ from one worker"))?;
        }
    }
    Ok(())
}

/// All that it says stands in the extended set, too, and before what that adds.
fn basic_has_none() -> Outcome {
    let made = generate(5_000, 300, 8);
    let basic = read(&["read", "-q"], &made.capture).expect(0)?.sorted_lines();
    let extended = read(&EXTENDED, &made.capture).expect(0)?.sorted_lines();
    ensure(basic.len() == extended.len(), "another number of records")?;
    for (basic, extended) in basic.iter().zip(&extended) {
        ensure(!basic.contains("length_m") && !basic.contains("interarrival"), basic.clone())?;
        let begin = &basic[..basic.len() - 1];
        let text = format!("{extended} does not go on from {basic}");
        ensure(extended.starts_with(begin) && extended.len() > basic.len(), text)?;
    }
    Ok(())
}

/// Overflow aggregates have no statistics, and what is given up for room has its own.
fn small_table() -> Outcome {
    let made = generate(20_000, 1_000, 3);
    let run = read(&[&EXTENDED[..], &["--strict", "--max-flows", "16"]].concat(), &made.capture);
    let (mut flows, mut overflow) = (0, 0);
    for record in json_lines(&run.expect(0)?.stdout)? {
        let of_side = |side: &str| -> (u64, u64) {
            let bins = record[format!("{side}_length_histogram")].as_array();
            let counted = bins.into_iter().flatten().filter_map(serde_json::Value::as_u64).sum();
            (record[format!("{side}_packets")].as_u64().unwrap_or(0), counted)
        };
        for (packets, counted) in ["src", "dst"].map(of_side) {
            if record["kind"] == "flow" {
                ensure(packets == counted, format!("{record}"))?;
                flows += packets;
            } else {
                ensure(counted == 0, format!("{record}"))?;
                overflow += packets;
            }
        }
    }
    ensure(flows > 0 && overflow > 0, format!("{flows} packets in flows, {overflow} beside"))
}

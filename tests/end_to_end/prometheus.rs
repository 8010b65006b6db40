//! The ledger as Prometheus' own parser reads it, beside the same ledger as JSON.

use std::path::Path;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::program::{FLOWTAP, Run, generate, json_file};
use crate::{Outcome, ensure, not_here};

/// The Python that has the parser.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python/bin/python");

/// Prints samples as a JSON object: name and values of labels, separated by spaces.
const PARSE: &str = r#"
import json, sys
from prometheus_client.parser import text_string_to_metric_families as parse
out = {}
for family in parse(open(sys.argv[1]).read()):
    assert family.documentation and family.type in ("counter", "gauge"), family
    for sample in family.samples:
        key = " ".join([sample.name, *sample.labels.values()])
        assert key not in out, key
        out[key] = sample.value
print(json.dumps(out))
"#;

pub(crate) fn trials() -> Vec<Trial> {
    let has_parser = Command::new(PYTHON).args(["-c", "import prometheus_client"]).output();
    if !has_parser.is_ok_and(|run| run.status.success()) {
        return not_here("prometheus", "needs prometheus_client (scripts/setup-python)");
    }
    vec![Trial::test("prometheus::its_parser_reads_what_json_says", agree)]
}

fn run(capture: &Path, stats: &Path, out: &Path) -> Outcome {
    let mut command = Command::new(FLOWTAP);
    // A name that needs care between quotes.
    command.args(["read", "-q", "-o"]).arg(out);
    command.args(["--stats-interval", "10ms", "--stats"]).arg(stats);
    // Twice: its packets are under one name.
    Run::of(command.arg(capture).arg(capture)).expect(0).map(drop)
}

fn agree() -> Outcome {
    let made = generate(5_000, 300, 5);
    let path = |name: &str| made.folder.path().join(name);
    let out = path("a\\b\"c.jsonl");
    run(&made.capture, &path("stats.json"), &out)?;
    run(&made.capture, &path("stats.prom"), &out)?;
    ensure(!path("stats.prom.part").exists(), "a part is left")?;
    let parsed = Run::of(Command::new(PYTHON).arg("-c").arg(PARSE).arg(path("stats.prom")));
    let samples: Value = serde_json::from_str(&parsed.expect(0)?.stdout)?;
    let ledger = json_file(&path("stats.json"))?;
    let name = |of: &Value| -> Result<String, Failed> {
        Ok(of["name"].as_str().ok_or("no name")?.to_owned())
    };
    let (interface, sink) = (name(&ledger["interfaces"][0])?, name(&ledger["sinks"][0])?);
    let seen: f64 = (0..2).filter_map(|idx| ledger["interfaces"][idx]["seen"].as_f64()).sum();
    ensure(seen >= 10_000.0, format!("{ledger}"))?;
    for (sample, want) in [
        (format!("flowtap_interface_seen_packets_total {interface}"), Some(seen)),
        ("flowtap_flow_packets_total".to_owned(), ledger["packets"]["in_flows"].as_f64()),
        ("flowtap_records_created_total".to_owned(), ledger["flows"]["created"].as_f64()),
        (format!("flowtap_sink_records_total {sink}"), ledger["sinks"][0]["records"].as_f64()),
        (format!("flowtap_sink_bytes_total {sink}"), ledger["sinks"][0]["bytes"].as_f64()),
        ("flowtap_residual packets".to_owned(), Some(0.0)),
        ("flowtap_complete".to_owned(), Some(1.0)),
    ] {
        let found = samples[&sample].as_f64();
        ensure(found.is_some() && found == want, format!("{sample}: {found:?}, not {want:?}"))?;
    }
    let undecodable = ledger["packets"]["undecodable"].as_object().ok_or("no causes")?;
    for (cause, count) in undecodable {
        let found = &samples[format!("flowtap_undecodable_packets_total {cause}")];
        ensure(found.as_f64() == count.as_f64(), format!("{cause}: {found}, not {count}"))?;
    }
    Ok(())
}

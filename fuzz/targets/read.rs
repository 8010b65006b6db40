//! Any bytes through all of `flowtap read`, in this process: every frame that was seen is in
//! a record, in an overflow aggregate or undecodable by a cause, and the records that were written
//! say so too. Small tables, one to three workers, with statistics of each flow or without.

#![no_main]

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use flowtap::config::Options;
use flowtap::engine::{Control, Observer, read};
use flowtap::flow::FeaturesSet;
use flowtap::view::Views;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tempfile::TempDir;

struct Silent;

impl Observer for Silent {
    fn tick(&mut self, _: &Views) {}
    fn notice(&mut self, _: &str) {}
    fn fault(&mut self, _: &str) {}
    fn detail(&mut self, _: &str) {}
}

thread_local! {
    static FOLDER: RefCell<TempDir> =
        RefCell::new(tempfile::tempdir().expect("a temporary folder can be made"));
}

fuzz_target!(|bytes: &[u8]| FOLDER.with_borrow(|folder| check(folder, bytes)));

fn check(folder: &TempDir, bytes: &[u8]) {
    let path = |name: &str| folder.path().join(name);
    let (input, output): (PathBuf, PathBuf) = (path("in.pcap"), path("out.jsonl"));
    fs::write(&input, bytes).expect("the folder takes files");
    let is_extended = bytes.len().is_multiple_of(2);
    let features_set = if is_extended { FeaturesSet::Extended } else { FeaturesSet::Basic };
    let options = Options {
        outputs: vec![output.display().to_string()],
        dns_log: Some(path("dns.jsonl").display().to_string()),
        inputs: vec![input.clone()],
        workers: Some(1 + bytes.len() % 3),
        max_flows: 8 + bytes.len() % 61,
        features_set,
        opens_tunnels: !bytes.len().is_multiple_of(5),
        learns_names: true,
        max_names: 1 + bytes.len() % 61,
        // What is compressed may go on for very long.
        count: Some(20_000),
        ..Options::default()
    };
    let settings = options.settings().expect("these are right");
    let (control, views) = (Control::default(), Views::default());
    let Ok(outcome) = read(&settings, &[input], &control, &views, &mut Silent) else { return };

    let ledger = serde_json::to_value(&outcome.ledger).expect("a ledger is JSON");
    let residuals = ledger["residuals"].as_object().expect("there are residuals");
    assert!(residuals.values().all(|residual| residual == 0), "{ledger}");
    let packets = &ledger["packets"];
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let undecodable: u64 = packets["undecodable"]
        .as_object()
        .into_iter()
        .flat_map(|causes| causes.values())
        .map(number)
        .sum();
    let (mut in_flows, mut in_overflow) = (0, 0);
    for line in fs::read_to_string(&output).expect("it was written").lines() {
        let record: Value = serde_json::from_str(line).expect("a line is JSON");
        let sum = number(&record["src_packets"]) + number(&record["dst_packets"]);
        if is_extended && record["kind"] == "flow" {
            check_lengths(&record);
        }
        *(if record["kind"] == "flow" { &mut in_flows } else { &mut in_overflow }) += sum;
    }
    assert_eq!(number(&packets["in_flows"]), in_flows, "{ledger}");
    assert_eq!(number(&packets["in_overflow"]), in_overflow, "{ledger}");
    let seen = number(&ledger["interfaces"][0]["seen"]);
    assert_eq!(seen, in_flows + in_overflow + undecodable, "{ledger}");
}

/// Each packet of a side has a place in the histogram of its lengths.
fn check_lengths(record: &Value) {
    for side in ["src", "dst"] {
        let bins = record[format!("{side}_length_histogram")].as_array();
        let counted: u64 = bins.into_iter().flatten().filter_map(Value::as_u64).sum();
        assert_eq!(record[format!("{side}_packets")].as_u64().unwrap_or(0), counted, "{record}");
    }
}

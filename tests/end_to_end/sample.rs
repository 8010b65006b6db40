//! `--sample` on a live link: what is kept is whole, what is not is counted, and both say so.

use std::collections::BTreeSet;
use std::fs;

use libtest_mimic::Trial;
use serde_json::{Map, Value};

use crate::ipfix::{agree, has_tshark};
use crate::live::{Net, has_batch_order, timeless};
use crate::program::{Generated, flowtap, generate, is_root, json_file, json_lines};
use crate::{Outcome, ensure};

pub(crate) fn trials() -> Vec<Trial> {
    if !is_root() {
        // `live` has said why.
        return Vec::new();
    }
    vec![
        Trial::test("live::sampled_flows_are_whole", sampled_flows_are_whole),
        Trial::test("live::sampled_packets_are_counted_off", sampled_packets_are_counted_off),
    ]
}

/// Captures what is generated with `--sample`; the ledger of the interface, and the records.
fn sampled(made: &Generated, sample: &str) -> Result<(Value, Vec<Value>), libtest_mimic::Failed> {
    let frames = json_file(&made.truth)?["frames"].as_u64().unwrap_or(0);
    let file = |name: &str| made.folder.path().join(name).display().to_string();
    let (out, ipfix) = (file("live.jsonl"), file("live.ipfix"));
    let stats = made.folder.path().join("s.json");
    let stats_text = stats.display().to_string();
    let net = Net::up("flowtap-sample")?;
    let arguments = ["-o", &out, "-o", &ipfix, "--sample", sample, "--stats", &stats_text];
    let arguments = [&arguments[..], &["--stats-interval", "50ms", "--strict"]].concat();
    let capture = net.capture(&arguments)?;
    net.send(&made.capture)?;
    let seen = || {
        let ledger = json_file(&stats);
        ledger.is_ok_and(|ledger| ledger["interfaces"][0]["seen"].as_u64() >= Some(frames))
    };
    ensure(crate::program::wait_for(seen), "not all frames arrived")?;
    let said = capture.stop(0)?;
    let ledger = json_file(&stats)?;
    ensure(said.contains("sampled out"), said)?;
    ensure(ledger["residuals"]["interface"] == 0, format!("residual: {ledger}"))?;
    ensure(ledger["interfaces"][0]["seen"] == frames, format!("seen: {ledger}"))?;
    // `ipfix` has said so if there is none.
    if has_tshark() {
        agree(ipfix.as_ref(), out.as_ref(), 10)?;
    }
    Ok((ledger, json_lines(&fs::read_to_string(&out)?)?))
}

fn sampled_flows_are_whole() -> Outcome {
    let made = generate(20_000, 1_000, 12);
    let (ledger, records) = sampled(&made, "4")?;
    ensure(
        ledger["sampling"]["every"] == 4 && ledger["sampling"]["unit"] == "flow",
        ledger.to_string(),
    )?;
    let says_so = |record: &Value| record["sampling"] == 4 && record["sampling_unit"] == "flow";
    ensure(records.iter().all(says_so), "a record does not say that it is sampled")?;
    let read = flowtap([
        "read".as_ref(),
        "-q".as_ref(),
        "-o".as_ref(),
        "-".as_ref(),
        made.capture.as_os_str(),
    ]);
    let all = json_lines(&read.expect(0)?.stdout)?;
    let share = records.len() as f64 / all.len() as f64;
    ensure((0.15..0.35).contains(&share), format!("{share} of the records are there"))?;
    // Later fragments are drawn by themselves, maybe without the first; and what has a batch's
    // order is another's test.
    let of_others: BTreeSet<_> = all
        .iter()
        .filter_map(Value::as_object)
        .filter(|record| has_batch_order(record))
        .filter_map(community_id)
        .collect();
    let whole = |records: &[Value]| {
        let records = records.iter().filter_map(Value::as_object);
        let records =
            records.filter(|record| community_id(record).is_some_and(|id| !of_others.contains(id)));
        let records = records.cloned().map(|mut record| {
            record.remove("sampling");
            record.remove("sampling_unit");
            Value::from(record)
        });
        timeless(&records.collect::<Vec<_>>())
    };
    let all = whole(&all);
    for (record, count) in whole(&records) {
        let want = all.get(&record).copied().unwrap_or(0);
        ensure(count <= want, format!("{count} times and not {want}: {record}"))?;
    }
    Ok(())
}

fn community_id(record: &Map<String, Value>) -> Option<&str> {
    record.get("community_id").and_then(Value::as_str)
}

fn sampled_packets_are_counted_off() -> Outcome {
    let made = generate(20_000, 1_000, 13);
    let (ledger, records) = sampled(&made, "10:packet")?;
    ensure(ledger["sampling"]["unit"] == "packet", ledger.to_string())?;
    let interface = &ledger["interfaces"][0];
    let number = |name: &str| interface[name].as_u64().unwrap_or(0);
    // Each processor counts for itself, and none of them got to the end of a tenth.
    let short = (number("seen") / 10).abs_diff(number("delivered"));
    ensure(short <= 64, format!("{interface}"))?;
    let says_so = |record: &Value| record["sampling"] == 10 && record["sampling_unit"] == "packet";
    ensure(records.iter().all(says_so), "a record does not say that it is sampled")
}

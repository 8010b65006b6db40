//! Captures of our own generator, with the truth it wrote beside them.

use std::collections::BTreeMap;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::program::{Generated, Run, flowtap, generate, generate_with, json_file, json_lines};
use crate::{Outcome, ensure};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("generated::every_flow_is_as_it_was_made", every_flow_is_as_it_was_made),
        Trial::test("generated::sessions_are_as_they_were_made", sessions_are_as_they_were_made),
        Trial::test("generated::lives_of_flows_end_once", lives_end_once),
        Trial::test("generated::any_number_of_workers_gives_the_same", workers_agree),
        Trial::test("generated::a_table_too_small_loses_detail_and_no_packet", small_table),
    ]
}

/// What identifies a flow in truth and records alike: protocol, ends, VLANs, ICMP id aside.
type Key = (u64, String, u64, String, u64, String);

/// Counts by direction: packets, bytes, frame bytes, payload bytes, fragments, TCP flags.
type Counts = [[u64; 2]; 6];

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn add(flows: &mut BTreeMap<Key, Counts>, key: Key, counts: Counts) {
    let sum = flows.entry(key).or_default();
    for (field, (total, more)) in sum.iter_mut().zip(counts).enumerate() {
        for way in 0..2 {
            // TCP flags are or-ed.
            total[way] = if field == 5 { total[way] | more[way] } else { total[way] + more[way] };
        }
    }
}

fn from_truth(truth: &Value) -> BTreeMap<Key, Counts> {
    let mut flows = BTreeMap::new();
    for flow in truth["flows"].as_array().into_iter().flatten() {
        let text = |name: &str| flow[name].as_str().unwrap_or_default().to_owned();
        let pair = |name: &str| [number(&flow[name][0]), number(&flow[name][1])];
        let [mut src, mut dst] = [("src", "sport"), ("dst", "dport")]
            .map(|(address, port)| (text(address), number(&flow[port])));
        let mut counts =
            ["packets", "bytes", "frame_bytes", "payload_bytes", "fragments", "tcp_flags"]
                .map(pair);
        // The truth says who was seen first. Who answers from a service's port is no initiator.
        let has_syn = counts[5].iter().any(|flags| flags & 2 != 0);
        if flow["protocol"] == 6 && !has_syn && src.1 < 1_024 && dst.1 >= 1_024 {
            (src, dst) = (dst, src);
            counts.iter_mut().for_each(|pair| pair.reverse());
        }
        let vlan = flow["vlan"].to_string();
        let key = (number(&flow["protocol"]), src.0, src.1, dst.0, dst.1, vlan);
        add(&mut flows, key, counts);
    }
    flows
}

fn from_records(records: &[Value]) -> BTreeMap<Key, Counts> {
    let mut flows = BTreeMap::new();
    for record in records {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let pair =
            |name: &str| ["src", "dst"].map(|side| number(&record[format!("{side}_{name}")]));
        let vlan = &record["vlan"];
        let key = (
            number(&record["protocol"]),
            text("src_ip"),
            number(&record["src_port"]),
            text("dst_ip"),
            number(&record["dst_port"]),
            if vlan.is_null() { "[]".to_owned() } else { vlan.to_string() },
        );
        let counts = ["packets", "bytes", "frame_bytes", "payload_bytes", "fragments", "tcp_flags"]
            .map(pair);
        add(&mut flows, key, counts);
    }
    flows
}

fn every_flow_is_as_it_was_made() -> Outcome {
    check_flows(&generate(20_000, 1_000, 1)).map(drop)
}

fn sessions_are_as_they_were_made() -> Outcome {
    check_flows(&generate_with("tls-mix", 20_000, 600, 1, &[])).map(drop)
}

/// The mixes that draw packet by packet: nothing comes after the end of a TCP flow, even out of
/// order, so that there is one record for each flow, with the end that it was made with.
fn lives_end_once() -> Outcome {
    let disturbed = ["--loss-permille", "20", "--reorder-permille", "100"];
    let all = ["--ipv6-percent", "30", "--vlan-percent", "20", "--zipf", "0.5"];
    for (mix, more) in [
        ("imix", &[][..]),
        ("small64", &disturbed),
        ("elephants", &disturbed),
        ("attack", &disturbed),
        ("imix", &all),
    ] {
        let more = [&["--duration", "5s"], more].concat();
        let made = generate_with(mix, 20_000, 1_500, 3, &more);
        let records = check_flows(&made)?;
        ensure(records.len() == 1_500, format!("{mix} {more:?}: {} records", records.len()))?;
        let mut states = BTreeMap::<_, i64>::new();
        for record in records {
            *states
                .entry(record["tcp_state"].as_str().unwrap_or("none").to_owned())
                .or_default() += 1;
        }
        let truth = json_file(&made.truth)?;
        for flow in truth["flows"].as_array().into_iter().flatten() {
            let state = match flow["life"].as_str() {
                Some("fin") => "closed",
                Some("rst") => "reset",
                _ => continue,
            };
            *states.entry(state.to_owned()).or_default() -= 1;
        }
        let left = ["closed", "reset"].map(|state| states.get(state).copied());
        ensure(left == [Some(0); 2], format!("{mix}: records over truth: {states:?}"))?;
    }
    Ok(())
}

/// Reads the capture, compares each flow and the ledger with the truth, and gives the records.
fn check_flows(made: &Generated) -> Result<Vec<Value>, Failed> {
    let stats = made.folder.path().join("stats.json");
    let arguments = ["read".as_ref(), "-o".as_ref(), "-".as_ref(), "--strict".as_ref()];
    let run = flowtap(arguments.into_iter().chain([
        "--stats".as_ref(),
        stats.as_os_str(),
        made.capture.as_os_str(),
    ]))
    .expect(0)?;
    let truth = json_file(&made.truth)?;
    let records = json_lines(&run.stdout)?;
    let (want, got) = (from_truth(&truth), from_records(&records));
    for (key, counts) in &want {
        ensure(
            got.get(key) == Some(counts),
            format!("{key:?}: {counts:?}, got {:?}", got.get(key)),
        )?;
    }
    ensure(got.len() == want.len(), format!("{} flows, want {}", got.len(), want.len()))?;
    ensure(want.len() > 500, "the capture is too small to say anything")?;

    let ledger = json_file(&stats)?;
    ensure(ledger["packets"]["delivered"] == truth["frames"], format!("frames: {ledger}"))?;
    ensure(ledger["packets"]["undecodable"] == truth["not_in_flow"], format!("causes: {ledger}"))?;
    Ok(records)
}

fn workers_agree() -> Outcome {
    let made = generate(20_000, 1_000, 2);
    let lines = |workers: &str, dispatch: &str| -> Result<_, Failed> {
        let arguments = ["read", "-q", "-o", "-", "--workers", workers, "--dispatch", dispatch];
        let arguments = arguments.map(AsRef::as_ref);
        let run = flowtap(arguments.into_iter().chain([made.capture.as_os_str()])).expect(0)?;
        Ok(run.sorted_lines())
    };
    let one = lines("1", "flow")?;
    for workers in ["2", "3", "8", "64"] {
        for dispatch in ["flow", "direction"] {
            let what = || format!("{workers} workers differ from one, by {dispatch}");
            ensure(lines(workers, dispatch)? == one, what())?;
        }
    }
    Ok(())
}

fn small_table() -> Outcome {
    let made = generate(20_000, 1_000, 3);
    let stats = made.folder.path().join("stats.json");
    let run = |room: &str| -> Result<(Run, Value), Failed> {
        let arguments = ["read", "-q", "--strict", "-o", "-", "--max-flows", room, "--stats"];
        let arguments = arguments.map(AsRef::as_ref).into_iter();
        let run = flowtap(arguments.chain([stats.as_os_str(), made.capture.as_os_str()]));
        Ok((run.expect(0)?, json_file(&stats)?))
    };
    let (_, ample) = run("100000")?;
    ensure(ample["packets"]["in_overflow"] == 0, "no overflow with room")?;
    for room in ["1", "16", "200"] {
        let (run, ledger) = run(room)?;
        let records = json_lines(&run.stdout)?;
        let sum = |kind: &str| -> u64 {
            let of_kind = records.iter().filter(|record| record["kind"] == kind);
            of_kind.map(|r| number(&r["src_packets"]) + number(&r["dst_packets"])).sum()
        };
        let packets = &ledger["packets"];
        ensure(number(&packets["in_overflow"]) > 0, format!("room {room}: nothing overflowed"))?;
        ensure(sum("overflow") == number(&packets["in_overflow"]), "overflow records")?;
        ensure(sum("flow") == number(&packets["in_flows"]), "flow records")?;
        let total = number(&packets["in_flows"]) + number(&packets["in_overflow"]);
        let before = number(&ample["packets"]["in_flows"]);
        ensure(total == before, format!("room {room}: {total} packets, want {before}"))?;
    }
    Ok(())
}

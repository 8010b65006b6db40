//! Under a scan: many flows of one packet each into a table that is far too small, beside
//! flows that live long. Detail may be lost, and nothing else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;

use libtest_mimic::{Failed, Trial};
use serde::Deserialize;
use serde_json::Value;

use crate::program::{Generated, flowtap, generate_scan, json_file};
use crate::{Outcome, ensure};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("scan::what_is_long_survives_and_totals_are_exact", || check(300_000, 5_000)),
        Trial::test("scan::what_finds_no_room_is_added_up_by_prefix", tight_table),
        Trial::test("scan::memory_does_not_grow_with_its_length", memory),
    ]
}

/// Long-lived flows of a generated scan.
const LONG_FLOWS: u64 = 1_000;

/// Packets and bytes by direction.
type Counts = [[u64; 2]; 2];

/// What these tests look at of a record.
#[derive(Deserialize)]
struct Record {
    kind: String,
    protocol: u8,
    src_ip: Option<IpAddr>,
    dst_ip: IpAddr,
    src_port: Option<u16>,
    dst_prefix_length: Option<u8>,
    src_packets: u64,
    dst_packets: u64,
    src_bytes: u64,
    dst_bytes: u64,
    end_reason: String,
}

/// What the truth says and the records have not yet accounted for.
struct Left {
    /// Packets and bytes of one-packet flows, by protocol and prefix.
    scanned: BTreeMap<(u64, String), [u64; 2]>,
    /// Long-lived flows, by initiator.
    long: BTreeMap<(IpAddr, u16), Counts>,
}

impl Left {
    fn of(truth: &Value) -> Result<Self, Failed> {
        let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
        let mut left = Self { scanned: BTreeMap::new(), long: BTreeMap::new() };
        for scan in truth["scanned"].as_array().into_iter().flatten() {
            let key = (number(&scan["protocol"]), scan["prefix"].as_str().unwrap_or("").to_owned());
            left.scanned.insert(key, ["packets", "bytes"].map(|name| number(&scan[name])));
        }
        for flow in truth["flows"].as_array().into_iter().flatten() {
            let address = flow["src"].as_str().unwrap_or("").parse()?;
            let port = u16::try_from(number(&flow["sport"]))?;
            let counts =
                ["packets", "bytes"].map(|name| [0, 1].map(|way| number(&flow[name][way])));
            left.long.insert((address, port), counts);
        }
        ensure(left.long.len() as u64 == LONG_FLOWS && left.scanned.len() == 32, "the truth")?;
        Ok(left)
    }

    /// Takes off what a record says.
    fn take(&mut self, record: &Record) -> Outcome {
        let of_long = (record.kind == "flow")
            .then(|| self.long.remove(&(record.src_ip?, record.src_port?)))
            .flatten();
        if let Some([packets, bytes]) = of_long {
            let exact = packets == [record.src_packets, record.dst_packets]
                && bytes == [record.src_bytes, record.dst_bytes]
                && record.end_reason == "forced";
            return ensure(exact, format!("a long-lived flow from {:?}", record.src_ip));
        }
        let Record { kind, src_packets, src_bytes, end_reason, .. } = record;
        let what = || format!("{kind} to {}: {src_packets} packets, {end_reason}", record.dst_ip);
        ensure(record.dst_packets + record.dst_bytes == 0, what())?;
        let prefix = if kind == "overflow" {
            ensure(record.dst_prefix_length == Some(24) && end_reason == "resources", what())?;
            record.dst_ip.to_string()
        } else {
            ensure(*src_packets == 1, what())?;
            let IpAddr::V4(address) = record.dst_ip else { return Err(what().into()) };
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0")
        };
        let scanned = self.scanned.get_mut(&(u64::from(record.protocol), prefix));
        let [packets, bytes] = scanned.ok_or_else(what)?;
        *packets = packets.checked_sub(*src_packets).ok_or_else(what)?;
        *bytes = bytes.checked_sub(*src_bytes).ok_or_else(what)?;
        Ok(())
    }
}

/// A scan of `flows` flows into `room`, with one worker and with several: every packet and
/// byte of every prefix is in a record, and each long-lived flow has one exact record.
/// Returns how many packets overflowed.
fn check_with(made: &Generated, flows: u64, room: u64, workers: &str) -> Result<u64, Failed> {
    let [out, stats] = ["flows.jsonl", "stats.json"]
        .map(|name| made.folder.path().join(name).display().to_string());
    let (room_text, capture) = (room.to_string(), made.capture.display().to_string());
    flowtap([
        "read",
        "-q",
        "--strict",
        "-o",
        &out,
        "--stats",
        &stats,
        "--max-flows",
        &room_text,
        "--workers",
        workers,
        &capture,
    ])
    .expect(0)?;
    let truth = json_file(&made.truth)?;
    let mut left = Left::of(&truth)?;
    let (mut given_up, mut overflow, mut kept) = (0, 0, 0);
    for line in BufReader::new(File::open(&out)?).lines() {
        let record: Record = serde_json::from_str(&line?)?;
        match (&*record.kind, &*record.end_reason) {
            ("overflow", _) => overflow += record.src_packets,
            (_, "resources") => given_up += 1,
            _ => kept += 1,
        }
        left.take(&record)?;
    }
    ensure(left.long.is_empty(), format!("long-lived flows without a record: {:?}", left.long))?;
    ensure(
        left.scanned.values().all(|&left| left == [0; 2]),
        format!("packets and bytes that no record has: {:?}", left.scanned),
    )?;
    ensure(kept <= room, format!("{kept} flows in a table for {room}"))?;
    ensure(given_up + kept + overflow == flows, format!("{given_up}, {kept}, {overflow}"))?;
    let ledger = json_file(stats.as_ref())?;
    ensure(ledger["packets"]["delivered"] == truth["frames"], format!("{ledger}"))?;
    ensure(ledger["packets"]["in_overflow"] == overflow, format!("{ledger}"))?;
    ensure(ledger["flows"]["given_up"] == given_up, format!("{given_up} given up: {ledger}"))?;
    Ok(overflow)
}

fn check(flows: u64, room: u64) -> Outcome {
    let made = generate_scan(flows);
    ["1", "4"].iter().try_for_each(|workers| check_with(&made, flows, room, workers).map(drop))
}

fn tight_table() -> Outcome {
    const FLOWS: u64 = 60_000;
    let made = generate_scan(FLOWS);
    for workers in ["1", "4"] {
        // Hardly more than the flows that are not given up.
        let overflow = check_with(&made, FLOWS, LONG_FLOWS * 7 / 5, workers)?;
        ensure(overflow > 0, "nothing overflowed: this says nothing about aggregates")?;
    }
    Ok(())
}

fn memory() -> Outcome {
    let most = |flows| -> Result<u64, Failed> {
        let made = generate_scan(flows);
        let stats = made.folder.path().join("stats.json").display().to_string();
        let out = made.folder.path().join("flows.csv").display().to_string();
        let capture = made.capture.display().to_string();
        let arguments = ["read", "-q", "--max-flows", "5000", "--workers", "4"];
        let files = ["-o", &out, "--stats", &stats, &capture];
        flowtap(arguments.into_iter().chain(files)).expect(0)?;
        json_file(stats.as_ref())?["max_rss_bytes"].as_u64().ok_or_else(|| "no memory told".into())
    };
    let (short, long) = (most(150_000)?, most(600_000)?);
    // What a flow leaves behind, if it were 50 bytes, would be more than this.
    ensure(long <= short + short / 3, format!("{short} bytes, and {long} for four times the flows"))
}

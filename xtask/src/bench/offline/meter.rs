//! The meters: how each one is run on a capture file, and what its result adds up to, read by
//! that meter's own reader where it has one, or else as it says itself.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::peers::PEERS;
use crate::bench::ipfix::{self, Sums};
use crate::bench::programs::{said_version, strings};

/// Idle and active timeout of all meters that have them, in seconds. No flow of the captures
/// reaches them.
pub(super) const TIMEOUTS: [u32; 2] = [120, 300];

/// The meter that all others are held against; others of ours have longer names.
pub(super) const OURS: &str = "flowtap";
/// The same, without learning names.
pub(super) const WITHOUT_NAMES: &str = "flowtap, no names";

/// What no meter of one thread can be faster than.
pub(super) const CEILING: &str = "ceiling";

/// One run of a meter.
pub(super) struct Case<'a> {
    pub(super) capture: &'a Path,
    /// Its own, and empty before.
    pub(super) folder: &'a Path,
    pub(super) flows: u64,
    /// A UDP port of this host that takes records, and that nobody reads.
    pub(super) collector: u16,
}

/// A flow meter.
pub(super) struct Meter {
    pub(super) name: &'static str,
    /// Found on PATH, but for flowtap itself.
    pub(super) program: PathBuf,
    /// The line of this command's output that has a digit in it is the version.
    pub(super) version: [&'static str; 2],
    /// Processors it may use.
    pub(super) cpus: &'static str,
    pub(super) args: fn(&Case<'_>) -> Vec<String>,
    /// Given the case and all that the meter said.
    pub(super) sums: fn(&Case<'_>, &str) -> Result<Sums, String>,
    /// What it writes, in one word.
    pub(super) writes: &'static str,
    /// Packets of the largest capture that it can be asked to read.
    pub(super) most_packets: u64,
}

impl Meter {
    /// What it says of its version.
    pub(super) fn version(&self) -> String {
        said_version(&self.program, self.version)
    }
}

pub(super) fn path(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

/// flowtap, by format and processors; then every peer that is installed. Also names the
/// others.
pub(super) fn all(flowtap: &Path) -> (Vec<Meter>, Vec<&'static str>) {
    let ours = |name, cpus, format: Format, args| Meter {
        name,
        program: flowtap.to_owned(),
        version: ["--version", "flowtap"],
        cpus,
        args,
        sums: format.1,
        writes: format.0,
        most_packets: u64::MAX,
    };
    let mut meters = vec![
        ours(OURS, "0,1", IPFIX, |case| flowtap_args(case, "flows.ipfix", 1)),
        ours(WITHOUT_NAMES, "0,1", IPFIX, |case| {
            let args = flowtap_args(case, "flows.ipfix", 1);
            [args, strings(&["--names", "off"])].concat()
        }),
        ours("flowtap, CSV", "0,1", CSV, |case| flowtap_args(case, "flows.csv", 1)),
        ours("flowtap, JSON lines", "0,1", JSON, |case| flowtap_args(case, "flows.jsonl", 1)),
        ours("flowtap, one processor", "0", IPFIX, |case| flowtap_args(case, "flows.ipfix", 1)),
        ours("flowtap, two workers", "0,1", IPFIX, |case| flowtap_args(case, "flows.ipfix", 2)),
        Meter {
            name: CEILING,
            program: std::env::current_exe().unwrap_or_default(),
            version: ["--help", "own tools"],
            cpus: "0",
            args: |case| vec!["bench".into(), "walk".into(), path(case.capture)],
            sums: walk_sums,
            writes: "nothing",
            most_packets: u64::MAX,
        },
    ];
    let mut missing = Vec::new();
    for peer in PEERS {
        match (peer.find)(peer.name) {
            Some(program) => meters.push(peer.meter(program)),
            None => missing.push(peer.name),
        }
    }
    missing.extend(["go-flows, ipfixprobe, Suricata: not tried"]);
    (meters, missing)
}

/// What it writes, and how that is read.
type Format = (&'static str, fn(&Case<'_>, &str) -> Result<Sums, String>);

const IPFIX: Format = ("IPFIX", |case, _| ipfix::sums(&case.folder.join("flows.ipfix")));
const CSV: Format = ("CSV", sums_of_csv);
const JSON: Format = ("JSON", sums_of_json);

fn flowtap_args(case: &Case<'_>, output: &str, workers: usize) -> Vec<String> {
    let [idle, active] = TIMEOUTS.map(|seconds| format!("{seconds}s"));
    let mut args = strings(&["read", "--quiet", "--idle-timeout"]);
    args.extend([idle, "--active-timeout".into(), active, "--max-flows".into()]);
    // Room for twice the flows: they spread over tables as their hashes fall.
    args.extend([(2 * case.flows).to_string(), "-o".into(), output.into()]);
    if workers > 1 {
        args.extend(["--workers".into(), workers.to_string()]);
    }
    args.push(path(case.capture));
    args
}

pub(super) fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// Adds up columns of lines of text with a header.
pub(super) fn sum_columns(
    lines: impl Iterator<Item = String>,
    packets: &[&str],
    bytes: &[&str],
) -> Result<Sums, String> {
    let mut lines = lines;
    let header = lines.next().ok_or("no header")?;
    let names: Vec<_> = header.split(',').map(str::to_lowercase).collect();
    let columns = |wanted: &[&str]| -> Result<Vec<usize>, String> {
        let find = |name: &&str| names.iter().position(|known| known == name);
        wanted.iter().map(|name| find(name).ok_or_else(|| format!("no column {name}"))).collect()
    };
    let (packets, bytes) = (columns(packets)?, columns(bytes)?);
    let mut sums = Sums { records: 0, packets: 0, bytes: 0 };
    for line in lines {
        let fields: Vec<_> = line.split(',').collect();
        let sum = |columns: &[usize]| -> u64 {
            columns.iter().filter_map(|&column| fields.get(column)).map(|field| number(field)).sum()
        };
        sums.records += 1;
        sums.packets += sum(&packets);
        sums.bytes += sum(&bytes);
    }
    Ok(sums)
}

pub(super) fn lines_of(file: &Path) -> Result<impl Iterator<Item = String> + use<>, String> {
    let opened = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(BufReader::with_capacity(1 << 20, opened).lines().map_while(Result::ok))
}

fn sums_of_csv(case: &Case<'_>, _: &str) -> Result<Sums, String> {
    let lines = lines_of(&case.folder.join("flows.csv"))?;
    sum_columns(lines, &["src_packets", "dst_packets"], &["src_bytes", "dst_bytes"])
}

fn sums_of_json(case: &Case<'_>, _: &str) -> Result<Sums, String> {
    #[derive(serde::Deserialize)]
    struct Record {
        src_packets: u64,
        dst_packets: u64,
        src_bytes: u64,
        dst_bytes: u64,
    }
    let mut sums = Sums { records: 0, packets: 0, bytes: 0 };
    for line in lines_of(&case.folder.join("flows.jsonl"))? {
        let record: Record = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        sums.records += 1;
        sums.packets += record.src_packets + record.dst_packets;
        sums.bytes += record.src_bytes + record.dst_bytes;
    }
    Ok(sums)
}

/// All numbers behind `text` in the first line that holds it, in order.
pub(super) fn numbers_after(said: &str, text: &str) -> Result<Vec<u64>, String> {
    let rest = said.lines().find_map(|line| Some(line.split_once(text)?.1));
    let rest = rest.ok_or_else(|| format!("it did not say {text:?}"))?;
    let digits = rest.split(|letter: char| !letter.is_ascii_digit());
    Ok(digits.filter(|digits| !digits.is_empty()).map(number).collect())
}

fn walk_sums(_: &Case<'_>, said: &str) -> Result<Sums, String> {
    match numbers_after(said, "packets")?[..] {
        [packets, bytes, ..] => Ok(Sums { records: 0, packets, bytes }),
        _ => Err("no sums".into()),
    }
}

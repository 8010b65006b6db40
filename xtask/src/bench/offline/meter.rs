//! The meters: how each one is run on a capture file, and what its result adds up to, read by
//! that meter's own reader where it has one.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ipfix;
use crate::bench::programs::{find, said_version};

/// Idle and active timeout of all meters, in seconds. No flow of the captures reaches them.
pub(super) const TIMEOUTS: [u32; 2] = [120, 300];

/// The meter that all others are held against; others of ours have longer names.
pub(super) const OURS: &str = "flowtap";

/// What no meter can be faster than.
pub(super) const CEILING: &str = "ceiling";

/// One run of a meter.
pub(super) struct Case<'a> {
    pub(super) capture: &'a Path,
    /// Its own, and empty before.
    pub(super) folder: &'a Path,
    pub(super) flows: u64,
}

/// What a meter's result adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sums {
    /// Records; some meters write one for each direction.
    pub(super) records: u64,
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// A flow meter.
pub(super) struct Meter {
    pub(super) name: &'static str,
    /// Found on PATH, but for flowtap itself.
    pub(super) program: PathBuf,
    /// The line of this command's output that has a digit in it is the version.
    version: [&'static str; 2],
    /// Processors it may use.
    pub(super) cpus: &'static str,
    pub(super) args: fn(&Case<'_>) -> Vec<String>,
    /// Given the case and all that the meter said.
    pub(super) sums: fn(&Case<'_>, &str) -> Result<Sums, String>,
    /// What it writes, in one word.
    pub(super) writes: &'static str,
}

impl Meter {
    /// What it says of its version.
    pub(super) fn version(&self) -> String {
        said_version(&self.program, self.version)
    }
}

fn path(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
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
    };
    let mut meters = vec![
        ours(OURS, "0,1", IPFIX, |case| flowtap_args(case, "flows.ipfix", 1)),
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
        },
    ];
    let mut missing = Vec::new();
    for (program, version, args, sums, writes) in PEERS {
        match find(program) {
            Some(found) => meters.push(Meter {
                name: program,
                program: found,
                version,
                cpus: "0",
                args,
                sums,
                writes,
            }),
            None => missing.push(program),
        }
    }
    missing.extend(["NFStream, go-flows, ipfixprobe: not tried"]);
    (meters, missing)
}

type Peer = (
    &'static str,
    [&'static str; 2],
    fn(&Case<'_>) -> Vec<String>,
    fn(&Case<'_>, &str) -> Result<Sums, String>,
    &'static str,
);

const PEERS: [Peer; 5] = [
    ("yaf", ["--version", "yaf"], yaf_args, yaf_sums, "IPFIX"),
    ("nfpcapd", ["-V", "Version"], nfpcapd_args, nfpcapd_sums, "nfdump"),
    ("softflowd", ["-h", "version"], softflowd_args, softflowd_sums, "statistics"),
    ("argus", ["-h", "Version"], argus_args, argus_sums, "argus"),
    ("pmacctd", ["-V", "pmacctd"], pmacctd_args, pmacctd_sums, "CSV"),
];

/// What it writes, and how that is read.
type Format = (&'static str, fn(&Case<'_>, &str) -> Result<Sums, String>);

const IPFIX: Format = ("IPFIX", |case, _| ipfix::sums(&case.folder.join("flows.ipfix")));
const CSV: Format = ("CSV", sums_of_csv);
const JSON: Format = ("JSON", sums_of_json);

fn flowtap_args(case: &Case<'_>, output: &str, workers: usize) -> Vec<String> {
    let [idle, active] = TIMEOUTS.map(|seconds| format!("{seconds}s"));
    let mut args = strings(&["read", "--quiet", "--idle-timeout"]);
    args.extend([idle, "--active-timeout".into(), active, "--max-flows".into()]);
    args.extend([case.flows.to_string(), "-o".into(), output.into()]);
    if workers > 1 {
        args.extend(["--workers".into(), workers.to_string()]);
    }
    args.push(path(case.capture));
    args
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// Adds up columns of lines of text with a header.
fn sum_columns(
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

fn lines_of(file: &Path) -> Result<impl Iterator<Item = String> + use<>, String> {
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

/// All numbers in the first line that holds `text`, in order.
fn numbers_after(said: &str, text: &str) -> Result<Vec<u64>, String> {
    let line = said.lines().find(|line| line.contains(text));
    let line = line.ok_or_else(|| format!("it did not say {text:?}"))?;
    let digits = line.split(|letter: char| !letter.is_ascii_digit());
    Ok(digits.filter(|digits| !digits.is_empty()).map(number).collect())
}

fn walk_sums(_: &Case<'_>, said: &str) -> Result<Sums, String> {
    match numbers_after(said, "packets")?[..] {
        [packets, bytes, ..] => Ok(Sums { records: 0, packets, bytes }),
        _ => Err("no sums".into()),
    }
}

fn yaf_args(case: &Case<'_>) -> Vec<String> {
    let [idle, active] = TIMEOUTS.map(|seconds| seconds.to_string());
    let mut args = strings(&["--in"]);
    args.extend([path(case.capture), "--out".into(), "flows.yaf".into()]);
    args.extend(["--idle-timeout".into(), idle, "--active-timeout".into(), active]);
    args
}

fn yaf_sums(_: &Case<'_>, said: &str) -> Result<Sums, String> {
    let packets = numbers_after(said, "Processed")?;
    Ok(Sums { records: 0, packets: packets.first().copied().unwrap_or(0), bytes: 0 })
}

fn nfpcapd_args(case: &Case<'_>) -> Vec<String> {
    let [idle, active] = TIMEOUTS;
    let mut args = strings(&["-w", ".", "-e"]);
    args.extend([format!("{active},{idle}"), "-r".into(), path(case.capture)]);
    args
}

fn nfpcapd_sums(_: &Case<'_>, said: &str) -> Result<Sums, String> {
    // One line for each five minutes; there is one.
    match numbers_after(said, "Flows: ")?[..] {
        [.., records, packets, bytes] => Ok(Sums { records, packets, bytes }),
        _ => Err("no sums".into()),
    }
}

fn softflowd_args(case: &Case<'_>) -> Vec<String> {
    let [idle, active] = TIMEOUTS;
    let mut args = strings(&["-d", "-t"]);
    args.extend([format!("maxlife={active}s"), "-t".into(), format!("general={idle}s")]);
    args.extend(["-m".into(), (2 * case.flows).to_string(), "-r".into(), path(case.capture)]);
    args
}

fn softflowd_sums(_: &Case<'_>, said: &str) -> Result<Sums, String> {
    let mut sums = Sums { records: 0, packets: 0, bytes: 0 };
    sums.records = numbers_after(said, "Flows expired:")?[0];
    for protocol in ["tcp (6):", "udp (17):"] {
        // Its number, octets, packets, and ages.
        if let [_, bytes, packets, ..] = numbers_after(said, protocol)?[..] {
            sums.packets += packets;
            sums.bytes += bytes;
        }
    }
    Ok(sums)
}

fn argus_args(case: &Case<'_>) -> Vec<String> {
    let mut args = strings(&["-w", "flows.argus", "-r"]);
    args.push(path(case.capture));
    args
}

fn argus_sums(case: &Case<'_>, _: &str) -> Result<Sums, String> {
    let ra = find("ra").ok_or("ra (argus-client) is not installed")?;
    let output = Command::new(ra)
        // Without its records about itself.
        .args(["-r", "flows.argus", "-n", "-c", ",", "-s", "pkts", "bytes", "-", "ip"])
        .current_dir(case.folder)
        .output()
        .map_err(|error| format!("ra: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = ["pkts,bytes".to_owned()].into_iter().chain(text.lines().map(str::to_owned));
    sum_columns(lines.filter(|line| !line.contains("TotPkts")), &["pkts"], &["bytes"])
}

fn pmacctd_args(case: &Case<'_>) -> Vec<String> {
    // What is not said here it writes several times over, or loses on the way to itself.
    let config = format!(
        "plugins: print\nprint_output: csv\nprint_output_file: flows.csv\n\
         print_output_file_append: true\nprint_refresh_time: 3600\nprint_cache_entries: {}\n\
         plugin_pipe_size: 256000000\nplugin_buffer_size: 256000\n\
         aggregate: src_host, dst_host, src_port, dst_port, proto\n",
        4 * case.flows + 1
    );
    // Without it the run fails and says so.
    let _ = std::fs::write(case.folder.join("pmacctd.conf"), config);
    let mut args = strings(&["-f", "pmacctd.conf", "-I"]);
    args.push(path(case.capture));
    args
}

fn pmacctd_sums(case: &Case<'_>, _: &str) -> Result<Sums, String> {
    sum_columns(lines_of(&case.folder.join("flows.csv"))?, &["packets"], &["bytes"])
}

//! Other people's meters: where they are, how each is run on a capture file, and how its own
//! reader adds up what it wrote.

use std::path::PathBuf;
use std::process::Command;

use super::meter::{Case, Meter, TIMEOUTS, lines_of, number, numbers_after, path, sum_columns};
use crate::bench::ipfix::Sums;
use crate::bench::programs::{find, pmacctd_config, strings};

/// A meter that may be here.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) find: fn(&str) -> Option<PathBuf>,
    /// What makes it say its version, and what the line of it has.
    version: [&'static str; 2],
    args: fn(&Case<'_>) -> Vec<String>,
    sums: fn(&Case<'_>, &str) -> Result<Sums, String>,
    writes: &'static str,
    most_packets: u64,
}

/// All that we know of.
pub(super) const PEERS: [Peer; 7] = [
    peer("yaf", ["--version", "yaf"], yaf_args, yaf_sums, "IPFIX"),
    peer("nfpcapd", ["-V", "Version"], nfpcapd_args, nfpcapd_sums, "nfdump"),
    peer("softflowd", ["-h", "version"], softflowd_args, softflowd_sums, "statistics"),
    peer("argus", ["-h", "Version"], argus_args, argus_sums, "argus"),
    peer("pmacctd", ["-V", "pmacctd"], pmacctd_args, pmacctd_sums, "CSV"),
    Peer {
        find: |_| Some(PathBuf::from(NFSTREAM)).filter(|python| python.exists()),
        ..peer("NFStream", [NFSTREAM_VERSION, "NFStream"], nfstream_args, nfstream_sums, "CSV")
    },
    Peer {
        // It holds on to all that it has read: a kilobyte a packet.
        most_packets: 2_000_000,
        ..peer("tshark", ["--version", "TShark"], tshark_args, tshark_sums, "conversations")
    },
];

/// The Python that scripts/bench has installed NFStream for.
const NFSTREAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/nfstream/bin/python");

const NFSTREAM_VERSION: &str = "-cimport nfstream; print('NFStream', nfstream.__version__)";

const fn peer(
    name: &'static str,
    version: [&'static str; 2],
    args: fn(&Case<'_>) -> Vec<String>,
    sums: fn(&Case<'_>, &str) -> Result<Sums, String>,
    writes: &'static str,
) -> Peer {
    Peer { name, find, version, args, sums, writes, most_packets: u64::MAX }
}

impl Peer {
    /// The meter that `program` is. Peers have the processors that ours has.
    pub(super) fn meter(self, program: PathBuf) -> Meter {
        let Self { name, version, args, sums, writes, most_packets, .. } = self;
        Meter { name, program, version, cpus: "0,1", args, sums, writes, most_packets }
    }
}

fn nfstream_args(case: &Case<'_>) -> Vec<String> {
    let [idle, active] = TIMEOUTS;
    let script = format!(
        "import sys, nfstream; nfstream.NFStreamer(source=sys.argv[1], idle_timeout={idle}, active_timeout={active}, n_dissections=0, \
         accounting_mode=1, n_meters=1).to_csv('flows.csv')"
    );
    vec!["-c".into(), script, path(case.capture)]
}

fn nfstream_sums(case: &Case<'_>, _: &str) -> Result<Sums, String> {
    let lines = lines_of(&case.folder.join("flows.csv"))?;
    sum_columns(lines, &["bidirectional_packets"], &["bidirectional_bytes"])
}

fn tshark_args(case: &Case<'_>) -> Vec<String> {
    let mut args = strings(&["-q", "-z", "conv,tcp", "-z", "conv,udp", "-r"]);
    args.push(path(case.capture));
    args
}

/// Bytes are rounded in its tables.
fn tshark_sums(_: &Case<'_>, said: &str) -> Result<Sums, String> {
    let mut sums = Sums::default();
    for line in said.lines().filter(|line| line.contains(" <-> ")) {
        // Ends; frames and bytes (a number and its unit) one way, the other way, and both ways.
        let words: Vec<_> = line.split_whitespace().collect();
        sums.records += 1;
        sums.packets += number(words.get(9).ok_or("a line without a total")?);
    }
    Ok(sums)
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
    let records = numbers_after(said, "Flows expired:")?[0];
    let mut sums = Sums { records, ..Sums::default() };
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
    let config = pmacctd_config(case.flows);
    // Without it the run fails and says so.
    let _ = std::fs::write(case.folder.join("pmacctd.conf"), config);
    let mut args = strings(&["-f", "pmacctd.conf", "-I"]);
    args.push(path(case.capture));
    args
}

fn pmacctd_sums(case: &Case<'_>, _: &str) -> Result<Sums, String> {
    sum_columns(lines_of(&case.folder.join("flows.csv"))?, &["packets"], &["bytes"])
}

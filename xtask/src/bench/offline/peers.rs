//! Other people's meters: where they are, how each is run on a capture file, and what it has
//! found: as its own reader tells, or as it says itself where it has none (YAF, softflowd, which
//! sends its records, and tshark, which prints).

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
    peer("softflowd", ["-h", "version"], softflowd_args, softflowd_sums, "NetFlow 9"),
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
    let mut args = strings(&["--verbose", "--in"]);
    args.extend([path(case.capture), "--out".into(), "flows.yaf".into()]);
    args.extend(["--idle-timeout".into(), idle, "--active-timeout".into(), active]);
    args
}

fn yaf_sums(_: &Case<'_>, said: &str) -> Result<Sums, String> {
    match numbers_after(said, "Processed")?[..] {
        [packets, records, ..] => Ok(Sums { records, packets, bytes: 0 }),
        _ => Err("no sums".into()),
    }
}

fn nfpcapd_args(case: &Case<'_>) -> Vec<String> {
    // Without it the run fails and says so.
    let _ = std::fs::create_dir(case.folder.join("flows"));
    let [idle, active] = TIMEOUTS;
    let mut args = strings(&["-w", "flows", "-e"]);
    args.extend([format!("{active},{idle}"), "-r".into(), path(case.capture)]);
    args
}

fn nfpcapd_sums(case: &Case<'_>, _: &str) -> Result<Sums, String> {
    let nfdump = find("nfdump").ok_or("nfdump is not installed")?;
    let args = ["-R", "flows", "-q", "-N", "-o", "fmt:%pkt,%byt"];
    sums_printed(Command::new(nfdump).args(args).current_dir(case.folder))
}

fn softflowd_args(case: &Case<'_>) -> Vec<String> {
    let [idle, active] = TIMEOUTS;
    let mut args = strings(&["-d", "-6", "-v", "9", "-n"]);
    args.extend([format!("127.0.0.1:{}", case.collector)]);
    // The general one is of neither.
    for protocol in ["tcp", "tcp.rst", "tcp.fin", "udp", "icmp", "general"] {
        args.extend(["-t".into(), format!("{protocol}={idle}s")]);
    }
    args.extend(["-t".into(), format!("maxlife={active}s")]);
    args.extend(["-m".into(), (2 * case.flows).to_string(), "-r".into(), path(case.capture)]);
    args
}

fn softflowd_sums(_: &Case<'_>, said: &str) -> Result<Sums, String> {
    let expired = numbers_after(said, "Flows expired:")?;
    let records = *expired.first().ok_or("no flows")?;
    let mut sums = Sums { records, ..Sums::default() };
    for protocol in ["tcp (6):", "udp (17):"] {
        // Octets, packets, and ages.
        if let [bytes, packets, ..] = numbers_after(said, protocol)?[..] {
            sums.packets += packets;
            sums.bytes += bytes;
        }
    }
    Ok(sums)
}

fn argus_args(case: &Case<'_>) -> Vec<String> {
    let [_, active] = TIMEOUTS;
    // Not as /etc/argus.conf says: Debian's has it report each flow every five seconds.
    let mut args = strings(&["-X", "-S"]);
    args.extend([active.to_string(), "-w".into(), "flows.argus".into(), "-r".into()]);
    args.push(path(case.capture));
    args
}

fn argus_sums(case: &Case<'_>, _: &str) -> Result<Sums, String> {
    let ra = find("ra").ok_or("ra (argus-client) is not installed")?;
    // Without its records about itself.
    let args = ["-r", "flows.argus", "-n", "-c", ",", "-s", "pkts", "bytes", "-", "ip"];
    sums_printed(Command::new(ra).args(args).current_dir(case.folder))
}

/// Of a reader that prints the packets and bytes of each record.
fn sums_printed(reader: &mut Command) -> Result<Sums, String> {
    let output = reader.output().map_err(|error| format!("{reader:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{reader:?}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    sums_of_lines(&String::from_utf8_lossy(&output.stdout))
}

fn sums_of_lines(printed: &str) -> Result<Sums, String> {
    let records = printed.lines().filter(|line| !line.contains("TotPkts"));
    let lines = ["pkts,bytes"].into_iter().chain(records).map(str::to_owned);
    sum_columns(lines, &["pkts"], &["bytes"])
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const YAF: &str = "\
        [2026-11-27 10:12:01] yaf starting\n\
        [2026-11-27 10:12:02] Processed 1000000 packets into 100250 flows:\n\
        [2026-11-27 10:12:02]   Mean flow rate 4321.10/s.\n";

    const SOFTFLOWD: &str = "\
        Number of active flows: 0\n\
        Packets processed: 1000000\n\
        Flows expired: 500000 (0 forced)\n\
        Flows exported: 500000 (501000 records) in 15905 packets (0 failures)\n\
        Per-protocol statistics:     Octets      Packets   Avg Life    Max Life\n\
        \u{20}           tcp (6):       46453046       500001       0.02s       9.98s\n\
        \u{20}          udp (17):       44788452       499999       0.02s       9.98s\n";

    const TSHARK: &str = "\
        UDP Conversations\n\
        10.1.0.114:50789           <-> 10.2.0.53:53                     2 200 bytes       \
        2 156 bytes       4 356 bytes     0.046122238         0.0131\n\
        fd00:1::1f:45819           <-> fd00:2::35:53                    2 314 bytes       \
        3 196 kB          5 510 kB        0.189030797         0.0036\n";

    const PMACCTD: &str = "\
        SRC_IP,DST_IP,SRC_PORT,DST_PORT,PROTOCOL,PACKETS,BYTES\n\
        10.1.64.0,10.2.64.0,40000,443,tcp,251,35040\n\
        10.1.64.1,10.2.64.1,40001,443,udp,251,32879\n";

    const NFSTREAM: &str = "\
        id,src_ip,src_port,bidirectional_packets,bidirectional_bytes,src2dst_packets\n\
        0,10.1.0.114,50789,4,356,2\n\
        1,fd00:1::1f,45819,5,510,2\n";

    /// What it says, the file that it writes, or what its reader prints, as they were.
    #[test]
    fn what_each_peer_says_is_understood() {
        let folder = std::env::temp_dir().join(format!("flowtap-peers-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let case = Case { capture: Path::new("x.pcap"), folder: &folder, flows: 1, collector: 1 };
        for (name, said, want) in [
            ("yaf", YAF, [100_250, 1_000_000, 0]),
            ("softflowd", SOFTFLOWD, [500_000, 1_000_000, 91_241_498]),
            ("tshark", TSHARK, [2, 9, 0]),
            ("pmacctd", PMACCTD, [2, 502, 67_919]),
            ("NFStream", NFSTREAM, [2, 9, 866]),
        ] {
            std::fs::write(folder.join("flows.csv"), said).unwrap();
            let peer = PEERS.into_iter().find(|peer| peer.name == name).unwrap();
            let Sums { records, packets, bytes } = (peer.sums)(&case, said).unwrap();
            assert_eq!([records, packets, bytes], want, "{name}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
        for printed in ["       1,      65\n       2,     119\n", "TotPkts,TotBytes\n2,100\n1,84\n"]
        {
            let Sums { records, packets, bytes } = sums_of_lines(printed).unwrap();
            assert_eq!([records, packets, bytes], [2, 3, 184], "{printed}");
        }
    }

    /// All that can be told has the timeouts that the report names.
    #[test]
    fn peers_have_the_timeouts_of_the_report() {
        let case = Case {
            capture: Path::new("x.pcap"),
            folder: Path::new("/nowhere"),
            flows: 1,
            collector: 1,
        };
        for (name, want) in [
            ("softflowd", "-t tcp=120s -t tcp.rst=120s -t tcp.fin=120s -t udp=120s"),
            ("softflowd", "maxlife=300s"),
            ("argus", "-X -S 300"),
            ("nfpcapd", "-e 300,120"),
            ("yaf", "--idle-timeout 120 --active-timeout 300"),
        ] {
            let peer = PEERS.into_iter().find(|peer| peer.name == name).unwrap();
            let args = (peer.args)(&case).join(" ");
            assert!(args.contains(want), "{name}: {args}");
        }
    }
}

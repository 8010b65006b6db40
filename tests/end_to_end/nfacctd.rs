//! Records sent to nfacctd, pmacct's collector: what it stores, beside the JSON lines of the run.
//!
//! It takes UDP only. Of a record with both directions (RFC 5103) it reads the first, and of TCP's
//! flags one byte, as NetFlow has them: those of IPFIX have two (RFC 7125).

use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command};

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;

use crate::collector::has_directions;
use crate::program::{FLOWTAP, Run, folder, generate, json_lines, signal, wait_for};
use crate::{Outcome, ensure, not_here};

pub(crate) fn trials() -> Vec<Trial> {
    if Command::new("nfacctd").arg("-V").output().is_err() {
        return not_here("nfacctd", "needs nfacctd (scripts/setup installs it)");
    }
    vec![
        Trial::test("nfacctd::it_reads_each_direction", || {
            by_nfacctd("ipfix", &["--uniflow"], &[])
        }),
        Trial::test("nfacctd::it_reads_the_first_of_both_directions", || {
            by_nfacctd("ipfix", &[], &["first"])
        }),
        Trial::test("nfacctd::it_reads_netflow", || by_nfacctd("netflow9", &[], &[])),
    ]
}

/// How it shall store records. Its core hands them to its plugin one by one unless a size of a
/// buffer is set: with one, the last records wait until it is full.
const CONFIG: &str = "
daemonize: false
nfacctd_ip: 127.0.0.1
plugins: print
aggregate: src_host, dst_host, src_port, dst_port, proto, tcpflags, src_mac, dst_mac, vlan, \
           timestamp_start, timestamp_end, export_proto_version
print_output: json
print_output_file_append: true
print_num_protos: true
print_refresh_time: 1
timestamps_rfc3339: true
timestamps_utc: true
";

/// nfacctd on a port of its own, with all its files in a folder; told to end when dropped.
struct Nfacctd(Child);

impl Drop for Nfacctd {
    fn drop(&mut self) {
        signal(&self.0, Signal::SIGINT);
        // It stores what it has.
        let _ = self.0.wait();
    }
}

impl Nfacctd {
    fn start(folder: &Path, port: u16) -> Result<Self, Failed> {
        let path = |name: &str| folder.join(name);
        let stored = path("stored.json");
        let more = format!("nfacctd_port: {port}\nprint_output_file: {}\n", stored.display());
        fs::write(path("nfacctd.conf"), format!("{CONFIG}{more}"))?;
        let log = File::create(path("log"))?;
        let child = Command::new("nfacctd")
            .arg("-f")
            .arg(path("nfacctd.conf"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let nfacctd = Self(child);
        let log = || fs::read_to_string(path("log")).unwrap_or_default();
        // What comes before its plugin has waited once does not wake it; it has when it has stored
        // what there is (nothing) for the first time, after a second.
        let is_ready =
            || ["waiting for NetFlow", "Purging cache"].iter().all(|it| log().contains(it));
        ensure(wait_for(is_ready), log())?;
        Ok(nfacctd)
    }
}

/// What it stores is what the JSON lines have, in `which` directions (see [`has_directions()`]).
fn by_nfacctd(protocol: &str, arguments: &[&str], which: &[&str]) -> Outcome {
    let folder = folder();
    let [stored, log, jsonl] = ["stored.json", "log", "a.jsonl"].map(|it| folder.path().join(it));
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let made = generate(5_000, 300, 34);
    let url = format!("{protocol}+udp://127.0.0.1:{port}");
    let nfacctd = Nfacctd::start(folder.path(), port)?;
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "--strict", "-o", &url, "-o"]).arg(&jsonl).args(arguments);
    Run::of(command.arg(&made.capture)).expect(0)?;
    let sent = json_lines(&fs::read_to_string(&jsonl)?)?;
    let sides =
        if which.is_empty() { &["src_packets", "dst_packets"][..] } else { &["src_packets"] };
    let records = sent.iter().flat_map(|it| sides.iter().map(|&side| &it[side]));
    let records = records.filter(|&packets| packets != 0).count();
    let count = || fs::read_to_string(&stored).map_or(0, |it| it.lines().count());
    // Its plugin may have gone to sleep just when the last came, and is woken when it is to end.
    let _ = wait_for(|| count() >= records);
    drop(nfacctd);
    ensure(count() == records, format!("it stored {} records of {records}", count()))?;
    for line in fs::read_to_string(log)?.lines() {
        let complains = ["ERROR", "WARN", "malformed", "incomplete", "unknown"];
        ensure(!complains.iter().any(|it| line.contains(it)), line)?;
    }
    has_directions(&stored, &jsonl, which)
}

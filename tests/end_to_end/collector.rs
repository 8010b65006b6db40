//! Records sent to collectors: what they receive is read by tshark and by nfcapd, beside the JSON
//! lines of the same run; and what becomes of records when there is no collector.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use etherparse::PacketBuilder;
use libtest_mimic::{Failed, Trial};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;

use crate::ipfix::{PEN, agree, has_tshark};
use crate::jumbo::pcap;
use crate::program::{
    FLOWTAP, Run, accept, flowtap, flowtap_fed, folder, generate, generate_scan, is_root,
    json_file, signal, wait_for,
};
use crate::{Outcome, carried, ensure, not_here};

/// Reads totals, and compares.
const TOTALS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/end_to_end/totals.py");

/// Reads what nfcapd has written, and compares.
const COMPARE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/end_to_end/collector.py");

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("collector::without_one_records_are_counted_by_cause", nobody_there),
        Trial::test("collector::a_name_that_is_none_is_told", no_such_name),
        Trial::test(
            "collector::one_that_ends_each_connection_is_tried_ever_more_rarely",
            ends_each,
        ),
    ];
    if has_tshark() {
        trials.extend([
            Trial::test("collector::tshark_reads_a_tcp_stream", || over_tcp("127.0.0.1")),
            Trial::test("collector::tshark_reads_a_tcp_stream_over_ipv6", || over_tcp("[::1]")),
            Trial::test("collector::tshark_reads_totals_and_they_are_right", totals),
            Trial::test("collector::tshark_reads_datagrams_of_bounded_length", over_udp),
            Trial::test("collector::tshark_reads_netflow", netflow),
            Trial::test("collector::a_collector_that_comes_back_gets_the_rest", restart),
            Trial::test("collector::one_that_is_missed_at_the_end_gets_all", missed_at_the_end),
        ]);
    } else {
        trials.extend(not_here("collector_tshark", "needs tshark (scripts/setup installs it)"));
    }
    if is_root() && has_tshark() {
        trials.extend([
            Trial::test("collector::a_path_that_takes_less_gets_all_in_pieces", || short_path(200)),
            Trial::test(
                "collector::a_path_that_takes_less_than_a_template_is_counted",
                shorter_path,
            ),
        ]);
    } else {
        trials.extend(not_here(
            "collector_path",
            "needs root to make a network namespace, and tshark",
        ));
    }
    if Command::new("nfcapd").arg("-V").output().is_ok() {
        trials.extend([
            Trial::test("collector::nfcapd_reads_both_directions_in_one", || {
                by_nfcapd("ipfix", &[])
            }),
            Trial::test("collector::nfcapd_reads_each_direction", || {
                by_nfcapd("ipfix", &["--uniflow"])
            }),
            Trial::test("collector::nfcapd_reads_netflow", || by_nfcapd("netflow9", &[])),
        ]);
    } else {
        trials.extend(not_here("collector_nfcapd", "needs nfcapd (scripts/setup installs it)"));
    }
    trials
}

fn nobody_there() -> Outcome {
    let made = generate(2_000, 100, 31);
    let stats = made.folder.path().join("stats.json");
    // A port that was free a moment ago, and is not given out again soon.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    for transport in ["tcp", "udp"] {
        let url = format!("ipfix+{transport}://127.0.0.1:{port}");
        let arguments = ["read", "-q", "-o", &url, "--stats"].map(str::to_owned);
        let files = [&stats, &made.capture].map(|path| path.display().to_string());
        let run = flowtap(arguments.into_iter().chain(files)).expect(2)?;
        ensure(run.stderr.contains("onnection refused"), &run.stderr)?;
        let ledger = json_file(&stats)?;
        let refused = ledger["flows"]["not_sent"][format!("{url}: connection refused")].as_u64();
        ensure(refused == ledger["flows"]["created"].as_u64(), ledger["flows"].to_string())?;
        ensure(ledger["residuals"]["flows"] == 0, ledger["residuals"].to_string())?;
    }
    Ok(())
}

fn ends_each() -> Outcome {
    let capture = fs::read(generate_scan(20_000).capture)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("ipfix+tcp://{}", listener.local_addr()?);
    let mut child = Command::new(FLOWTAP)
        .args(["read", "-q", "--idle-timeout", "1s", "-o", &url, "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it was piped");
    listener.set_nonblocking(true)?;
    let mut connections = 0;
    // There is always something to send, for five seconds.
    for piece in capture.chunks(capture.len() / 250) {
        stdin.write_all(piece)?;
        thread::sleep(Duration::from_millis(20));
        connections += std::iter::from_fn(|| listener.accept().ok()).count();
    }
    drop((stdin, listener));
    child.wait()?;
    // After 0.25, 0.5, 1 and 2 s, a half more or less.
    ensure((2..=9).contains(&connections), format!("{connections} connections in 5 s"))
}

fn no_such_name() -> Outcome {
    let made = generate(200, 10, 32);
    let url = "ipfix+tcp://collector.invalid:4739";
    let arguments = ["read".as_ref(), "-q".as_ref(), "-o".as_ref(), url.as_ref()];
    let run = flowtap(arguments.into_iter().chain([made.capture.as_os_str()])).expect(2)?;
    ensure(run.stderr.contains("collector.invalid"), &run.stderr)
}

/// A collector over TCP, which gives all that it was sent.
type Collector = JoinHandle<std::io::Result<Vec<u8>>>;

/// One that takes one connection to its end, and where it is.
fn receive(host: &str) -> Result<(String, Collector), Failed> {
    let listener = TcpListener::bind(format!("{host}:0"))?;
    let url = format!("ipfix+tcp://{host}:{}", listener.local_addr()?.port());
    let receiver = thread::spawn(move || {
        let mut received = Vec::new();
        accept(&listener)?.read_to_end(&mut received)?;
        Ok(received)
    });
    Ok((url, receiver))
}

fn totals() -> Outcome {
    let folder = folder();
    let [ipfix, stats] = ["a.ipfix", "stats.json"].map(|name| folder.path().join(name));
    let (url, receiver) = receive("127.0.0.1")?;
    let mut arp = vec![0xff; 6];
    arp.extend([2, 0, 0, 0, 0, 1, 8, 6]);
    arp.extend([0; 46]);
    let flow = carried::frames().into_iter();
    let frames: Vec<_> = std::iter::repeat_n(arp, 7).chain(flow).collect();
    let arguments = ["read", "-q", "--strict", "-o", &url, "--stats", &stats.display().to_string()];
    flowtap_fed(&[&arguments[..], &["-"]].concat(), &pcap(&frames)).expect(0)?;
    fs::write(&ipfix, receiver.join().expect("it does not panic")?)?;
    let run = Run::of(Command::new("python3").arg(TOTALS).arg(&ipfix).arg(&stats)).expect(0)?;
    ensure(run.stdout.ends_with(" 7\n"), run.stdout)
}

/// Sends a capture's records to a collector, and writes them as JSON lines too.
fn send(capture: &Path, url: &str, jsonl: &Path) -> Outcome {
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "--strict", "-o", url, "-o"]).arg(jsonl).arg(capture);
    Run::of(&mut command).expect(0).map(drop)
}

fn over_tcp(host: &str) -> Outcome {
    let folder = folder();
    let [ipfix, jsonl] = ["a.ipfix", "a.jsonl"].map(|name| folder.path().join(name));
    let (url, receiver) = receive(host)?;
    send(&generate_scan(20_000).capture, &url, &jsonl)?;
    fs::write(&ipfix, receiver.join().expect("it does not panic")?)?;
    agree(&ipfix, &jsonl, 20_000)
}

fn over_udp() -> Outcome {
    let folder = folder();
    let [ipfix, jsonl] = ["a.ipfix", "a.jsonl"].map(|name| folder.path().join(name));
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let url = format!("ipfix+udp://{}", socket.local_addr()?);
    send(&generate(5_000, 300, 33).capture, &url, &jsonl)?;
    let all = datagrams(&socket)?;
    for datagram in &all {
        let said = usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
        ensure(said == datagram.len(), format!("a message of {said} bytes in {}", datagram.len()))?;
    }
    ensure(all.len() < 60, format!("{} datagrams for 300 records", all.len()))?;
    fs::write(&ipfix, all.concat())?;
    agree(&ipfix, &jsonl, 250)
}

/// Does something in a network namespace of its own, whose one interface takes packets of so many
/// bytes.
fn with_mtu<T: Send>(
    bytes: u16,
    work: impl FnOnce() -> Result<T, Failed> + Send,
) -> Result<T, Failed> {
    let there = || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let mtu = bytes.to_string();
        Run::of(Command::new("ip").args(["link", "set", "lo", "up", "mtu", &mtu])).expect(0)?;
        work()
    };
    thread::scope(|scope| scope.spawn(there).join().expect("it does not panic"))
}

/// Of messages with more than one template and many records, and with options.
fn short_path(at_least: usize) -> Outcome {
    let folder = folder();
    let [ipfix, jsonl] = ["a.ipfix", "a.jsonl"].map(|name| folder.path().join(name));
    let (all, run) = with_mtu(700, || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let url = format!("ipfix+udp://{}", socket.local_addr()?);
        let made = generate(5_000, 300, 33);
        let mut command = Command::new(FLOWTAP);
        command.args(["read", "--strict", "--pen", PEN, "-o", &url, "-o"]).arg(&jsonl);
        let run = Run::of(command.arg(&made.capture)).expect(0)?;
        Ok((datagrams(&socket)?, run))
    })?;
    let longest = all.iter().map(Vec::len).max();
    ensure((600..=672).contains(&longest.unwrap_or(0)), format!("{longest:?} bytes"))?;
    let told = run.stderr.matches("takes no more than 672 bytes").count();
    ensure(told == 1 && !run.stderr.contains("trying again"), run.stderr)?;
    fs::write(&ipfix, all.concat())?;
    agree(&ipfix, &jsonl, at_least)
}

/// Nothing helps there, so that all is counted and the run ends.
fn shorter_path() -> Outcome {
    let made = generate(2_000, 100, 31);
    let stats = made.folder.path().join("stats.json");
    let url = with_mtu(100, || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let url = format!("ipfix+udp://{}", socket.local_addr()?);
        let mut command = Command::new(FLOWTAP);
        command.args(["read", "-q", "--strict", "-o", &url, "--stats"]).arg(&stats);
        Run::of(command.arg(&made.capture)).expect(1)?;
        Ok(url)
    })?;
    let ledger = json_file(&stats)?;
    let lost = ledger["flows"]["not_sent"][format!("{url}: message too long")].as_u64();
    ensure(lost == ledger["flows"]["created"].as_u64(), ledger["flows"].to_string())?;
    ensure(ledger["residuals"]["flows"] == 0, ledger["residuals"].to_string())
}

/// Reads a line that says `what` of a collector.
fn told(stderr: &mut ChildStderr, what: &str) -> Outcome {
    let (mut said, mut byte) = (String::new(), [0]);
    while !said.contains(what) {
        ensure(stderr.read(&mut byte)? == 1, format!("not told that {what}: {said}"))?;
        said.push(byte[0].into());
    }
    Ok(())
}

/// The collector ends when it has the first records, and comes back when it is missed.
fn restart() -> Outcome {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let capture = fs::read(generate_scan(20_000).capture)?;
    let (first, second) = capture.split_at(capture.len() / 2);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut child = Command::new(FLOWTAP)
        .args(["read", "-", "--strict", "--idle-timeout", "1s", "--stats-interval", "20ms"])
        .args(["-o", &format!("ipfix+tcp://{address}"), "--stats"])
        .arg(path("stats.json"))
        .arg("-o")
        .arg(path("a.jsonl"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it was piped");
    let stderr = child.stderr.take().expect("it was piped");
    stdin.write_all(first)?;
    let mut connection = accept(&listener)?;
    connection.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (mut received, mut piece) = (Vec::new(), [0; 65_536]);
    // Until nothing comes for a second, as then nothing is on its way.
    while let Ok(len @ 1..) = connection.read(&mut piece) {
        received.extend_from_slice(&piece[..len]);
    }
    ensure(!received.is_empty(), "nothing came before the end of the collector")?;
    drop((connection, listener));
    let feeder = thread::spawn({
        let second = second.to_vec();
        move || stdin.write_all(&second)
    });
    received.extend(come_when_missed(address, stderr)?);
    feeder.join().expect("it does not panic")?;
    let status = child.wait()?;
    ensure(status.success(), format!("{status}: {}", json_file(&path("stats.json"))?["flows"]))?;
    fs::write(path("a.ipfix"), received)?;
    agree(&path("a.ipfix"), &path("a.jsonl"), 20_000)
}

/// Nothing is left but to wait for it, and the user is told so meanwhile.
fn missed_at_the_end() -> Outcome {
    let made = generate(2_000, 100, 33);
    let [ipfix, jsonl] = ["a.ipfix", "a.jsonl"].map(|name| made.folder.path().join(name));
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut child = Command::new(FLOWTAP)
        .args(["read", "--strict", "-o", &format!("ipfix+tcp://{address}"), "-o"])
        .args([&jsonl, &made.capture])
        .stderr(Stdio::piped())
        .spawn()?;
    let received = come_when_missed(address, child.stderr.take().expect("it was piped"))?;
    ensure(child.wait()?.success(), "it did not go on")?;
    fs::write(&ipfix, received)?;
    agree(&ipfix, &jsonl, 100)
}

/// A collector that is there once it is told that it is missed; all that it gets.
fn come_when_missed(address: SocketAddr, mut stderr: ChildStderr) -> Result<Vec<u8>, Failed> {
    told(&mut stderr, "trying again")?;
    let listener = TcpListener::bind(address)?;
    let drain = thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
    let mut received = Vec::new();
    accept(&listener)?.read_to_end(&mut received)?;
    drain.join().expect("it does not panic")?;
    Ok(received)
}

/// nfcapd on a port of its own; told to end when dropped.
struct Nfcapd(Child);

impl Drop for Nfcapd {
    fn drop(&mut self) {
        signal(&self.0, Signal::SIGTERM);
        // It completes its file.
        let _ = self.0.wait();
    }
}

impl Nfcapd {
    fn start(folder: &Path, port: u16) -> Result<Self, Failed> {
        let child = Command::new("nfcapd")
            .args(["-b", "127.0.0.1", "-p", &port.to_string(), "-w"])
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let nfcapd = Self(child);
        // The port is taken once it listens (/proc/net/udp has it in hexadecimal).
        let place = format!(":{port:04X} ");
        let listens = || fs::read_to_string("/proc/net/udp").is_ok_and(|it| it.contains(&place));
        ensure(wait_for(listens), "nfcapd does not listen")?;
        Ok(nfcapd)
    }
}

fn by_nfcapd(protocol: &str, arguments: &[&str]) -> Outcome {
    let folder = folder();
    let (received, jsonl) = (folder.path().join("nfcapd"), folder.path().join("a.jsonl"));
    fs::create_dir(&received)?;
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let made = generate(5_000, 300, 34);
    let url = format!("{protocol}+udp://127.0.0.1:{port}");
    let nfcapd = Nfcapd::start(&received, port)?;
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "--strict", "-o", &url, "-o"]).arg(&jsonl).args(arguments);
    Run::of(command.arg(&made.capture)).expect(0)?;
    drop(nfcapd);
    has_directions(&received, &jsonl, &[])
}

/// Whether nfdump, tshark or nfacctd reads in the one what stands in the other: `first` if only the
/// first direction of each record.
pub(crate) fn has_directions(received: &Path, jsonl: &Path, which: &[&str]) -> Outcome {
    let mut command = Command::new("python3");
    let run = Run::of(command.arg(COMPARE).arg(received).arg(jsonl).args(which)).expect(0)?;
    let records: usize = run.stdout.trim().parse()?;
    ensure(records >= 250, format!("{records} records, fewer than 250"))
}

/// NetFlow's datagrams, as tshark finds them in a capture.
fn netflow() -> Outcome {
    let folder = folder();
    let [pcap, jsonl] = ["a.pcap", "a.jsonl"].map(|name| folder.path().join(name));
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let url = format!("netflow9+udp://{}", socket.local_addr()?);
    send(&generate(5_000, 300, 39).capture, &url, &jsonl)?;
    let word = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut frames = Vec::new();
    for datagram in datagrams(&socket)? {
        let sequence = u32::try_from(frames.len())?;
        let is_right = word(&datagram, 0) >> 16 == 9
            && word(&datagram, 12) == sequence
            && datagram.len().is_multiple_of(4);
        ensure(is_right, format!("header {:?} of message {sequence}", &datagram[..20]))?;
        let mut frame = Vec::new();
        let packet =
            PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
        packet.udp(40_000, 2_055).write(&mut frame, &datagram)?;
        frames.push(frame);
    }
    fs::write(&pcap, crate::jumbo::pcap(&frames))?;
    has_directions(&pcap, &jsonl, &[])
}

/// All that a socket has: nothing comes after the program has ended.
fn datagrams(socket: &UdpSocket) -> Result<Vec<Vec<u8>>, Failed> {
    socket.set_nonblocking(true)?;
    let (mut datagram, mut all) = ([0; 65_536], Vec::new());
    while let Ok(len) = socket.recv(&mut datagram) {
        ensure(len <= 1_400, format!("a datagram of {len} bytes"))?;
        all.push(datagram[..len].to_vec());
    }
    Ok(all)
}

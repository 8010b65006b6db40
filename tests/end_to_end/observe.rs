//! Live, by packet sockets: the same link as in `live`, where the host keeps its network.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::ipfix::has_tshark;
use crate::live::{Capture, Net, check_ledger, check_records};
use crate::program::{
    Run, accept, folder, generate, json_file, json_lines, signal, wait_for, xtask,
};
use crate::{Outcome, ensure};

const LINK: &str = "flowtap-test";

/// The link that [`talk`] goes over.
pub(crate) const TALK_LINK: &str = LINK;

/// Processor time that an idle capture may take, in permille of one: a fifth of it is what a
/// release build takes, and this machine may be busy.
const IDLE_PERMILLE: u64 = 50;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("live::an_observer_sees_every_packet_by_one_ring", || {
            every_packet("1", "4096")
        }),
        Trial::test("live::an_observer_sees_every_packet_by_two_rings", || {
            every_packet("2", "128")
        }),
        Trial::test("live::what_an_observer_misses_is_counted", overload_is_exact),
        Trial::test("live::auto_leaves_the_host_its_network", auto_leaves_the_host_its_network),
        Trial::test("live::auto_taps_what_is_free_and_only_once", auto_taps_what_is_free),
        Trial::test("live::an_observed_interface_that_vanishes", vanished_keeps_what_came_before),
        Trial::test("live::an_observer_ends_whole_under_load", ends_whole_under_load),
        Trial::test("live::killed_an_observer_leaves_nothing", killed_leaves_nothing),
        Trial::test("live::an_idle_capture_rests", idle_rests),
    ]
}

/// Frames of 60 to 1,500 bytes, IPv4 and IPv6, some with VLAN tags; of which so many bytes are
/// copied, and all count.
fn every_packet(workers: &str, snaplen: &str) -> Outcome {
    let made = generate(20_000, 1_000, 10);
    let frames = json_file(&made.truth)?["frames"].as_u64().unwrap_or(0);
    let (out, stats) = (made.folder.path().join("live.jsonl"), made.folder.path().join("s.json"));
    let (out_text, stats_text) = (out.display().to_string(), stats.display().to_string());
    let ipfix = made.folder.path().join("live.ipfix").display().to_string();
    let net = Net::up(LINK)?;
    let files = ["-o", &out_text, "-o", &ipfix, "--stats", &stats_text];
    let arguments = [&files[..], &["--stats-interval", "50ms", "--strict"]].concat();
    let (capture, said) = net.capture_by(
        "observe",
        &[&arguments[..], &["--workers", workers, "--snaplen", snaplen]].concat(),
    )?;
    ensure(said.contains(&format!("AF_PACKET, {workers} ring")), said)?;
    net.send(&made.capture)?;
    capture.stop_after(frames, &stats)?;
    check_ledger(&stats, frames)?;
    let records = json_lines(&fs::read_to_string(&out)?)?;
    for (kind, field) in [("VLAN", "vlan"), ("IPv6", "ip_version")] {
        let is_kind = |record: &&Value| !record[field].is_null() && record[field] != 4;
        ensure(records.iter().any(|record| is_kind(&record)), format!("no {kind} in the test"))?;
    }
    check_indexes(&net, &ipfix)?;
    check_records(&made.capture, &out)
}

/// Each record of a file of IPFIX has the number that the kernel gives the interface.
fn check_indexes(net: &Net, ipfix: &str) -> Outcome {
    ensure(has_tshark(), "needs tshark (scripts/setup installs it)")?;
    let index = Run::of(net.inside("cat").arg("/sys/class/net/v1/ifindex")).expect(0)?;
    let fields = ["-T", "fields", "-E", "separator=,", "-e", "cflow.inputint"];
    let shown = Run::of(Command::new("tshark").args(["-r", ipfix]).args(fields)).expect(0)?;
    let all: Vec<_> = shown.stdout.split([',', '\n']).filter(|text| !text.is_empty()).collect();
    let is_one = |text: &&str| *text == index.stdout.trim();
    ensure(!all.is_empty() && all.iter().all(is_one), format!("{all:?} of {}", index.stdout))
}

/// While the program is stopped its ring runs full.
fn overload_is_exact() -> Outcome {
    let interface = overload(LINK, "observe", &["--workers", "1"])?;
    ensure(interface["dropped"]["kernel"] != 0, format!("{interface}"))?;
    ensure(interface["ring_freezes"] != 0, "the ring never ran full")
}

/// Stops a capture by this mode, with a small ring, while packets come: each is in the records,
/// undecodable, or lost by name. Returns what its ledger says of the interface.
pub(crate) fn overload(link: &str, mode: &str, flags: &[&str]) -> Result<Value, Failed> {
    let made = generate(20_000, 1_000, 12);
    let frames = json_file(&made.truth)?["frames"].as_u64().unwrap_or(0);
    let (out, stats) = (made.folder.path().join("live.jsonl"), made.folder.path().join("s.json"));
    let (out_text, stats_text) = (out.display().to_string(), stats.display().to_string());
    let net = Net::up(link)?;
    let arguments = ["-o", &out_text, "--stats", &stats_text, "--ring-frames", "64", "--strict"];
    let (capture, _) = net.capture_by(mode, &[&arguments[..], flags].concat())?;
    signal(&capture.child, Signal::SIGSTOP);
    net.send(&made.capture)?;
    signal(&capture.child, Signal::SIGCONT);
    // Loss: 1 under --strict.
    capture.stop(1)?;
    let mut ledger = json_file(&stats)?;
    let interface = &ledger["interfaces"][0];
    let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
    let dropped = interface["dropped"].as_object().into_iter().flatten();
    let lost: u64 = dropped.map(|(_, count)| number(count)).sum();
    let sum = in_records(&fs::read_to_string(&out)?)?;
    let undecodable = ledger["packets"]["undecodable"].as_object().into_iter().flatten();
    let undecodable: u64 = undecodable.map(|(_, count)| number(count)).sum();
    ensure(lost > 0 && lost < frames, format!("{lost} of {frames} lost"))?;
    ensure(
        sum + undecodable + lost == frames && interface["seen"] == frames,
        format!("{sum} in flows, {undecodable} undecodable, {lost} lost of {frames}: {interface}"),
    )?;
    no_residual(&ledger)?;
    Ok(ledger["interfaces"][0].take())
}

pub(crate) fn no_residual(ledger: &Value) -> Outcome {
    for residual in ["interface", "packets", "flows"] {
        ensure(ledger["residuals"][residual] == 0, format!("residual {residual}: {ledger}"))?;
    }
    Ok(())
}

/// Packets of all records.
pub(crate) fn in_records(text: &str) -> Result<u64, Failed> {
    let records = json_lines(text)?;
    let sides = records.iter().flat_map(|record| [&record["src_packets"], &record["dst_packets"]]);
    Ok(sides.filter_map(Value::as_u64).sum())
}

/// On an interface with an address: it is observed, and two hosts go on talking over it.
fn auto_leaves_the_host_its_network() -> Outcome {
    let folder = folder();
    let (out, stats) = (folder.path().join("live.jsonl"), folder.path().join("s.json"));
    let (out_text, stats_text) = (out.display().to_string(), stats.display().to_string());
    let net = Net::up(LINK)?;
    give_addresses()?;
    // Segments that are cut late are longer than the MTU.
    let offload = net.inside("ethtool").args(["-K", "v1", "tx", "on", "tso", "on"]).output()?;
    ensure(offload.status.success(), "ethtool -K v1 tx on tso on")?;

    ensure(net.inside("ip").args(["link", "set", "lo", "up"]).status()?.success(), "lo up")?;

    let arguments = ["-i", "lo", "-o", &out_text, "--stats", &stats_text];
    let (capture, said) = net.capture_by("auto", &arguments)?;
    ensure(said.contains("observe") && said.contains("it has the address 10.9.0.2"), said)?;
    let (asked, answered) = talk()?;
    talk_to_itself()?;
    capture.stop(0)?;

    let ledger = json_file(&stats)?;
    let interface = &ledger["interfaces"][0];
    for residual in ["interface", "packets", "flows"] {
        ensure(ledger["residuals"][residual] == 0, format!("residual {residual}: {ledger}"))?;
    }
    let loopback = &ledger["interfaces"][1];
    ensure(loopback["seen"] == TO_ITSELF, format!("not each once: {loopback}"))?;
    ensure(interface["outgoing"] != 0, format!("none sent: {interface}"))?;
    ensure(interface["frames_above_mtu"] != 0, format!("none above the MTU: {interface}"))?;
    let records = json_lines(&fs::read_to_string(&out)?)?;
    let tcp: Vec<_> = records.iter().filter(|record| record["protocol"] == 6).collect();
    ensure(tcp.len() == 1, format!("want one flow with both directions: {tcp:#?}"))?;
    let flow = tcp[0];
    // Each byte once, but for those that TCP has sent twice.
    for (side, bytes) in [("src", asked), ("dst", answered)] {
        let counted = flow[format!("{side}_payload_bytes")].as_u64().unwrap_or(0);
        ensure(
            (bytes..bytes + bytes / 2).contains(&counted),
            format!("{side}: {counted} bytes of {bytes}: {flow}"),
        )?;
    }
    ensure(flow["src_ip"] == "10.9.0.1" && flow["tcp_state"] == "closed", flow.to_string())
}

/// Gives both ends of the link one.
pub(crate) fn give_addresses() -> Outcome {
    for (end, interface, address) in [("a", "v0", "10.9.0.1/24"), ("b", "v1", "10.9.0.2/24")] {
        let netns = format!("{LINK}-{end}");
        let ip = |arguments: &[&str]| {
            Run::of(std::process::Command::new("ip").args(["-n", &netns]).args(arguments)).expect(0)
        };
        ip(&["link", "set", "dev", interface, "arp", "on"])?;
        ip(&["address", "add", address, "dev", interface])?;
    }
    Ok(())
}

/// What nobody uses is tapped; what another program has taken is observed.
fn auto_taps_what_is_free() -> Outcome {
    let net = Net::up(LINK)?;
    let (first, said) = net.capture_by("auto", &["-o", "-"])?;
    ensure(said.contains("v1: tap, native"), said)?;
    let (second, said) = net.capture_by("auto", &["-o", "-"])?;
    ensure(said.contains("v1: observe") && said.contains("another program"), said)?;
    second.stop(0)?;
    // Each queue has its worker; as many as are asked for has an observer.
    first.stop(0)?;
    let (third, said) = net.capture_by("auto", &["-o", "-", "--workers", "3"])?;
    ensure(said.contains("3 rings") && said.contains("2 queues, and --workers 3"), said)?;
    third.stop(0).map(drop)
}

/// Datagrams that a host sends to itself.
const TO_ITSELF: usize = 10;

fn talk_to_itself() -> Outcome {
    thread::scope(|scope| {
        let all = scope.spawn(|| {
            enter("b")?;
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            let to = socket.local_addr()?;
            (0..TO_ITSELF).try_for_each(|_| socket.send_to(b"hello", to).map(drop))
        });
        Ok(all.join().expect("it does not panic")?)
    })
}

/// Has this thread go to one end of the link.
fn enter(end: &str) -> std::io::Result<()> {
    let netns = File::open(format!("/run/netns/{LINK}-{end}"))?;
    setns(netns, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)
}

/// A conversation between the two ends of the link. How many bytes went each way.
pub(crate) fn talk() -> Result<(u64, u64), Failed> {
    let address: SocketAddr = ([10, 9, 0, 2], 7_777).into();
    let (asked, answered) = (b"what is there?", vec![7; 300_000]);
    thread::scope(|scope| {
        let (ready, is_ready) = std::sync::mpsc::channel();
        let answer = &answered;
        let server = scope.spawn(move || {
            enter("b")?;
            let listener = TcpListener::bind(address)?;
            // Nobody is there to tell if it is gone.
            let _ = ready.send(());
            let mut stream = accept(&listener)?;
            let mut question = [0; 14];
            stream.read_exact(&mut question)?;
            stream.write_all(answer)
        });
        let client = scope.spawn(move || {
            enter("a")?;
            let patience = Duration::from_secs(10);
            let _ = is_ready.recv_timeout(patience);
            let mut stream = TcpStream::connect_timeout(&address, patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(asked)?;
            let mut all = Vec::new();
            stream.read_to_end(&mut all)?;
            Ok::<_, std::io::Error>(all.len())
        });
        let len = client.join().expect("it does not panic")?;
        server.join().expect("it does not panic")?;
        ensure(len == answered.len(), format!("{len} bytes arrived"))
    })?;
    Ok((asked.len() as u64, answered.len() as u64))
}

fn vanished_keeps_what_came_before() -> Outcome {
    let made = generate(2_000, 100, 11);
    let frames = json_file(&made.truth)?["frames"].as_u64().unwrap_or(0);
    let (out, stats) = (made.folder.path().join("live.jsonl"), made.folder.path().join("s.json"));
    let (out_text, stats_text) = (out.display().to_string(), stats.display().to_string());
    let net = Net::up(LINK)?;
    let (mut capture, _) = net.capture_by("observe", &["-o", &out_text, "--stats", &stats_text])?;
    net.send(&made.capture)?;
    Run::of(net.inside("ip").args(["link", "del", "v1"])).expect(0)?;
    let said = capture.finish(2)?;
    ensure(
        said.contains("capture on v1: the interface is gone"),
        format!("no word of the interface: {said}"),
    )?;
    let ledger = json_file(&stats)?;
    ensure(ledger["interfaces"][0]["delivered"] == frames, format!("not all came: {ledger}"))?;
    ensure(ledger["residuals"]["interface"] == 0, format!("residual: {ledger}"))?;
    let sum = in_records(&fs::read_to_string(&out)?)?;
    ensure(ledger["packets"]["in_flows"] == sum, format!("{sum} in records: {ledger}"))
}

/// Stopped, or with its interface gone, while packets come: what the kernel has put into a
/// block that it has not handed over is waited for.
fn ends_whole_under_load() -> Outcome {
    let made = generate(20_000, 1_000, 13);
    let (out, stats) = (made.folder.path().join("live.jsonl"), made.folder.path().join("s.json"));
    let (out_text, stats_text) = (out.display().to_string(), stats.display().to_string());
    for (ends_by_signal, way) in
        [(true, "packet"), (false, "packet"), (true, "xdp"), (false, "xdp")]
    {
        let net = Net::up(LINK)?;
        let arguments = ["-o", &out_text, "--stats", &stats_text, "--stats-interval", "20ms"];
        let arguments = [&arguments[..], &["--observe-by", way]].concat();
        let (mut capture, _) = net.capture_by("observe", &arguments)?;
        let mut sending = xtask()
            .arg("send")
            .arg(&made.capture)
            .args(["--to", "v0", "--netns", &format!("{LINK}-a"), "--rate", "10000"])
            .stderr(Stdio::null())
            .spawn()?;
        let delivered = || {
            let ledger = json_file(&stats).unwrap_or_default();
            ledger["interfaces"][0]["delivered"].as_u64().unwrap_or(0)
        };
        let some = wait_for(|| (2_000..18_000).contains(&delivered()));
        if ends_by_signal {
            signal(&capture.child, Signal::SIGTERM);
        } else {
            Run::of(net.inside("ip").args(["link", "del", "v1"])).expect(0)?;
        }
        let said = capture.finish(if ends_by_signal { 0 } else { 2 })?;
        // It fails where the link has gone.
        sending.wait()?;
        ensure(some, format!("no packets came: {said}"))?;
        let ledger = json_file(&stats)?;
        for residual in ["interface", "packets", "flows"] {
            ensure(ledger["residuals"][residual] == 0, format!("residual {residual}: {ledger}"))?;
        }
        let sum = in_records(&fs::read_to_string(&out)?)?;
        ensure(ledger["packets"]["in_flows"] == sum, format!("{sum} in records: {ledger}"))?;
        fs::remove_file(&stats)?;
    }
    Ok(())
}

fn killed_leaves_nothing() -> Outcome {
    let net = Net::up(LINK)?;
    let (mut capture, _) = net.capture_by("observe", &["-o", "-"])?;
    let is_promiscuous = || {
        let link = Run::of(net.inside("ip").args(["-details", "link", "show", "v1"]));
        !link.stdout.contains("promiscuity 0")
    };
    ensure(is_promiscuous(), "not promiscuous while it runs")?;
    capture.child.kill()?;
    capture.child.wait()?;
    // The kernel lets go of a dead process's descriptors in its own time.
    ensure(wait_for(|| !is_promiscuous()), "a killed process has left it promiscuous")
}

/// Where nothing comes, hardly anything is done, by one queue or by ten.
fn idle_rests() -> Outcome {
    let ways: [(_, &[_]); 4] = [
        ("tap", &[]),
        ("tap", &["-i", "w1"]),
        ("observe", &[]),
        ("observe", &["--observe-by=xdp"]),
    ];
    for (mode, way) in ways {
        let net = Net::up(LINK)?;
        let eight = ["numrxqueues", "8", "numtxqueues", "8"];
        let mut add = net.inside("ip");
        add.args(["link", "add", "w0", "up"]).args(eight).args(["type", "veth", "peer", "w1"]);
        Run::of(add.args(eight)).expect(0)?;
        Run::of(net.inside("ip").args(["link", "set", "w1", "up"])).expect(0)?;
        let arguments = [&["-o", "-", "--max-flows", "1000"], way].concat();
        let (capture, _) = net.capture_by(mode, &arguments)?;
        thread::sleep(Duration::from_millis(500));
        let before = processor_ticks(&capture)?;
        thread::sleep(Duration::from_secs(3));
        // Of 10 ms each: USER_HZ is 100.
        let permille = (processor_ticks(&capture)? - before) * 1_000 / 300;
        capture.stop(0)?;
        ensure(
            permille <= IDLE_PERMILLE,
            format!("{mode} {way:?}: {permille} permille of a processor"),
        )?;
    }
    Ok(())
}

/// Processor time of all threads (proc_pid_stat(5): the 14th and 15th field).
fn processor_ticks(capture: &Capture) -> Result<u64, Failed> {
    let text = fs::read_to_string(format!("/proc/{}/stat", capture.child.id()))?;
    let fields = text.rsplit(')').next().unwrap_or_default();
    let times = fields.split_whitespace().skip(11).take(2);
    Ok(times.filter_map(|time| time.parse::<u64>().ok()).sum())
}

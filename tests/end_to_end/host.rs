//! Live, about the host: what `doctor` says, what `capture` refuses and in which words, whom it
//! leaves alone, and what it gives up.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aya::programs::Xdp;
use libtest_mimic::{Failed, Trial};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::live::Net;
use crate::program::{FLOWTAP, Run, folder, signal, wait_for};
use crate::{Outcome, ensure};

const NAME: &str = "flowtap-host";

/// What a capture needs where memory may be locked; the last for where it may not.
const CAPABILITIES: &str = "+net_admin,+net_raw,+bpf,+perfmon,+ipc_lock";

pub(crate) fn live_trials() -> Vec<Trial> {
    vec![
        Trial::test("host::doctor_says_what_a_capture_would_find", doctor),
        Trial::test("host::what_the_host_uses_is_refused", in_use_is_refused),
        Trial::test("host::what_is_no_ethernet_is_observed", tunnel_is_observed),
        Trial::test("host::too_many_queues_are_observed", many_queues),
        Trial::test("host::alternative_names_are_names", alternative_names),
        Trial::test("host::a_tcp_session_is_not_cut_off", session_is_refused),
        Trial::test("host::a_tcp_session_on_a_path_of_its_own_is_not_cut_off", routed_is_refused),
        Trial::test("host::modes_can_be_forced", modes_can_be_forced),
        Trial::test("host::a_large_mtu_takes_several_buffers", large_mtu),
        Trial::test("host::somebody_elses_program_is_left_alone", others_program_stays),
        Trial::test("host::a_second_capture_is_refused", second_is_refused),
        Trial::test("host::killed_it_starts_again_at_once", killed_starts_again),
        Trial::test("host::what_is_missing_is_named", what_is_missing_is_named),
        Trial::test("host::capabilities_alone_are_enough", capabilities_are_enough),
        Trial::test("host::privileges_are_given_up", privileges_are_given_up),
    ]
}

/// Runs a command in the namespace of the tap port.
fn inside(net: &Net, arguments: &[&str]) -> Run {
    Run::of(net.inside(arguments[0]).args(&arguments[1..]).stdin(Stdio::null()))
}

/// A capture that ends by itself, with these flags.
fn capture(net: &Net, flags: &[&str]) -> Run {
    let short = ["capture", "-i", "v1", "--mode", "tap", "-o", "-", "--duration", "100ms"];
    Run::of(net.inside(FLOWTAP).args(short).args(flags).stdin(Stdio::null()))
}

/// A capture of a user without privileges, but for what `flags` of setpriv(1) leave.
fn capture_as_nobody(net: &Net, program: &str, before: &[&str], flags: &[&str]) -> Run {
    capture_also(net, program, before, flags, &[])
}

/// The same, told this besides.
fn capture_also(net: &Net, program: &str, before: &[&str], flags: &[&str], also: &[&str]) -> Run {
    let mut command = net.inside("env");
    command.args(before).args(["setpriv", "--reuid", "65534", "--regid", "65534"]);
    command.arg("--clear-groups").args(flags).arg(program);
    command.args(["capture", "-i", "v1", "--mode", "tap", "-o", "-", "--duration", "100ms"]);
    Run::of(command.args(also).stdin(Stdio::null()))
}

/// The program where another user may run it.
fn program_for_all() -> Result<(TempDir, String), Failed> {
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let copy = folder.path().join("flowtap");
    fs::copy(FLOWTAP, &copy)?;
    Ok((folder, copy.display().to_string()))
}

fn says(run: Run, code: i32, words: &[&str]) -> Outcome {
    let said = run.expect(code)?.stderr;
    for word in words {
        ensure(said.contains(word), format!("no word of {word}: {said}"))?;
    }
    Ok(())
}

/// Numbers of the programs on the tap port.
fn programs(net: &Net) -> Result<Vec<u64>, Failed> {
    let run = inside(net, &[FLOWTAP, "doctor", "-i", "v1", "--json"]);
    let report: Value = serde_json::from_str(&run.stdout)?;
    let list = report["facts"]["interfaces"][0]["programs"].as_array().cloned();
    Ok(list.unwrap_or_default().iter().filter_map(|program| program["id"].as_u64()).collect())
}

fn doctor() -> Outcome {
    let net = Net::up(NAME)?;
    let report = |code| -> Result<Value, Failed> {
        let run = inside(&net, &[FLOWTAP, "doctor", "-i", "v1", "--json"]).expect(code)?;
        Ok(serde_json::from_str(&run.stdout)?)
    };
    let verdict = |report: &Value, check: &str| {
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        let found = findings.iter().find(|one| one["check"] == check).cloned();
        found.map(|one| one["verdict"].as_str().unwrap_or_default().to_owned())
    };
    let ready = report(0)?;
    let facts = &ready["facts"]["interfaces"][0];
    ensure(facts["driver"] == "veth" && facts["mtu"] == 1500, format!("{facts}"))?;
    ensure(facts["channels"]["rx"] == 2 && facts["xdp"]["native"] == true, format!("{facts}"))?;
    ensure(ready["is_ready"] == true, format!("{ready}"))?;

    inside(&net, &["ip", "address", "add", "192.0.2.1/24", "dev", "v1"]).expect(0)?;
    inside(&net, &["ip", "link", "set", "v1", "mtu", "9000"]).expect(0)?;
    let not_ready = report(1)?;
    ensure(not_ready["is_ready"] == false, format!("{not_ready}"))?;
    ensure(verdict(&not_ready, "in use").as_deref() == Some("bad"), format!("{not_ready}"))?;

    let text = inside(&net, &[FLOWTAP, "doctor", "-i", "v1"]).expect(1)?.stdout;
    ensure(text.contains("bad   in use        it has the address 192.0.2.1"), text)?;
    // All interfaces, in short: it is the machine that counts.
    let text = inside(&net, &[FLOWTAP, "doctor"]).expect(0)?.stdout;
    ensure(text.contains("v1\n  bad   "), text)?;
    says(inside(&net, &[FLOWTAP, "doctor", "-i", "no-such"]), 2, &["no such device"])
}

fn in_use_is_refused() -> Outcome {
    let net = Net::up(NAME)?;
    let ip = |arguments: &str| {
        let words: Vec<_> = ["ip"].into_iter().chain(arguments.split(' ')).collect();
        inside(&net, &words).expect(0).map(drop)
    };
    let offers = "use --mode observe";
    ip("address add 192.0.2.1/24 dev v1")?;
    says(capture(&net, &[]), 2, &["tap v1: it has the address 192.0.2.1", offers, "--force"])?;
    says(capture(&net, &["--force"]), 0, &["capturing on v1"])?;
    ip("address del 192.0.2.1/24 dev v1")?;
    says(capture(&net, &[]), 0, &["capturing on v1"])?;

    ip("route add default dev v1")?;
    says(capture(&net, &[]), 2, &["tap v1: it carries the default route", offers])?;
    ip("route del default dev v1")?;
    for arguments in [
        "route add default nexthop dev other nexthop dev v1",
        "route add default dev v1 table 100",
        "-6 route add default dev v1 table 100",
    ] {
        // Those of IPv6 take it.
        let v6 = "net.ipv6.conf.all.disable_ipv6=0";
        inside(&net, &["sysctl", "-qw", v6, "net.ipv6.conf.v1.disable_ipv6=0"]).expect(0)?;
        ip("link add other type veth peer name far")?;
        ip("link set far up")?;
        ip("link set other up")?;
        ip(arguments)?;
        says(capture(&net, &[]), 2, &["tap v1: it carries the default route", offers])?;
        ip(&arguments.replace("route add", "route del"))?;
        says(capture(&net, &[]), 0, &["capturing on v1"])?;
        ip("link del other")?;
    }
    ip("link add other type veth peer name far")?;
    ip("link set far up")?;
    ip("link set other up")?;
    ip("nexthop add id 7 dev v1")?;
    ip("nexthop add id 8 dev other")?;
    ip("nexthop add id 9 group 8/7")?;
    ip("route add default nhid 9")?;
    for compatible in ["net.ipv4.nexthop_compat_mode=1", "net.ipv4.nexthop_compat_mode=0"] {
        inside(&net, &["sysctl", "-qw", compatible]).expect(0)?;
        says(capture(&net, &[]), 2, &["tap v1: it carries the default route", offers])?;
    }
    ip("nexthop del id 7")?;
    says(capture(&net, &[]), 0, &["capturing on v1"])?;
    ip("nexthop flush")?;

    ip("link add br0 type bridge")?;
    ip("link set v1 master br0")?;
    ip("link set br0 up")?;
    says(capture(&net, &[]), 2, &["tap v1: it carries br0, and a tap takes", "give --force"])?;
    ip("address add 192.0.2.1/24 dev br0")?;
    let words = "it carries br0, and that has the address 192.0.2.1";
    says(capture(&net, &[]), 2, &[words, offers])?;
    ip("link del br0")?;

    ip("link add m0 link v1 type macvlan mode bridge")?;
    says(capture(&net, &[]), 2, &["tap v1: it carries m0, and", offers])?;
    ip(&format!("link set m0 netns {NAME}-a"))?;
    // It takes packets once it is up.
    ip(&format!("-n {NAME}-a link set m0 up"))?;
    let words = "tap v1: it carries an interface of another network namespace (";
    says(capture(&net, &[]), 2, &[words, offers])
}

/// A device whose frames begin with IP headers.
fn tunnel_is_observed() -> Outcome {
    let net = Net::up(NAME)?;
    inside(&net, &["ip", "tuntap", "add", "dev", "t0", "mode", "tun"]).expect(0)?;
    inside(&net, &["ip", "link", "set", "t0", "up"]).expect(0)?;
    let capture = |mode: &str| {
        inside(
            &net,
            &[FLOWTAP, "capture", "-i", "t0", "--mode", mode, "--duration", "100ms", "-o", "-"],
        )
    };
    let why = "its link type is 65534, and a tap reads Ethernet frames";
    says(capture("tap"), 2, &["tap t0: ", why, "use --mode observe"])?;
    says(capture("auto"), 0, &["capturing on t0: observe", why])
}

/// More than a tap can have, which `doctor` and `capture` say alike.
fn many_queues() -> Outcome {
    let net = Net::up(NAME)?;
    let add = |name: &str, peer: &str, queues: &str| {
        let ends = ["numrxqueues", queues, "numtxqueues", queues];
        let command = [&["ip", "link", "add", name][..], &ends, &["type", "veth", "peer"]].concat();
        inside(&net, &[&command[..], &["name", peer], &ends].concat()).expect(0)?;
        let up = |name| inside(&net, &["ip", "link", "set", name, "arp", "off", "up"]).expect(0);
        up(name).and_then(|_| up(peer)).map(drop)
    };
    let capture = |interfaces: &[&str], mode: &str| {
        let flags = ["--mode", mode, "--duration", "100ms", "-o", "-"];
        let names: Vec<_> = interfaces.iter().flat_map(|name| ["-i", name]).collect();
        inside(&net, &[&[FLOWTAP, "capture"][..], &names, &flags].concat())
    };
    add("q0", "q1", "65")?;
    let why = "not tap: 65 queues, and 64 are the most";
    says(capture(&["q1"], "auto"), 0, &["capturing on q1: observe", why])?;
    says(capture(&["q1"], "tap"), 2, &["65 queues"])?;
    let text = inside(&net, &[FLOWTAP, "doctor", "-i", "q1"]).expect(1)?.stdout;
    ensure(text.contains("64 are the most of a tap"), text)?;

    // Each has few enough.
    add("r0", "r1", "40")?;
    says(capture(&["r0", "r1"], "auto"), 2, &["80 queues on all interfaces together"])?;
    let text = inside(&net, &[FLOWTAP, "doctor", "-i", "r0", "-i", "r1"]).expect(1)?.stdout;
    ensure(text.contains("80 on these interfaces together"), text)
}

/// By which the records do not go: they have the name that the interface is known by everywhere.
fn alternative_names() -> Outcome {
    let net = Net::up(NAME)?;
    let long = "an-alternative-name-that-is-too-long-for-a-name";
    for name in ["enp9s0", long] {
        inside(&net, &["ip", "link", "property", "add", "dev", "v1", "altname", name]).expect(0)?;
        let flags = ["--mode", "tap", "--duration", "100ms", "-o", "-"];
        let capture = inside(&net, &[&[FLOWTAP, "capture", "-i", name][..], &flags].concat());
        says(capture, 0, &["capturing on v1: tap"])?;
        inside(&net, &[FLOWTAP, "doctor", "-i", name]).expect(0)?;
    }
    let twice = [FLOWTAP, "capture", "-i", "v1", "-i", long, "-o", "-"];
    says(inside(&net, &twice), 2, &["given twice"])
}

/// Over a link without an address of its own: the session's is the loopback interface's.
fn session_is_refused() -> Outcome {
    let net = Net::up(NAME)?;
    for (side, interface, own, peer) in
        [('a', "v0", "192.0.2.1", "192.0.2.2"), ('b', "v1", "192.0.2.2", "192.0.2.1")]
    {
        let namespace = format!("{NAME}-{side}");
        for arguments in [
            "link set lo up".to_owned(),
            format!("link set {interface} arp on"),
            format!("address add {own}/32 dev lo"),
            format!("route add {peer}/32 dev {interface} src {own}"),
        ] {
            let words = ["-n", &namespace].into_iter().chain(arguments.split(' '));
            Run::of(Command::new("ip").args(words)).expect(0)?;
        }
    }
    says(capture(&net, &[]), 0, &["capturing on v1"])?;
    let listener = in_namespace('a', || TcpListener::bind("192.0.2.1:7"))??;
    let session = in_namespace('b', || TcpStream::connect("192.0.2.1:7"))??;
    let words = "tap v1: a TCP session with 192.0.2.1 goes over it";
    says(capture(&net, &[]), 2, &[words, "use --mode observe"])?;
    drop((session, listener));
    Ok(())
}

/// What comes from its address goes by another table; to anybody else there is no way.
fn routed_is_refused() -> Outcome {
    let net = Net::up(NAME)?;
    for (side, arguments) in [
        ('a', "link set lo up"),
        ('a', "link set v0 arp on"),
        ('a', "address add 192.0.2.1/32 dev lo"),
        ('a', "route add 192.0.2.2/32 dev v0 src 192.0.2.1"),
        ('b', "link set lo up"),
        ('b', "link set v1 arp on"),
        ('b', "address add 192.0.2.2/32 dev lo"),
        ('b', "route add 192.0.2.1/32 dev v1 table 100"),
        ('b', "rule add from 192.0.2.2 table 100"),
        ('b', "route add unreachable 192.0.2.1/32"),
    ] {
        let namespace = format!("{NAME}-{side}");
        let words = ["-n", &namespace].into_iter().chain(arguments.split(' '));
        Run::of(Command::new("ip").args(words)).expect(0)?;
    }
    inside(&net, &["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"]).expect(0)?;
    inside(&net, &["sysctl", "-qw", "net.ipv4.conf.v1.rp_filter=0"]).expect(0)?;
    says(capture(&net, &[]), 0, &["capturing on v1"])?;
    let listener = in_namespace('b', || TcpListener::bind("192.0.2.2:7"))??;
    let session = in_namespace('a', || TcpStream::connect("192.0.2.2:7"))??;
    let (accepted, _) = listener.accept()?;
    let words = "tap v1: a TCP session with 192.0.2.1 goes over it";
    says(capture(&net, &[]), 2, &[words, "use --mode observe"])?;
    // Without the rule the kernel knows no way.
    inside(&net, &["ip", "rule", "del", "from", "192.0.2.2", "table", "100"]).expect(0)?;
    let words = "tap v1: a TCP session with 192.0.2.1 may go over it";
    says(capture(&net, &[]), 2, &[words, "use --mode observe"])?;
    drop((session, accepted));
    Ok(())
}

fn modes_can_be_forced() -> Outcome {
    let net = Net::up(NAME)?;
    for (flags, code, words) in [
        (
            &["--xdp-mode", "native"][..],
            0,
            "v1: tap, native copy, 2 queues (the driver has no zero",
        ),
        (&["--xdp-mode", "generic"], 0, "v1: tap, generic copy, 2 queues (--xdp-mode generic)"),
        (&["--zero-copy", "off"], 0, "v1: tap, native copy, 2 queues (--zero-copy off)"),
        (&["--zero-copy", "on"], 2, "the driver has no zero-copy; use --zero-copy auto or off"),
        (&["--xdp-mode", "native", "--zero-copy", "on"], 2, "bind queue 0 of v1: operation not"),
    ] {
        says(capture(&net, flags), code, &[words])?;
        ensure(programs(&net)?.is_empty(), format!("{flags:?}: a program stays"))?;
    }
    Ok(())
}

/// veth takes frames of several buffers, and so does the kernel here. The peer's MTU decides
/// what arrives.
fn large_mtu() -> Outcome {
    let net = Net::up(NAME)?;
    inside(&net, &["ip", "link", "set", "v1", "mtu", "9000"]).expect(0)?;
    let peer = format!("{NAME}-a");
    Run::of(Command::new("ip").args(["-n", &peer, "link", "set", "v0", "mtu", "9000"]))
        .expect(0)?;
    says(inside(&net, &[FLOWTAP, "doctor", "-i", "v1"]), 0, &[])?;
    for mode in ["native", "generic"] {
        let words = format!("v1: tap, {mode} copy, 2 queues");
        says(capture(&net, &["--xdp-mode", mode]), 0, &[&words])?;
    }
    Ok(())
}

/// Runs `work` in a namespace, `b` is the tap port's, on a thread of its own.
fn in_namespace<T: Send>(side: char, work: impl FnOnce() -> T + Send) -> Result<T, Failed> {
    let namespace = fs::File::open(format!("/run/netns/{NAME}-{side}"))?;
    std::thread::scope(|scope| {
        let run = || setns(namespace, CloneFlags::CLONE_NEWNET).map(|()| work());
        scope.spawn(run).join().expect("it does not panic").map_err(Failed::from)
    })
}

fn others_program_stays() -> Outcome {
    let net = Net::up(NAME)?;
    let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ebpf/flowtap.bpf.o");
    let mut others = aya::Ebpf::load(&fs::read(object)?)?;
    for mode in [aya::programs::xdp::XdpMode::Driver, aya::programs::xdp::XdpMode::Skb] {
        let program: &mut Xdp = others.program_mut("flowtap").ok_or("no program")?.try_into()?;
        if program.fd().is_err() {
            program.load()?;
        }
        let link = in_namespace('b', || program.attach("v1", mode))??;
        let before = programs(&net)?;
        ensure(before.len() == 1, format!("{mode:?}: attached: {before:?}"))?;
        for flags in [&[][..], &["--force"], &["--xdp-mode", "generic"]] {
            let words = ["attach the XDP program to v1: ", "another program is attached"];
            says(capture(&net, flags), 2, &words)?;
        }
        ensure(programs(&net)? == before, format!("{mode:?}: it was replaced"))?;
        program.detach(link)?;
        says(capture(&net, &[]), 0, &["capturing on v1"])?;
    }
    Ok(())
}

fn second_is_refused() -> Outcome {
    let net = Net::up(NAME)?;
    let first = net.capture(&["-o", "-"])?;
    says(capture(&net, &[]), 2, &["device or resource busy", "`flowtap doctor -i v1` names it"])?;
    first.stop(0)?;
    says(capture(&net, &[]), 0, &["capturing on v1"])
}

fn killed_starts_again() -> Outcome {
    let net = Net::up(NAME)?;
    for _ in 0..3 {
        let mut first = net.capture(&["-o", "-"])?;
        first.child.kill()?;
        // What the kernel lets go of later is not waited for here.
        first.child.wait()?;
        says(capture(&net, &[]), 0, &["capturing on v1"])?;
    }
    Ok(())
}

fn what_is_missing_is_named() -> Outcome {
    let net = Net::up(NAME)?;
    let (_folder, program) = program_for_all()?;
    let all = "missing capabilities CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON; run as root";
    says(capture_as_nobody(&net, &program, &[], &[]), 2, &[all])?;
    for (left_out, name) in [
        ("net_admin", "CAP_NET_ADMIN"),
        ("net_raw", "CAP_NET_RAW"),
        ("bpf", "CAP_BPF"),
        ("perfmon", "CAP_PERFMON"),
    ] {
        let some = CAPABILITIES.replace(&format!("+{left_out},"), "");
        let (inherit, ambient) = (format!("--inh-caps={some}"), format!("--ambient-caps={some}"));
        let words = format!("missing capability {name}; run as root");
        says(capture_as_nobody(&net, &program, &[], &[&inherit, &ambient]), 2, &[&words])?;
    }
    // Memory: 64 KiB, and no capability to lock more.
    let some = CAPABILITIES.replace(",+ipc_lock", "");
    let (inherit, ambient) = (format!("--inh-caps={some}"), format!("--ambient-caps={some}"));
    let before = ["prlimit", "--memlock=65536:65536"];
    let words = ["too little memory may be locked", "`ulimit -l`", "CAP_IPC_LOCK"];
    says(capture_as_nobody(&net, &program, &before, &[&inherit, &ambient]), 2, &words)?;
    // 4 MiB are of use.
    let before = ["prlimit", "--memlock=4194304:4194304"];
    let words = [", 512 frames each, as 4096 KiB may be locked", "everything adds up"];
    says(capture_as_nobody(&net, &program, &before, &[&inherit, &ambient]), 0, &words)?;
    // Also for two taps.
    let make = "ip link add w0 up type veth peer name w1; ip link set w1 up";
    ensure(net.inside("sh").args(["-ec", make]).status()?.success(), "no second interface")?;
    let words = ["capturing on v1", "capturing on w1", "256 frames each", "everything adds up"];
    let also = ["-i", "w1"];
    says(capture_also(&net, &program, &before, &[&inherit, &ambient], &also), 0, &words)
}

fn capabilities_are_enough() -> Outcome {
    let net = Net::up(NAME)?;
    let (_folder, program) = program_for_all()?;
    let inherit = format!("--inh-caps={CAPABILITIES}");
    let ambient = format!("--ambient-caps={CAPABILITIES}");
    let run = capture_as_nobody(&net, &program, &[], &[&inherit, &ambient]);
    says(run, 0, &["capturing on v1", "everything adds up"])?;
    ensure(programs(&net)?.is_empty(), "a program stays")
}

/// The values of these lines in /proc/PID/status, of all threads.
fn status(pid: u32, field: &str) -> Result<BTreeSet<String>, Failed> {
    let mut values = BTreeSet::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        values.insert(line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "));
    }
    Ok(values)
}

/// A capture as another user: nothing is left to it, files are reopened and completed, and the
/// program is detached all the same.
fn privileges_are_given_up() -> Outcome {
    let net = Net::up(NAME)?;
    let folder = folder();
    let (out, stats) = (folder.path().join("a.jsonl"), folder.path().join("s.json"));
    let (out_text, stats_text) = (out.display().to_string(), stats.display().to_string());
    let arguments = ["--user", "nobody", "-o", &out_text, "--stats", &stats_text];
    let refused = Run::of(net.inside(FLOWTAP).args(["capture", "-i", "v1"]).args(arguments));
    says(refused, 2, &["as nobody: permission denied; `chown nobody "])?;
    ensure(fs::read_dir(folder.path())?.count() == 0, "something was left behind")?;

    nix::unistd::chown(folder.path(), Some(65534.into()), Some(65534.into()))?;
    let capture = net.capture(&arguments)?;
    let pid = capture.child.id();
    // What it says comes before what it gives up, and that before its threads: main, export,
    // merge, reap, names, and one for each queue.
    let names = || status(pid, "Name").unwrap_or_default();
    ensure(wait_for(|| names().len() == 7), format!("threads: {:?}", names()))?;
    let all = |field: &str, value: &str| {
        let found = status(pid, field)?;
        ensure(found == BTreeSet::from([value.to_owned()]), format!("{field}: {found:?}"))
    };
    all("Uid", "65534 65534 65534 65534")?;
    all("Gid", "65534 65534 65534 65534")?;
    all("Groups", "")?;
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        all(set, "0000000000000000")?;
    }
    all("NoNewPrivs", "1")?;

    signal(&capture.child, Signal::SIGHUP);
    ensure(wait_for(|| out.exists()), "not completed after HUP")?;
    capture.stop(0)?;
    let second: PathBuf = folder.path().join("a-2.jsonl");
    ensure(second.exists() && stats.exists(), "not completed at the end")?;
    ensure(programs(&net)?.is_empty(), "a program stays")
}

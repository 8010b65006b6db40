//! The meters: how each one is started on the link, when it is ready, how it is stopped, and
//! how many packets its results add up to.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::bench::ipfix;
use crate::bench::programs::{find, pmacctd_config, said_version, strings};

/// flowtap, and what it cannot be faster than.
pub(super) const OURS: &str = "flowtap";
pub(super) const CEILING: &str = "bare AF_XDP receiver";

/// What never leaves the kernel: the XDP program drops and counts.
pub(super) const IN_KERNEL: &str = "XDP_DROP in the kernel, counted";

/// flowtap, which counts most of each large flow there.
const SHUNTS: &str = "flowtap --shunt";

/// flowtap where the host keeps its network.
const OBSERVES: [(&str, &str); 2] =
    [("flowtap observe, packet", "packet"), ("flowtap observe, xdp", "xdp")];

/// The meters' processor; the other one makes and delivers the frames.
const CPU: &str = "0";

/// How long a meter has to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// Where a meter runs.
pub(super) struct Place<'a> {
    pub(super) netns: String,
    /// Its own, and empty before.
    pub(super) folder: &'a Path,
    pub(super) flows: u64,
}

/// A receiver of packets.
pub(super) struct Meter {
    pub(super) name: &'static str,
    program: PathBuf,
    version: [&'static str; 2],
    args: fn(&Place<'_>) -> Vec<String>,
    /// Whether it has an XDP program; else a packet socket.
    pub(super) is_xdp: bool,
    /// Whether it is for few large flows only.
    pub(super) is_for_elephants: bool,
    /// Packets that its results have, given the place and all that it said.
    count: fn(&Place<'_>, &str) -> Result<u64, String>,
}

type Peer = (
    &'static str,
    [&'static str; 2],
    fn(&Place<'_>) -> Vec<String>,
    fn(&Place<'_>, &str) -> Result<u64, String>,
);

const PEERS: [Peer; 5] = [
    ("softflowd", ["-h", "version"], softflowd_args, softflowd_count),
    ("nfpcapd", ["-V", "Version"], nfpcapd_args, nfpcapd_count),
    ("argus", ["-h", "Version"], argus_args, argus_count),
    ("pmacctd", ["-V", "pmacctd"], pmacctd_args, pmacctd_count),
    ("tcpdump", ["--version", "tcpdump"], tcpdump_args, tcpdump_count),
];

/// flowtap and the bare receiver, then every peer that is installed unless it is to be
/// `alone`. Also names the others.
pub(super) fn all(flowtap: &Path, bare: &Path, alone: bool) -> (Vec<Meter>, Vec<&'static str>) {
    let ours = |name, program: &Path, args, count| Meter {
        name,
        program: program.to_owned(),
        version: ["--version", "flowtap"],
        args,
        is_xdp: true,
        is_for_elephants: false,
        count,
    };
    let observes = OBSERVES.map(|(name, way)| Meter {
        is_xdp: way == "xdp",
        ..ours(
            name,
            flowtap,
            if way == "xdp" { by_xdp_args } else { by_packet_args },
            flowtap_count,
        )
    });
    let mut meters = vec![
        ours(OURS, flowtap, flowtap_args, flowtap_count),
        ours(CEILING, bare, |_| strings(&["v1"]), bare_count),
        ours(IN_KERNEL, bare, |_| strings(&["v1", "drop"]), in_kernel_count),
        Meter {
            is_for_elephants: true,
            ..ours(SHUNTS, flowtap, flowtap_shunt_args, flowtap_count)
        },
    ];
    meters.extend(observes);
    let mut missing = Vec::new();
    for (name, version, args, count) in PEERS.into_iter().filter(|_| !alone) {
        match find(name) {
            Some(program) => {
                meters.push(Meter {
                    name,
                    program,
                    version,
                    args,
                    is_xdp: false,
                    is_for_elephants: false,
                    count,
                });
            }
            None => missing.push(name),
        }
    }
    (meters, missing)
}

impl Meter {
    pub(super) fn is_ours(&self) -> bool {
        self.is_bare() || self.name.starts_with(OURS)
    }

    /// Whether it only counts.
    fn is_bare(&self) -> bool {
        [CEILING, IN_KERNEL].contains(&self.name)
    }

    pub(super) fn version(&self) -> String {
        if self.is_bare() {
            return "benches/receive.rs".into();
        }
        said_version(&self.program, self.version)
    }

    /// Starts it, and waits until it receives.
    pub(super) fn start(&self, place: &Place<'_>) -> Result<Running, String> {
        let failed = |error: std::io::Error| format!("start {}: {error}", self.name);
        let said = File::create(place.folder.join("said.txt")).map_err(failed)?;
        let child = Command::new("ip")
            .args(["netns", "exec", &place.netns, "taskset", "-c", CPU])
            .arg(&self.program)
            .args((self.args)(place))
            .current_dir(place.folder)
            .stdin(Stdio::null())
            .stdout(said.try_clone().map_err(failed)?)
            .stderr(said)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let mut running = Running::new(child)?;
        let since = Instant::now();
        while !self.is_ready(place) {
            if running.child.try_wait().map_err(failed)?.is_some() || since.elapsed() > PATIENCE {
                return Err(format!("start {}: {}", self.name, said_in(place).trim()));
            }
            thread::sleep(LOOK);
        }
        Ok(running)
    }

    fn is_ready(&self, place: &Place<'_>) -> bool {
        if self.is_ours() {
            return ["receiving on", "capturing on"]
                .iter()
                .any(|text| said_in(place).contains(text));
        }
        // A line for each packet socket of the namespace, below the header.
        let sockets = Command::new("ip")
            .args(["netns", "exec", &place.netns, "cat", "/proc/net/packet"])
            .output();
        sockets.is_ok_and(|sockets| sockets.stdout.split(|&byte| byte == b'\n').count() > 2)
    }
}

fn said_in(place: &Place<'_>) -> String {
    let said = fs::read(place.folder.join("said.txt")).unwrap_or_default();
    String::from_utf8_lossy(&said).into_owned()
}

/// A meter that runs, with all processes that it starts; killed when dropped.
pub(super) struct Running {
    child: Child,
    group: Pid,
}

impl Drop for Running {
    fn drop(&mut self) {
        // They may have ended.
        let _ = killpg(self.group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Running {
    fn new(child: Child) -> Result<Self, String> {
        let group = i32::try_from(child.id()).map_err(|error| error.to_string())?;
        Ok(Self { child, group: Pid::from_raw(group) })
    }

    /// Stops the meter, and returns how many packets its results have.
    pub(super) fn stop(mut self, meter: &Meter, place: &Place<'_>) -> Result<u64, String> {
        // tcpdump and pmacctd say what they have on INT; the others take either. But softflowd
        // leaves INT ignored if it is started so, as a benchmark in the background is.
        let signal = if meter.name == "softflowd" {
            ask_softflowd(place)?;
            Signal::SIGTERM
        } else {
            Signal::SIGINT
        };
        kill(self.group, signal).map_err(|errno| errno.to_string())?;
        let since = Instant::now();
        // Some leave the writing to a process of their own, which ends after them.
        while !self.has_ended()? {
            if since.elapsed() > PATIENCE {
                return Err("does not end".into());
            }
            thread::sleep(LOOK);
        }
        (meter.count)(place, &said_in(place))
    }

    fn has_ended(&mut self) -> Result<bool, String> {
        let child = self.child.try_wait().map_err(|error| error.to_string())?;
        Ok(child.is_some() && killpg(self.group, None) == Err(Errno::ESRCH))
    }
}

fn number_before(said: &str, text: &str) -> Result<u64, String> {
    let line = said.lines().find(|line| line.contains(text));
    let before = line.and_then(|line| line.split(text).next());
    let number = before.and_then(|before| before.split_whitespace().last()?.parse().ok());
    number.ok_or_else(|| format!("it did not say how many {text}: {}", said.trim()))
}

/// The sum of a column of numbers that a program prints.
fn printed_sum(command: &mut Command) -> Result<u64, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter_map(|line| line.trim().parse::<u64>().ok()).sum())
}

fn flowtap_args(place: &Place<'_>) -> Vec<String> {
    capture_args(place, &["--mode", "tap", "--force"])
}

fn flowtap_shunt_args(place: &Place<'_>) -> Vec<String> {
    capture_args(place, &["--mode", "tap", "--force", "--shunt"])
}

fn by_packet_args(place: &Place<'_>) -> Vec<String> {
    capture_args(place, &["--mode", "observe", "--observe-by", "packet"])
}

fn by_xdp_args(place: &Place<'_>) -> Vec<String> {
    capture_args(place, &["--mode", "observe", "--observe-by", "xdp"])
}

fn capture_args(place: &Place<'_>, mode: &[&str]) -> Vec<String> {
    let mut args = strings(&["capture", "-i", "v1", "--max-flows"]);
    args.push((2 * place.flows).to_string());
    args.extend(strings(mode));
    args.extend(strings(&["-o", "flows.ipfix", "--stats", "ledger.json"]));
    args
}

fn flowtap_count(place: &Place<'_>, _: &str) -> Result<u64, String> {
    let text = fs::read(place.folder.join("ledger.json")).map_err(|error| error.to_string())?;
    let ledger: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let residuals = ledger["residuals"].as_object().ok_or("no residuals")?;
    if residuals.values().any(|residual| residual != 0) {
        return Err(format!("it does not add up: {residuals:?}"));
    }
    let packets = &ledger["packets"];
    let number = |name: &str| packets[name].as_u64().ok_or_else(|| format!("no packets.{name}"));
    let in_ledger = number("in_flows")? + number("in_overflow")?;
    let in_file = ipfix::sums(&place.folder.join("flows.ipfix"))?.packets;
    if in_file == in_ledger {
        return Ok(in_file);
    }
    Err(format!("{in_file} packets in the file, {in_ledger} in the ledger"))
}

fn bare_count(_: &Place<'_>, said: &str) -> Result<u64, String> {
    said_count(said, "received")
}

fn in_kernel_count(_: &Place<'_>, said: &str) -> Result<u64, String> {
    said_count(said, "filtered")
}

fn said_count(said: &str, name: &str) -> Result<u64, String> {
    let line = said.lines().rfind(|line| line.starts_with('{')).ok_or("it said nothing")?;
    let counts: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    counts[name].as_u64().ok_or_else(|| "no count".into())
}

fn softflowd_args(place: &Place<'_>) -> Vec<String> {
    let mut args = strings(&["-d", "-6", "-i", "v1", "-p", "pid", "-c", "control", "-m"]);
    args.push((2 * place.flows).to_string());
    args
}

/// It says what it has when it is asked, and not at its end.
fn ask_softflowd(place: &Place<'_>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("ask softflowd: {error}");
    let said = place.folder.join("said.txt");
    let said = File::options().append(true).open(said).map_err(failed)?;
    let program = find("softflowctl").ok_or("softflowctl is not installed")?;
    let control = place.folder.join("control");
    let mut ask = Command::new(program);
    ask.arg("-c").arg(control).arg("statistics").stdout(said).status().map_err(failed)?;
    Ok(())
}

fn softflowd_count(_: &Place<'_>, said: &str) -> Result<u64, String> {
    let line = said.lines().find(|line| line.contains("Packets processed:"));
    let number = line.and_then(|line| line.split(':').nth(1)?.trim().parse().ok());
    number.ok_or_else(|| format!("no count: {}", said.trim()))
}

fn nfpcapd_args(place: &Place<'_>) -> Vec<String> {
    // Without it the run fails and says so.
    let _ = fs::create_dir(place.folder.join("flows"));
    strings(&["-i", "v1", "-w", "flows"])
}

fn nfpcapd_count(place: &Place<'_>, _: &str) -> Result<u64, String> {
    let mut command = Command::new(find("nfdump").ok_or("nfdump is not installed")?);
    command.args(["-R", "flows", "-q", "-N", "-o", "fmt:%pkt"]).current_dir(place.folder);
    printed_sum(&mut command)
}

fn argus_args(_: &Place<'_>) -> Vec<String> {
    strings(&["-i", "v1", "-w", "flows.argus"])
}

fn argus_count(place: &Place<'_>, _: &str) -> Result<u64, String> {
    let mut command = Command::new(find("ra").ok_or("ra (argus-client) is not installed")?);
    command.args(["-r", "flows.argus", "-n", "-s", "pkts", "-", "ip"]);
    printed_sum(command.current_dir(place.folder))
}

fn pmacctd_args(place: &Place<'_>) -> Vec<String> {
    let config = pmacctd_config(place.flows) + "pcap_interface: v1\n";
    // Without it the run fails and says so.
    let _ = fs::write(place.folder.join("pmacctd.conf"), config);
    strings(&["-f", "pmacctd.conf"])
}

fn pmacctd_count(place: &Place<'_>, _: &str) -> Result<u64, String> {
    let path = place.folder.join("flows.csv");
    let text = fs::read_to_string(&path).map_err(|error| format!("flows.csv: {error}"))?;
    let mut lines = text.lines();
    let header = lines.next().ok_or("no header")?.to_lowercase();
    let column = header.split(',').position(|name| name == "packets").ok_or("no packets")?;
    let packets = lines.filter_map(|line| line.split(',').nth(column)?.parse::<u64>().ok());
    Ok(packets.sum())
}

fn tcpdump_args(_: &Place<'_>) -> Vec<String> {
    strings(&["-i", "v1", "-n", "-s", "96", "-w", "/dev/null"])
}

fn tcpdump_count(_: &Place<'_>, said: &str) -> Result<u64, String> {
    number_before(said, "packets captured").or_else(|_| number_before(said, "packet captured"))
}

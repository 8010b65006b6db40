//! `cargo xtask send`: replays a capture on an interface, frame by frame as recorded, with a
//! steady rate. Refuses interfaces that are not veth, so that nobody replays onto a real network
//! by accident.
//!
//! The kernel spreads the frames over the interface's queues by its flow hash, and both directions
//! of a flow share a queue. The exception is IPv4 behind VLAN tags: a packet socket hands such a
//! frame on with its network header behind the tags but the tag's protocol
//! (`packet_parse_headers` in net/packet/af_packet.c), so the flow hash takes the IP total length
//! for a protocol, and packets of one flow go to different queues. Nothing is lost by that, but
//! order within the flow is only kept per queue.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, bind, send, socket};

use crate::r#gen::pcap;

/// A pause longer than this is not made up for: the rate is a bound, for receivers' sake.
const FORGIVEN: Duration = Duration::from_millis(10);
/// How long one frame is tried again while the kernel has no room for it.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_micros(50);

/// What to send, where, how fast.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A capture (classic pcap, Ethernet)
    file: PathBuf,
    /// The interface to send on
    #[arg(long, value_name = "IF")]
    to: String,
    /// The network namespace of the interface (`ip netns`)
    #[arg(long)]
    netns: Option<String>,
    /// Packets per second, at most
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// How many times to send the file
    #[arg(long, default_value_t = 1)]
    loops: u64,
    /// Also send on an interface that is not a veth
    #[arg(long)]
    any_interface: bool,
}

/// Sends the file and says on standard error what was sent.
///
/// # Errors
/// If the interface is missing, real, or down, or the file is not one we can send.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    if let Some(netns) = &args.netns {
        return run_inside(netns);
    }
    if !args.any_interface {
        expect_veth(&args.to)?;
    }
    let socket = open(&args.to)?;
    let mut pace = Pace::new(args.rate);
    let (mut frames, mut bytes) = (0u64, 0u64);
    let failed = |cause: String| format!("send {}: {cause}", args.file.display());
    let mut frame = vec![];
    let began = Instant::now();
    for _ in 0..args.loops {
        let file = File::open(&args.file).map_err(|error| failed(error.to_string()))?;
        let mut input = BufReader::with_capacity(1 << 20, file);
        pcap::read_header(&mut input).map_err(failed)?;
        while pcap::read_frame(&mut input, &mut frame).map_err(failed)? {
            pace.wait();
            send_frame(&socket, &frame).map_err(|error| {
                let len = frame.len();
                format!("send {len} bytes on {} (frame {}): {error}", args.to, frames + 1)
            })?;
            frames += 1;
            bytes += frame.len() as u64;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("send: {frames} frames, {bytes} bytes on {} in {seconds:.2} s", args.to);
    Ok(())
}

/// Starts this command again in the namespace, without its `--netns`.
fn run_inside(netns: &str) -> Result<(), String> {
    let failed = |error| format!("enter network namespace {netns}: {error}; is iproute2 there?");
    let mut args: Vec<String> = vec![];
    let mut given = std::env::args().skip(1);
    while let Some(arg) = given.next() {
        if arg == "--netns" {
            given.next();
        } else if !arg.starts_with("--netns=") {
            args.push(arg);
        }
    }
    let program = std::env::current_exe().map_err(failed)?;
    let error = Command::new("ip").args(["netns", "exec", netns]).arg(program).args(args).exec();
    Err(failed(error))
}

/// An error unless `interface` is one end of a virtual pair.
fn expect_veth(interface: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(["-details", "-json", "link", "show", "dev", interface])
        .output()
        .map_err(|error| format!("look at {interface} with ip: {error}; install iproute2"))?;
    if !output.status.success() {
        return Err(format!("look at {interface}: no such interface in this network namespace"));
    }
    let links: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("look at {interface}: ip gave no JSON: {error}"))?;
    match links[0]["linkinfo"]["info_kind"].as_str() {
        Some("veth") => Ok(()),
        _ => Err(format!(
            "send on {interface}: not a veth, so it may lead to a real network; \
             --any-interface sends all the same"
        )),
    }
}

/// A raw packet socket that sends on `interface` and receives nothing (protocol 0).
fn open(interface: &str) -> Result<OwnedFd, String> {
    let failed = |errno: Errno| {
        let advice = if errno == Errno::EPERM { "; run it as root" } else { "" };
        format!("open a packet socket on {interface}: {}{advice}", errno.desc().to_lowercase())
    };
    let address: LinkAddr = getifaddrs()
        .map_err(failed)?
        .filter(|found| found.interface_name == interface)
        .find_map(|found| found.address?.as_link_addr().copied())
        .ok_or_else(|| format!("open a packet socket on {interface}: no such interface"))?;
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
        .map_err(failed)?;
    bind(socket.as_raw_fd(), &address).map_err(failed)?;
    Ok(socket)
}

/// Sends one frame, again and again while queues are full.
fn send_frame(socket: &OwnedFd, frame: &[u8]) -> Result<(), String> {
    let mut since = None;
    loop {
        let errno = match send(socket.as_raw_fd(), frame, MsgFlags::empty()) {
            Ok(_) => return Ok(()),
            Err(errno) => errno,
        };
        match errno {
            Errno::EINTR => {}
            Errno::ENOBUFS | Errno::EAGAIN => {
                if since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    return Err("its queue stays full; is the other end up?".into());
                }
                thread::sleep(RETRY_AFTER);
            }
            Errno::EMSGSIZE => return Err("larger than its MTU allows".into()),
            Errno::ENETDOWN => return Err("the interface is down".into()),
            other => return Err(other.desc().to_lowercase()),
        }
    }
}

/// A steady rate by absolute times, so that errors do not add up.
struct Pace {
    interval: Duration,
    due: Instant,
}

impl Pace {
    fn new(per_second: u64) -> Self {
        // Rounded up: the rate is an upper bound.
        let interval = Duration::from_nanos(1_000_000_000u64.div_ceil(per_second));
        Self { interval, due: Instant::now() }
    }

    /// Returns when the next packet may go.
    fn wait(&mut self) {
        let now = Instant::now();
        if let Some(early) = self.due.checked_duration_since(now) {
            thread::sleep(early);
        } else if now - self.due > FORGIVEN {
            self.due = now;
        }
        self.due += self.interval;
    }
}

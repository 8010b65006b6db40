//! Live: `--tune` changes settings of a veth, which has offloads and queues to change, and they
//! come back however the capture ends. `ethtool` says what they are.

use std::fs;
use std::process::Stdio;

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::live::{Capture, Net};
use crate::program::{FLOWTAP, Run, wait_for};
use crate::{Outcome, ensure};

const NAME: &str = "flowtap-tune";

/// Queues of a native tap are as many as its peer sends on; a generic one takes any number.
const TUNED: [&str; 6] = ["-o", "-", "--tune", "channels=1", "--xdp-mode", "generic"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("tune::settings_are_made_and_come_back", made_and_come_back),
        Trial::test("tune::they_come_back_after_an_error", come_back_after_error),
        Trial::test("tune::killed_it_leaves_them_to_its_holder", killed_holder_goes_back),
        Trial::test("tune::killed_with_its_holder_they_are_restored", killed_both_restored),
        Trial::test("tune::two_captures_do_not_fight", two_do_not_fight),
        Trial::test("tune::what_the_driver_refuses_is_said_once", refusal_is_said),
    ]
}

fn up() -> Result<Net, Failed> {
    let net = Net::up(NAME)?;
    inside(&net, &["ethtool", "-K", "v1", "gro", "on"]).expect(0)?;
    let now = settings(&net)?;
    let has = |word: &str| ensure(now.contains(word), format!("no {word}: {now}"));
    has("rx-vlan-offload: on")?;
    has("generic-receive-offload: on")?;
    has("RX:\t\t2")?;
    has("promiscuity 0 ")?;
    Ok(net)
}

fn inside(net: &Net, arguments: &[&str]) -> Run {
    Run::of(net.inside(arguments[0]).args(&arguments[1..]).stdin(Stdio::null()))
}

/// All that may be changed, as others see it.
fn settings(net: &Net) -> Result<String, Failed> {
    let mut all = String::new();
    for command in [&["ethtool", "-k", "v1"][..], &["ethtool", "-l", "v1"]] {
        all += &inside(net, command).expect(0)?.stdout;
    }
    let link = inside(net, &["ip", "-d", "link", "show", "v1"]).expect(0)?.stdout;
    let promiscuity = link.split_once("promiscuity ").map_or("", |(_, rest)| rest);
    let count = promiscuity.split(' ').next().unwrap_or_default();
    Ok(format!("{all}promiscuity {count} "))
}

fn check_tuned(net: &Net) -> Outcome {
    let now = settings(net)?;
    let words =
        ["rx-vlan-offload: off", "generic-receive-offload: off", "RX:\t\t1", "promiscuity 1 "];
    words.iter().try_for_each(|word| ensure(now.contains(word), format!("no {word}: {now}")))
}

fn check_same(net: &Net, before: &str) -> Outcome {
    let now = settings(net)?;
    ensure(now == before, format!("{before}\n---\n{now}"))
}

/// Files of this namespace's interface.
fn files(net: &Net) -> Result<Vec<String>, Failed> {
    let network = inside(net, &["stat", "-L", "-c", "%i", "/proc/self/ns/net"]).expect(0)?.stdout;
    let name = format!("v1@{}.json", network.trim());
    let entries = fs::read_dir("/run/flowtap")?.flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter(|one| *one == name).collect())
}

/// The number of the process that holds the settings.
fn holder(capture: &Capture) -> Result<Pid, Failed> {
    let pid = capture.child.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(Pid::from_raw(children.trim().parse()?))
}

fn made_and_come_back() -> Outcome {
    let net = up()?;
    let before = settings(&net)?;
    for more in [&[][..], &["--user", "nobody"]] {
        let flags: Vec<_> = TUNED.iter().chain(more).copied().collect();
        let (capture, said) = net.capture_by("tap", &flags)?;
        let words = "tuned v1: rx channels 1, rx-vlan-hw-parse off, rx-gro off";
        ensure(said.contains(words), said)?;
        check_tuned(&net)?;
        ensure(files(&net)?.len() == 1, "nothing is written down")?;
        let status = fs::read_to_string(format!("/proc/{}/status", holder(&capture)?))?;
        ensure(status.contains("CapEff:\t0000000000001000"), status)?;
        capture.signal(Signal::SIGINT);
        let mut capture = capture;
        capture.finish(0)?;
        check_same(&net, &before)?;
        ensure(files(&net)?.is_empty(), "something stays written down")?;
    }
    Ok(())
}

fn come_back_after_error() -> Outcome {
    let net = up()?;
    let before = settings(&net)?;
    let flags = ["capture", "-i", "v1", "--mode", "tap", "-o", "-", "--zero-copy", "on", "--tune"];
    let run = Run::of(net.inside(FLOWTAP).args(flags).stdin(Stdio::null())).expect(2)?;
    ensure(run.stderr.contains("tuned v1: rx-vlan-hw-parse off"), run.stderr.as_str())?;
    ensure(run.stderr.contains("zero-copy auto or off"), run.stderr)?;
    check_same(&net, &before)?;
    // What is refused for the host's sake is refused before the link is touched.
    inside(&net, &["ip", "address", "add", "192.0.2.1/24", "dev", "v1"]).expect(0)?;
    let run = Run::of(net.inside(FLOWTAP).args(flags).stdin(Stdio::null())).expect(2)?;
    ensure(!run.stderr.contains("tuned"), run.stderr)?;
    check_same(&net, &before)
}

fn killed_holder_goes_back() -> Outcome {
    let net = up()?;
    let before = settings(&net)?;
    let mut capture = net.capture(&TUNED)?;
    check_tuned(&net)?;
    capture.child.kill()?;
    capture.child.wait()?;
    ensure(
        wait_for(|| files(&net).is_ok_and(|files| files.is_empty())),
        "the holder has not gone back",
    )?;
    check_same(&net, &before)
}

fn killed_both_restored() -> Outcome {
    let net = up()?;
    let before = settings(&net)?;
    let again = ["capture", "-i", "v1", "--mode", "observe", "-o", "-", "--duration", "100ms"];
    let starts: [&[&str]; 4] = [
        &again,
        &["doctor", "--restore", "-i", "v1"],
        &["doctor", "--restore"],
        &["capture", "-i", "v1", "--mode", "tap", "-o", "-", "--duration", "100ms", "--tune"],
    ];
    for start in starts {
        let mut capture = net.capture(&TUNED)?;
        let holder = holder(&capture)?;
        kill(holder, Signal::SIGKILL)?;
        capture.child.kill()?;
        capture.child.wait()?;
        let now = settings(&net)?;
        ensure(now.contains("RX:\t\t1") && now.contains("rx-vlan-offload: off"), now)?;
        // It is not ready or is, as the machine is.
        let mut doctor = net.inside(FLOWTAP);
        let found = doctor.args(["doctor", "-i", "v1"]).output()?.stdout;
        let found = String::from_utf8_lossy(&found);
        let left = "has left it changed; before: rx channels 2, rx-vlan-hw-parse on, rx-gro on";
        ensure(found.contains(left) && found.contains("`flowtap doctor --restore`"), &*found)?;
        let run = Run::of(net.inside(FLOWTAP).args(start).stdin(Stdio::null())).expect(0)?;
        ensure(run.stderr.contains("v1 is as it was before --tune: "), run.stderr)?;
        check_same(&net, &before)?;
        ensure(files(&net)?.is_empty(), format!("{start:?}: something stays written down"))?;
    }
    Ok(())
}

fn two_do_not_fight() -> Outcome {
    let net = up()?;
    let before = settings(&net)?;
    let first = net.capture(&TUNED)?;
    let second = |flags: &[&str]| {
        let start = ["capture", "-i", "v1", "--mode", "observe", "-o", "-", "--duration", "100ms"];
        Run::of(net.inside(FLOWTAP).args(start).args(flags).stdin(Stdio::null()))
    };
    let run = second(&["--tune"]).expect(2)?;
    ensure(run.stderr.contains("another flowtap holds its settings"), run.stderr)?;
    check_tuned(&net)?;
    second(&[]).expect(0)?;
    inside(&net, &[FLOWTAP, "doctor", "--restore"]).expect(0)?;
    check_tuned(&net)?;
    first.stop(0)?;
    check_same(&net, &before)
}

fn refusal_is_said() -> Outcome {
    let net = up()?;
    let before = settings(&net)?;
    let (capture, said) = net.capture_by("tap", &["-o", "-", "--tune", "channels=99"])?;
    ensure(said.matches("rx channels 99 is refused: invalid argument").count() == 1, &*said)?;
    ensure(said.contains("tuned v1: rx-vlan-hw-parse off, rx-gro off"), said)?;
    capture.stop(0)?;
    check_same(&net, &before)
}

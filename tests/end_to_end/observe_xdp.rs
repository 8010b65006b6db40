//! Live, by an XDP program that passes packets on: the same link as in `live`, where the host
//! keeps its network.

use std::ffi::OsStr;
use std::fs;

use libtest_mimic::Trial;

use crate::live::{Net, check_ledger, check_records};
use crate::observe::{TALK_LINK, give_addresses, no_residual, overload, talk};
use crate::program::{
    Generated, Run, flowtap, generate, generate_with, json_file, json_lines, wait_for,
};
use crate::{Outcome, ensure};

const LINK: &str = "flowtap-obsxdp";
const BY_XDP: [&str; 2] = ["--observe-by", "xdp"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("live::an_observer_by_xdp_sees_every_packet", || every_packet("native")),
        Trial::test("live::an_observer_by_generic_xdp_sees_every_packet", || {
            every_packet("generic")
        }),
        Trial::test("live::an_observer_by_xdp_learns_names", names_are_learned),
        Trial::test("live::what_an_observer_by_xdp_misses_is_counted", overload_is_exact),
        Trial::test("live::an_observer_by_xdp_leaves_the_host_its_network", the_host_goes_on),
        Trial::test("live::killed_an_observer_by_xdp_leaves_nothing", killed_leaves_nothing),
        Trial::test("live::an_observer_by_xdp_replaces_nobody", replaces_nobody),
        Trial::test("live::an_interface_observed_by_xdp_vanishes", vanished),
    ]
}

/// Frames of 60 to 1,500 bytes, of which 128 are copied; all bytes are counted.
fn every_packet(xdp_mode: &str) -> Outcome {
    let made = generate(20_000, 1_000, 14);
    let notices = [&*format!("v1: observe, {xdp_mode} XDP"), "128 bytes of each packet received"];
    like_read(&made, &["--snaplen", "128", "--xdp-mode", xdp_mode], notices)
}

/// Unless it is told otherwise it copies as much as hellos are long.
fn names_are_learned() -> Outcome {
    let made = generate_with("tls-mix", 10_000, 400, 3, &["--duration", "10s"]);
    let read = ["read", "-q", "-o", "-"].map(OsStr::new).into_iter();
    let read = flowtap(read.chain([made.capture.as_os_str()])).expect(0)?;
    ensure(read.stdout.contains("\"sni\""), "nothing has a name")?;
    like_read(&made, &[], ["v1: observe", "1536 bytes of each packet received"])
}

/// What it sees are the records that `read` makes of what was sent, and `notices` are made.
fn like_read(made: &Generated, more: &[&str], notices: [&str; 2]) -> Outcome {
    let frames = json_file(&made.truth)?["frames"].as_u64().unwrap_or(0);
    let (out, stats) = (made.folder.path().join("live.jsonl"), made.folder.path().join("s.json"));
    let (out_text, stats_text) = (out.display().to_string(), stats.display().to_string());
    let net = Net::up(LINK)?;
    let arguments = [
        &["-o", &out_text, "--stats", &stats_text, "--stats-interval", "50ms", "--strict"],
        &BY_XDP[..],
        more,
    ]
    .concat();
    let (capture, said) = net.capture_by("observe", &arguments)?;
    ensure(notices.iter().all(|notice| said.contains(notice)), said)?;
    net.send(&made.capture)?;
    capture.stop_after(frames, &stats)?;
    check_ledger(&stats, frames)?;
    check_records(&made.capture, &out)
}

/// While the program is stopped its ring buffer runs full.
fn overload_is_exact() -> Outcome {
    let interface = overload(LINK, "observe", &BY_XDP)?;
    ensure(interface["dropped"]["kernel"] != 0, format!("{interface}"))
}

/// Two hosts talk over the interface; what the observed one received is counted, and no more.
fn the_host_goes_on() -> Outcome {
    let folder = crate::program::folder();
    let (out, stats) = (folder.path().join("live.jsonl"), folder.path().join("s.json"));
    let (out_text, stats_text) = (out.display().to_string(), stats.display().to_string());
    let net = Net::up(TALK_LINK)?;
    give_addresses()?;
    let arguments = [&["-o", &out_text, "--stats", &stats_text], &BY_XDP[..]].concat();
    let (capture, _) = net.capture_by("observe", &arguments)?;
    let (asked, _) = talk()?;
    capture.stop(0)?;
    let ledger = json_file(&stats)?;
    no_residual(&ledger)?;
    ensure(ledger["interfaces"][0]["outgoing"] == 0, format!("sent: {ledger}"))?;
    let records = json_lines(&fs::read_to_string(&out)?)?;
    let tcp: Vec<_> = records.iter().filter(|record| record["protocol"] == 6).collect();
    ensure(tcp.len() == 1, format!("want one flow: {tcp:#?}"))?;
    let number = |field: &str| tcp[0][field].as_u64().unwrap_or(0);
    ensure(tcp[0]["src_ip"] == "10.9.0.1", tcp[0].to_string())?;
    ensure(number("src_payload_bytes") >= asked, tcp[0].to_string())?;
    ensure(number("dst_packets") == 0, format!("it has sent nothing: {}", tcp[0]))
}

/// Whether a program is attached, and whether it is promiscuous.
fn state(net: &Net) -> (bool, bool) {
    let link = Run::of(net.inside("ip").args(["-details", "link", "show", "v1"])).stdout;
    (link.contains("prog/xdp"), !link.contains("promiscuity 0"))
}

fn killed_leaves_nothing() -> Outcome {
    let net = Net::up(LINK)?;
    let (mut capture, _) = net.capture_by("observe", &[&["-o", "-"], &BY_XDP[..]].concat())?;
    ensure(state(&net) == (true, true), "not attached, or not promiscuous, while it runs")?;
    capture.child.kill()?;
    capture.child.wait()?;
    // The kernel lets go of a dead process's descriptors in its own time.
    ensure(wait_for(|| state(&net) == (false, false)), "a killed process has left something")?;
    let (again, _) = net.capture_by("observe", &[&["-o", "-"], &BY_XDP[..]].concat())?;
    again.stop(0).map(drop)
}

fn replaces_nobody() -> Outcome {
    let net = Net::up(LINK)?;
    let (first, _) = net.capture_by("tap", &["-o", "-"])?;
    let mut second = net.inside(crate::program::FLOWTAP);
    second.args(["capture", "-i", "v1", "--mode", "observe", "-o", "-"]).args(BY_XDP);
    let refused = Run::of(&mut second).expect(2)?;
    let expected = "attach the XDP program to v1: device or resource busy; another program";
    ensure(refused.stderr.contains(expected), refused.stderr)?;
    first.stop(0)?;
    Run::of(net.inside("ip").args(["link", "set", "lo", "up"])).expect(0)?;
    for (arguments, expected) in [
        (&["-i", "lo", "--mode", "observe"][..], "observe lo by XDP: a loopback interface"),
        (&["-i", "v1", "--mode", "tap"], "--observe-by: v1 is tapped; leave it out"),
        (&["-i", "v1", "--mode", "observe", "--workers", "2"], "one ring buffer, and so one"),
    ] {
        let mut command = net.inside(crate::program::FLOWTAP);
        command.args(["capture", "-o", "-"]).args(arguments).args(BY_XDP);
        let refused = Run::of(&mut command).expect(2)?;
        ensure(refused.stderr.contains(expected), refused.stderr)?;
    }
    Ok(())
}

fn vanished() -> Outcome {
    let made = generate(2_000, 100, 16);
    let frames = json_file(&made.truth)?["frames"].as_u64().unwrap_or(0);
    let (out, stats) = (made.folder.path().join("live.jsonl"), made.folder.path().join("s.json"));
    let (out_text, stats_text) = (out.display().to_string(), stats.display().to_string());
    let net = Net::up(LINK)?;
    let arguments = [&["-o", &out_text, "--stats", &stats_text], &BY_XDP[..]].concat();
    let (mut capture, _) = net.capture_by("observe", &arguments)?;
    net.send(&made.capture)?;
    Run::of(net.inside("ip").args(["link", "del", "v1"])).expect(0)?;
    let said = capture.finish(2)?;
    ensure(said.contains("v1: the interface is gone"), format!("no word of it: {said}"))?;
    let ledger = json_file(&stats)?;
    ensure(ledger["interfaces"][0]["delivered"] == frames, format!("not all came: {ledger}"))?;
    no_residual(&ledger)
}

//! `--filter`: the verdicts are tcpdump's, and the books stay right.

mod expressions;
mod verdicts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::live::Net;
use crate::program::{Run, flowtap, folder, generate, generate_with, json_file, json_lines};
use crate::{Outcome, captures, ensure, not_here};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("filter::a_bad_expression_is_refused_before_anything_is_written", refused),
        Trial::test("filter::records_are_those_of_a_filtered_capture", same_as_filtered_before),
        Trial::test("filter::what_it_rejects_is_accounted_for", accounts),
        Trial::test("filter::a_link_type_that_it_does_not_suit_ends_the_file", unsuitable),
    ];
    if captures::files().is_empty() {
        trials.extend(not_here("filter_verdicts", "there is no folder of captures"));
    } else {
        trials.push(Trial::test("filter::verdicts_are_those_of_tcpdump", verdicts::same));
    }
    trials
}

/// `flowtap read` of a file with a filter and more.
fn read(file: &Path, expression: &str, more: &[&str]) -> Run {
    let arguments = ["read", "--filter", expression].into_iter().chain(more.iter().copied());
    flowtap(arguments.map(Into::into).chain([file.as_os_str().to_owned()]))
}

fn refused() -> Outcome {
    let made = generate(100, 10, 1);
    let out = made.folder.path().join("out.jsonl");
    for (expression, word) in [
        ("tcp prot 80", "syntax error"),
        ("port 80 and", "syntax error"),
        ("host 1.2.3.4.5", "1.2.3.4.5"),
        ("tcp[0:3] = 1", "3"),
        ("ip broadcast", "netmask"),
        // Ethernet has none of these.
        ("inbound", "1 (EN10MB)"),
        ("wlan type data", "1 (EN10MB)"),
    ] {
        let run = read(&made.capture, expression, &["-o", &out.display().to_string()]).expect(2)?;
        let said = &run.stderr;
        ensure(said.lines().count() == 1 && said.starts_with("flowtap: --filter '"), said)?;
        ensure(said.contains(expression) && said.contains(word), format!("'{word}' in {said}"))?;
    }
    // Before the interface: there is none of this name.
    let live = flowtap(["capture", "-i", "no-such-if", "--filter", "tcp prot 80"]).expect(2)?;
    ensure(live.stderr.contains("syntax error"), &live.stderr)?;
    let left: Vec<_> = fs::read_dir(made.folder.path())?.flatten().map(|e| e.path()).collect();
    ensure(left.iter().all(|path| !path.display().to_string().contains("out")), format!("{left:?}"))
}

/// A filter and a file, of which tcpdump has made another one; with any number of workers.
fn same_as_filtered_before() -> Outcome {
    let made = generate_with("imix", 20_000, 500, 7, &["--duration", "200s"]);
    let expression = "tcp and not net 10.128.0.0/9 and tcp[13] & 2 == 0";
    let filtered = made.folder.path().join("filtered.pcap");
    Run::of(
        Command::new("tcpdump")
            .args(["-Z", "root", "--nano", "-r"])
            .arg(&made.capture)
            .arg("-w")
            .arg(&filtered)
            .arg(expression),
    )
    .expect(0)?;
    let records = |run: Run| -> Result<Vec<String>, Failed> {
        let mut records = json_lines(&run.expect(0)?.stdout)?;
        records.iter_mut().for_each(|record| record["interface"] = Value::Null);
        let mut records: Vec<_> = records.iter().map(Value::to_string).collect();
        records.sort();
        Ok(records)
    };
    let want = records(read(&filtered, "", &["-q", "-o", "-"]))?;
    ensure(want.len() > 100, format!("{} records", want.len()))?;
    for workers in ["1", "3"] {
        for dispatch in ["flow", "direction"] {
            let more = ["-q", "--workers", workers, "--dispatch", dispatch, "-o", "-"];
            let found = records(read(&made.capture, expression, &more))?;
            let what = || format!("{workers} workers, by {dispatch}: {} records", found.len());
            ensure(found == want, format!("{}, {} without", what(), want.len()))?;
        }
    }
    Ok(())
}

/// Seen, filtered and delivered packets of the first file.
fn books(stats: &Path) -> Result<[u64; 3], Failed> {
    let ledger = json_file(stats)?;
    for residual in ["interface", "packets", "flows"] {
        ensure(ledger["residuals"][residual] == 0, format!("residual {residual}: {ledger}"))?;
    }
    let interface = &ledger["interfaces"][0];
    Ok(["seen", "filtered", "delivered"].map(|name| interface[name].as_u64().unwrap_or(u64::MAX)))
}

fn accounts() -> Outcome {
    let made = generate(2_000, 100, 3);
    let frames = json_file(&made.truth)?["frames"].as_u64().unwrap_or(0);
    let stats = made.folder.path().join("stats.json");
    let run = |expression: &str, more: &[&str]| -> Result<[u64; 3], Failed> {
        let path = stats.display().to_string();
        let arguments = ["--strict", "--stats", &path, "-o", "-"];
        let said = read(&made.capture, expression, &[&arguments[..], more].concat()).expect(0)?;
        let [seen, filtered, delivered] = books(&stats)?;
        let is_said = said.stderr.contains(&format!("{delivered} delivered, {filtered} filtered"));
        ensure(is_said || filtered == 0, said.stderr)?;
        Ok([seen, filtered, delivered])
    };
    let [seen, tcp, others] = run("not tcp", &[])?;
    ensure(seen == frames && tcp > 0 && others > 0, format!("{tcp} + {others} of {seen}"))?;
    ensure(run("tcp", &[])? == [frames, others, tcp], "the other way round")?;
    ensure(run("", &[])? == [frames, 0, frames], "all")?;
    ensure(run("less 1", &["--workers", "2"])? == [frames, frames, 0], "none")?;
    let [seen, filtered, delivered] = run("tcp", &["--count", "100"])?;
    ensure(seen == 100 && filtered + delivered == 100, "--count is of what is read")
}

pub(crate) fn live_trials() -> Vec<Trial> {
    vec![
        Trial::test("live::a_filter_accounts_for_what_it_rejects", live),
        Trial::test("live::a_filter_in_the_kernel_rejects_the_same", in_kernel),
    ]
}

/// The same books whether the kernel decides beforehand or not.
fn in_kernel() -> Outcome {
    let made = generate_with("imix", 6_000, 200, 13, &["--ipv6-percent", "30"]);
    let file = |name: &str| made.folder.path().join(name);
    for (expression, in_kernel) in [
        ("udp and port 53", "port 53, protocol 17"),
        ("tcp and not net 10.128.0.0/9", "protocol 6"),
        ("ip6 and (tcp or udp)", "from or to ::/0, protocol 6 or 17"),
        ("tcp port 443 or tcp port 80", "port 443 or 80, protocol 6"),
    ] {
        // Nothing is known of lengths, so the kernel leaves this one alone.
        let undecided = format!("({expression}) and len >= 1");
        let words = [format!("the kernel keeps only {in_kernel}\n"), "it has nothing".to_owned()];
        read(&made.capture, expression, &["-q", "-o", "-", "--stats", &text(&file("read.json"))])
            .expect(0)?;
        let want = books(&file("read.json"))?;
        ensure(want[1] > 0, format!("'{expression}' rejects nothing: {want:?}"))?;
        for (expression, words) in [expression, &undecided].into_iter().zip(&words) {
            let net = Net::up("flowtap-filter")?;
            let (out, stats) = (text(&file("live.jsonl")), text(&file("stats.json")));
            let more =
                ["-o", &out, "--strict", "--stats", &stats, "--stats-interval", "50ms", "-v"];
            let capture = net.capture(&[&["--filter", expression], &more[..]].concat())?;
            net.send(&made.capture)?;
            let is_seen = || books(&file("stats.json")).is_ok_and(|books| books == want);
            let all = crate::program::wait_for(is_seen);
            let said = capture.stop(0)?;
            ensure(all, format!("'{expression}': want {want:?}\n{said}"))?;
            ensure(said.contains(&format!("--filter on v1: {words}")), said)?;
            let found = books(&file("stats.json"))?;
            ensure(found == want, format!("'{expression}': {found:?}, want {want:?}"))?;
        }
    }
    // What the kernel rejects counts, too.
    let net = Net::up("flowtap-filter")?;
    let mut capture = net.capture(&["--filter", "port 1", "--count", "1000", "-o", "-"])?;
    net.send(&made.capture)?;
    capture.finish(0).map(drop)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// On both queues of a tap port, the verdicts are those of reading what was sent.
fn live() -> Outcome {
    const EXPRESSION: &str = "udp or (vlan and ip6)";
    let made = generate(5_000, 300, 12);
    let file = |name: &str| made.folder.path().join(name).display().to_string();
    let (read_stats, stats) = (file("read.json"), file("stats.json"));
    read(&made.capture, EXPRESSION, &["-q", "-o", "-", "--stats", &read_stats]).expect(0)?;
    let want = books(Path::new(&read_stats))?;
    ensure(want[1] > 100 && want[2] > 100, format!("{want:?}"))?;

    let net = Net::up("flowtap-filter")?;
    let capture = net.capture(&[
        "--filter",
        EXPRESSION,
        "-o",
        &file("live.jsonl"),
        "--strict",
        "--stats",
        &stats,
        "--stats-interval",
        "50ms",
    ])?;
    net.send(&made.capture)?;
    capture.stop_after(want[2], Path::new(&stats))?;
    let found = books(Path::new(&stats))?;
    ensure(found == want, format!("seen, filtered, delivered: {found:?}, want {want:?}"))?;

    // What was filtered counts too.
    let mut capture = net.capture(&["--filter", "less 1", "--count", "1000", "-o", "-"])?;
    net.send(&made.capture)?;
    capture.finish(0).map(drop)
}

/// A second interface with raw IP, in which there are no Ethernet addresses.
fn unsuitable() -> Outcome {
    let folder = folder();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let block = |kind: u32, body: &[u8]| {
        let len = u32::try_from(body.len() + 12).expect("short");
        [&kind.to_le_bytes()[..], &len.to_le_bytes(), body, &len.to_le_bytes()].concat()
    };
    let interface = |link: u8| block(1, &[link, 0, 0, 0, 0, 0, 0, 0]);
    let packet = |interface: u8| {
        let head = [interface, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 20, 0, 0, 0];
        block(6, &[&head[..], &[0x45; 20]].concat())
    };
    let section =
        block(0x0a0d_0d0a, &[&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[255; 8]].concat());
    let blocks =
        [section, interface(1), interface(101), packet(0), packet(0), packet(1), packet(0)];
    fs::write(path("two.pcapng"), blocks.concat())?;
    let mut raw = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    raw.extend([101, 0, 0, 0]);
    fs::write(path("raw.pcap"), raw)?;

    let (stats, out) = (path("stats.json"), path("out.jsonl").display().to_string());
    let more = ["-o", &out, "--stats", &stats.display().to_string()];
    let run = read(&path("two.pcapng"), "not ether host 1:2:3:4:5:6", &more).expect(2)?;
    let words = ["two.pcapng", "101 (RAW)", "ethernet addresses"];
    ensure(words.iter().all(|word| run.stderr.contains(word)), &run.stderr)?;
    ensure(books(&stats)? == [2, 0, 2], "what came before it counts")?;
    fs::remove_file(&out)?;
    let run = read(&path("raw.pcap"), "ether host 1:2:3:4:5:6", &more).expect(2)?;
    let words = ["raw.pcap", "101 (RAW)", "ethernet addresses"];
    ensure(words.iter().all(|word| run.stderr.contains(word)), &run.stderr)?;
    ensure(!Path::new(&out).exists(), "something was written")
}

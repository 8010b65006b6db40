//! `--filter`: the verdicts are tcpdump's, and the books stay right.

mod expressions;
mod verdicts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::live::{Capture, Net};
use crate::program::{
    Generated, Run, flowtap, folder, generate, generate_with, json_file, json_lines,
};
use crate::{Outcome, captures, ensure, not_here};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("filter::a_bad_expression_is_refused_before_anything_is_written", refused),
        Trial::test("filter::records_are_those_of_a_filtered_capture", same_as_filtered_before),
        Trial::test("filter::what_it_rejects_is_accounted_for", accounts),
        Trial::test("filter::an_expression_may_be_in_a_file", from_file),
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

/// What is in the file is what could be given; what cannot be read is refused with a word.
fn from_file() -> Outcome {
    let made = generate(2_000, 100, 3);
    let file = |name: &str| made.folder.path().join(name);
    let run = |arguments: &[&str]| -> Run {
        let [capture, out] = [&made.capture, &file("out.jsonl")].map(|path| text(path));
        flowtap(["read", &capture, "-q", "-o", &out].iter().chain(arguments))
    };
    let name = text(&file("expression"));
    fs::write(&name, "tcp and\n\tnot port 80\n")?;
    let stats = text(&file("stats.json"));
    let mut all = Vec::new();
    for filter in [["--filter-file", &name], ["--filter", "tcp and not port 80"]] {
        run(&[&filter[..], &["--stats", &stats]].concat()).expect(0)?;
        all.push((books(Path::new(&stats))?, fs::read(file("out.jsonl"))?));
    }
    ensure(all[0] == all[1] && all[0].0[1] > 0, format!("{:?}", all[0].0))?;
    fs::write(&name, "tcp\nprot 80")?;
    let folder = text(made.folder.path());
    fs::write(file("bytes"), [0xff; 10])?;
    fs::write(file("long"), " ".repeat(1 << 16) + "tcp")?;
    fs::write(file("empty"), "\n")?;
    let others = ["bytes", "long", "empty"].map(|name| text(&file(name)));
    for (name, word) in [
        (&name, "syntax error"),
        (&folder, "no regular file"),
        (&"/dev/null".to_owned(), "no regular file"),
        (&others[2], "it is empty"),
        (&text(&file("none")), "no such file"),
        (&others[0], "UTF-8"),
        (&others[1], "more than 65536 bytes"),
    ] {
        let said = run(&["--filter-file", name]).expect(2)?.stderr;
        ensure(said.contains(word) && said.lines().count() == 1, said)?;
    }
    run(&["--filter-file", &name, "--filter", "tcp"]).expect(2).map(drop)
}

/// A capture whose filter is in a file, and what it has counted.
struct Changing {
    made: Generated,
    net: Net,
    capture: Capture,
}

impl Changing {
    fn begin(packets: u64, expression: &str, more: &[&str]) -> Result<Self, Failed> {
        let made = generate_with("imix", packets, 200, 13, &["--ipv6-percent", "30"]);
        let file = |name: &str| text(&made.folder.path().join(name));
        let (filter, stats) = (file("filter"), file("stats.json"));
        fs::write(&filter, expression)?;
        nix::unistd::chown(made.folder.path(), Some(65534.into()), Some(65534.into()))?;
        let net = Net::up("flowtap-filter")?;
        let out = file("live.jsonl");
        let arguments = ["--filter-file", &filter, "-o", &out, "--strict", "-v"];
        let stats = ["--stats", &stats, "--stats-interval", "50ms"];
        let mut capture = net.capture(&[&arguments[..], &stats, more].concat())?;
        capture.hear("--filter on v1")?;
        Ok(Self { made, net, capture })
    }

    fn stats(&self) -> PathBuf {
        self.made.folder.path().join("stats.json")
    }

    /// Sends all, and waits until these are the books.
    fn send(&self, want: [u64; 3]) -> Outcome {
        self.net.send(&self.made.capture)?;
        self.expect(want)
    }

    fn expect(&self, want: [u64; 3]) -> Outcome {
        let are_so = crate::program::wait_for(|| books(&self.stats()).is_ok_and(|it| it == want));
        ensure(are_so, format!("{:?}, want {want:?}", books(&self.stats())))
    }

    /// What reading it with this expression counts.
    fn books_of(&self, expression: &str) -> Result<[u64; 3], Failed> {
        let stats = self.made.folder.path().join("read.json");
        let more = ["-q", "-o", "-", "--stats", &text(&stats)];
        read(&self.made.capture, expression, &more).expect(0)?;
        books(&stats)
    }
}

/// Has the capture read this expression, whole.
fn change(made: &Generated, capture: &Capture, expression: &str) -> Outcome {
    let file = |name: &str| made.folder.path().join(name);
    fs::write(file("new"), expression)?;
    fs::rename(file("new"), file("filter"))?;
    capture.signal(Signal::SIGHUP);
    Ok(())
}

/// With all privileges given up: what the kernel and what threads reject changes; what is no
/// expression changes nothing.
fn at_hup() -> Outcome {
    let mut it = Changing::begin(3_000, "udp port 1194", &["--user", "nobody"])?;
    let add = |sums: &mut [u64; 3], more: [u64; 3]| {
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        *sums
    };
    let mut sums = [0; 3];
    it.send(add(&mut sums, it.books_of("udp port 1194")?))?;
    for (expression, in_kernel) in [
        ("tcp and len >= 1", "it has nothing"),
        ("not port 1194", "all but port 1194, protocol 6 or 17 or 132"),
        ("ip6 and tcp", "only from or to ::/0, protocol 6"),
        ("greater 0", "it has nothing"),
    ] {
        change(&it.made, &it.capture, expression)?;
        let said = it.capture.hear("--filter on v1")?;
        let words = [format!("the filter is now '{expression}'"), in_kernel.to_owned()];
        ensure(words.iter().all(|word| said.contains(word)), said)?;
        let more = it.books_of(expression)?;
        ensure(more[2] > 0, expression)?;
        it.send(add(&mut sums, more))?;
    }
    // The same again is no change, and nothing is said.
    it.capture.signal(Signal::SIGHUP);
    it.send(add(&mut sums, it.books_of("greater 0")?))?;
    for (refused, word) in [("tcp and\n\tprot 80\n", "syntax error"), (" \n", "it is empty")] {
        change(&it.made, &it.capture, refused)?;
        let said = it.capture.hear("the filter stays as it was")?;
        ensure(said.contains(word) && said.lines().count() == 1, said)?;
    }
    it.send(add(&mut sums, it.books_of("")?))?;
    fs::remove_file(it.made.folder.path().join("filter"))?;
    it.capture.signal(Signal::SIGHUP);
    it.capture.hear("no such file")?;
    it.capture.stop(0).map(drop)
}

/// Each packet is judged by one of two filters that accept the same, by what the kernel decides
/// and by what only threads can: so all that is accepted is counted.
fn under_load() -> Outcome {
    let same = ["tcp", "tcp and len >= 1", "ip proto 6 or ip6 proto 6", "not not tcp"];
    let mut it = Changing::begin(20_000, same[0], &[])?;
    let want = it.books_of("tcp")?;
    ensure(want[1] > 1_000 && want[2] > 1_000, format!("{want:?}"))?;
    let (net, file) = (&it.net, &it.made.capture);
    let changes = std::thread::scope(|scope| {
        let sending = scope.spawn(|| net.send(file).map_err(|failed| format!("{failed:?}")));
        let mut changes = 0;
        while !sending.is_finished() {
            changes += 1;
            change(&it.made, &it.capture, same[changes % same.len()])?;
            it.capture.hear("the filter is now")?;
        }
        sending.join().expect("it does not panic")?;
        Ok::<_, Failed>(changes)
    })?;
    it.expect(want)?;
    it.capture.stop(0)?;
    ensure(changes > 3, format!("{changes} changes"))
}

pub(crate) fn live_trials() -> Vec<Trial> {
    vec![
        Trial::test("live::a_filter_accounts_for_what_it_rejects", live),
        Trial::test("live::a_filter_in_the_kernel_rejects_the_same", in_kernel),
        Trial::test("live::another_filter_takes_over_at_hup", at_hup),
        Trial::test("live::filters_that_change_under_load_lose_no_packet", under_load),
    ]
}

/// The same books whether the kernel decides beforehand or not.
fn in_kernel() -> Outcome {
    let made = generate_with("imix", 6_000, 200, 13, &["--ipv6-percent", "30"]);
    let file = |name: &str| made.folder.path().join(name);
    for (expression, in_kernel) in [
        ("udp and port 1194", "only port 1194, protocol 17"),
        ("tcp and not net 10.128.0.0/9", "only protocol 6"),
        ("ip6 and (tcp or udp)", "only from or to ::/0, protocol 6 or 17"),
        ("tcp port 443 or tcp port 80", "only port 443 or 80, protocol 6"),
        ("not port 1194", "all but port 1194, protocol 6 or 17 or 132"),
    ] {
        // Nothing is known of lengths, so the kernel leaves this one alone.
        let undecided = format!("({expression}) and len >= 1");
        let words = [format!("the kernel keeps {in_kernel}\n"), "it has nothing".to_owned()];
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

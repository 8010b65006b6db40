//! `--filter`: the verdicts are tcpdump's, and the books stay right.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flowtap::filter::Filter;
use flowtap::source::pcap::CaptureFile;
use flowtap::source::{Frame, LinkType};
use flowtap::sync::StopRequest;
use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::live::Net;
use crate::program::{Run, flowtap, folder, generate, generate_with, json_file, json_lines};
use crate::{Outcome, captures, ensure, not_here};

/// What is asked of every capture.
const EXPRESSIONS: [&str; 56] = [
    // Protocols, by name and by number.
    "ip",
    "ip6",
    "arp or rarp",
    "tcp",
    "udp",
    "icmp or icmp6",
    "sctp",
    "ip proto 47 or ip proto \\esp",
    "ip6 proto 44",
    "ether proto 0x88cc",
    "not ip and not ip6",
    "ip proto 4 or ip proto 41",
    // Going from header to header.
    "ip protochain 6",
    "ip6 protochain 17",
    "ip6 protochain \\tcp and not ip6 proto 6",
    // Addresses and networks.
    "host 192.168.1.1",
    "src host 10.0.0.1 or dst host 10.0.0.2",
    "net 192.168.0.0/16",
    "src net 10.0.0.0/8 and not dst net 10.0.0.0/8",
    "ip6 net 2001:db8::/32 or ip6 src net fe80::/10",
    "net 172.16 mask 255.240.0.0",
    "ip multicast or ip6 multicast",
    "ether multicast or ether broadcast",
    "ether host ff:ff:ff:ff:ff:ff",
    "ether src ca:01:0e:88:00:06",
    // Ports.
    "port 53",
    "tcp dst port 443",
    "udp src port 53 or udp dst port 5353",
    "tcp port 80 and (tcp src port 80 or src portrange 1024-65535)",
    "portrange 1-1023",
    "udp portrange 5000-6000",
    "sctp port 7",
    "not port 22 and not port 443",
    "port domain or port https",
    // What stands below.
    "vlan",
    "vlan 13 and vlan 10",
    "vlan and ip",
    "vlan and vlan and udp",
    "mpls",
    "mpls 29 and host 10.34.0.1",
    "pppoed",
    "pppoes and ip6",
    "pppoes and icmp6",
    "llc or stp",
    // Flags and other fields.
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
    "tcp[13] & 4 != 0 or tcp[tcpflags] & tcp-fin != 0",
    "icmp[icmptype] == icmp-echo or icmp[icmptype] == icmp-echoreply",
    "icmp6[0] == 135 or icmp6[0] == 136",
    "ip[6:2] & 0x1fff != 0 or ip[6] & 0x20 != 0",
    "ip[8] < 5 or ip6[7] < 5",
    "udp[4:2] > 100 and udp[4:2] - 8 == ip[2:2] - ((ip[0] & 0xf) << 2) - 8",
    "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
    "ip[2:2] % 3 == 1 and ip[16] * 256 + ip[17] >= 0x100 ^ ip[18]",
    // Lengths, on the wire and in the frame.
    "len > 1000",
    "less 64 or greater 1500",
    "ether[len - 1] == 0 or link[0:4] != 0 and not ether[60] = 0",
];

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
        trials.push(Trial::test("filter::verdicts_are_those_of_tcpdump", same_verdicts));
    }
    trials
}

/// The frames of all captures that have a link type: where they are from, their length on the
/// wire and their bytes.
type Captured = Vec<(String, u32, Vec<u8>)>;

/// All frames of all captures, by link type, as far as they can be read.
fn captured() -> Result<BTreeMap<u16, Captured>, Failed> {
    let mut links: BTreeMap<u16, Captured> = BTreeMap::new();
    for path in captures::files() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut file = CaptureFile::open(&path, &StopRequest::default())?;
        while let Ok(Some(frame)) = file.next_frame() {
            let frames = links.entry(frame.link.0).or_default();
            let from = format!("{name}, frame {} of its link type", frames.len());
            frames.push((from, frame.wire_len, frame.bytes.to_vec()));
        }
    }
    Ok(links)
}

/// They as one capture file, in which the time of each is its number.
fn as_file(link: u16, frames: &Captured) -> Vec<u8> {
    let header = [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 262_144, u32::from(link)];
    let mut file: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (number, (_, wire_len, bytes)) in (0..).zip(frames) {
        let captured = u32::try_from(bytes.len()).expect("a frame is short");
        let record = [number, 0_u32, captured, *wire_len];
        file.extend(record.iter().flat_map(|word| word.to_le_bytes()));
        file.extend(bytes);
    }
    file
}

/// The numbers of the frames that tcpdump accepts, or what it says of the expression.
fn tcpdump(file: &Path, expression: &str) -> Result<Vec<usize>, String> {
    // It would read as somebody who may read less.
    let mut command = Command::new("tcpdump");
    command.args(["-Z", "root", "-s", "0", "-w", "-", "-r"]).arg(file).arg(expression);
    let output = command.output().unwrap_or_else(|e| panic!("tcpdump: {e}"));
    let Some((_, mut rest)) = output.stdout.split_at_checked(24) else {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    };
    let mut numbers = Vec::new();
    while let Some((header, behind)) = rest.split_first_chunk::<16>() {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
        numbers.push(word(0) as usize);
        rest = &behind[word(8) as usize..];
    }
    Ok(numbers)
}

/// The numbers of the frames that our filter accepts, or what it says.
fn ours(link: u16, frames: &Captured, expression: &str) -> Result<Vec<usize>, String> {
    let filter = Filter::new(expression).map_err(|e| e.to_string())?;
    let link = LinkType(link);
    let filter = filter.for_link(link, "it").map_err(|e| e.to_string())?;
    let accepts = |(_, wire_len, bytes): &(_, u32, Vec<u8>)| {
        filter.accepts(&Frame { bytes, wire_len: *wire_len, timestamp: None, link })
    };
    let numbered = frames.iter().enumerate();
    Ok(numbered.filter(|(_, frame)| accepts(frame)).map(|(number, _)| number).collect())
}

/// Both accept the same frames of all captures, or refuse the expression. Each accepts some and
/// rejects some.
fn same_verdicts() -> Outcome {
    let (folder, links) = (folder(), captured()?);
    let mut accepted = [0; EXPRESSIONS.len()];
    for (&link, frames) in &links {
        let file = folder.path().join("all.pcap");
        fs::write(&file, as_file(link, frames))?;
        for (expression, accepted) in EXPRESSIONS.iter().zip(&mut accepted) {
            match (tcpdump(&file, expression), ours(link, frames, expression)) {
                (Ok(theirs), Ok(ours)) => {
                    let differs = theirs.iter().zip(&ours).find(|(a, b)| a != b);
                    let first = differs.map(|(a, b)| &frames[*a.min(b)].0);
                    let counts = format!("{} of tcpdump's, {} of ours", theirs.len(), ours.len());
                    let text = format!("'{expression}', link type {link}: {counts}; {first:?}");
                    ensure(theirs == ours, text)?;
                    *accepted += ours.len();
                }
                (Err(theirs), Err(ours)) => {
                    let said = theirs.trim().rsplit(": ").next().unwrap_or_default();
                    let text = format!("'{expression}': tcpdump says {said}, we say {ours}");
                    ensure(ours.contains(said), text)?;
                }
                (theirs, ours) => {
                    let [theirs, ours] = [theirs.err(), ours.err()];
                    let text = format!("'{expression}' is refused by one: {theirs:?}, {ours:?}");
                    return Err(text.into());
                }
            }
        }
    }
    let all = links.values().map(Vec::len).sum();
    let idle = EXPRESSIONS.iter().zip(accepted).filter(|(_, count)| [0, all].contains(count));
    let idle: Vec<_> = idle.map(|(expression, _)| expression).collect();
    ensure(idle.is_empty(), format!("accepted by no frame or all of {all}: {idle:?}"))
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
    vec![Trial::test("live::a_filter_accounts_for_what_it_rejects", live)]
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

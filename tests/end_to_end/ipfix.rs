//! IPFIX files as tshark reads them, field for field beside the JSON lines of the same run.

use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;

use crate::jumbo::pcap;
use crate::program::{FLOWTAP, Run, folder, generate, generate_scan, generate_with};
use crate::{Outcome, carried, devices, ensure, not_here};

/// Reads own elements and compares.
const COMPARE_OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/end_to_end/own.py");

/// IANA's for examples (RFC 5612).
pub(crate) const PEN: &str = "32473";

/// Runs tshark and compares.
const COMPARE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/end_to_end/ipfix.py");

pub(crate) fn trials() -> Vec<Trial> {
    if !has_tshark() {
        return not_here("ipfix", "needs tshark (scripts/setup installs it)");
    }
    vec![
        Trial::test("ipfix::tshark_reads_what_json_lines_say", || {
            compare(&generate(5_000, 300, 5).capture, &[], 250)
        }),
        Trial::test("ipfix::tshark_reads_overflow_aggregates_and_parts", || {
            compare(&generate(5_000, 300, 6).capture, &["--max-flows", "40"], 40)?;
            compare(&generate(5_000, 300, 6).capture, &["--active-timeout", "1s"], 300)
        }),
        Trial::test("ipfix::tshark_reads_many_messages", || {
            compare(&generate_scan(20_000).capture, &[], 20_000)
        }),
        Trial::test("ipfix::tshark_reads_counts_beyond_32_bits", || {
            let folder = folder();
            let capture = folder.path().join("large.pcap");
            std::fs::write(&capture, two_large_packets())?;
            compare(&capture, &[], 1)
        }),
        Trial::test("ipfix::tshark_reads_labels", || {
            let folder = folder();
            let capture = folder.path().join("carried.pcap");
            std::fs::write(&capture, pcap(&carried::frames()))?;
            compare(&capture, &[], 10)?;
            own(&capture, &[], [0, 5])
        }),
        Trial::test("ipfix::own_elements_say_what_json_lines_say", || {
            let made = generate_with("tls-mix", 20_000, 1_000, 35, &["--duration", "60s"]);
            own(&made.capture, &[], [100, 0])?;
            own(&generate(5_000, 300, 36).capture, &["--max-flows", "40"], [0, 0])
        }),
        Trial::test("ipfix::own_elements_say_which_devices_there_are", || {
            let (_folder, capture) = devices::capture();
            own(&capture, &[], [0, 0])
        }),
    ]
}

/// The same with own elements, of records of which at least so many have a name, and a tunnel.
fn own(capture: &Path, arguments: &[&str], at_least: [usize; 2]) -> Outcome {
    let folder = folder();
    let [ipfix, jsonl] = ["a.ipfix", "a.jsonl"].map(|name| folder.path().join(name));
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "--pen", PEN]).args(arguments);
    Run::of(command.arg("-o").arg(&ipfix).arg("-o").arg(&jsonl).arg(capture)).expect(0)?;
    agree(&ipfix, &jsonl, 1)?;
    agree_own(&ipfix, &jsonl, at_least)
}

/// Whether own elements say in the one file what stands in the other.
pub(crate) fn agree_own(ipfix: &Path, jsonl: &Path, at_least: [usize; 2]) -> Outcome {
    let run = Run::of(Command::new("python3").arg(COMPARE_OWN).arg(ipfix).arg(jsonl)).expect(0)?;
    let counts: Vec<usize> = run.stdout.split_whitespace().flat_map(str::parse).collect();
    let is_so = counts.len() == 3 && counts[0] >= at_least[0] && counts[1] >= at_least[1];
    ensure(is_so, format!("names, tunnels, records: {counts:?}; want {at_least:?}"))
}

/// The records of a run as IPFIX and as JSON lines; there are at least so many.
fn compare(capture: &Path, arguments: &[&str], at_least: usize) -> Outcome {
    let folder = folder();
    let [ipfix, jsonl] = ["a.ipfix", "a.jsonl"].map(|name| folder.path().join(name));
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q"]).args(arguments).arg("-o").arg(&ipfix).arg("-o").arg(&jsonl);
    Run::of(command.arg(capture)).expect(0)?;
    agree(&ipfix, &jsonl, at_least)
}

/// Whether tshark reads in the one file what stands in the other.
pub(crate) fn agree(ipfix: &Path, jsonl: &Path, at_least: usize) -> Outcome {
    let run = Run::of(Command::new("python3").arg(COMPARE).arg(ipfix).arg(jsonl)).expect(0)?;
    let records: usize = run.stdout.trim().parse()?;
    ensure(records >= at_least, format!("{records} records, fewer than {at_least}"))
}

/// A capture of a UDP packet, twice, that claims to have been of 4,026,531,840 bytes.
fn two_large_packets() -> Vec<u8> {
    let words = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|w| w.to_le_bytes()).collect() };
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0, 53, 0, 53, 0, 8, 0, 0]);
    let mut file = words(&[0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, 1]);
    for second in 0..2 {
        let captured = u32::try_from(frame.len()).expect("it is short");
        file.extend(words(&[1_767_225_600 + second, 0, captured, 0xf000_0000]));
        file.extend(&frame);
    }
    file
}

/// Whether there is a tshark to read with.
pub(crate) fn has_tshark() -> bool {
    Command::new("tshark").arg("--version").output().is_ok()
}

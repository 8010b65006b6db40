//! Verdicts on what drivers answer. Nobody here has those cards: the answers in `drivers.json`
//! are written by hand, after what drivers of those names are known to report, and recorded from
//! none but veth. Each says what a finding must be; `null`: there must be none.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::host::facts::{Channels, Machine, Program, Xdp};
use crate::host::usage::Use;
use crate::privileges::NEEDED;

/// One driver's answer and what it must come to.
#[derive(Deserialize)]
struct Case {
    name: String,
    interface: Interface,
    expect: BTreeMap<String, Option<String>>,
    mends: Vec<String>,
}

fn machine() -> Machine {
    let all = NEEDED.map(str::to_owned).to_vec();
    Machine {
        kernel: "6.12.5-amd64".to_owned(),
        has_btf: true,
        bpf_jit: Some(1),
        capabilities: all,
        huge_pages: [4, 4],
        processors: 8,
        numa_nodes: vec![0],
        memlock_bytes: None,
    }
}

#[test]
fn drivers_answers_are_judged() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("drivers.json")).unwrap();
    assert!(cases.len() >= 9);
    for case in cases {
        let facts = Facts { machine: machine(), interfaces: vec![case.interface] };
        let findings = judge(&facts);
        let of_interface = || findings.iter().filter(|one| one.interface.is_some());
        for (check, expected) in &case.expect {
            let worst =
                of_interface().filter(|one| one.check == check).map(|one| one.verdict).max();
            let word = worst.map(|verdict| format!("{verdict:?}").to_lowercase());
            assert_eq!(&word, expected, "{}: {check}: {findings:#?}", case.name);
        }
        let commands: Vec<_> = of_interface().filter_map(|one| one.command.clone()).collect();
        for mend in &case.mends {
            assert!(commands.contains(mend), "{}: want {mend}: {commands:#?}", case.name);
        }
        if case.mends.is_empty() {
            assert_eq!(commands, [""; 0], "{}", case.name);
        }
    }
}

#[test]
fn a_large_mtu_wants_several_buffers_of_driver_socket_and_kernel() {
    let native = Xdp { native: true, redirect: true, ..Xdp::default() };
    let frags = Xdp { multi_buffer: true, ..native.clone() };
    let zero_copy =
        |segments| Xdp { zero_copy: true, zero_copy_segments: segments, ..frags.clone() };
    let cases = [
        ("6.12", Some(frags.clone()), Verdict::Ok),
        ("6.12", Some(native.clone()), Verdict::Bad),
        ("6.12", Some(Xdp::default()), Verdict::Ok),
        ("6.12", Some(zero_copy(Some(8))), Verdict::Ok),
        ("6.12", Some(zero_copy(Some(1))), Verdict::Warn),
        ("6.12", Some(zero_copy(None)), Verdict::Warn),
        ("6.5", Some(frags), Verdict::Warn),
        ("6.5", Some(native), Verdict::Bad),
        ("6.5", Some(Xdp::default()), Verdict::Warn),
        ("6.1", None, Verdict::Warn),
    ];
    for (kernel, xdp, verdict) in cases {
        let interface = Interface { mtu: 9000, xdp, ..Interface::default() };
        let machine = Machine { kernel: kernel.into(), ..machine() };
        let finding = mtu(&machine, &interface);
        assert_eq!(finding.verdict, verdict, "{kernel} {interface:?}: {finding:?}");
        let short = mtu(&machine, &Interface { mtu: 3490, ..interface });
        assert_eq!(short.verdict, Verdict::Ok);
    }
}

#[test]
fn a_program_is_detached_from_where_it_is() {
    for (mode, command) in [
        ("native", "ip link set x xdpdrv off"),
        ("generic", "ip link set x xdpgeneric off"),
        ("offloaded", "ip link set x xdpoffload off"),
    ] {
        let attached = vec![Program { id: 7, mode: mode.into() }];
        let interface = Interface { name: "x".into(), programs: attached, ..Interface::default() };
        let finding = programs(&interface);
        assert_eq!(finding.command.as_deref(), Some(command));
        assert!(finding.meaning.contains("`bpftool link`"), "{finding:?}");
    }
}

#[test]
fn a_card_that_chooses_by_address_is_of_no_use_for_a_mirror_port() {
    for (promiscuity, verdict) in
        [(None, None), (Some(0), Some(Verdict::Warn)), (Some(2), Some(Verdict::Ok))]
    {
        let interface = Interface { name: "x".into(), promiscuity, ..Interface::default() };
        let finding = promiscuous(&interface);
        assert_eq!(finding.as_ref().map(|one| one.verdict), verdict);
        let command = finding.and_then(|one| one.command);
        assert_eq!(command.is_some(), verdict == Some(Verdict::Warn), "{command:?}");
    }
}

#[test]
fn the_machine_is_judged() {
    type Change = fn(&mut Machine);
    let cases: [(&str, Change, &str, Verdict, &str); 10] = [
        ("as it should be", |_| (), "kernel", Verdict::Ok, "6.12"),
        ("old", |m| m.kernel = "5.4.0".into(), "kernel", Verdict::Bad, "5.18"),
        ("BTF", |m| m.has_btf = false, "btf", Verdict::Warn, "CONFIG_DEBUG_INFO_BTF"),
        ("JIT", |m| m.bpf_jit = Some(0), "bpf jit", Verdict::Warn, "interpreted"),
        ("none", |m| m.capabilities.clear(), "capabilities", Verdict::Bad, "CAP_NET_RAW, CAP_BPF"),
        (
            "one",
            |m| m.capabilities.retain(|c| c != "CAP_BPF"),
            "capabilities",
            Verdict::Bad,
            "missing: CAP_BPF",
        ),
        ("64 KiB", |m| m.memlock_bytes = Some(1 << 16), "memlock", Verdict::Bad, "64 KiB"),
        ("8 MiB", |m| m.memlock_bytes = Some(1 << 23), "memlock", Verdict::Warn, "fewer frames"),
        ("enough", |m| m.memlock_bytes = Some(1 << 24), "memlock", Verdict::Ok, "16384 KiB"),
        ("no huge pages", |m| m.huge_pages = [4, 0], "huge pages", Verdict::Warn, "none is free"),
    ];
    for (name, change, check, verdict, words) in cases {
        let mut facts = Facts { machine: machine(), interfaces: Vec::new() };
        change(&mut facts.machine);
        let findings = judge(&facts);
        let finding = findings.iter().find(|one| one.check == check).unwrap();
        assert_eq!(finding.verdict, verdict, "{name}: {finding:?}");
        assert!(finding.meaning.contains(words), "{name}: {finding:?}");
    }
}

#[test]
fn together_interfaces_have_no_more_queues_than_a_capture() {
    let of = |queues, is_used: bool| Interface {
        channels: Some(Channels { combined: queues, combined_max: 128, ..Channels::default() }),
        uses: if is_used { vec![Use::DefaultRoute] } else { Vec::new() },
        ..Interface::default()
    };
    for (interfaces, words) in [
        (vec![], None),
        (vec![of(64, false)], None),
        // It is observed, by as many threads as there are processors.
        (vec![of(65, false)], None),
        (vec![of(32, false), of(32, false)], None),
        (vec![of(40, false), of(40, true)], None),
        (vec![of(40, false), of(40, false)], Some("80 on these interfaces together, and 64 are")),
    ] {
        let machine = Machine { processors: 4, ..machine() };
        let found = judge_together(&Facts { machine, interfaces });
        assert_eq!(found.is_some(), words.is_some(), "{found:?}");
        let is_right = found.zip(words).is_none_or(|(one, words)| one.meaning.contains(words));
        assert!(is_right, "{words:?}");
    }
}

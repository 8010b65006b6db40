//! A made-up result, and what its report says.

use super::figure::{Caches, Export, Figure, Global, Merge, Program, Table};
use super::needs::Receive;
use super::result::Scale;
use crate::bench::document::text;
use crate::bench::report::Findings as _;
use crate::bench::usage::Usage;

/// A table of a machine on which counting takes 20 ns, 30 more from memory, 40 for a visit, and
/// 100 for a flow that begins.
fn counted(flows: u64, packets_per_s: u64, new_share: f64, workers: u32) -> Figure {
    let [slots, pace] = [flows, packets_per_s].map(|n| f64::from(u32::try_from(n).unwrap()));
    let miss3 = (1.0 - 32e6 / (slots * f64::from(workers) * 160.0)).max(0.0);
    Figure::Table(Table {
        flows,
        used: flows,
        workers,
        packets_per_s,
        new_share,
        ns: 20.0 + 30.0 * miss3 + 40.0 * slots / pace + 100.0 * new_share,
        slots: flows,
        bytes: 160 * flows,
        pages: "Huge".into(),
        given_up: 0,
        in_overflow: 0,
    })
}

fn merge(deltas: u32, own_ns: f64) -> Figure {
    let shape = format!("in {deltas}");
    Figure::Merge(Merge { shape, deltas, threads: 1, own_ns, flows_per_s: 1e6 })
}

fn program(flows: u64, workers: usize, wall_s: f64) -> Program {
    let usage = Usage { wall_s, cpu_s: wall_s, rss_bytes: 20_000_000 + 400 * flows };
    Program { packets: 1_000_000, flows, workers, runs: vec![usage] }
}

fn scale(sizes: &[u64]) -> Scale {
    let mut figures = Vec::new();
    for &flows in sizes {
        figures.push(counted(flows, 10_000_000, 0.0, 1));
        figures.extend([0.0, 0.1, 1.0].map(|share| counted(flows, flows, share, 1)));
    }
    figures.push(counted(sizes[0], 10_000_000, 0.0, 2));
    figures.extend([
        Figure::Decode { ns: 10.0 },
        Figure::PassOn { cores: 2, ns: 20.0 },
        Figure::PassOn { cores: 64, ns: 500.0 },
        merge(1, 5.0),
        merge(2, 800.0),
        Figure::Global(Global { live: 1_000, bytes: 280, delta_bytes: 200, record_bytes: 190 }),
        Figure::Export(Export { format: "Csv".into(), ns: 700.0, bytes: 280.0 }),
    ]);
    let programs = [(1_000, 1, 1.0), (1_000, 2, 0.5), (100_000, 1, 1.0), (100_000, 2, 2.0)];
    Scale {
        caches: Caches { l2: 1e6, l3: 32e6 },
        receive: Receive::assumed(),
        available: 2,
        figures,
        programs: programs.map(|(flows, workers, wall_s)| program(flows, workers, wall_s)).into(),
    }
}

#[test]
fn the_report_has_the_model_and_what_it_assumes() {
    let scale = scale(&[10_000, 100_000, 1_000_000, 5_000_000]);
    let said = text(&scale.blocks());
    for part in [
        "`ns = 20.0 + 0.0 miss2 + 30.0 miss3 + 40.0 visits + 100.0 new + ",
        "Worst error: 0 %; with several workers, which were not fitted, 0 %.",
        "20 MB and 400 bytes for each flow",
        "148.8 M packets/s: 6.7 ns a packet for all cores together. Receiving takes 50 ns (an \
         assumption, not measured",
        "- Cores of this kind, with its caches",
        "- No names are learned",
        "Headers are in the core's cache",
        "500 ns among 64",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let assumed = said.split_once("Assumed:").expect("assumptions come last").1;
    assert!(assumed.matches("\n- ").count() >= 6, "{assumed}");
    let losses = scale.losses();
    let told = [
        "Scaling: more workers make `read` no faster here with 100000 flows.",
        "Scaling: passing a packet on among 64 cores costs 500 ns.",
        "Scaling: the program runs one merge thread, which takes 2.500 M deltas/s",
        "Scaling: a sink has one thread, which takes 1.429 M records/s",
    ];
    assert_eq!(losses.len(), told.len(), "{losses:?}");
    for (loss, told) in losses.iter().zip(told) {
        assert!(loss.starts_with(told), "{loss}");
    }
    assert!(scale.gaps()[0].contains("more than 2 cores"), "{:?}", scale.gaps());
}

#[test]
fn small_tables_say_nothing_of_line_rate() {
    let said = text(&scale(&[10_000, 20_000]).blocks());
    assert!(said.contains("this says nothing of line rate"), "{said}");
    assert!(!said.contains("148.8 M packets/s"), "{said}");
}

#[test]
fn a_result_is_read_back() {
    let scale = scale(&[10_000, 1_000_000]);
    let json = serde_json::to_string(&scale).unwrap();
    let again: Scale = serde_json::from_str(&json).unwrap();
    assert_eq!(text(&again.blocks()), text(&scale.blocks()));
}

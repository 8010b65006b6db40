//! What a record costs in each format.
//!
//! `cargo bench --bench export` runs it in full; the tests run it once. With `--json FILE` it
//! writes what `cargo xtask bench scale` asks for instead.

#[path = "clock.rs"]
mod clock;
#[path = "figures.rs"]
mod figures;
#[path = "rounds.rs"]
mod rounds;

use divan::Bencher;
use divan::counter::ItemsCount;
use flowtap::export::{Encoder, Format, Rows};
use flowtap::flow::{
    Delta, Direction, EndReason, Endpoint, FlowKey, FlowRecord, Opening, PortKind, RecordKind,
};

const RECORDS: u32 = 1 << 10;

const FORMATS: [Format; 3] = [Format::JsonLines, Format::Csv, Format::Ipfix];

fn main() {
    match figures::file() {
        Some(file) => figures::write(file, &FORMATS.map(figure)),
        None => divan::main(),
    }
}

/// What a record costs and how long it is, for programs.
fn figure(format: Format) -> serde_json::Value {
    let (records, mut encoder, mut out) = (records(), format.encoder(), Vec::new());
    let ns = rounds::ns_each(201, records.len(), || encode_all(&mut *encoder, &records, &mut out));
    let bytes = out.len() as f64 / records.len() as f64;
    serde_json::json!({"what": "export", "format": format!("{format:?}"), "ns": ns, "bytes": bytes})
}

/// Flows of one second after the other, as they come from a run.
fn records() -> Vec<FlowRecord> {
    (0..RECORDS).map(record).collect()
}

fn record(number: u32) -> FlowRecord {
    let end = |first: u8, port| {
        let [_, a, b, c] = number.to_be_bytes();
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[first, a, b, c]);
        Endpoint { address, port }
    };
    let (key, direction) =
        FlowKey::canonical(end(10, 40_000), end(192, 443), 4, 6, PortKind::Ports, [0; 2]);
    let start = 1_767_225_600_000_000_000 + i64::from(number) * 10_000_123;
    let mut total = Delta::EMPTY;
    for (side, packets) in total.sides.iter_mut().zip([7, 12]) {
        (side.packets, side.bytes) = (packets, packets * 611);
        (side.frame_bytes, side.payload_bytes) = (packets * 625, packets * 571);
        side.tcp_flags = 0x1b;
    }
    (total.first, total.last) = (start, start + 2_345_678_901);
    total.end = Some(EndReason::EndDetected);
    total.opening = Some(Opening {
        flow_start: Some(start),
        ordinal: number,
        initiator: direction,
        macs: [Some([2, 0, 0, 0, 0, 1]), Some([2, 0, 0, 0, 0, 2])],
        first_packet: Direction::Forward,
        icmp: None,
        interface: 0,
    });
    FlowRecord { kind: RecordKind::Flow, key, total }
}

#[divan::bench(args = FORMATS)]
fn encode(bencher: Bencher<'_, '_>, format: Format) {
    let (records, mut encoder, mut out) = (records(), format.encoder(), Vec::new());
    let bencher = bencher.counter(ItemsCount::new(RECORDS));
    bencher.bench_local(|| encode_all(&mut *encoder, &records, &mut out));
}

fn encode_all(encoder: &mut dyn Encoder, records: &[FlowRecord], out: &mut Vec<u8>) -> usize {
    let interfaces = ["traffic.pcap".to_owned()];
    out.clear();
    encoder.encode(&Rows { records, interfaces: &interfaces, before: 0 }, out);
    out.len()
}

//! Records into each format.

use flowtap::export::{Encoder, Format, Rows, SinkOptions};
use flowtap::flow::{
    Delta, Direction, EndReason, Endpoint, FeaturesSet, FlowKey, FlowRecord, Opening, PortKind,
    Sampling,
};

use super::{ITEMS, Piece};

/// Flows of one second after the other, as they come from a run.
pub(crate) fn records() -> Vec<FlowRecord> {
    (0..ITEMS).map(record).collect()
}

/// The IPv4 addresses of a record's client and server.
pub(crate) fn hosts(number: usize) -> [[u8; 4]; 2] {
    let [_, a, b, c] = small(number).to_be_bytes();
    [[10, a, b, c], [192, a, b, c]]
}

/// The Unix time of its first packet, in nanoseconds.
pub(crate) fn start(number: usize) -> i64 {
    1_767_225_600_000_000_000 + i64::from(small(number)) * 10_000_123
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("few records")
}

fn record(number: usize) -> FlowRecord {
    record_between(number, (small(number), 40_000), (small(number), 443))
}

/// A record whose client and server are these, with their ports.
pub(crate) fn record_between(number: usize, client: (u32, u16), server: (u32, u16)) -> FlowRecord {
    let end = |net, (host, port): (u32, u16)| {
        let [_, a, b, c] = host.to_be_bytes();
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[net, a, b, c]);
        Endpoint { address, port }
    };
    let (client, server, start) = (end(10, client), end(192, server), start(number));
    let (key, direction) = FlowKey::canonical(client, server, 4, 6, PortKind::Ports, [0; 2]);
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
        ordinal: small(number),
        initiator: direction,
        macs: [Some([2, 0, 0, 0, 0, 1]), Some([2, 0, 0, 0, 0, 2])],
        first_packet: Direction::Forward,
        icmp: None,
        interface: 0,
        encapsulation: None,
    });
    FlowRecord::flow(key, total)
}

/// Encodes records.
pub(crate) struct Encode {
    encoder: Box<dyn Encoder>,
    records: Vec<FlowRecord>,
    interfaces: [String; 1],
    out: Vec<u8>,
}

impl Encode {
    pub(crate) fn new(format: Format) -> Self {
        let interfaces = ["traffic.pcap".to_owned()];
        let encoder = format.encoder(FeaturesSet::Basic, &SinkOptions::default());
        let mut this = Self { encoder, records: records(), interfaces, out: Vec::new() };
        // Its buffer has grown, as it has after the first batch of a run.
        this.run();
        this
    }
}

impl Piece for Encode {
    fn run(&mut self) -> u64 {
        self.out.clear();
        let rows = Rows {
            records: &self.records,
            flow_ids: None,
            features: None,
            labels: &[],
            transactions: &[],
            intervals: &[],
            interfaces: &self.interfaces,
            interface_indexes: &[],
            encapsulations: None,
            sampling: Sampling::ALL,
        };
        self.encoder.encode(&rows, &mut self.out);
        self.out.len() as u64
    }
}

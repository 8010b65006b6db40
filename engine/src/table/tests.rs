//! Packets in, records out. Packets are written `SECOND FROM>TO [FLAGS[:SEQUENCE]]`, ends
//! are letters; records `fFLOW FROM>TO PACKETS/PACKETS START-END END-REASON [STATE]`.

mod intervals;
mod random;
mod rules;
mod segments;
mod shunted;

use crate::decode::{Macs, Packet, TcpHeader};
use crate::flow::{
    Direction, Endpoint, FeaturesSet, FlowKey, FlowRecord, KeyHasher, PortKind, RecordKind,
    Timeouts,
};
use crate::global::map::{GlobalMap, Merged};
use crate::table::{CoreTable, Outlet, Pace, TableConfig, TableCounters};
use crate::time::{PacketClock, SECOND_NS, Tick, Timestamp};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;

/// Takes deltas as long as there is room.
struct Tray {
    room: usize,
    published: Vec<FlowRecord>,
}

impl Tray {
    fn unlimited() -> Self {
        Self { room: usize::MAX, published: Vec::new() }
    }
}

impl Outlet for Tray {
    fn room(&self) -> usize {
        self.room
    }

    fn publish(&mut self, _hash: u64, published: FlowRecord) {
        assert!(self.room > 0, "published without room");
        self.room -= 1;
        self.published.push(published);
    }
}

/// One packet as a test writes it.
#[derive(Debug, Clone, Copy)]
struct Sent {
    timestamp: Option<Timestamp>,
    from: u8,
    to: u8,
    protocol: u8,
    tcp: TcpHeader,
}

/// The packets that a decoder would make: 100 bytes each, stamped by the packet clock.
fn packets(sent: &[Sent]) -> Vec<Packet> {
    let hasher = hasher();
    let mut clock = PacketClock::default();
    let packet = |(ordinal, sent): (usize, &Sent)| {
        let end = |letter: u8| {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&[10, 0, 0, letter]);
            // Both ends of an ICMP query have its identifier.
            let port = if sent.protocol == ICMP { 9 } else { 1_000 + u16::from(letter) };
            Endpoint { address, port: if sent.protocol == GRE { 0 } else { port } }
        };
        let kind = match sent.protocol {
            ICMP => PortKind::IcmpId,
            GRE => PortKind::None,
            _ => PortKind::Ports,
        };
        let (key, direction) =
            FlowKey::canonical(end(sent.from), end(sent.to), 4, sent.protocol, kind, [0; 2]);
        Packet {
            key,
            hash: hasher.hash(&key),
            direction,
            timestamp: sent.timestamp,
            tick: clock.advance(sent.timestamp),
            ordinal: ordinal as u64,
            interface: 0,
            encapsulation: None,
            bytes: 100,
            frame_bytes: 114,
            payload_bytes: 60,
            later_fragment: false,
            ttl: 64,
            dscp: 0,
            tcp: sent.tcp,
            icmp: (sent.protocol == ICMP).then_some((8, 0)),
            macs: Macs::NONE,
        }
    };
    sent.iter().enumerate().map(packet).collect()
}

/// The same in all tests, so that what they find can be repeated.
fn hasher() -> KeyHasher {
    KeyHasher::seeded(&ahash::RandomState::with_seeds(1, 2, 3, 4))
}

/// What `merge` and `reap` make of deltas, where one core sees each flow.
fn records(published: &[FlowRecord]) -> Vec<FlowRecord> {
    let map = GlobalMap::default();
    let mut ended = Vec::new();
    for published in published {
        if (published.kind == RecordKind::Overflow) || published.total.is_whole() {
            ended.push(*published);
            continue;
        }
        let merged = map.merge(&published.key, &published.total, |record| ended.push(record));
        let (Merged::Created { complete } | Merged::Folded { complete, .. }) = merged;
        if published.total.ends_part() {
            ended.extend(map.cut(&published.key));
        }
        if complete {
            ended.extend(map.evict(&published.key, |_| true));
        }
    }
    assert!(map.is_empty(), "a record is not complete");
    for FlowRecord { total, .. } in &ended {
        let is_untimed = (total.first, total.last) == (Timestamp::MAX, Timestamp::MIN);
        assert!(total.first <= total.last || is_untimed, "a negative duration: {total:?}");
    }
    ended.sort_by_key(|record| {
        let opening = record.opening().expect("a record without its first packet");
        (opening.ordinal, record.total.part, record.key)
    });
    ended
}

/// A table over `packets` in batches of `batch`, drained at `end`, with unlimited room;
/// `extra` times in each batch the hand is called once more.
fn run(
    config: TableConfig,
    packets: &[Packet],
    batch: usize,
    extra: usize,
    end: Tick,
) -> Vec<FlowRecord> {
    let counters = TableCounters::default();
    let mut table = CoreTable::new(config, hasher(), &counters).unwrap();
    let mut tray = Tray::unlimited();
    for batch in packets.chunks(batch) {
        table.count(batch, &mut tray);
        for _ in 0..extra {
            table.advance(batch[batch.len() - 1].tick, &mut tray);
        }
    }
    assert!(table.drain(end, &mut tray), "there was room");
    tray.published
}

/// `SECOND FROM>TO [FLAGS[:SEQUENCE]]`; the second is `?` for a packet without timestamp.
fn parse(text: &str, protocol: u8) -> Sent {
    let mut words = text.split_whitespace();
    let second = words.next().unwrap();
    let ends = words.next().unwrap().as_bytes();
    let tcp = words.next().map_or(TcpHeader::NONE, |word| {
        // What does not open is behind what does, and acknowledges it.
        let number = if word.contains('S') { "0" } else { "100" };
        let (flags, sequence) = word.split_once(':').unwrap_or((word, number));
        let flag = |letter| match letter {
            'F' => 0x01,
            'S' => 0x02,
            'R' => 0x04,
            'A' => 0x10,
            other => panic!("flag {other}"),
        };
        let flags = flags.chars().map(flag).fold(0, |all, flag| all | flag);
        TcpHeader::new(flags, sequence.parse().unwrap(), number.parse().unwrap(), 512)
    });
    #[expect(clippy::cast_possible_truncation, reason = "seconds of a test fit")]
    let timestamp = |second: f64| (second * 10.0).round() as i64 * 100_000_000;
    let timestamp = (second != "?").then(|| timestamp(second.parse().unwrap()));
    Sent { timestamp, from: ends[0], to: ends[2], protocol, tcp }
}

fn show(record: &FlowRecord, flows: &mut Vec<u64>) -> String {
    let total = &record.total;
    let seconds = |timestamp: Timestamp| (timestamp / 100_000_000) as f64 / 10.0;
    let times = if total.first <= total.last {
        format!("{}-{}", seconds(total.first), seconds(total.last))
    } else {
        "-".to_owned()
    };
    let bytes: u64 = total.sides.iter().map(|side| side.bytes).sum();
    assert_eq!(bytes, total.packets() * 100);
    let reason = format!("{:?}", total.end.unwrap()).to_lowercase().replace("detected", "");
    if record.kind == RecordKind::Overflow {
        return format!("overflow {} {times} {reason}", total.packets());
    }
    let id = record.flow_id();
    let flow = flows.iter().position(|&known| known == id).unwrap_or_else(|| {
        flows.push(id);
        flows.len() - 1
    });
    let letter = |direction: Direction| match record.key.source_ip(direction) {
        std::net::IpAddr::V4(address) => char::from(address.octets()[3]),
        std::net::IpAddr::V6(_) => panic!("IPv6"),
    };
    let (source, destination) = (record.initiator(), record.initiator().opposite());
    let part = match record.total.part {
        0 => String::new(),
        part => format!(" part {part}"),
    };
    let state = record.tcp_state().map_or(String::new(), |state| format!(" {state:?}"));
    format!(
        "f{flow}{part} {}>{} {}/{} {times} {reason}{}",
        letter(source),
        letter(destination),
        total.sides[source.idx()].packets,
        total.sides[destination.idx()].packets,
        state.to_lowercase()
    )
}

/// Packets of one protocol through a table with `config`: the records, however the packets
/// are batched.
fn check_with(config: TableConfig, protocol: u8, packets_text: &str, want: &[&str]) {
    let sent: Vec<_> = packets_text.split(';').map(|text| parse(text, protocol)).collect();
    let packets = packets(&sent);
    let end = packets.last().unwrap().tick;
    for batch in [1, 2, 64] {
        let records = records(&run(config, &packets, batch, 1, end));
        let flows = &mut Vec::new();
        let shown: Vec<_> = records.iter().map(|record| show(record, flows)).collect();
        assert_eq!(shown, want, "{packets_text}, in batches of {batch}");
    }
}

const CONFIG: TableConfig = TableConfig {
    capacity: 1_000,
    timeouts: Timeouts {
        idle_ns: 60 * SECOND_NS,
        datagram_idle_ns: 30 * SECOND_NS,
        half_open_idle_ns: 10 * SECOND_NS,
        linger_ns: 5 * SECOND_NS,
        active_ns: 1_800 * SECOND_NS,
    },
    pace: Pace::LIVE,
    sweep_slots: 1_000,
    is_populated: false,
    features_set: FeaturesSet::Basic,
};

/// With the default timeouts.
fn check(protocol: u8, packets: &str, want: &[&str]) {
    assert_eq!(CONFIG.timeouts, Timeouts::default());
    check_with(CONFIG, protocol, packets, want);
}

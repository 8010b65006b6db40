//! Names: which payloads are copied for the thread that learns them, what it learns from look-ups,
//! and records labelled by that.

use std::time::Duration;

use flowtap::decode::Packet;
use flowtap::devices::DevicesSetup;
use flowtap::flow::FlowRecord;
use flowtap::names::{Labeller, Names, NamesCounters, NamesThread, PayloadSender, Picks};
use flowtap::sync::Arc;

use super::decode::packets;
use super::export::{hosts, records, start};
use super::frames::{Captured, datagram, straight};
use super::{ITEMS, Piece};

/// Packets, each with its payload as it was captured.
type Payloads = Vec<(Packet, Vec<u8>)>;

fn payloads(frames: &[Captured]) -> Payloads {
    let payload = |captured: &Captured, packet: &Packet| {
        let network = if packet.key.vlan() == [0; 2] { 14 } else { 18 };
        let at = network + packet.bytes - packet.payload_bytes;
        captured.bytes[at as usize..][..packet.payload_bytes as usize].to_vec()
    };
    let decoded = frames.iter().zip(packets(frames));
    decoded.map(|(captured, packet)| (packet, payload(captured, &packet))).collect()
}

/// Looks at packets that nobody wants to read.
pub(crate) struct Pick {
    picks: Picks,
    payloads: Payloads,
}

impl Pick {
    pub(crate) fn new() -> Self {
        Self { picks: Picks::default(), payloads: payloads(&straight()) }
    }
}

impl Piece for Pick {
    fn run(&mut self) -> u64 {
        let Self { picks, payloads } = self;
        let mut is_picked = |packet: &Packet, payload: &[u8]| {
            picks.may_pick(packet, payload) && picks.picks(packet, payload)
        };
        payloads.iter().filter(|(packet, payload)| is_picked(packet, payload)).count() as u64
    }
}

/// Every other record of [`records`] is of a client that has asked for the address of its server:
/// the messages, two for each, and the frames that they came in.
pub(crate) fn look_ups() -> Vec<(Vec<u8>, Captured)> {
    const RESOLVER: [u8; 4] = [198, 51, 100, 53];
    let look_up = |number: usize| {
        let ([client, server], [.., high, low]) = (hosts(number), number.to_be_bytes());
        let (ports, at) = ([[0x80 | high, low], [0, 53]], start(number) - 20_000_000);
        let [question, answer] = [None, Some(server)].map(|address| message(number, address));
        let asked = datagram([client, RESOLVER], ports, &question, at);
        let [to, from] = ports;
        let answered = datagram([RESOLVER, client], [from, to], &answer, at + 1_000_000);
        [(question, asked), (answer, answered)]
    };
    (0..ITEMS).step_by(2).flat_map(look_up).collect()
}

/// A question for an address, or the answer to it (RFC 1035 section 4.1).
pub(crate) fn message(number: usize, answer: Option<[u8; 4]>) -> Vec<u8> {
    let [.., high, low] = number.to_be_bytes();
    let (flags, answers) = if answer.is_some() { ([0x81, 0x80], 1) } else { ([1, 0], 0) };
    let mut message = vec![high, low, flags[0], flags[1], 0, 1, 0, answers, 0, 0, 0, 0];
    for label in [format!("host-{number}").as_bytes(), b"example", b"net", b""] {
        message.push(u8::try_from(label.len()).expect("a short label"));
        message.extend(label);
    }
    message.extend([0, 1, 0, 1]);
    if let Some(address) = answer {
        // The name of the question, an hour to live.
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4]);
        message.extend(address);
    }
    message
}

/// The way from a decoder to labels, without threads.
struct Way {
    sender: PayloadSender,
    thread: NamesThread,
    labeller: Labeller,
    counters: Arc<NamesCounters>,
    look_ups: Payloads,
}

impl Way {
    fn new() -> Self {
        let counters = Arc::new(NamesCounters::new(1, 1));
        let patience = Some(Duration::from_secs(1));
        let mut names = Names::new(&counters, ITEMS, &DevicesSetup::default(), patience);
        let (_, frames): (Vec<_>, Vec<_>) = look_ups().into_iter().unzip();
        Self {
            sender: names.senders.remove(0),
            thread: names.thread,
            labeller: names.labellers.remove(0),
            counters,
            look_ups: payloads(&frames),
        }
    }

    /// Copies and reads all look-ups.
    fn learn(&mut self) -> u64 {
        for (packet, payload) in &self.look_ups {
            while !self.sender.push(packet, payload) {
                self.thread.step();
            }
        }
        self.sender.flush();
        while self.thread.step() {}
        self.counters.thread.answered.get()
    }
}

/// Learns from look-ups: those before are known, and the same again.
pub(crate) struct Learn(Way);

impl Learn {
    pub(crate) fn new() -> Self {
        let mut way = Way::new();
        assert_eq!(way.learn(), ITEMS as u64 / 2, "every answer is one to a question");
        Self(way)
    }
}

impl Piece for Learn {
    fn run(&mut self) -> u64 {
        self.0.learn()
    }
}

/// Labels records, half of them of servers that their client has asked for.
pub(crate) struct Label {
    way: Way,
    records: Vec<FlowRecord>,
}

impl Label {
    pub(crate) fn new() -> Self {
        let mut this = Self { way: Way::new(), records: records() };
        this.way.learn();
        assert_eq!(this.run(), ITEMS as u64 / 2, "the labels that there are");
        this
    }
}

impl Piece for Label {
    fn run(&mut self) -> u64 {
        self.way.labeller.label(&self.records).len() as u64
    }
}

//! Mixes by the packet: any number of packets of any number of flows, drawn one after the other,
//! so that a capture may be as long as one likes and is written as fast as the disk takes it.
//! Holds a few words for each flow. Called by [`super::run`].
//!
//! Flows begin evenly over the capture; in between, packets are drawn from those that have
//! begun: each as likely as any other, or by Zipf's law.

use super::deal::Budget;
use super::flow::{Body, Ends, Flow, Life, Options, Packet, Segment, TCP, Tags, UDP, flags};
use super::frame::Framer;
use super::host::{Host, Side};
use super::mix::EPOCH_NS;
use super::number::{low16, low32, share};
use super::rng::Rng;
use super::truth::{FlowTruth, Truth};

/// What the packets of a mix are like.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// Frame lengths with their weights: of what the client sends, and the server.
    sizes: [&'static [(u16, u64)]; 2],
    /// The exponent of Zipf's law in hundredths, unless the user says otherwise; 0 = uniform.
    zipf: u32,
    tcp_percent: u32,
    /// Flows that are one SYN of an attack.
    attack_percent: u32,
}

/// The simple IMIX: 7, 4 and 1 of 12 frames have 64, 594 and 1,518 bytes, check sequence
/// included.
const IMIX: &[(u16, u64)] = &[(60, 7), (590, 4), (1_514, 1)];

pub(crate) const SHAPES: &[Shape] = &[
    Shape { name: "imix", sizes: [IMIX, IMIX], zipf: 0, tcp_percent: 80, attack_percent: 0 },
    Shape {
        name: "small64",
        sizes: [&[(60, 1)], &[(60, 1)]],
        zipf: 0,
        tcp_percent: 50,
        attack_percent: 0,
    },
    Shape {
        name: "elephants",
        sizes: [&[(60, 9), (1_514, 1)], &[(1_514, 19), (60, 1)]],
        zipf: 130,
        tcp_percent: 95,
        attack_percent: 0,
    },
    Shape { name: "attack", sizes: [IMIX, IMIX], zipf: 0, tcp_percent: 80, attack_percent: 90 },
];

/// What the user may say of any of these mixes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wishes {
    /// The exponent of Zipf's law, in hundredths.
    pub(crate) zipf: Option<u32>,
    pub(crate) ipv6_percent: u32,
    pub(crate) vlan_percent: u32,
    /// Packets of a thousand that are lost before they are seen, but for the first of a flow.
    pub(crate) loss_permille: u32,
    /// Packets of a thousand that are seen after their successor.
    pub(crate) reorder_permille: u32,
}

const FIRST_CLIENT: u64 = 16;
const CLIENTS: u64 = 32_768;
const FIRST_PORT: u64 = 1_024;
const PORTS: u64 = 64_000;
const FIRST_SERVER: u64 = 200;
const SERVERS: u64 = 4_096;

/// The most flows: each from another client's port.
const MAX_FLOWS: u64 = CLIENTS * PORTS;

/// What is kept of a flow while it goes on.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// Packets made, lost ones included.
    made: u32,
    /// Next sequence numbers of server and client.
    next: [u32; 2],
}

/// Whether there can be such a capture.
///
/// # Errors
/// A text, if not.
pub(crate) fn check(budget: &Budget) -> Result<(), String> {
    let (packets, flows) = (budget.packets, budget.flows);
    if packets < flows || flows > MAX_FLOWS {
        return Err(format!(
            "{packets} packets in {flows} flows: ask for a packet for each flow, and {MAX_FLOWS} \
             flows at most"
        ));
    }
    Ok(())
}

/// Gives every frame with its Unix time in nanoseconds to `sink` and returns what they were. The
/// budget is one that [`check`] found right.
///
/// # Errors
/// The first error of `sink`.
pub(crate) fn play<E>(
    shape: &Shape,
    wishes: &Wishes,
    budget: &Budget,
    keep_flows: bool,
    mut sink: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<Truth, E> {
    let mut stream = Stream::new(shape, wishes, budget);
    let framer = Framer::new(budget.seed);
    let mut truth = Truth::default();
    let mut flows: Vec<FlowTruth> = Vec::new();
    let mut frame = Vec::with_capacity(2_048);
    for place in 0..budget.packets {
        let Made { number, ends, packet } = stream.next(place);
        let from_client = packet.from_client;
        let at_ns = EPOCH_NS + share(budget.duration_ns, place, budget.packets);
        let facts = framer.write(&mut frame, &ends, &packet, low16(place));
        sink(at_ns, &frame)?;
        truth.frames += 1;
        truth.frame_bytes += frame.len() as u64;
        truth.totals.count(&facts);
        if keep_flows {
            if number == flows.len() {
                let flow = Flow { ends, life: Life::Open, sni: None, cause: None, packets: vec![] };
                flows.push(FlowTruth::new(&flow, from_client));
            }
            // The client sends the first packet of every flow.
            flows[number].count(from_client, at_ns, frame.len() as u64, &facts);
        }
    }
    truth.totals.flows = budget.flows;
    truth.flows = flows;
    Ok(truth)
}

/// A packet of flow `number`.
struct Made {
    number: usize,
    ends: Ends,
    packet: Packet,
}

/// Draws packets.
struct Stream<'a> {
    shape: &'a Shape,
    wishes: Wishes,
    packets: u64,
    flows: u64,
    seed: u64,
    rng: Rng,
    progress: Vec<Progress>,
    /// Flows that go on, in the order of their beginning.
    ongoing: Vec<u32>,
    /// Sums of the weights of the first, the first two, … of them; empty if all are alike.
    sums: Vec<u64>,
    /// A packet that comes after its successor.
    held: Option<Made>,
}

impl<'a> Stream<'a> {
    fn new(shape: &'a Shape, wishes: &Wishes, budget: &Budget) -> Self {
        let zipf = wishes.zipf.unwrap_or(shape.zipf);
        Self {
            shape,
            wishes: *wishes,
            packets: budget.packets,
            flows: budget.flows,
            seed: budget.seed,
            rng: Rng::new(budget.seed, u64::MAX - 2),
            progress: Vec::new(),
            ongoing: Vec::new(),
            sums: if zipf == 0 { Vec::new() } else { zipf_sums(budget.flows, zipf) },
            held: None,
        }
    }

    /// The packet at this place of the capture.
    fn next(&mut self, place: u64) -> Made {
        // After the packet at `place` so many flows have begun: all of them at the end.
        let begun = 1 + share(self.flows - 1, place, (self.packets - 1).max(1));
        if begun > self.progress.len() as u64 {
            return self.begin();
        }
        if let Some(held) = self.held.take() {
            return held;
        }
        loop {
            let made = self.go_on();
            if self.rng.between(0, 999) < u64::from(self.wishes.loss_permille) {
                continue;
            }
            let is_next_free = place + 1 < self.packets
                && 1 + share(self.flows - 1, place + 1, self.packets - 1) == begun;
            let is_late = self.rng.between(0, 999) < u64::from(self.wishes.reorder_permille);
            if is_late && is_next_free {
                self.held = Some(made);
                return self.go_on();
            }
            return made;
        }
    }

    /// The first packet of another flow.
    fn begin(&mut self) -> Made {
        let number = self.progress.len();
        let is_attack = self.is_attack(number);
        self.progress.push(Progress::default());
        if !is_attack {
            self.ongoing.push(low32(number as u64));
        }
        self.make(number, true)
    }

    /// Another packet of a flow that goes on.
    fn go_on(&mut self) -> Made {
        let begun = self.ongoing.len();
        let rank = if self.sums.is_empty() {
            usize::try_from(self.rng.between(0, begun as u64 - 1)).expect("an index")
        } else {
            let drawn = self.rng.between(1, self.sums[begun - 1]);
            self.sums[..begun].partition_point(|&sum| sum < drawn)
        };
        let number = self.ongoing[rank] as usize;
        let from_client = match self.progress[number].made {
            // The handshake, as far as it is one.
            1 => false,
            2 => true,
            _ => self.rng.percent(50),
        };
        self.make(number, from_client)
    }

    fn make(&mut self, number: usize, from_client: bool) -> Made {
        let ends = self.ends(number);
        let sizes = self.shape.sizes[usize::from(!from_client)];
        let frame_len = self.draw(sizes);
        let progress = &mut self.progress[number];
        let made = progress.made;
        progress.made += 1;
        let tags = if ends.tags == Tags::None { 0 } else { 4 };
        let ip = if ends.ipv6 { 40 } else { 20 };
        let body = if ends.protocol == TCP {
            let flag_byte = match made {
                0 => flags::SYN,
                1 => flags::SYN | flags::ACK,
                _ => flags::ACK,
            };
            let len = if made < 3 { 0 } else { frame_len.saturating_sub(14 + tags + ip + 20) };
            let (me, peer) = if from_client { (1, 0) } else { (0, 1) };
            let segment = Segment {
                flags: flag_byte,
                sequence: progress.next[me],
                acknowledged: if made == 0 { 0 } else { progress.next[peer] },
                window: 64_240,
                len,
                options: Options::None,
            };
            let phantom = u32::from(made < 2);
            progress.next[me] = progress.next[me].wrapping_add(u32::from(len) + phantom);
            Body::Tcp(segment)
        } else {
            Body::Udp { len: frame_len.saturating_sub(14 + tags + ip + 8) }
        };
        Made { number, ends, packet: Packet { at_ns: 0, from_client, body } }
    }

    fn draw(&mut self, sizes: &[(u16, u64)]) -> u16 {
        let total = sizes.iter().map(|size| size.1).sum();
        let mut drawn = self.rng.between(1, total);
        for &(len, weight) in sizes {
            if drawn <= weight {
                return len;
            }
            drawn -= weight;
        }
        unreachable!("a number up to the sum of all weights is in one of them")
    }

    /// A number that belongs to the flow, the same each time.
    fn lot(&self, number: usize) -> u64 {
        Rng::new(self.seed, number as u64).bits()
    }

    fn is_attack(&self, number: usize) -> bool {
        // Somebody goes on.
        number > 0 && (self.lot(number) >> 40) % 100 < u64::from(self.shape.attack_percent)
    }

    fn ends(&self, number: usize) -> Ends {
        let (lot, place) = (self.lot(number), number as u64);
        let is = |shift: u32, percent: u32| (lot >> shift) % 100 < u64::from(percent);
        let is_attack = self.is_attack(number);
        let is_tcp = is_attack || is(0, self.shape.tcp_percent);
        let host = |side, first: u64, number: u64| Host { side, number: low16(first + number) };
        let (server, server_port) = match (is_attack, is_tcp) {
            (true, _) => (0, 443),
            (_, true) => (1 + (lot >> 16) % SERVERS, [443, 443, 80, 22, 8080][(lot % 5) as usize]),
            (_, false) => {
                (1 + (lot >> 16) % SERVERS, [443, 53, 3478, 5004, 9000][(lot % 5) as usize])
            }
        };
        Ends {
            client: host(Side::A, FIRST_CLIENT, place % CLIENTS),
            server: host(Side::B, FIRST_SERVER, server),
            ipv6: is(8, self.wishes.ipv6_percent),
            protocol: if is_tcp { TCP } else { UDP },
            client_port: low16(FIRST_PORT + (place / CLIENTS) % PORTS),
            server_port,
            tags: if is(24, self.wishes.vlan_percent) { Tags::Vlan(10) } else { Tags::None },
        }
    }
}

/// Sums of the weights `1 / rank^exponent`, as whole numbers.
fn zipf_sums(flows: u64, hundredths: u32) -> Vec<u64> {
    /// The weight of the first: all others fit below it, and all sums into 64 bits.
    const ONE: f64 = (1_u64 << 40) as f64;
    let exponent = f64::from(hundredths) / 100.0;
    let mut sum = 0;
    (1..=flows)
        .map(|rank| {
            // A library of ours: every machine has to find the same.
            #[expect(clippy::cast_precision_loss, reason = "ranks are below 2^53")]
            let weight = ONE / libm::pow(rank as f64, exponent);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded")]
            let weight = weight as u64;
            sum += weight.max(1);
            sum
        })
        .collect()
}

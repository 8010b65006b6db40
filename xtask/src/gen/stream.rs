//! Mixes by the packet: any number of packets of any number of flows, drawn one after the other,
//! so that a capture may be as long as one likes and is written as fast as the disk takes it.
//! Holds a few words for each flow. Called by [`super::run`].
//!
//! [`order`] draws whose turn it is, [`cast`] says who the flows are and [`make`] what they say.
//! The turns are drawn twice: the first time only counted, so that the second time each flow
//! knows its last packets, and TCP ends with them.

mod cast;
mod make;
mod order;

use super::deal::Budget;
use super::flow::{Flow, Life};
use super::frame::Framer;
use super::mix::EPOCH_NS;
use super::number::{low16, share};
use super::truth::{FlowTruth, Truth};
use cast::Cast;
pub(crate) use cast::{CLIENTS, FIRST_CLIENT, FIRST_PORT, FIRST_SERVER, PORTS};
use make::{Count, Made, Make};
use order::Order;

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

impl Shape {
    /// Whether frames of all flows are alike, whatever their protocol.
    pub(crate) fn is_alike(&self) -> bool {
        self.zipf == 0 && self.attack_percent == 0
    }

    /// Whether most flows are an attack.
    pub(crate) fn is_flood(&self) -> bool {
        self.attack_percent > 50
    }

    /// Frame lengths of what clients send.
    pub(crate) fn client_sizes(&self) -> Sizes {
        Sizes(self.sizes[0].to_vec())
    }
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
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wishes {
    /// The exponent of Zipf's law, in hundredths.
    pub(crate) zipf: Option<u32>,
    pub(crate) ipv6_percent: u32,
    pub(crate) vlan_percent: u32,
    /// Packets of a thousand that are lost before they are seen, but for the first of a flow.
    pub(crate) loss_permille: u32,
    /// Packets of a thousand that are seen after their successor.
    pub(crate) reorder_permille: u32,
    /// Both ways.
    pub(crate) sizes: Option<Sizes>,
    /// Makes the times of packets instead of the duration.
    pub(crate) bits_per_second: Option<u64>,
}

/// Frame lengths with their weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sizes(pub(crate) Vec<(u16, u64)>);

/// Whether there can be such a capture.
///
/// # Errors
/// A text, if not.
pub(crate) fn check(budget: &Budget) -> Result<(), String> {
    let (packets, flows) = (budget.packets, budget.flows);
    if packets > u64::from(u32::MAX) {
        return Err(format!("{packets} packets: ask for {} at most", u32::MAX));
    }
    if packets < flows || flows > cast::MAX_FLOWS {
        return Err(format!(
            "{packets} packets in {flows} flows: ask for a packet for each flow, and {} flows at \
             most",
            cast::MAX_FLOWS
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
    let cast = Cast { shape, wishes, seed: budget.seed };
    let mut order = Order::new(&cast, budget);
    let mut make = Make::new(&cast, count(&cast, budget));
    let framer = Framer::new(budget.seed);
    let mut truth = Truth::default();
    let mut flows: Vec<FlowTruth> = Vec::new();
    let mut frame = Vec::with_capacity(2_048);
    for place in 0..budget.packets {
        let Made { number, ends, packet, .. } = order.next(place, &mut make);
        let from_client = packet.from_client;
        let facts = framer.write(&mut frame, &ends, &packet, low16(place));
        let at_ns = EPOCH_NS
            + match wishes.bits_per_second {
                Some(rate) => nanoseconds(8 * truth.frame_bytes, rate),
                None => share(budget.duration_ns, place, budget.packets),
            };
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
    for flow in &mut flows {
        flow.look_at_life();
    }
    truth.flows = flows;
    Ok(truth)
}

/// How long so many bits take.
fn nanoseconds(bits: u64, per_second: u64) -> u64 {
    let ns = u128::from(bits) * 1_000_000_000 / u128::from(per_second);
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// How many packets each flow is going to send.
fn count(cast: &Cast<'_>, budget: &Budget) -> Vec<u32> {
    let mut order = Order::new(cast, budget);
    let mut count = Count(vec![0; usize::try_from(budget.flows).expect("they fit into memory")]);
    for place in 0..budget.packets {
        order.next(place, &mut count);
    }
    count.0
}

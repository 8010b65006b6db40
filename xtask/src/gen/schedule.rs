//! Sends the packets of all flows in the order of time, holding only the flows that are under
//! way. Called by [`super::run`].

use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::flow::{Flow, Packet};
use super::frame::{Facts, Framer};
use super::mix::{Draft, EPOCH_NS};
use super::number::low16;
use super::truth::{FlowTruth, Totals, Truth};

/// A flow under way. The earliest next packet is the greatest; flows that start first go first.
struct Turn {
    at_ns: u64,
    order: usize,
    state: Box<State>,
}

struct State {
    flow: Flow,
    start_ns: u64,
    sent: usize,
    truth: FlowTruth,
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ns, self.order) == (other.at_ns, other.order)
    }
}

impl Eq for Turn {}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at_ns, other.order).cmp(&(self.at_ns, self.order))
    }
}

impl Turn {
    fn new(draft: &Draft, order: usize) -> Self {
        let flow = draft.make();
        let first = flow.packets.first().expect("every flow has a packet");
        let (at_ns, truth) =
            (draft.start_ns + first.at_ns, FlowTruth::new(&flow, first.from_client));
        let state = State { flow, start_ns: draft.start_ns, sent: 0, truth };
        Self { at_ns, order, state: Box::new(state) }
    }

    /// Makes the next frame and counts it; true if there is one more after it.
    fn step(&mut self, framer: &Framer, frame: &mut Vec<u8>, totals: &mut Totals) -> bool {
        let State { flow, start_ns, sent, truth } = &mut *self.state;
        let packet: &Packet = &flow.packets[*sent];
        let index = low16(*sent as u64);
        let facts: Facts = framer.write(frame, &flow.ends, packet, index);
        let from_src = packet.from_client == flow.packets[0].from_client;
        truth.count(from_src, EPOCH_NS + self.at_ns, frame.len() as u64, &facts);
        if flow.cause.is_none() {
            totals.flows += u64::from(*sent == 0);
            totals.count(&facts);
        }
        *sent += 1;
        match flow.packets.get(*sent) {
            Some(next) => {
                self.at_ns = *start_ns + next.at_ns;
                true
            }
            None => false,
        }
    }
}

/// Gives every frame with its Unix time in nanoseconds to `sink` and returns what they were.
/// `drafts` are in the order of start; the flows of the truth are kept only if `keep_flows`.
///
/// # Errors
/// The first error of `sink`.
pub(crate) fn play<E>(
    drafts: &[Draft],
    framer: &Framer,
    keep_flows: bool,
    mut sink: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<Truth, E> {
    let mut truth = Truth::default();
    let mut flows: Vec<(usize, FlowTruth)> = vec![];
    let mut turns = BinaryHeap::new();
    let mut waiting = drafts.iter().enumerate().peekable();
    let mut frame = Vec::with_capacity(2_048);
    loop {
        let now_ns = turns.peek().map_or(u64::MAX, |turn: &Turn| turn.at_ns);
        if let Some((order, draft)) = waiting.next_if(|(_, draft)| draft.start_ns <= now_ns) {
            turns.push(Turn::new(draft, order));
            continue;
        }
        let Some(mut turn) = turns.peek_mut() else {
            break;
        };
        let more = turn.step(framer, &mut frame, &mut truth.totals);
        sink(EPOCH_NS + now_ns, &frame)?;
        truth.frames += 1;
        truth.frame_bytes += frame.len() as u64;
        if let Some(cause) = turn.state.flow.cause {
            *truth.not_in_flow.entry(cause).or_default() += 1;
        }
        if more {
            continue; // Dropping `turn` puts it back in order.
        }
        let Turn { order, state, .. } = PeekMut::pop(turn);
        if keep_flows && state.flow.cause.is_none() {
            flows.push((order, state.truth));
        }
    }
    flows.sort_by_key(|flow| flow.0);
    truth.flows = flows.into_iter().map(|flow| flow.1).collect();
    Ok(truth)
}

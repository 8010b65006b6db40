//! What flows say: the next packet of a flow, and with TCP where it is in its life. Keeps four
//! numbers for each flow. Called by [`super::play`], by way of [`super::order`].

use super::super::flow::{Body, Ends, Options, Packet, Segment, TCP, Tags, flags};
use super::super::rng::Rng;
use super::cast::{Cast, Ending, Role};
use super::order::Maker;

/// Counts the packets of each flow.
pub(super) struct Count(pub(super) Vec<u32>);

impl Maker for Count {
    type Made = ();

    fn make(&mut self, number: usize) {
        self.0[number] += 1;
    }

    fn must_follow(&self, (): &(), (): &()) -> bool {
        false
    }
}

/// A packet of flow `number`.
pub(super) struct Made {
    pub(super) number: usize,
    pub(super) ends: Ends,
    pub(super) packet: Packet,
    /// The flow sends no other.
    is_last: bool,
}

/// Makes packets.
pub(super) struct Make<'a> {
    cast: &'a Cast<'a>,
    rng: Rng,
    progress: Vec<Progress>,
    /// Larger sizes that fell to packets without payload, by direction.
    owed: [Vec<u16>; 2],
}

/// What is kept of a flow.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// Packets that it makes in all, and has made, lost ones included.
    total: u32,
    made: u32,
    /// Next sequence numbers of server and client.
    next: [u32; 2],
}

/// How many sizes are owed at most: with more packets without payload than the mix has small
/// ones its sizes cannot be had.
const MOST_OWED: usize = 4_096;

impl<'a> Make<'a> {
    /// A maker of so many packets for each flow.
    pub(super) fn new(cast: &'a Cast<'a>, totals: Vec<u32>) -> Self {
        let progress = totals.into_iter().map(|total| Progress { total, ..Progress::default() });
        Self {
            cast,
            rng: Rng::new(cast.seed, u64::MAX - 3),
            progress: progress.collect(),
            owed: [Vec::new(), Vec::new()],
        }
    }

    /// Which way the next packet goes, and with TCP its flags.
    fn turn(&mut self, role: &Role, Progress { total, made, .. }: Progress) -> (bool, u8) {
        let is_reset = role.ending == Ending::Reset && made + 1 == total;
        match made {
            0 => (true, flags::SYN),
            1 if is_reset => (false, flags::RST | flags::ACK),
            1 => (false, flags::SYN | flags::ACK),
            2 if is_reset => (true, flags::RST | flags::ACK),
            _ if is_reset => (role.is_ended_by_client, flags::RST | flags::ACK),
            // A flow of four packets has no other place to say that the client got the answer.
            _ if role.ending == Ending::Fin && total >= 4 && made + 2 >= total => {
                let is_first = made + 2 == total;
                let by_client = role.is_ended_by_client || total == 4;
                (by_client == is_first, flags::FIN | flags::ACK)
            }
            2 => (true, flags::ACK),
            _ => (self.rng.percent(50), flags::ACK),
        }
    }

    /// The frame length of the next packet, such that sizes have the shares they should have,
    /// packets without payload included.
    fn frame_len(&mut self, from_client: bool, has_payload: bool) -> u16 {
        let sizes = self.cast.sizes(from_client);
        let smallest = sizes.iter().map(|size| size.0).min().expect("a mix has a size");
        let drawn = draw(&mut self.rng, sizes);
        let owed = &mut self.owed[usize::from(!from_client)];
        if has_payload {
            return if drawn == smallest { owed.pop().unwrap_or(drawn) } else { drawn };
        }
        if drawn > smallest && owed.len() < MOST_OWED {
            owed.push(drawn);
        }
        smallest
    }
}

impl Maker for Make<'_> {
    type Made = Made;

    fn make(&mut self, number: usize) -> Made {
        let role = self.cast.role(number);
        let ends = role.ends;
        let before = self.progress[number];
        let (from_client, flag_byte) = self.turn(&role, before);
        let is_tcp = ends.protocol == TCP;
        let has_payload = !is_tcp || (before.made > 2 && flag_byte == flags::ACK);
        let frame_len = self.frame_len(from_client, has_payload);
        let progress = &mut self.progress[number];
        progress.made += 1;
        let tags = if ends.tags == Tags::None { 0 } else { 4 };
        let ip = if ends.ipv6 { 40 } else { 20 };
        let body = if is_tcp {
            let len = if has_payload { frame_len.saturating_sub(14 + tags + ip + 20) } else { 0 };
            let (me, peer) = if from_client { (1, 0) } else { (0, 1) };
            let segment = Segment {
                flags: flag_byte,
                sequence: progress.next[me],
                acknowledged: if before.made == 0 { 0 } else { progress.next[peer] },
                window: 64_240,
                len,
                options: Options::None,
            };
            let phantom = u32::from(flag_byte & (flags::SYN | flags::FIN) != 0);
            progress.next[me] = progress.next[me].wrapping_add(u32::from(len) + phantom);
            Body::Tcp(segment)
        } else {
            Body::Udp { len: frame_len.saturating_sub(14 + tags + ip + 8) }
        };
        let is_last = progress.made == progress.total;
        Made { number, ends, packet: Packet { at_ns: 0, from_client, body }, is_last }
    }

    fn must_follow(&self, first: &Made, second: &Made) -> bool {
        first.number == second.number && second.is_last
    }
}

fn draw(rng: &mut Rng, sizes: &[(u16, u64)]) -> u16 {
    let total = sizes.iter().map(|size| size.1).sum();
    let mut drawn = rng.between(1, total);
    for &(len, weight) in sizes {
        if drawn <= weight {
            return len;
        }
        drawn -= weight;
    }
    unreachable!("a number up to the sum of all weights is in one of them")
}

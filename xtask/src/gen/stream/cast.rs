//! Who the flows of a mix are: all that is the same in every packet of a flow follows from its
//! number, and nothing is kept. Called by [`super::order`] and [`super::make`].

use super::super::flow::{Ends, TCP, Tags, UDP};
use super::super::host::{Host, Side};
use super::super::number::low16;
use super::super::rng::Rng;
use super::{Shape, Sizes, Wishes};

pub(crate) const FIRST_CLIENT: u64 = 16;
pub(crate) const CLIENTS: u64 = 32_768;
pub(crate) const FIRST_PORT: u64 = 1_024;
pub(crate) const PORTS: u64 = 64_000;
pub(crate) const FIRST_SERVER: u64 = 200;
const SERVERS: u64 = 4_096;

/// The most flows: each from another client's port.
pub(super) const MAX_FLOWS: u64 = CLIENTS * PORTS;

/// All flows of a capture.
pub(super) struct Cast<'a> {
    pub(super) shape: &'a Shape,
    pub(super) wishes: &'a Wishes,
    pub(super) seed: u64,
}

/// How a TCP flow ends, if it has packets enough.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// FIN both ways.
    Fin,
    Reset,
    /// It goes on when the capture is over.
    None,
}

/// A flow.
pub(super) struct Role {
    pub(super) ends: Ends,
    pub(super) ending: Ending,
    /// Whether the client ends it.
    pub(super) is_ended_by_client: bool,
}

impl Cast<'_> {
    /// Frame lengths of one way.
    pub(super) fn sizes(&self, from_client: bool) -> &[(u16, u64)] {
        match &self.wishes.sizes {
            Some(Sizes(sizes)) => sizes,
            None => self.shape.sizes[usize::from(!from_client)],
        }
    }

    /// A number that belongs to the flow, the same each time.
    fn lot(&self, number: usize) -> u64 {
        Rng::new(self.seed, number as u64).bits()
    }

    /// Whether it is one SYN of an attack.
    pub(super) fn is_attack(&self, number: usize) -> bool {
        self.is_attack_by(self.lot(number), number)
    }

    fn is_attack_by(&self, lot: u64, number: usize) -> bool {
        // Somebody goes on.
        number > 0 && (lot >> 40) % 100 < u64::from(self.shape.attack_percent)
    }

    /// The flow of this number.
    pub(super) fn role(&self, number: usize) -> Role {
        let lot = self.lot(number);
        let ending = match (lot >> 48) % 10 {
            0 => Ending::None,
            1 => Ending::Reset,
            _ => Ending::Fin,
        };
        Role { ends: self.ends(lot, number), ending, is_ended_by_client: lot >> 63 == 0 }
    }

    fn ends(&self, lot: u64, number: usize) -> Ends {
        let place = number as u64;
        let is = |shift: u32, percent: u32| (lot >> shift) % 100 < u64::from(percent);
        let is_attack = self.is_attack_by(lot, number);
        let is_tcp = is_attack || is(0, self.shape.tcp_percent);
        let host = |side, first: u64, number: u64| Host { side, number: low16(first + number) };
        let (server, server_port) = match (is_attack, is_tcp) {
            (true, _) => (0, 443),
            (_, true) => (1 + (lot >> 16) % SERVERS, [443, 443, 80, 22, 8080][(lot % 5) as usize]),
            (_, false) => {
                (1 + (lot >> 16) % SERVERS, [443, 1194, 3478, 5004, 9000][(lot % 5) as usize])
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

//! Payloads in, findings out.

mod captures;
mod datagrams;
mod hostile;
mod streams;

use super::*;
use crate::flow::{Direction, Endpoint, PortKind};
use crate::names::{FlowFact, HostFact, NameService};

/// A flow between two hosts, the client with the lower address, and its payloads.
struct Flow {
    key: FlowKey,
    conversations: Conversations,
    tick: Tick,
    /// What is said of where the direction begins.
    begins_at: Option<u32>,
}

const FROM_CLIENT: Direction = Direction::Forward;
const FROM_SERVER: Direction = Direction::Reverse;

fn key(protocol: u8, client_port: u16, server_port: u16) -> FlowKey {
    let end = |last, port| {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[192, 0, 2, last]);
        Endpoint { address, port }
    };
    let (client, server) = (end(1, client_port), end(2, server_port));
    FlowKey::canonical(client, server, 4, protocol, PortKind::Ports, [0; 2]).0
}

impl Flow {
    fn new(protocol: u8, server_port: u16) -> Self {
        let key = key(protocol, 40_000, server_port);
        Self { key, conversations: Conversations::default(), tick: 0, begins_at: None }
    }

    fn see(&mut self, direction: Direction, sequence: u32, bytes: &[u8]) -> Vec<Finding> {
        self.see_cut(direction, sequence, bytes, 0)
    }

    /// A payload of which the last bytes were not captured.
    fn see_cut(
        &mut self,
        direction: Direction,
        sequence: u32,
        bytes: &[u8],
        missing: u32,
    ) -> Vec<Finding> {
        let mut found = Vec::new();
        let payload = Payload {
            key: self.key,
            direction,
            timestamp: None,
            tick: self.tick,
            ordinal: 0,
            sequence: Some(sequence),
            begins_at: self.begins_at,
            bytes,
            wire_bytes: u32::try_from(bytes.len()).unwrap() + missing,
            ..Payload::NONE
        };
        self.conversations.observe(&payload, &mut found);
        found
    }
}

/// The server name among findings.
fn sni(found: &[Finding]) -> Option<&str> {
    found.iter().find_map(|finding| match finding {
        Finding::Flow(FlowFact::Sni(name)) => Some(&**name),
        _ => None,
    })
}

fn host(found: &[Finding]) -> Option<&str> {
    found.iter().find_map(|finding| match finding {
        Finding::Flow(FlowFact::HttpHost(name)) => Some(&**name),
        _ => None,
    })
}

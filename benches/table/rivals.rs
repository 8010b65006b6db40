//! What else one would count flows with. All hold the same 128 bytes for a flow, look at the
//! same timeout, and count the same things.

use std::sync::Mutex;

use dashmap::DashMap;
use flowtap::decode::Packet;
use flowtap::flow::{Endpoint, FlowKey, PortKind};
use hashbrown::HashMap;

use crate::Meter;

const IDLE_NS: u64 = 60_000_000_000;
const ACTIVE_NS: u64 = 1_800_000_000_000;

/// A flow besides its key: 80 bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    last_tick: u64,
    start: u64,
    first: i64,
    last: i64,
    counts: [[u32; 4]; 2],
    sequence: [u32; 2],
    flags: [u8; 2],
    is_finished: bool,
    is_used: bool,
}

impl Flow {
    #[inline]
    fn count(&mut self, packet: &Packet) {
        if self.last_tick.saturating_add(IDLE_NS) < packet.tick {
            *self = Self { start: packet.tick, is_used: true, ..Self::default() };
        }
        if packet.tick - self.start > ACTIVE_NS {
            self.start = packet.tick;
        }
        self.last_tick = packet.tick;
        if let Some(timestamp) = packet.timestamp {
            self.first = self.first.min(timestamp);
            self.last = self.last.max(timestamp);
        }
        let direction = packet.direction.idx();
        let counts = &mut self.counts[direction];
        counts[0] += 1;
        counts[1] = counts[1].wrapping_add(packet.bytes);
        counts[2] = counts[2].wrapping_add(packet.frame_bytes);
        counts[3] = counts[3].wrapping_add(packet.payload_bytes);
        let tcp = packet.tcp;
        if tcp.is_there() {
            self.flags[direction] |= tcp.flags();
            self.is_finished |= tcp.has(0x05);
            if tcp.has(0x02) {
                self.sequence[direction] = tcp.sequence();
            }
        }
    }
}

/// The same slots in one array, half full at least: a private table with linear probing and
/// nothing else. It is given the packets' hashes.
#[derive(Debug)]
pub(crate) struct OpenAddressing {
    slots: Vec<Slot>,
    packets: u64,
}

#[derive(Debug, Clone)]
#[repr(align(128))]
struct Slot(FlowKey, Flow);

impl OpenAddressing {
    pub(crate) fn new(flows: usize) -> Self {
        let nowhere = Endpoint { address: [0; 16], port: 0 };
        let key = FlowKey::canonical(nowhere, nowhere, 0, 0, PortKind::None, [0; 2]).0;
        let free = Slot(key, Flow::default());
        let slots = vec![free; (flows * 5 / 4).next_power_of_two()];
        Self { slots, packets: 0 }
    }
}

impl Meter for OpenAddressing {
    fn count(&mut self, packets: &[Packet]) {
        let mask = self.slots.len() - 1;
        for packet in packets {
            let hash = usize::try_from(packet.hash).expect("addresses have 64 bits");
            let mut at = hash & mask;
            while self.slots[at].0 != packet.key && self.slots[at].1.is_used {
                at = (at + 1) & mask;
            }
            let Slot(key, flow) = &mut self.slots[at];
            if !flow.is_used {
                *key = packet.key;
                flow.is_used = true;
            }
            flow.count(packet);
        }
        self.packets += packets.len() as u64;
    }

    fn packets(&self) -> u64 {
        self.packets
    }
}

type Flows = HashMap<FlowKey, Flow, foldhash::fast::RandomState>;

/// hashbrown with foldhash.
#[derive(Debug)]
pub(crate) struct Plain(Flows, u64);

impl Plain {
    pub(crate) fn new(flows: usize) -> Self {
        Self(Flows::with_capacity_and_hasher(flows, Default::default()), 0)
    }
}

impl Meter for Plain {
    fn count(&mut self, packets: &[Packet]) {
        for packet in packets {
            self.0.entry(packet.key).or_default().count(packet);
        }
        self.1 += packets.len() as u64;
    }

    fn packets(&self) -> u64 {
        self.1
    }
}

/// The same behind a lock, taken for each packet.
#[derive(Debug)]
pub(crate) struct Locked(Mutex<Flows>, u64);

impl Locked {
    pub(crate) fn new(flows: usize) -> Self {
        let map = Flows::with_capacity_and_hasher(flows, Default::default());
        Self(Mutex::new(map), 0)
    }
}

impl Meter for Locked {
    fn count(&mut self, packets: &[Packet]) {
        for packet in packets {
            self.0.lock().expect("not poisoned").entry(packet.key).or_default().count(packet);
        }
        self.1 += packets.len() as u64;
    }

    fn packets(&self) -> u64 {
        self.1
    }
}

/// A map in shards with a lock each.
#[derive(Debug)]
pub(crate) struct Concurrent(DashMap<FlowKey, Flow, foldhash::fast::RandomState>, u64);

impl Concurrent {
    pub(crate) fn new(flows: usize) -> Self {
        Self(DashMap::with_capacity_and_hasher(flows, Default::default()), 0)
    }
}

impl Meter for Concurrent {
    fn count(&mut self, packets: &[Packet]) {
        for packet in packets {
            self.0.entry(packet.key).or_default().count(packet);
        }
        self.1 += packets.len() as u64;
    }

    fn packets(&self) -> u64 {
        self.1
    }
}

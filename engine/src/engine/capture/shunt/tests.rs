//! The shunt against a kernel and a table that are simple: whatever comes in whatever order,
//! each packet that the kernel has counted comes home once.

use std::collections::HashMap;
use std::time::Instant;

use super::*;
use crate::decode::TcpHeader;
use crate::flow::{Direction, Endpoint, PortKind};
use crate::limits::MAX_SHUNTED_FLOWS;

/// The program's maps, and its runs.
#[derive(Default)]
struct TestKernel {
    map: HashMap<FlowKey, (u32, bool)>,
    counts: HashMap<u32, Counted>,
    shunted: u64,
    asked: u64,
    reached: u64,
    /// A run that has found its entry and has not counted yet.
    under_way: Option<(u32, FlowKey)>,
    /// Another core has the turn.
    is_elsewhere: bool,
    is_taken: bool,
}

impl TestKernel {
    /// A packet comes. Whether it is counted here.
    fn run(&mut self, key: &FlowKey, ends: bool) -> bool {
        let Some((number, is_over)) = self.map.get_mut(key) else { return false };
        *is_over |= ends;
        if *is_over {
            return false;
        }
        let number = *number;
        self.count(number);
        true
    }

    fn count(&mut self, number: u32) {
        let counted = self.counts.get_mut(&number).expect("it was inserted");
        counted.sides[0].packets += 1;
        counted.sides[0].bytes += 100;
        self.shunted += 1;
    }

    /// The run that was under way counts; then all that were asked for have ended.
    fn end_runs(&mut self) {
        if let Some((number, _)) = self.under_way.take() {
            self.count(number);
        }
        self.reached = self.asked;
    }
}

impl Kernel for &mut TestKernel {
    fn entries(&self) -> u32 {
        MAX_SHUNTED_FLOWS
    }

    fn try_take(&mut self) -> bool {
        assert!(!self.is_taken, "taken twice");
        self.is_taken = !self.is_elsewhere;
        self.is_taken
    }

    fn release(&mut self) {
        assert!(self.is_taken, "not taken");
        assert_eq!(self.asked, self.reached, "ended while runs may have what was removed");
        self.is_taken = false;
    }

    fn insert(&mut self, key: &FlowKey, number: u32) -> Result<()> {
        assert!(self.is_taken, "inserted out of turn");
        assert_eq!(self.asked, self.reached, "inserted while runs may have what was removed");
        assert!(self.under_way.is_none_or(|(had, _)| had != number), "a run has entry {number}");
        self.counts.insert(number, Counted::default());
        assert!(self.map.insert(*key, (number, false)).is_none(), "inserted twice");
        Ok(())
    }

    fn remove(&mut self, key: &FlowKey) -> Result<()> {
        assert!(self.is_taken, "removed out of turn");
        self.map.remove(key).expect("it was inserted");
        Ok(())
    }

    fn read(&mut self, number: u32) -> Result<Option<Counted>> {
        Ok(Some(self.counts[&number]))
    }

    fn ask(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    fn is_reached(&mut self, number: u64) -> bool {
        self.reached >= number
    }
}

#[derive(Default)]
struct TestHome {
    is_full: bool,
    packets: HashMap<FlowKey, u64>,
    brought: u64,
}

impl Home for TestHome {
    fn has_room(&self) -> bool {
        !self.is_full
    }

    fn is_elephant(&self, _: &Packet, _: u64) -> bool {
        true
    }

    fn bring_home(&mut self, key: &FlowKey, shunted: &Shunted) {
        assert!(!self.is_full, "brought home without room");
        let [there, _] = shunted.sides;
        assert_eq!(there.bytes, 100 * there.packets);
        *self.packets.entry(*key).or_default() += there.packets;
        self.brought += there.packets;
    }
}

fn packet(flow: u16, flags: u8) -> Packet {
    let end = |port| Endpoint { address: [10; 16], port };
    let (key, direction) = FlowKey::canonical(end(1), end(flow), 4, 6, PortKind::Ports, [0; 2]);
    assert_eq!(direction, Direction::Forward);
    Packet { key, tcp: TcpHeader::new(flags, 0, 0, 1), ..Packet::NONE }
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

impl Random {
    fn flow(&mut self) -> u16 {
        2 + u16::try_from(self.below(6)).expect("it is below")
    }
}

/// Packets of a few flows, some of which begin or end, between turns and ends of runs. If it is
/// rough, runs take their time, and there is not always room.
fn play(seed: u64) {
    let is_rough = seed.is_multiple_of(2);
    let mut random = Random(seed | 1);
    let clock = Clock::since(Instant::now());
    let mut kernel = TestKernel::default();
    let mut home = TestHome::default();
    // For each flow what the kernel has counted since the start, to hold its end against.
    let mut shunted: HashMap<FlowKey, u64> = HashMap::new();
    let mut now = 0;
    let mut shunt = Shunt::new(&mut kernel, 4, 0, Tunnels::Outer, false, &clock);
    for _ in 0..4_000 {
        now += random.below(SECOND_NS / 8);
        home.is_full = is_rough && random.below(8) == 0;
        shunt.kernel.is_elsewhere = is_rough && random.below(4) == 0;
        match random.below(12) {
            0 => shunt.kernel.end_runs(),
            1 => {
                // A run finds an entry, and takes its time.
                let key = packet(random.flow(), 0).key;
                if let Some(&(number, false)) = shunt.kernel.map.get(&key)
                    && is_rough
                    && shunt.kernel.under_way.is_none()
                {
                    shunt.kernel.under_way = Some((number, key));
                    *shunted.entry(key).or_default() += 1;
                }
            }
            2..6 => shunt.turn(now, now, random.below(2) == 0, &mut home, &clock).unwrap(),
            _ => {
                let ends = random.below(10) == 0;
                let packet = packet(random.flow(), if ends { FIN } else { 0 });
                if shunt.kernel.run(&packet.key, ends) {
                    *shunted.entry(packet.key).or_default() += 1;
                    continue;
                }
                shunt.before(&[packet], &mut home, &clock).unwrap();
                if ends && !is_rough {
                    let (all, at_home) = (shunted.get(&packet.key), home.packets.get(&packet.key));
                    assert_eq!(all.unwrap_or(&0), at_home.unwrap_or(&0), "before an end, {seed}");
                }
                shunt.after(&[packet], &home).unwrap();
            }
        }
        assert!(home.brought <= shunt.kernel.shunted, "seed {seed}");
    }
    shunt.kernel.end_runs();
    home.is_full = true;
    assert!(!shunt.finish(now, &mut home, &clock).unwrap() || shunt.by_key.is_empty());
    home.is_full = false;
    assert!(shunt.finish(now, &mut home, &clock).unwrap());
    assert_eq!(home.brought, shunt.kernel.shunted, "seed {seed}");
    assert_eq!(home.packets.iter().filter(|(_, n)| **n > 0).count(), shunted.len(), "seed {seed}");
    for (key, packets) in &shunted {
        assert_eq!(home.packets[key], *packets, "seed {seed}");
    }
    assert!(home.brought > 100, "seed {seed}: little was shunted");
}

#[test]
fn each_packet_comes_home_once_in_any_order() {
    for seed in 1..300 {
        play(seed);
    }
}

#[test]
fn a_flow_that_slows_down_loses_its_entry() {
    let clock = Clock::since(Instant::now());
    let mut kernel = TestKernel::default();
    let mut home = TestHome::default();
    let mut shunt = Shunt::new(&mut kernel, 4, 0, Tunnels::Outer, false, &clock);
    let packet = packet(9, 0);
    shunt.after(&[packet], &home).unwrap();
    let mut now = 0;
    for (packets, is_kept) in [(2, true), (1, true), (2, true), (1, true), (0, false)] {
        for _ in 0..packets {
            shunt.kernel.run(&packet.key, false);
        }
        // Once round, and some more turns for what follows from that.
        for _ in 0..MAX_SHUNTED_FLOWS {
            now += SECOND_NS / u64::from(MAX_SHUNTED_FLOWS);
            shunt.turn(now, now, true, &mut home, &clock).unwrap();
        }
        let has_entry = shunt.kernel.map.contains_key(&packet.key);
        if !is_kept {
            shunt.kernel.end_runs();
        }
        assert_eq!(has_entry, is_kept, "after {packets} packets");
    }
    now += SECOND_NS;
    shunt.turn(now, now, true, &mut home, &clock).unwrap();
    assert_eq!(shunt.free.len(), MAX_SHUNTED_FLOWS as usize);
    assert_eq!(home.brought, 6);
}

#[test]
fn what_may_be_a_tunnel_and_what_came_by_another_interface_comes_up() {
    let clock = Clock::since(Instant::now());
    let home = TestHome::default();
    let vxlan = |protocol, port| {
        let end = |port| Endpoint { address: [10; 16], port };
        let (key, _) =
            FlowKey::canonical(end(40_000), end(port), 4, protocol, PortKind::Ports, [0; 2]);
        Packet { key, ..Packet::NONE }
    };
    let there = Packet { interface: 1, ..vxlan(protocol::UDP, 9) };
    let inner = Tunnels::Inner(crate::decode::TunnelPorts::default());
    for (packet, tunnels, learns_names, is_shunted) in [
        (vxlan(protocol::UDP, 4_789), inner, false, false),
        (vxlan(protocol::UDP, 4_789), Tunnels::Outer, false, true),
        (vxlan(protocol::UDP, 4_789), Tunnels::Outer, true, false),
        (vxlan(protocol::UDP, 4_788), Tunnels::Outer, true, true),
        (vxlan(protocol::TCP, 4_789), inner, false, true),
        (vxlan(protocol::UDP, 4_788), inner, false, true),
        (there, inner, false, false),
    ] {
        let mut kernel = TestKernel::default();
        let mut shunt = Shunt::new(&mut kernel, 4, 0, tunnels, learns_names, &clock);
        shunt.after(&[packet], &home).unwrap();
        assert_eq!(kernel.map.contains_key(&packet.key), is_shunted, "{packet:?}, {tunnels:?}");
    }
}

#[test]
fn name_services_come_up_where_names_are_learned() {
    let clock = Clock::since(Instant::now());
    let home = TestHome::default();
    for (protocol, port, learns_names, is_shunted) in [
        (protocol::UDP, 53, true, false),
        (protocol::UDP, 5_353, true, false),
        (protocol::TCP, 53, true, false),
        (protocol::UDP, 53, false, true),
        (protocol::UDP, 54, true, true),
        (protocol::TCP, 5_353, true, true),
    ] {
        let end = |port| Endpoint { address: [10; 16], port };
        let (key, _) =
            FlowKey::canonical(end(40_000), end(port), 4, protocol, PortKind::Ports, [0; 2]);
        let packet = Packet { key, ..Packet::NONE };
        let mut kernel = TestKernel::default();
        let mut shunt = Shunt::new(&mut kernel, 4, 0, Tunnels::Outer, learns_names, &clock);
        shunt.after(&[packet], &home).unwrap();
        assert_eq!(kernel.map.contains_key(&key), is_shunted, "{protocol} {port} {learns_names}");
    }
}

//! The shunt: flows whose packets the XDP program counts by itself once they have shown enough,
//! and how these counts come home to the core table.
//!
//! [`Shunt`] belongs to the `rx` thread whose core counts the flows, one for each interface that
//! they may come by; nobody else adds or takes away an entry of theirs. It looks at each batch
//! before and after it is counted, and takes a [turn](Shunt::turn) between batches; what it does
//! of system calls in a turn is bounded.
//!
//! **Who is shunted.** Of each batch one packet is asked whether its flow has shown so many
//! packets since it was last published, about a second ago: elephants are in every batch, and
//! others are not worth an entry. A flow that then counts less than half of that per second,
//! twice in a row, loses its entry, and shows its packets again.
//!
//! **Each packet counts once.** An entry's counts only grow; what comes home is the difference
//! from what has come home before. They start from zero, in an entry that no run of the program
//! has. At the end of an entry it is taken out of the map; then all runs that may have it must
//! end, which `main` waits for and not we; only then is the last difference taken and the
//! entry free. Nothing is added between taking out and that end, by no core, as the kernel would
//! use the same memory at once: who cannot have the [turn](Kernel::try_take) does it later.
//! When the capture stops, the program is detached, and no run is left.
//!
//! **Flows begin and end as without it.** SYN, FIN and RST come up, and with the first of them
//! the program counts no more of that flow. All that it has counted came before; so it is
//! brought home before that packet is counted. (With several queues, a packet of the other
//! direction may be under way at that very moment, of which nobody knows whether it came before.
//! And where there is no room to publish, or no quiet moment to read, these counts come home when
//! the entry is let go: each counts once still, but in what then is on these ports.)
//! Idle timeouts see the kernel's last time within a second, and are
//! [longer](crate::limits::SHUNT_IDLE_NS) than an entry lives without packets. The active timeout
//! cuts at the next coming home.
//!
//! **What is not the flow's own comes up.** Where tunnels are opened, or looked into for names,
//! packets of their outer flow are of others that are inside; and a flow inside has a key that the program never makes. Where
//! names are learned, those who answer for names are never shunted: each answer is of use.
//!
//! **A removed interface** leaves the maps as they are: what was counted comes home, entries get
//! slow and are let go, and the program goes on with them if there is another in its place.
//!
//! **Accounts.** `seen = .. + shunted`, which the program counts as a verdict, and
//! `shunted = brought home`, which the table counts: at the end their difference is a residual.
//! Where there is no room to publish, counts stay in the kernel and come home later. Where there
//! is no free entry, packets come up.

use std::collections::HashMap;

use super::clock::Clock;
use crate::decode::{Packet, Tunnels};
use crate::engine::stage::Core;
use crate::error::Result;
use crate::flow::record::tcp_flags::{FIN, RST, SYN};
use crate::flow::{Direction, FlowKey, SideCounts, protocol};
use crate::names::interest::is_service;
use crate::table::Shunted;
use crate::time::{SECOND_NS, Tick};
use crate::xdp::shunt::{Counted, ShuntMaps, monotonic_ns};

/// Entries that are read in one turn, each by a system call of some 3 us: under load, and where
/// no packets wait.
const READS: [usize; 2] = [8, 64];

/// Entries that are taken out, or read for the last time, in one turn.
const REMOVALS: usize = 128;

/// How often entries are taken out, as nothing is added for a while then.
const REMOVE_NS: Tick = SECOND_NS / 2;

/// What the kernel does for the shunt.
pub(super) trait Kernel {
    /// How many entries there are; the first has the number 0.
    fn entries(&self) -> u32;
    /// Begins a turn, if nobody else is in one: to be had before anything is inserted or removed.
    fn try_take(&mut self) -> bool;
    /// Ends it.
    fn release(&mut self);
    /// See [`ShuntMaps::insert`].
    fn insert(&mut self, key: &FlowKey, number: u32) -> Result<()>;
    /// See [`ShuntMaps::remove`].
    fn remove(&mut self, key: &FlowKey) -> Result<()>;
    /// See [`ShuntMaps::read`].
    fn read(&mut self, number: u32) -> Result<Option<Counted>>;
    /// Asks for the end of all runs that are under way. What to look for then.
    fn ask(&mut self) -> u64;
    /// Whether they have ended.
    fn is_reached(&mut self, number: u64) -> bool;
}

impl Kernel for ShuntMaps {
    fn entries(&self) -> u32 {
        Self::entries(self)
    }

    fn try_take(&mut self) -> bool {
        self.quiescence().try_take()
    }

    fn release(&mut self) {
        self.quiescence().release();
    }

    fn insert(&mut self, key: &FlowKey, number: u32) -> Result<()> {
        Self::insert(self, &key.words(), number)
    }

    fn remove(&mut self, key: &FlowKey) -> Result<()> {
        Self::remove(self, &key.words())
    }

    fn read(&mut self, number: u32) -> Result<Option<Counted>> {
        Self::read(self, number)
    }

    fn ask(&mut self) -> u64 {
        self.quiescence().ask()
    }

    fn is_reached(&mut self, number: u64) -> bool {
        self.quiescence().is_reached(number)
    }
}

/// Where counts come home to.
pub(super) trait Home {
    /// Whether there is room.
    fn has_room(&self) -> bool;
    /// Whether the packet's flow has shown so many packets lately, and can be shunted.
    fn is_elephant(&self, packet: &Packet, packets: u64) -> bool;
    /// Counts. There is room.
    fn bring_home(&mut self, key: &FlowKey, shunted: &Shunted);
}

impl Home for Core<'_> {
    fn has_room(&self) -> bool {
        self.has_room_for_shunted()
    }

    fn is_elephant(&self, packet: &Packet, packets: u64) -> bool {
        self.is_elephant(packet, packets)
    }

    fn bring_home(&mut self, key: &FlowKey, shunted: &Shunted) {
        self.bring_home(key, shunted);
    }
}

/// How far an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No run of the program has it.
    Free,
    /// The program counts by it.
    Counting,
    /// The program counts by it, and it is to be taken out.
    Slow,
    /// A packet has ended it, and it is to be taken out.
    Over,
    /// It was taken out, and runs may still have it.
    Leaving,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: FlowKey,
    state: State,
    /// What has come home.
    home: Counted,
    /// Whether it had few packets last time.
    is_slow: bool,
}

/// The shunted flows of one table.
pub(super) struct Shunt<K> {
    kernel: K,
    /// Packets in about a second that make an elephant.
    packets: u64,
    /// The interface's number.
    interface: u16,
    tunnels: Tunnels,
    learns_names: bool,
    /// What the kernel's clock said at tick 0.
    origin_ns: u64,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// All that are in the map.
    by_key: HashMap<FlowKey, u32>,
    over: Vec<u32>,
    leaving: Vec<u32>,
    /// The end of runs that those who leave wait for.
    asked: Option<u64>,
    removed: Tick,
    /// The round of reading that is under way: its start, and the next to be read.
    round: (Tick, usize),
    /// Which packet of a batch is asked.
    sample: usize,
}

impl<K: Kernel> Shunt<K> {
    pub(super) fn new(
        kernel: K,
        packets: u32,
        interface: u16,
        tunnels: Tunnels,
        learns_names: bool,
        clock: &Clock,
    ) -> Self {
        let all = kernel.entries();
        let free = Entry {
            key: FlowKey::NONE,
            state: State::Free,
            home: Counted::default(),
            is_slow: false,
        };
        let entries = vec![free; all as usize];
        Self {
            kernel,
            packets: packets.into(),
            interface,
            tunnels,
            learns_names,
            origin_ns: monotonic_ns().saturating_sub(clock.tick()),
            entries,
            free: (0..all).rev().collect(),
            by_key: HashMap::with_capacity(all as usize),
            over: Vec::new(),
            leaving: Vec::new(),
            asked: None,
            removed: 0,
            round: (0, 0),
            sample: 0,
        }
    }

    /// Before a batch is counted: what the kernel has counted of flows that begin anew or end
    /// in it comes home first. Where there is no room for that, or the entry is never quiet, it
    /// comes home after the batch; no packet waits for it.
    ///
    /// # Errors
    /// If the kernel fails.
    pub(super) fn before(
        &mut self,
        packets: &[Packet],
        home: &mut impl Home,
        clock: &Clock,
    ) -> Result<()> {
        if self.by_key.is_empty() {
            return Ok(());
        }
        // The table's clock must not run ahead of any packet that is to be counted.
        let Some(cap) = packets.first().map(|packet| packet.tick) else { return Ok(()) };
        for packet in packets {
            if !packet.tcp.has(SYN | FIN | RST) {
                continue;
            }
            let Some(&number) = self.by_key.get(&packet.key) else { continue };
            let state = self.entries[number as usize].state;
            if state != State::Over {
                self.read(number, cap, home, clock)?;
                self.entries[number as usize].state = State::Over;
            }
            if state == State::Counting {
                self.over.push(number);
            }
        }
        Ok(())
    }

    /// After a batch was counted: maybe one more flow is shunted.
    ///
    /// # Errors
    /// If the kernel fails.
    pub(super) fn after(&mut self, packets: &[Packet], home: &impl Home) -> Result<()> {
        self.sample = self.sample.wrapping_add(1);
        let packet = &packets[self.sample % packets.len()];
        if self.asked.is_some()
            || packet.interface != self.interface
            || !home.is_elephant(packet, self.packets)
            || self.by_key.contains_key(&packet.key)
            || self.may_be_tunnel(&packet.key)
            || self.may_name(&packet.key)
            || self.free.is_empty()
            || !self.kernel.try_take()
        {
            return Ok(());
        }
        let number = self.free.pop().expect("just looked");
        self.entries[number as usize] = Entry {
            key: packet.key,
            state: State::Counting,
            home: Counted::default(),
            is_slow: false,
        };
        self.by_key.insert(packet.key, number);
        let done = self.kernel.insert(&packet.key, number);
        self.kernel.release();
        done
    }

    /// Whether its packets may be those of other flows inside.
    fn may_be_tunnel(&self, key: &FlowKey) -> bool {
        let is_looked_into = self.learns_names || self.tunnels != Tunnels::Outer;
        let is_udp = key.protocol() == protocol::UDP;
        is_looked_into && is_udp && self.tunnels.ports().may_be(ports(key))
    }

    /// Whether names are learned from its packets, however late they come.
    fn may_name(&self, key: &FlowKey) -> bool {
        self.learns_names && is_service(key.protocol(), ports(key))
    }

    /// What there is to do at times: reads each entry about once in a second, and lets go of
    /// those that are over. Nothing comes home as of later than `cap`, where the table's clock
    /// may stand.
    ///
    /// # Errors
    /// If the kernel fails.
    pub(super) fn turn(
        &mut self,
        now: Tick,
        cap: Tick,
        is_idle: bool,
        home: &mut impl Home,
        clock: &Clock,
    ) -> Result<()> {
        let (began, at) = self.round;
        let all = self.entries.len();
        let passed = usize::try_from((now - began).min(SECOND_NS)).unwrap_or(usize::MAX);
        let due = passed.saturating_mul(all) / 1_000_000_000;
        let mut next = at;
        let mut reads = 0;
        while next < due && reads < READS[usize::from(is_idle)] {
            if self.entries[next].state == State::Counting {
                self.visit(number_of(next), cap, home, clock)?;
                reads += 1;
            }
            next += 1;
        }
        self.round = if next == all { (now, 0) } else { (began, next) };
        self.let_go(now, cap, home, clock)
    }

    /// Takes the last counts of all entries, of which there must be no run any more. Whether
    /// there was room for all; if not, call again.
    ///
    /// # Errors
    /// If the kernel fails.
    pub(super) fn finish(
        &mut self,
        cap: Tick,
        home: &mut impl Home,
        clock: &Clock,
    ) -> Result<bool> {
        for number in 0..self.entries.len() {
            if self.entries[number].state != State::Free {
                if self.read(number_of(number), cap, home, clock)?.is_none() {
                    return Ok(false);
                }
                self.entries[number].state = State::Free;
            }
        }
        Ok(true)
    }

    /// Reads one of those that count, and ends it if that is not worth it any more.
    fn visit(&mut self, number: u32, cap: Tick, home: &mut impl Home, clock: &Clock) -> Result<()> {
        let Some(packets) = self.read(number, cap, home, clock)? else { return Ok(()) };
        let entry = &mut self.entries[number as usize];
        let was_slow = std::mem::replace(&mut entry.is_slow, packets < self.packets.div_ceil(2));
        if was_slow && entry.is_slow {
            entry.state = State::Slow;
            self.over.push(number);
        }
        Ok(())
    }

    /// Takes out entries that are over, and frees those that have left.
    fn let_go(&mut self, now: Tick, cap: Tick, home: &mut impl Home, clock: &Clock) -> Result<()> {
        if let Some(asked) = self.asked {
            if !self.kernel.is_reached(asked) {
                return Ok(());
            }
            for _ in 0..REMOVALS {
                let Some(&number) = self.leaving.last() else { break };
                if self.read(number, cap, home, clock)?.is_none() {
                    return Ok(());
                }
                self.leaving.pop();
                self.entries[number as usize].state = State::Free;
                self.free.push(number);
            }
            if self.leaving.is_empty() {
                self.asked = None;
                self.kernel.release();
                self.removed = now;
            }
            return Ok(());
        }
        let is_time = now - self.removed >= REMOVE_NS || self.free.is_empty();
        if self.over.is_empty() || !is_time || !self.kernel.try_take() {
            return Ok(());
        }
        for _ in 0..REMOVALS {
            let Some(number) = self.over.pop() else { break };
            let entry = &mut self.entries[number as usize];
            self.by_key.remove(&entry.key);
            entry.state = State::Leaving;
            self.leaving.push(number);
            self.kernel.remove(&entry.key)?;
            // All but what runs are under way for: the flow may end before these are over.
            self.read(number, cap, home, clock)?;
        }
        self.asked = Some(self.kernel.ask());
        Ok(())
    }

    /// Brings home what an entry has counted since the last time. How many packets; `None` if
    /// there is no room, or none of its moments was quiet enough.
    fn read(
        &mut self,
        number: u32,
        cap: Tick,
        home: &mut impl Home,
        clock: &Clock,
    ) -> Result<Option<u64>> {
        if !home.has_room() {
            return Ok(None);
        }
        let entry = &mut self.entries[number as usize];
        let Some(counted) = self.kernel.read(number)? else { return Ok(None) };
        let sides = [0, 1].map(|idx| since(&counted.sides[idx], &entry.home.sides[idx]));
        if sides == [SideCounts::default(); 2] {
            return Ok(Some(0));
        }
        entry.home = counted;
        let tick = counted.last_ns.saturating_sub(self.origin_ns);
        let last = clock.wall(tick);
        // The table's clock does not go back.
        let last_tick = tick.min(cap);
        let shunted = Shunted { sides, last_tick, last, interface: self.interface };
        home.bring_home(&entry.key, &shunted);
        Ok(Some(sides[0].packets + sides[1].packets))
    }
}

/// Both ports of the flow's key.
fn ports(key: &FlowKey) -> [u16; 2] {
    [Direction::Forward, Direction::Reverse].map(|way| key.source_port(way).unwrap_or_default())
}

fn number_of(idx: usize) -> u32 {
    u32::try_from(idx).expect("there are few entries")
}

/// What was counted between two looks. Flags are those of all packets before.
fn since(now: &SideCounts, then: &SideCounts) -> SideCounts {
    let packets = now.packets - then.packets;
    SideCounts {
        packets,
        bytes: now.bytes - then.bytes,
        frame_bytes: now.frame_bytes - then.frame_bytes,
        payload_bytes: now.payload_bytes - then.payload_bytes,
        tcp_flags: if packets > 0 { now.tcp_flags } else { 0 },
        ..SideCounts::EMPTY
    }
}

#[cfg(test)]
mod tests;

//! The shunt: packets of flows that have shown enough are counted here and go no further up.
//!
//! Which flows, says the engine (`engine/src/xdp/shunt.rs`), by an entry of the map `SHUNTED`.
//! Only a packet that the engine would read in a straight line is looked at: Ethernet, up to two
//! VLAN tags, IPv4 without options or IPv6 without extension headers, TCP or UDP, lengths that
//! make sense, no fragment. It has the engine's own key, so that what is counted here and
//! there is one flow. Everything else comes up as if there were no shunt, as do SYN, FIN and
//! RST; and what comes behind those of the same flow, since from then on the order of packets
//! matters: the entry is over.
//!
//! Counts only grow, and say whether they are whole. The engine reads differences, and sets them
//! to zero where no run has them.

use core::sync::atomic::{Ordering, compiler_fence};

use aya_ebpf::{
    helpers::{bpf_ktime_get_ns, generated::bpf_xdp_get_buff_len},
    macros::map,
    maps::{HashMap, PerCpuArray},
    programs::XdpContext,
};

use crate::{
    parse::{Rest, be16, is_vlan},
    shared::{SHUNTED_FLOWS, ShuntCounts, ShuntEntry, ShuntKey, shunt_count, shunt_entry},
};

/// VLAN tags that a key holds.
const KEY_VLANS: usize = 2;
/// Protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
/// FIN, SYN and RST of TCP's flag byte.
const BEGINS_OR_ENDS: u8 = 0b0111;
/// The engine's mark of a key that has ports.
const HAS_PORTS: u64 = 1;

/// Which flows, and the number of each one's counts.
#[map]
static SHUNTED: HashMap<ShuntKey, ShuntEntry> = HashMap::with_max_entries(SHUNTED_FLOWS, 0);

/// What this CPU has counted, by the flow's number.
#[map]
static SHUNT_COUNTS: PerCpuArray<ShuntCounts> = PerCpuArray::with_max_entries(SHUNTED_FLOWS, 0);

/// What is counted of a packet. See `parse::Packet` for why nothing is optional.
struct Packet {
    key: ShuntKey,
    /// 0 from the lower end to the higher one, else 1.
    direction: usize,
    ip_bytes: u64,
    payload_bytes: u64,
    tcp_flags: u8,
}

/// Whether the packet is one of a shunted flow, and was counted.
#[inline(always)]
pub(crate) fn is_counted(frame: &XdpContext) -> bool {
    let mut packet =
        Packet { key: [0; 6], direction: 0, ip_bytes: 0, payload_bytes: 0, tcp_flags: 0 };
    let mut rest = Rest::of(frame);
    if read(&mut rest, &mut packet).is_none() {
        return false;
    }
    let Some(entry) = SHUNTED.get_ptr_mut(&packet.key) else { return false };
    // SAFETY: the map's values are as long and aligned, and stay while the program runs. Other
    // CPUs may write the same word of it, always to the same value.
    let entry = unsafe { &mut *entry };
    if packet.tcp_flags & BEGINS_OR_ENDS != 0 {
        entry[shunt_entry::IS_OVER] = 1;
        return false;
    }
    entry[shunt_entry::IS_OVER] == 0 && count(frame, &packet, entry[shunt_entry::NUMBER])
}

#[inline(always)]
fn count(frame: &XdpContext, packet: &Packet, number: u32) -> bool {
    let Some(counts) = SHUNT_COUNTS.get_ptr_mut(number) else { return false };
    // SAFETY: as of the verdicts in `main.rs`.
    let counts = unsafe { &mut *counts };
    // SAFETY: a call of the kernel with the context that it gave us.
    let frame_bytes = unsafe { bpf_xdp_get_buff_len(frame.ctx) };
    // The kernel copies values word by word from the first to the last, also while we write.
    counts[shunt_count::BEGUN] += 1;
    compiler_fence(Ordering::SeqCst);
    // SAFETY: a call of the kernel without arguments.
    counts[shunt_count::LAST_NS] = unsafe { bpf_ktime_get_ns() };
    let flags = (packet.tcp_flags as u64) << (8 * packet.direction);
    counts[shunt_count::TCP_FLAGS] |= flags;
    let side = if packet.direction == 0 { shunt_count::FORWARD } else { shunt_count::REVERSE };
    counts[side + shunt_count::PACKETS] += 1;
    counts[side + shunt_count::IP_BYTES] += packet.ip_bytes;
    counts[side + shunt_count::FRAME_BYTES] += frame_bytes;
    counts[side + shunt_count::PAYLOAD_BYTES] += packet.payload_bytes;
    compiler_fence(Ordering::SeqCst);
    counts[shunt_count::DONE] += 1;
    true
}

/// Reads a frame; `None` for all that the engine shall see.
#[inline(always)]
fn read(rest: &mut Rest, packet: &mut Packet) -> Option<()> {
    let header: [u8; 14] = rest.take()?;
    let mut kind = be16(header[12], header[13]);
    // As `decode::link` does: a tag without an identifier counts for nothing.
    let mut vlans = [0; KEY_VLANS];
    for _ in 0..KEY_VLANS {
        if !is_vlan(kind) {
            break;
        }
        let tag: [u8; 4] = rest.take()?;
        let vlan = (be16(tag[0], tag[1]) & 0x0fff) as u64;
        if vlans[0] == 0 {
            vlans[0] = vlan;
        } else {
            vlans[1] = vlan;
        }
        kind = be16(tag[2], tag[3]);
    }
    packet.key[4] = vlans[0] << 16 | vlans[1];
    match kind {
        0x0800 => ipv4(rest, packet),
        0x86dd => ipv6(rest, packet),
        _ => None,
    }
}

#[inline(always)]
fn ipv4(rest: &mut Rest, packet: &mut Packet) -> Option<()> {
    let header: [u8; 20] = rest.take()?;
    // No options; neither an offset nor more fragments.
    if header[0] != 0x45 || (header[6] & 0x3f) | header[7] != 0 {
        return None;
    }
    let address = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as u64
    };
    let total = be16(header[2], header[3]) as u64;
    packet.ip_bytes = total;
    let ports = transport(rest, packet, header[9], total.checked_sub(20)?)?;
    write_key(packet, [address(12), 0], [address(16), 0], ports, header[9], 4);
    Some(())
}

#[inline(always)]
fn ipv6(rest: &mut Rest, packet: &mut Packet) -> Option<()> {
    let header: [u8; 40] = rest.take()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let half = |at: usize| {
        let mut bytes = [0; 8];
        let mut idx = 0;
        while idx < 8 {
            bytes[idx] = header[at + idx];
            idx += 1;
        }
        u64::from_le_bytes(bytes)
    };
    let above_ip = be16(header[4], header[5]) as u64;
    packet.ip_bytes = 40 + above_ip;
    let ports = transport(rest, packet, header[6], above_ip)?;
    write_key(packet, [half(8), half(16)], [half(24), half(32)], ports, header[6], 6);
    Some(())
}

/// The ports, if the IP length leaves room for the header, which must be there.
#[inline(always)]
fn transport(rest: &mut Rest, packet: &mut Packet, protocol: u8, above: u64) -> Option<[u16; 2]> {
    if protocol == TCP {
        let header: [u8; 20] = rest.take()?;
        if above < 20 {
            return None;
        }
        packet.payload_bytes = above.saturating_sub((header[12] >> 4) as u64 * 4);
        packet.tcp_flags = header[13];
        return Some([be16(header[0], header[1]), be16(header[2], header[3])]);
    }
    if protocol != UDP {
        return None;
    }
    let header: [u8; 8] = rest.take()?;
    packet.payload_bytes = above.checked_sub(8)?;
    Some([be16(header[0], header[1]), be16(header[2], header[3])])
}

/// The engine's `FlowKey::canonical`, whose tags are there already.
#[inline(always)]
fn write_key(
    packet: &mut Packet,
    from: [u64; 2],
    to: [u64; 2],
    ports: [u16; 2],
    protocol: u8,
    version: u64,
) {
    let [source, destination] = [ports[0] as u64, ports[1] as u64];
    let is_forward = if from[1] != to[1] {
        from[1] < to[1]
    } else if from[0] != to[0] {
        from[0] < to[0]
    } else {
        source <= destination
    };
    let key = &mut packet.key;
    if is_forward {
        [key[0], key[1], key[2], key[3]] = [from[0], from[1], to[0], to[1]];
        key[4] |= source << 48 | destination << 32;
    } else {
        [key[0], key[1], key[2], key[3]] = [to[0], to[1], from[0], from[1]];
        key[4] |= destination << 48 | source << 32;
        packet.direction = 1;
    }
    key[5] = (protocol as u64) << 16 | version << 8 | HAS_PORTS;
}

//! Sampling: one in so many of what the filter keeps.
//!
//! By flow: by a hash of addresses, protocol and ports that does not tell the directions apart,
//! so that a flow is kept whole or not at all. Tags and MPLS labels do not count, which puts more
//! into one lot and tears nothing apart; nor does it that what is in a tunnel is drawn by the
//! tunnel's two ends, and what is not read as IP (MACsec, ARP) by its two stations. But later
//! fragments, which have no ports, are drawn by their addresses and may go another way than their
//! flow. By packet: each n-th that this CPU sees.

use aya_ebpf::{macros::map, maps::PerCpuArray};

use crate::{
    hash::{flow_hash, is_kept as is_hash_kept},
    parse::Packet,
    shared::{Control, TUNNELS},
};

/// One entry: how many packets this CPU has left out since it kept one.
#[map]
static LEFT_OUT: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// Whether the packet is kept, where not all are.
#[inline(always)]
pub(crate) fn is_kept(packet: &Packet, control: Control) -> bool {
    if control.is_by_packet() {
        is_packet_kept(control.every())
    } else {
        is_hash_kept(hash(packet), control.every())
    }
}

#[inline(always)]
fn is_packet_kept(every: u32) -> bool {
    // There is an entry 0.
    let Some(left_out) = LEFT_OUT.get_ptr_mut(0) else { return true };
    // SAFETY: as of the verdicts in `main.rs`.
    let left_out = unsafe { &mut *left_out };
    *left_out += 1;
    if *left_out < every {
        return false;
    }
    *left_out = 0;
    true
}

/// UDP ports of tunnels: the engine says which before the program is loaded. Each end of such a
/// tunnel sends from ports of its own choice, so that a flow inside has others each way, and in
/// time.
#[unsafe(no_mangle)]
static TUNNEL_PORTS: [u16; TUNNELS] = [0; TUNNELS];

#[inline(always)]
fn is_in_tunnel(packet: &Packet) -> bool {
    const UDP: u8 = 17;
    let mut is_tunnel = false;
    for idx in 0..TUNNELS {
        // SAFETY: a static that is initialised. Volatile, as it is not what it is at compile time.
        let port = unsafe { (&raw const TUNNEL_PORTS[idx]).read_volatile() };
        is_tunnel |= packet.source_port == port || packet.destination_port == port;
    }
    packet.protocol == UDP && is_tunnel
}

#[inline(always)]
fn hash(packet: &Packet) -> u32 {
    let ports = match is_in_tunnel(packet) {
        true => (0, 0),
        false => (packet.source_port, packet.destination_port),
    };
    let protocol = packet.protocol;
    match packet.version {
        4 => flow_hash([packet.source[0]], ports.0, [packet.destination[0]], ports.1, protocol),
        6 => flow_hash(packet.source, ports.0, packet.destination, ports.1, protocol),
        // Without IP: by the stations.
        _ => flow_hash([packet.link[0]], 0, [packet.link[1]], 0, 0),
    }
}

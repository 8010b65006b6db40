//! Facts as plain data: what the kernel said, without an opinion. `None` where it says nothing.

use serde::{Deserialize, Serialize};

use crate::host::usage::Use;

/// This machine, and some of its interfaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// What all interfaces share.
    pub machine: Machine,
    /// What was asked for, in that order.
    pub interfaces: Vec<Interface>,
}

/// The machine, and what this process may do on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The kernel's release: `6.12.5-amd64`.
    pub kernel: String,
    /// Whether the kernel describes its own types.
    pub has_btf: bool,
    /// `net.core.bpf_jit_enable`.
    pub bpf_jit: Option<u32>,
    /// Capabilities in effect, by name: `CAP_NET_RAW`.
    pub capabilities: Vec<String>,
    /// The most memory that the process may lock, in bytes; `None` without a limit.
    pub memlock_bytes: Option<u64>,
    /// Huge pages in all and those that are free, of the default size.
    pub huge_pages: [u64; 2],
    /// Processors that the process may run on.
    pub processors: u32,
    /// The NUMA nodes that these belong to.
    pub numa_nodes: Vec<u32>,
}

impl Machine {
    /// The kernel's version: major and minor number.
    pub fn version(&self) -> (u32, u32) {
        let mut numbers = self.kernel.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its driver, or the kind of a virtual one.
    pub driver: Option<String>,
    /// Whether it is administratively up.
    pub is_up: bool,
    /// Whether something is at the other end.
    pub has_carrier: bool,
    /// Its speed.
    pub speed_mbps: Option<u32>,
    /// The longest packet, without the Ethernet header, in bytes.
    pub mtu: u32,
    /// The NUMA node that it is attached to, where there are several.
    pub numa_node: Option<u32>,
    /// What its driver can do with XDP (Linux 6.3).
    pub xdp: Option<Xdp>,
    /// XDP programs that are attached.
    pub programs: Vec<Program>,
    /// How many have asked it for every packet on the line; `None` of a virtual one.
    pub promiscuity: Option<u32>,
    /// Its queues.
    pub channels: Option<Channels>,
    /// The length of its receive rings, now and at most.
    pub rx_ring: Option<[u32; 2]>,
    /// How packets come to queues.
    pub rss: Option<Rss>,
    /// Offloads that are on, by their names in the kernel: `rx-gro`.
    pub offloads: Vec<String>,
    /// What it stands on, the nearest first: the ports of a bridge or a bond, a VLAN's device.
    pub below: Vec<Lower>,
    /// What the host uses it for.
    pub uses: Vec<Use>,
    /// What it was set to before a capture with `--tune` that was killed, as far as this process
    /// may know.
    pub left_tuned: Vec<String>,
}

/// An interface that another one stands on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lower {
    /// Its name.
    pub name: String,
    /// Offloads that are on, by their names in the kernel.
    pub offloads: Vec<String>,
}

/// What the family `netdev` says of a driver: `NETDEV_XDP_ACT_*` of linux/netdev.h.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Xdp {
    /// It runs programs before it makes a packet of a frame.
    pub native: bool,
    /// Its programs can send frames to AF_XDP sockets.
    pub redirect: bool,
    /// The device writes to the socket's memory by itself.
    pub zero_copy: bool,
    /// Its programs take frames of several buffers.
    pub multi_buffer: bool,
    /// Buffers of one frame, with zero-copy.
    pub zero_copy_segments: Option<u32>,
}

/// A program that is attached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// The program's number: `bpftool prog show id 7`.
    pub id: u32,
    /// Where: `native`, `generic` or `offloaded`.
    pub mode: String,
}

/// Queues: those in use, and how many there could be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Channels {
    /// For receiving only.
    pub rx: u32,
    /// The most of these.
    pub rx_max: u32,
    /// For both directions.
    pub combined: u32,
    /// The most of these.
    pub combined_max: u32,
}

impl Channels {
    /// Queues that receive. A driver has combined channels, or those for receiving, or both.
    pub fn receiving(&self) -> u32 {
        self.rx.saturating_add(self.combined)
    }

    /// The most queues that could receive.
    pub fn receiving_max(&self) -> u32 {
        self.rx_max.max(self.combined_max)
    }

    /// As `ethtool -L` names them.
    pub fn name(&self) -> &'static str {
        if self.combined_max > 0 { "combined" } else { "rx" }
    }
}

/// Receive side scaling.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rss {
    /// The hash's key.
    pub key: Vec<u8>,
    /// Queues that the indirection table names.
    pub queues: u32,
    /// `symmetric-xor` or `symmetric-or-xor`, if the input is made so (Linux 6.8).
    pub transform: Option<String>,
}

impl Rss {
    /// Whether both directions of a flow come to one queue: the input is made the same, or the
    /// key is one pattern of 16 bits all along, which makes the hash the same (Woo and Park,
    /// "Scalable TCP Session Monitoring with Symmetric Receive-side Scaling", KAIST 2012).
    pub fn is_symmetric(&self) -> bool {
        self.transform.is_some()
            || (self.key.len() >= 4
                && self.key.windows(3).all(|bytes| bytes[0] == bytes[2])
                && self.key.iter().any(|&byte| byte != 0))
    }
}

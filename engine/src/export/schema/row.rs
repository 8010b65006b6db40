//! What a row of the schema is: a record, and what its fields hold.

use std::net::IpAddr;

use crate::export::devices::shown_mac;
use crate::flow::{
    Direction, Encapsulation, Encapsulations, EndReason, Features, FlowRecord, MplsLabels,
    RecordKind, Sampling, SideCounts, TcpState, Tunnel, protocol,
};
use crate::limits::RECORD_VLANS;
use crate::names::Labels;
use crate::names::apps::by_ports;
use crate::names::labels::BestName;
use crate::table::prefix_bytes;
use crate::time::Timestamp;

/// A record with what it takes to show it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The record.
    pub record: &'a FlowRecord,
    /// What another run has given it as its identifier, if it is not to be made anew.
    pub flow_id: Option<u64>,
    /// Its statistics, in the extended set.
    pub features: Option<&'a Features>,
    /// What is known of its flow beside what was counted.
    pub labels: Option<&'a Labels>,
    /// Names of the interfaces or files of this run.
    pub interfaces: &'a [String],
    /// Their numbers in the network namespace (ifIndex), in a capture.
    pub interface_indexes: &'a [u32],
    /// What carried packets of this run.
    pub encapsulations: Option<&'a Encapsulations>,
    /// How much of the traffic they are of.
    pub sampling: Sampling,
}

/// A local host at one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowDevice<'a> {
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Who has made it.
    pub vendor: Option<&'a str>,
    /// What it is called.
    pub hostname: Option<&'a str>,
    /// Where the host name is from, or else how it is known that the address is the device's.
    pub source: &'a str,
}

impl RowDevice<'_> {
    /// All in one text: MAC address, vendor, host name and source with semicolons, absent ones
    /// empty; a semicolon in one of them stands as `\u{3b}`.
    pub(crate) fn in_one(&self) -> String {
        let part = |text: Option<&str>| text.unwrap_or_default().replace(';', "\\u{3b}");
        let (mac, vendor, hostname) = (shown_mac(self.mac), part(self.vendor), part(self.hostname));
        format!("{mac};{vendor};{hostname};{}", self.source)
    }
}

/// The innermost tunnel that a flow's packets were in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowTunnel {
    /// What it is, and its identifier.
    pub tunnel: Tunnel,
    /// Source and destination of the outer header of what the initiator sent.
    pub ends: Option<[IpAddr; 2]>,
}

/// The initiator's or the responder's side of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The initiator.
    Src,
    /// The responder.
    Dst,
}

impl<'a> Row<'a> {
    pub(super) fn is_flow(&self) -> bool {
        self.record.kind == RecordKind::Flow
    }

    pub(crate) fn flow_id(&self) -> u64 {
        self.flow_id.unwrap_or_else(|| self.record.flow_id())
    }

    /// The direction of the packets that `side` sent.
    pub(super) fn direction(&self, side: Side) -> Direction {
        match side {
            Side::Src => self.record.initiator(),
            Side::Dst => self.record.initiator().opposite(),
        }
    }

    pub(crate) fn side(&self, side: Side) -> &'a SideCounts {
        &self.record.total.sides[self.direction(side).idx()]
    }

    pub(crate) fn address(&self, side: Side) -> IpAddr {
        self.record.key.source_ip(self.direction(side))
    }

    pub(crate) fn port(&self, side: Side) -> Option<u16> {
        self.record.key.source_port(self.direction(side))
    }

    /// First and last packet's time, if any packet had one.
    pub(crate) fn times(&self) -> Option<(Timestamp, Timestamp)> {
        let total = &self.record.total;
        (total.first <= total.last).then_some((total.first, total.last))
    }

    pub(crate) fn interface(&self) -> Option<&'a str> {
        let interface = self.record.opening()?.interface;
        self.interfaces.get(usize::from(interface)).map(String::as_str)
    }

    /// The number of the interface, where it is known.
    pub(crate) fn interface_index(&self) -> Option<u32> {
        let interface = self.record.opening()?.interface;
        self.interface_indexes.get(usize::from(interface)).copied()
    }

    pub(crate) fn icmp(&self) -> Option<(u8, u8)> {
        self.record.opening()?.icmp
    }

    /// Bits of `dst_ip` that count, for overflow aggregates.
    pub(crate) fn prefix_length(&self) -> Option<u64> {
        if self.is_flow() {
            return None;
        }
        let address = self.address(Side::Dst);
        // What found no room among the aggregates has no destination in common.
        let is_any = self.record.key.protocol() == 0 && address.is_unspecified();
        Some(if is_any { 0 } else { prefix_bytes(self.record.key.ip_version()) as u64 * 8 })
    }

    pub(crate) fn mac(&self, side: Side) -> Option<[u8; 6]> {
        let opening = self.record.opening()?;
        // The addresses are those of the first packet, which the responder may have sent.
        let sender = opening.first_packet == self.direction(side);
        opening.macs[usize::from(!sender)]
    }

    /// What carried the first packet, if there was room to keep it.
    pub(crate) fn encapsulation(&self) -> Option<Encapsulation> {
        self.encapsulations?.get(self.record.opening()?.encapsulation?)
    }

    /// The first packet's labels, if it had any.
    pub(crate) fn mpls(&self) -> Option<MplsLabels> {
        self.encapsulation().map(|all| all.labels).filter(|labels| !labels.is_empty())
    }

    /// The ends are those of the first packet, which the responder may have sent: then an
    /// identifier that is not the key's is of the other direction, and is left out.
    pub(crate) fn tunnel(&self, encapsulation: Option<Encapsulation>) -> Option<RowTunnel> {
        let mut tunnel = self.record.key.tunnel()?;
        let Some(Encapsulation { mut ends, id, .. }) = encapsulation else {
            return Some(RowTunnel { tunnel, ends: None });
        };
        if self.record.opening()?.first_packet == self.direction(Side::Src) {
            tunnel.id = tunnel.id.or(id);
        } else {
            ends.iter_mut().for_each(|ends| ends.reverse());
        }
        Some(RowTunnel { tunnel, ends })
    }

    /// The responder's best name.
    pub(crate) fn name(&self) -> Option<BestName<'a>> {
        self.labels.and_then(Labels::best_name)
    }

    /// What the flow speaks, and how that is known: by what was seen in it, or by its ports.
    pub(crate) fn app(&self) -> Option<(&'static str, &'static str)> {
        if let Some(app) = self.labels.and_then(Labels::app) {
            return Some((app.name(), "payload"));
        }
        let ports = [self.port(Side::Src)?, self.port(Side::Dst)?];
        let app = by_ports(self.record.key.protocol(), ports).filter(|_| self.is_flow())?;
        Some((app, "port"))
    }

    /// The local host at one end.
    pub(crate) fn device(&self, side: Side) -> Option<RowDevice<'a>> {
        let [src, dst] = &self.labels?.devices;
        let device = if side == Side::Src { src } else { dst }.as_ref()?;
        Some(RowDevice {
            mac: device.mac,
            vendor: device.vendor(),
            hostname: device.hostname(),
            source: device.source(),
        })
    }

    /// The third tag is the first packet's.
    pub(super) fn vlans(
        &self,
        encapsulation: Option<Encapsulation>,
    ) -> Option<[u16; RECORD_VLANS]> {
        let [outer, inner] = self.record.key.vlan();
        let vlans = [outer, inner, encapsulation.map_or(0, |all| all.third_vlan)];
        (vlans != [0; RECORD_VLANS]).then_some(vlans)
    }

    pub(super) fn tcp_flags(&self, side: Side) -> Option<u64> {
        (self.record.key.protocol() == protocol::TCP).then(|| self.side(side).tcp_flags.into())
    }

    /// A step of the handshake, in ns.
    pub(crate) fn round_trip(&self, step: usize) -> Option<u64> {
        self.record.total.handshake[step].ns().map(u64::from)
    }

    /// A count of segments. An aggregate does not look at sequences.
    pub(super) fn segments(&self, count: u32) -> Option<u64> {
        let is_looked_at = self.is_flow() && self.record.key.protocol() == protocol::TCP;
        is_looked_at.then_some(count.into())
    }

    /// Of the flow's first packet from `side`, if that has sent any in this record.
    pub(crate) fn dscp(&self, side: Side) -> Option<u8> {
        let side = self.side(side);
        (side.packets > 0 && side.dscp != SideCounts::NO_DSCP).then_some(side.dscp)
    }

    pub(crate) fn tcp_state(&self) -> Option<&'static str> {
        let state = self.is_flow().then(|| self.record.tcp_state())??;
        Some(match state {
            TcpState::Established => "established",
            TcpState::HalfOpen => "half_open",
            TcpState::Closed => "closed",
            TcpState::Reset => "reset",
            TcpState::Midstream => "midstream",
        })
    }

    pub(crate) fn end_reason(&self) -> Option<&'static str> {
        Some(match self.record.total.end? {
            EndReason::Idle => "idle",
            EndReason::Active => "active",
            EndReason::EndDetected => "end",
            EndReason::Forced => "forced",
            EndReason::Resources => "resources",
        })
    }

    /// Where not everything is kept.
    pub(crate) fn sampling(&self) -> Option<Sampling> {
        self.sampling.is_some().then_some(self.sampling)
    }

    pub(super) fn community_id(&self) -> Option<String> {
        if !self.is_flow() {
            return None;
        }
        let key = &self.record.key;
        let opening = self.record.opening()?;
        // ICMP's type and code stand in for ports, in the way that the first packet went.
        let first = opening.first_packet;
        let (from, ports) = match self.icmp() {
            Some((kind, code)) => (first, [Some(kind.into()), Some(code.into())]),
            None => {
                let from = self.direction(Side::Src);
                (from, [from, from.opposite()].map(|from| key.source_port(from)))
            }
        };
        let ends = [from, from.opposite()].map(|from| key.source_ip(from));
        community_id(ends, ports, key.protocol())
    }
}

/// Community ID version 1, seed 0 (<https://github.com/corelight/community-id-spec>), of two ends
/// in either order; of ICMP type and code stand for ports, and the first end has sent them.
pub(crate) fn community_id(
    [from, to]: [IpAddr; 2],
    [port, to_port]: [Option<u16>; 2],
    protocol: u8,
) -> Option<String> {
    community_id::calculate_community_id(0, from, to, port, to_port, protocol, false).ok()
}

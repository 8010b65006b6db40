//! A record of the engine made of one that was read back, for the format that is written from
//! those: IPFIX. What was not known is 0 there, and what it has no element for is not looked at.

mod labels;

use std::net::{IpAddr, Ipv4Addr};

use crate::export::Rows;
use crate::export::values::{InSet, Value, Values};
use crate::flow::{
    Delta, Direction, Encapsulation, Encapsulations, EndReason, Endpoint, FlowKey, FlowRecord,
    Opening, PortKind, RecordKind, RoundTrip, Sampling, SamplingUnit, SideCounts, TcpEvents,
    Tunnel,
};
use crate::limits::RECORD_VLANS;
use crate::names::Labels;
use crate::time::Timestamp;

/// Gives the records as the engine's, those that follow each other and are sampled alike together.
pub(super) fn rebuilt(records: &[InSet<'_>], mut give: impl FnMut(&Rows<'_>)) {
    let mut run = Run::default();
    let all: Vec<_> = records.iter().map(|record| run.rebuild(record.record)).collect();
    for alike in all.chunk_by(|one, other| one.sampling == other.sampling) {
        let ids: Vec<_> = alike.iter().map(|one| one.flow_id).collect();
        let records: Vec<_> = alike.iter().map(|one| one.record).collect();
        let labels = (0..).zip(alike).filter_map(|(place, one)| Some((place, one.labels.clone()?)));
        give(&Rows {
            records: &records,
            flow_ids: Some(&ids),
            features: None,
            labels: &labels.collect::<Vec<_>>(),
            transactions: &[],
            intervals: &[],
            interfaces: &run.interfaces,
            interface_indexes: &[],
            encapsulations: Some(&run.encapsulations),
            sampling: alike[0].sampling,
        });
    }
}

/// What a run's records have in lists.
#[derive(Default)]
struct Run {
    encapsulations: Encapsulations,
    interfaces: Vec<String>,
}

struct Rebuilt {
    record: FlowRecord,
    /// Another than the record's own, if it had one.
    flow_id: Option<u64>,
    labels: Option<Labels>,
    sampling: Sampling,
}

impl Run {
    fn rebuild(&mut self, from: &Values) -> Rebuilt {
        let flow_id = match from.get("flow_id") {
            Value::Word(id) => Some(*id),
            _ => None,
        };
        Rebuilt {
            record: self.record(from),
            flow_id,
            labels: labels::labels(from),
            sampling: sampling(from),
        }
    }

    fn interface(&mut self, from: &Values) -> u16 {
        // None has the last number: a batch has fewer records.
        let Some(name) = from.text("interface") else { return u16::MAX };
        let known = self.interfaces.iter().position(|known| known == name);
        let place = known.unwrap_or_else(|| {
            self.interfaces.push(name.to_owned());
            self.interfaces.len() - 1
        });
        u16::try_from(place).unwrap_or(u16::MAX)
    }

    fn record(&mut self, from: &Values) -> FlowRecord {
        let [src, dst] = ["src_", "dst_"].map(|side| endpoint(from, side));
        let version = if src.1 || dst.1 { 6 } else { 4 };
        let protocol = byte(from, "protocol").unwrap_or(0);
        let kind = match from.number("src_port") {
            Some(_) => PortKind::Ports,
            None => PortKind::None,
        };
        let [outer, inner, _] = vlans(from);
        let (mut key, way) =
            FlowKey::canonical(src.0, dst.0, version, protocol, kind, [outer, inner]);
        if let Value::Tunnel(tunnel) = from.get("tunnel") {
            key = key.in_tunnel(Tunnel::of(tunnel.tunnel.kind));
        }
        let mut total = Delta::EMPTY;
        total.sides[way.idx()] = side(from, "src_");
        total.sides[way.opposite().idx()] = side(from, "dst_");
        if let (Value::Time(start), Value::Time(end)) = (from.get("start"), from.get("end")) {
            (total.first, total.last) = (*start, *end);
        }
        total.part = from.number("part").and_then(|part| part.try_into().ok()).unwrap_or(0);
        total.end = end_reason(from.text("end_reason"));
        total.handshake = ["rtt_server_ns", "rtt_client_ns"]
            .map(|name| from.number(name).map_or(RoundTrip::UNKNOWN, RoundTrip::measured));
        // Where no state is given, it is what flags say.
        match from.text("tcp_state") {
            Some("closed") => total.tcp.insert(TcpEvents::CLOSED),
            Some("reset") => total.tcp.insert(TcpEvents::RESET),
            Some("half_open") => total.tcp.insert(TcpEvents::OPENED),
            Some("established") => {
                total.tcp.insert(TcpEvents::OPENED);
                total.tcp.insert(TcpEvents::ESTABLISHED);
            }
            _ => {}
        }
        total.opening = Some(self.opening(from, way, total.first));
        let is_overflow = from.text("kind") == Some("overflow");
        let kind = if is_overflow { RecordKind::Overflow } else { RecordKind::Flow };
        FlowRecord { kind, ..FlowRecord::flow(key, total) }
    }

    fn opening(&mut self, from: &Values, way: Direction, start: Timestamp) -> Opening {
        let mac = |name: &str| match from.get(name) {
            Value::Mac(mac) => Some(*mac),
            _ => None,
        };
        Opening {
            flow_start: Some(start),
            ordinal: 0,
            initiator: way,
            macs: [mac("src_mac"), mac("dst_mac")],
            first_packet: way,
            icmp: byte(from, "icmp_type").zip(byte(from, "icmp_code")),
            interface: self.interface(from),
            encapsulation: Some(encapsulation(from))
                .filter(|all| !all.is_empty())
                .and_then(|all| self.encapsulations.number(&all)),
        }
    }
}

/// VLAN tags, outermost first.
fn vlans(from: &Values) -> [u16; RECORD_VLANS] {
    match from.get("vlan") {
        Value::Vlans(vlans) => *vlans,
        _ => [0; RECORD_VLANS],
    }
}

/// What carried the packets, with the tunnel's identifier.
fn encapsulation(from: &Values) -> Encapsulation {
    let labels = match from.get("mpls") {
        Value::Mpls(labels) => *labels,
        _ => Default::default(),
    };
    let [.., third_vlan] = vlans(from);
    let (ends, id) = match from.get("tunnel") {
        Value::Tunnel(tunnel) => (tunnel.ends, tunnel.tunnel.id),
        _ => (None, None),
    };
    Encapsulation { ends, id, labels, third_vlan }
}

/// The end, and whether its address is one of IPv6.
fn endpoint(record: &Values, side: &str) -> (Endpoint, bool) {
    let ip = match record.get(&format!("{side}ip")) {
        Value::Address(ip) => *ip,
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let mut address = [0; 16];
    match ip {
        IpAddr::V4(ip) => address[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => address = ip.octets(),
    }
    let port = record.number(&format!("{side}port"));
    let port = port.and_then(|port| port.try_into().ok()).unwrap_or(0);
    (Endpoint { address, port }, ip.is_ipv6())
}

fn byte(record: &Values, name: &str) -> Option<u8> {
    record.number(name)?.try_into().ok()
}

fn side(record: &Values, side: &str) -> SideCounts {
    let count = |name: &str| record.number(&format!("{side}{name}")).unwrap_or(0);
    let byte = |name: &str| byte(record, &format!("{side}{name}"));
    let segments = |name: &str| u32::try_from(count(name)).unwrap_or(u32::MAX);
    SideCounts {
        packets: count("packets"),
        bytes: count("bytes"),
        frame_bytes: count("frame_bytes"),
        payload_bytes: count("payload_bytes"),
        tcp_flags: byte("tcp_flags").unwrap_or(0),
        ttl_min: byte("ttl_min").unwrap_or(SideCounts::EMPTY.ttl_min),
        ttl_max: byte("ttl_max").unwrap_or(SideCounts::EMPTY.ttl_max),
        dscp: byte("dscp").unwrap_or(SideCounts::NO_DSCP),
        fragments: count("fragments"),
        retransmits: segments("retransmits"),
        out_of_order: segments("out_of_order"),
        zero_windows: segments("zero_windows"),
    }
}

fn end_reason(name: Option<&str>) -> Option<EndReason> {
    Some(match name? {
        "idle" => EndReason::Idle,
        "active" => EndReason::Active,
        "end" => EndReason::EndDetected,
        "forced" => EndReason::Forced,
        "resources" => EndReason::Resources,
        _ => return None,
    })
}

fn sampling(record: &Values) -> Sampling {
    let unit = match record.text("sampling_unit") {
        Some("packet") => SamplingUnit::Packet,
        _ => SamplingUnit::Flow,
    };
    let every = record.number("sampling").and_then(|every| every.try_into().ok());
    every.and_then(|every| Sampling::one_in(every, unit)).unwrap_or(Sampling::ALL)
}

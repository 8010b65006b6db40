//! A record of the engine made of one that was read back, for the format that is written from
//! those: IPFIX. What was not known is 0 there, and what it has no element for is not looked at.

use std::net::{IpAddr, Ipv4Addr};

use crate::export::Rows;
use crate::export::values::{InSet, Value, Values};
use crate::flow::{
    Delta, Direction, Encapsulation, Encapsulations, EndReason, Endpoint, FlowKey, FlowRecord,
    Opening, PortKind, RecordKind, Sampling, SamplingUnit, SideCounts,
};
use crate::limits::KEY_VLANS;
use crate::time::Timestamp;

/// Gives the records as the engine's, those that follow each other and are sampled alike together.
pub(super) fn rebuilt(records: &[InSet<'_>], mut give: impl FnMut(&Rows<'_>)) {
    let list = Encapsulations::default();
    let all: Vec<_> = records.iter().map(|record| rebuild(record, &list)).collect();
    for alike in all.chunk_by(|one, other| one.2 == other.2) {
        let ids: Vec<_> = alike.iter().map(|one| one.1).collect();
        let records: Vec<_> = alike.iter().map(|one| one.0).collect();
        give(&Rows {
            records: &records,
            flow_ids: Some(&ids),
            features: None,
            labels: &[],
            transactions: &[],
            intervals: &[],
            interfaces: &[],
            interface_indexes: &[],
            encapsulations: Some(&list),
            sampling: alike[0].2,
        });
    }
}

/// The record, and what it is sampled by. Its identifier is another, if it had one.
fn rebuild(from: &InSet<'_>, list: &Encapsulations) -> (FlowRecord, Option<u64>, Sampling) {
    let record = from.record;
    let [src, dst] = ["src_", "dst_"].map(|side| endpoint(record, side));
    let version = if src.1 || dst.1 { 6 } else { 4 };
    let protocol = byte(record, "protocol").unwrap_or(0);
    let icmp = byte(record, "icmp_type").zip(byte(record, "icmp_code"));
    let kind = match record.number("src_port") {
        Some(_) => PortKind::Ports,
        None => PortKind::None,
    };
    let vlan = match record.get("vlan") {
        Value::Vlans(vlans) => *vlans,
        _ => [0; KEY_VLANS],
    };
    let (key, way) = FlowKey::canonical(src.0, dst.0, version, protocol, kind, vlan);
    let mut total = Delta::EMPTY;
    total.sides[way.idx()] = side(record, "src_");
    total.sides[way.opposite().idx()] = side(record, "dst_");
    if let (Value::Time(start), Value::Time(end)) = (record.get("start"), record.get("end")) {
        (total.first, total.last) = (*start, *end);
    }
    total.part = record.number("part").and_then(|part| part.try_into().ok()).unwrap_or(0);
    total.end = end_reason(record.text("end_reason"));
    total.opening = Some(opening(record, way, icmp, total.first, list));
    let is_overflow = record.text("kind") == Some("overflow");
    let kind = if is_overflow { RecordKind::Overflow } else { RecordKind::Flow };
    let flow_id = match record.get("flow_id") {
        Value::Word(id) => Some(*id),
        _ => None,
    };
    (FlowRecord { kind, ..FlowRecord::flow(key, total) }, flow_id, sampling(record))
}

fn opening(
    record: &Values,
    way: Direction,
    icmp: Option<(u8, u8)>,
    start: Timestamp,
    list: &Encapsulations,
) -> Opening {
    let mac = |name: &str| match record.get(name) {
        Value::Mac(mac) => Some(*mac),
        _ => None,
    };
    Opening {
        flow_start: Some(start),
        ordinal: 0,
        initiator: way,
        macs: [mac("src_mac"), mac("dst_mac")],
        first_packet: way,
        icmp,
        interface: 0,
        encapsulation: match record.get("mpls") {
            Value::Mpls(labels) => {
                list.number(&Encapsulation { labels: *labels, ..Encapsulation::default() })
            }
            _ => None,
        },
    }
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
    SideCounts {
        packets: count("packets"),
        bytes: count("bytes"),
        frame_bytes: count("frame_bytes"),
        payload_bytes: count("payload_bytes"),
        tcp_flags: byte("tcp_flags").unwrap_or(0),
        ttl_min: byte("ttl_min").unwrap_or(SideCounts::EMPTY.ttl_min),
        ttl_max: byte("ttl_max").unwrap_or(SideCounts::EMPTY.ttl_max),
        dscp: byte("dscp").unwrap_or(SideCounts::NO_DSCP),
        ..SideCounts::EMPTY
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

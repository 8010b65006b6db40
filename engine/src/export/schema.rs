//! The record as users see it: field names, units and order, once for all formats.

use std::fmt;
use std::net::IpAddr;

use crate::export::text::Text;
use crate::flow::{Direction, EndReason, FlowRecord, RecordKind, SideCounts, TcpState, protocol};
use crate::limits::KEY_VLANS;
use crate::table::prefix_bytes;
use crate::time::Timestamp;

/// A record with what it takes to show it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The record.
    pub record: &'a FlowRecord,
    /// Names of the interfaces or files of this run.
    pub interfaces: &'a [String],
}

/// A field's value. What is not known or does not apply is [`Value::Absent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// Not known, or not applicable.
    Absent,
    /// A whole number.
    Number(u64),
    /// A word from a fixed set, or a name.
    Text(&'a str),
    /// Text made for this record, of letters that need no quotes anywhere.
    Owned(String),
    /// 16 hexadecimal digits.
    Word(u64),
    /// Six bytes, in hexadecimal with colons.
    Mac([u8; 6]),
    /// An address, in the text of RFC 5952.
    Address(IpAddr),
    /// A time, as RFC 3339 in UTC with nanoseconds.
    Time(Timestamp),
    /// VLAN identifiers, 0 where there is none.
    Vlans([u16; KEY_VLANS]),
}

/// How a field's value is had from a record.
type Get = for<'a> fn(&Row<'a>) -> Value<'a>;

/// Every field, in the order of the columns.
pub const FIELDS: &[(&str, Get)] = &[
    ("kind", |row| Value::Text(row.is_flow().map_or("overflow", |()| "flow"))),
    ("flow_id", |row| flow_only(row, Value::Word(row.record.flow_id()))),
    ("part", |row| flow_only(row, Value::Number(row.record.total.part.into()))),
    ("community_id", |row| row.community_id().map_or(Value::Absent, Value::Owned)),
    ("interface", |row| row.interface().map_or(Value::Absent, Value::Text)),
    ("start", |row| row.times().map_or(Value::Absent, |(first, _)| Value::Time(first))),
    ("end", |row| row.times().map_or(Value::Absent, |(_, last)| Value::Time(last))),
    ("duration_ns", |row| number(row.times().map(|(first, last)| last.abs_diff(first)))),
    ("ip_version", |row| Value::Number(row.record.key.ip_version().into())),
    ("protocol", |row| Value::Number(row.record.key.protocol().into())),
    ("src_ip", |row| flow_only(row, Value::Address(row.address(Side::Src)))),
    ("dst_ip", |row| Value::Address(row.address(Side::Dst))),
    ("dst_prefix_length", |row| number(row.prefix_length())),
    ("src_port", |row| number(row.port(Side::Src))),
    ("dst_port", |row| number(row.port(Side::Dst))),
    ("icmp_type", |row| number(row.icmp().map(|(kind, _)| kind))),
    ("icmp_code", |row| number(row.icmp().map(|(_, code)| code))),
    ("src_mac", |row| row.mac(Side::Src)),
    ("dst_mac", |row| row.mac(Side::Dst)),
    ("vlan", |row| row.vlan()),
    ("src_packets", |row| Value::Number(row.side(Side::Src).packets)),
    ("dst_packets", |row| Value::Number(row.side(Side::Dst).packets)),
    ("src_bytes", |row| Value::Number(row.side(Side::Src).bytes)),
    ("dst_bytes", |row| Value::Number(row.side(Side::Dst).bytes)),
    ("src_frame_bytes", |row| Value::Number(row.side(Side::Src).frame_bytes)),
    ("dst_frame_bytes", |row| Value::Number(row.side(Side::Dst).frame_bytes)),
    ("src_payload_bytes", |row| Value::Number(row.side(Side::Src).payload_bytes)),
    ("dst_payload_bytes", |row| Value::Number(row.side(Side::Dst).payload_bytes)),
    ("src_fragments", |row| Value::Number(row.side(Side::Src).fragments)),
    ("dst_fragments", |row| Value::Number(row.side(Side::Dst).fragments)),
    ("src_tcp_flags", |row| row.tcp_flags(Side::Src)),
    ("dst_tcp_flags", |row| row.tcp_flags(Side::Dst)),
    ("tcp_state", |row| flow_only(row, row.tcp_state())),
    ("end_reason", |row| row.end_reason()),
];

/// The initiator's or the responder's side of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The initiator.
    Src,
    /// The responder.
    Dst,
}

fn number(value: Option<impl Into<u64>>) -> Value<'static> {
    value.map_or(Value::Absent, |value| Value::Number(value.into()))
}

fn flow_only<'a>(row: &Row<'_>, value: Value<'a>) -> Value<'a> {
    row.is_flow().map_or(Value::Absent, |()| value)
}

impl<'a> Row<'a> {
    fn is_flow(&self) -> Option<()> {
        (self.record.kind == RecordKind::Flow).then_some(())
    }

    /// The direction of the packets that `side` sent.
    fn direction(&self, side: Side) -> Direction {
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

    fn interface(&self) -> Option<&'a str> {
        let interface = self.record.opening()?.interface;
        self.interfaces.get(usize::from(interface)).map(String::as_str)
    }

    fn icmp(&self) -> Option<(u8, u8)> {
        self.record.opening()?.icmp
    }

    /// Bits of `dst_ip` that count, for overflow aggregates.
    fn prefix_length(&self) -> Option<u64> {
        if self.is_flow().is_some() {
            return None;
        }
        let address = self.address(Side::Dst);
        // What found no room among the aggregates has no destination in common.
        let is_any = self.record.key.protocol() == 0 && address.is_unspecified();
        Some(if is_any { 0 } else { prefix_bytes(self.record.key.ip_version()) as u64 * 8 })
    }

    fn mac(&self, side: Side) -> Value<'static> {
        let Some(opening) = self.record.opening() else { return Value::Absent };
        // The addresses are those of the first packet, which the responder may have sent.
        let sender = opening.first_packet == self.direction(side);
        match opening.macs[usize::from(!sender)] {
            Some(mac) => Value::Mac(mac),
            None => Value::Absent,
        }
    }

    fn vlan(&self) -> Value<'static> {
        let vlans = self.record.key.vlan();
        if vlans == [0; KEY_VLANS] { Value::Absent } else { Value::Vlans(vlans) }
    }

    fn tcp_flags(&self, side: Side) -> Value<'static> {
        number((self.record.key.protocol() == protocol::TCP).then(|| self.side(side).tcp_flags))
    }

    pub(crate) fn tcp_state(&self) -> Value<'static> {
        self.record.tcp_state().map_or(Value::Absent, |state| {
            Value::Text(match state {
                TcpState::Established => "established",
                TcpState::HalfOpen => "half_open",
                TcpState::Closed => "closed",
                TcpState::Reset => "reset",
                TcpState::Midstream => "midstream",
            })
        })
    }

    pub(crate) fn end_reason(&self) -> Value<'static> {
        self.record.total.end.map_or(Value::Absent, |end| {
            Value::Text(match end {
                EndReason::Idle => "idle",
                EndReason::Active => "active",
                EndReason::EndDetected => "end",
                EndReason::Forced => "forced",
                EndReason::Resources => "resources",
            })
        })
    }

    /// Community ID version 1, seed 0 (<https://github.com/corelight/community-id-spec>).
    fn community_id(&self) -> Option<String> {
        self.is_flow()?;
        let key = &self.record.key;
        let opening = self.record.opening()?;
        // ICMP's type and code stand in for ports, in the way that the first packet went.
        let first = opening.first_packet;
        let (from, ports) = match self.icmp() {
            Some((kind, code)) => (first, (Some(kind.into()), Some(code.into()))),
            None => {
                let from = self.direction(Side::Src);
                (from, (key.source_port(from), key.source_port(from.opposite())))
            }
        };
        community_id::calculate_community_id(
            0,
            key.source_ip(from),
            key.source_ip(from.opposite()),
            ports.0,
            ports.1,
            key.protocol(),
            false,
        )
        .ok()
    }
}

/// The value as plain text: empty if absent, a list with semicolons.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        Text::default().append(self, &mut text);
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

//! The record as users see it: field names, units and order, once for all formats.

use std::net::IpAddr;

use crate::export::devices::shown_mac;
use crate::flow::features::{BINS, Thousandths};
use crate::flow::{
    Delta, Direction, Encapsulation, Encapsulations, EndReason, Endpoint, Features, FeaturesSet,
    FlowKey, FlowRecord, MplsLabels, PortKind, RecordKind, Sampling, SideCounts, SideFeatures,
    TcpState, Tunnel, protocol,
};
use crate::limits::KEY_VLANS;
use crate::names::Labels;
use crate::names::apps::by_ports;
use crate::names::facts::FlowFacts;
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

/// Takes the fields of a record, in the order of the columns. What is not known or does not
/// apply is `None`.
pub trait Fields {
    /// A whole number.
    fn number(&mut self, name: &'static str, value: Option<u64>);
    /// A number that is shown as 16 hexadecimal digits.
    fn word(&mut self, name: &'static str, value: Option<u64>);
    /// Yes or no.
    fn flag(&mut self, name: &'static str, value: Option<bool>);
    /// Text of letters that need no quotes anywhere.
    fn plain(&mut self, name: &'static str, value: Option<&str>);
    /// Text that may hold anything: names of files.
    fn text(&mut self, name: &'static str, value: Option<&str>);
    /// An address of the link layer.
    fn mac(&mut self, name: &'static str, value: Option<[u8; 6]>);
    /// An address of the network layer.
    fn address(&mut self, name: &'static str, value: Option<IpAddr>);
    /// Nanoseconds since 1970, UTC.
    fn time(&mut self, name: &'static str, value: Option<Timestamp>);
    /// VLAN identifiers, outermost first, 0 where there is none.
    fn vlans(&mut self, name: &'static str, value: Option<[u16; KEY_VLANS]>);
    /// MPLS labels, outermost first.
    fn mpls(&mut self, name: &'static str, value: Option<MplsLabels>);
    /// A number with three decimals.
    fn decimal(&mut self, name: &'static str, value: Option<Thousandths>);
    /// The counts of a histogram.
    fn counts(&mut self, name: &'static str, value: Option<[u64; BINS]>);
    /// What kind of tunnel, its identifier, and its ends.
    fn tunnel(&mut self, name: &'static str, value: Option<RowTunnel>);
    /// Which device an end is.
    fn device(&mut self, name: &'static str, value: Option<RowDevice<'_>>);
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

/// What has the fields of a record.
pub(crate) trait Visit {
    /// Gives all fields to `to`.
    fn visit(&self, to: &mut impl Fields);
}

impl Visit for Row<'_> {
    #[inline(always)]
    fn visit(&self, to: &mut impl Fields) {
        visit(self, to);
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

/// Gives all fields of a record to `to`.
///
/// One function and no table of functions: a format's code is made for each field, so that
/// names and kinds of values cost nothing (`cargo bench --bench export`).
#[inline(always)]
pub fn visit(row: &Row<'_>, to: &mut impl Fields) {
    let record = row.record;
    let is_flow = record.kind == RecordKind::Flow;
    let (src, dst) = (row.side(Side::Src), row.side(Side::Dst));
    let times = row.times();
    let icmp = row.icmp();
    to.plain("kind", Some(if is_flow { "flow" } else { "overflow" }));
    to.word("flow_id", is_flow.then(|| row.flow_id()));
    to.number("part", is_flow.then_some(record.total.part.into()));
    to.plain("community_id", row.community_id().as_deref());
    to.text("interface", row.interface());
    to.time("start", times.map(|(first, _)| first));
    to.time("end", times.map(|(_, last)| last));
    to.number("duration_ns", times.map(|(first, last)| last.abs_diff(first)));
    to.number("ip_version", Some(record.key.ip_version().into()));
    to.number("protocol", Some(record.key.protocol().into()));
    to.address("src_ip", is_flow.then(|| row.address(Side::Src)));
    to.address("dst_ip", Some(row.address(Side::Dst)));
    to.number("dst_prefix_length", row.prefix_length());
    to.number("src_port", row.port(Side::Src).map(u64::from));
    to.number("dst_port", row.port(Side::Dst).map(u64::from));
    to.number("icmp_type", icmp.map(|(kind, _)| kind.into()));
    to.number("icmp_code", icmp.map(|(_, code)| code.into()));
    to.mac("src_mac", row.mac(Side::Src));
    to.mac("dst_mac", row.mac(Side::Dst));
    to.vlans("vlan", row.vlans());
    let encapsulation = row.encapsulation();
    let labels = encapsulation.map(|all| all.labels);
    to.mpls("mpls", labels.filter(|labels| !labels.is_empty()));
    to.tunnel("tunnel", row.tunnel(encapsulation));
    to.number("src_packets", Some(src.packets));
    to.number("dst_packets", Some(dst.packets));
    to.number("src_bytes", Some(src.bytes));
    to.number("dst_bytes", Some(dst.bytes));
    to.number("src_frame_bytes", Some(src.frame_bytes));
    to.number("dst_frame_bytes", Some(dst.frame_bytes));
    to.number("src_payload_bytes", Some(src.payload_bytes));
    to.number("dst_payload_bytes", Some(dst.payload_bytes));
    to.number("src_fragments", Some(src.fragments));
    to.number("dst_fragments", Some(dst.fragments));
    to.number("src_tcp_flags", row.tcp_flags(Side::Src));
    to.number("dst_tcp_flags", row.tcp_flags(Side::Dst));
    to.plain("tcp_state", row.tcp_state());
    to.number("rtt_server_ns", row.round_trip(0));
    to.number("rtt_client_ns", row.round_trip(1));
    to.number("src_retransmits", row.segments(src.retransmits));
    to.number("src_out_of_order", row.segments(src.out_of_order));
    to.number("src_zero_windows", row.segments(src.zero_windows));
    to.number("dst_retransmits", row.segments(dst.retransmits));
    to.number("dst_out_of_order", row.segments(dst.out_of_order));
    to.number("dst_zero_windows", row.segments(dst.zero_windows));
    to.number("src_ttl_min", src.ttl().map(|(min, _)| min.into()));
    to.number("src_ttl_max", src.ttl().map(|(_, max)| max.into()));
    to.number("dst_ttl_min", dst.ttl().map(|(min, _)| min.into()));
    to.number("dst_ttl_max", dst.ttl().map(|(_, max)| max.into()));
    to.number("src_dscp", row.dscp(Side::Src).map(u64::from));
    to.number("dst_dscp", row.dscp(Side::Dst).map(u64::from));
    to.plain("end_reason", row.end_reason());
    visit_labels(row, to);
    to.number("sampling", row.sampling().map(|sampling| sampling.every().into()));
    to.plain("sampling_unit", row.sampling().map(|sampling| sampling.unit().name()));
    if let Some(features) = row.features {
        visit_features(row, features, to);
    }
}

/// What is known beside what was counted: of most records nothing.
#[inline(always)]
fn visit_labels(row: &Row<'_>, to: &mut impl Fields) {
    let facts = row.labels.and_then(|labels| labels.facts.as_deref());
    let name = row.name();
    let app = row.app();
    to.plain("app", app.map(|(app, _)| app));
    to.plain("app_source", app.map(|(_, source)| source));
    to.text("sni", facts.and_then(|facts| facts.sni.as_deref()));
    to.text("alpn", facts.and_then(|facts| facts.alpn.as_deref()));
    to.text("ja4", facts.and_then(|facts| facts.ja4.as_deref()));
    to.plain("tls_version", facts.and_then(FlowFacts::tls_version).as_deref());
    to.plain("tls_cipher", facts.and_then(FlowFacts::tls_cipher).as_deref());
    to.flag("ech", facts.and_then(|facts| facts.has_ech.then_some(true)));
    to.text("cert_subject", facts.and_then(|facts| facts.cert_subject.as_deref()));
    to.text("cert_name", facts.and_then(|facts| facts.cert_name.as_deref()));
    to.text("http_host", facts.and_then(|facts| facts.http_host.as_deref()));
    to.text("name", name.map(|name| name.name));
    to.plain("name_source", name.map(|name| name.source));
    to.number("name_age_ns", name.and_then(|name| name.age_ns));
    to.plain("name_doubt", name.and_then(|name| name.doubt));
    to.device("src_device", row.device(Side::Src));
    to.device("dst_device", row.device(Side::Dst));
}

/// Gives what the extended set has beside.
#[inline(never)]
fn visit_features(row: &Row<'_>, features: &Features, to: &mut impl Fields) {
    let [src, dst] = [Side::Src, Side::Dst]
        .map(|side| (features.side(row.direction(side)), row.side(side).bytes));
    visit_side(
        &[
            "src_length_min",
            "src_length_max",
            "src_length_mean",
            "src_length_stddev",
            "src_length_histogram",
            "src_interarrival_min_ns",
            "src_interarrival_max_ns",
            "src_interarrival_mean_ns",
            "src_interarrival_stddev_ns",
            "src_interarrival_histogram",
        ],
        src,
        to,
    );
    visit_side(
        &[
            "dst_length_min",
            "dst_length_max",
            "dst_length_mean",
            "dst_length_stddev",
            "dst_length_histogram",
            "dst_interarrival_min_ns",
            "dst_interarrival_max_ns",
            "dst_interarrival_mean_ns",
            "dst_interarrival_stddev_ns",
            "dst_interarrival_histogram",
        ],
        dst,
        to,
    );
}

/// One side's, under these names; with its statistics the sum of its lengths.
fn visit_side(
    names: &[&'static str; 10],
    (side, bytes): (&SideFeatures, u64),
    to: &mut impl Fields,
) {
    let spreads = [(&side.lengths, bytes), (&side.gaps, side.gap_sum_ns)];
    for ((spread, sum), names) in spreads.into_iter().zip(names.as_chunks::<5>().0) {
        let is_any = spread.count() > 0;
        to.number(names[0], is_any.then_some(spread.min));
        to.number(names[1], is_any.then_some(spread.max));
        to.decimal(names[2], spread.mean(sum));
        to.decimal(names[3], spread.deviation(sum));
        to.counts(names[4], is_any.then_some(spread.histogram));
    }
}

/// What kind of value a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Word,
    Flag,
    Text,
    Mac,
    Address,
    Time,
    Vlans,
    Mpls,
    Decimal,
    Counts,
    Tunnel,
    Device,
}

/// The fields' names in a set, in the order of the columns.
#[must_use]
pub fn names(set: FeaturesSet) -> Vec<&'static str> {
    kinds(set).into_iter().map(|(name, _)| name).collect()
}

/// The fields' names and kinds in a set, in the order of the columns.
pub(crate) fn kinds(set: FeaturesSet) -> Vec<(&'static str, Kind)> {
    let mut kinds = Kinds(Vec::new());
    visit_nothing(set, &mut kinds);
    kinds.0
}

/// Gives all fields of a set to `to`, of a record that has seen nothing: for their names and kinds.
pub(crate) fn visit_nothing(set: FeaturesSet, to: &mut impl Fields) {
    let nowhere = Endpoint { address: [0; 16], port: 0 };
    let (key, _) = FlowKey::canonical(nowhere, nowhere, 4, 0, PortKind::None, [0; KEY_VLANS]);
    let record = FlowRecord::flow(key, Delta::EMPTY);
    let features = set.is_extended().then_some(&Features::EMPTY);
    let row = Row {
        record: &record,
        flow_id: None,
        features,
        labels: None,
        interfaces: &[],
        interface_indexes: &[],
        encapsulations: None,
        sampling: Sampling::ALL,
    };
    visit(&row, to);
}

struct Kinds(Vec<(&'static str, Kind)>);

impl Fields for Kinds {
    fn number(&mut self, name: &'static str, _: Option<u64>) {
        self.0.push((name, Kind::Number));
    }
    fn word(&mut self, name: &'static str, _: Option<u64>) {
        self.0.push((name, Kind::Word));
    }
    fn flag(&mut self, name: &'static str, _: Option<bool>) {
        self.0.push((name, Kind::Flag));
    }
    fn plain(&mut self, name: &'static str, _: Option<&str>) {
        self.0.push((name, Kind::Text));
    }
    fn text(&mut self, name: &'static str, _: Option<&str>) {
        self.0.push((name, Kind::Text));
    }
    fn mac(&mut self, name: &'static str, _: Option<[u8; 6]>) {
        self.0.push((name, Kind::Mac));
    }
    fn address(&mut self, name: &'static str, _: Option<IpAddr>) {
        self.0.push((name, Kind::Address));
    }
    fn time(&mut self, name: &'static str, _: Option<Timestamp>) {
        self.0.push((name, Kind::Time));
    }
    fn vlans(&mut self, name: &'static str, _: Option<[u16; KEY_VLANS]>) {
        self.0.push((name, Kind::Vlans));
    }
    fn mpls(&mut self, name: &'static str, _: Option<MplsLabels>) {
        self.0.push((name, Kind::Mpls));
    }
    fn decimal(&mut self, name: &'static str, _: Option<Thousandths>) {
        self.0.push((name, Kind::Decimal));
    }
    fn counts(&mut self, name: &'static str, _: Option<[u64; BINS]>) {
        self.0.push((name, Kind::Counts));
    }
    fn tunnel(&mut self, name: &'static str, _: Option<RowTunnel>) {
        self.0.push((name, Kind::Tunnel));
    }
    fn device(&mut self, name: &'static str, _: Option<RowDevice<'_>>) {
        self.0.push((name, Kind::Device));
    }
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
    fn is_flow(&self) -> bool {
        self.record.kind == RecordKind::Flow
    }

    pub(crate) fn flow_id(&self) -> u64 {
        self.flow_id.unwrap_or_else(|| self.record.flow_id())
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

    /// The ends are those of the first packet, which the responder may have sent.
    pub(crate) fn tunnel(&self, encapsulation: Option<Encapsulation>) -> Option<RowTunnel> {
        let mut tunnel = self.record.key.tunnel()?;
        let Some(Encapsulation { mut ends, id, .. }) = encapsulation else {
            return Some(RowTunnel { tunnel, ends: None });
        };
        tunnel.id = tunnel.id.or(id);
        if self.record.opening()?.first_packet != self.direction(Side::Src) {
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

    fn vlans(&self) -> Option<[u16; KEY_VLANS]> {
        let vlans = self.record.key.vlan();
        (vlans != [0; KEY_VLANS]).then_some(vlans)
    }

    fn tcp_flags(&self, side: Side) -> Option<u64> {
        (self.record.key.protocol() == protocol::TCP).then(|| self.side(side).tcp_flags.into())
    }

    /// A step of the handshake, in ns.
    pub(crate) fn round_trip(&self, step: usize) -> Option<u64> {
        self.record.total.handshake[step].ns().map(u64::from)
    }

    /// A count of segments. An aggregate does not look at sequences.
    fn segments(&self, count: u32) -> Option<u64> {
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

    fn community_id(&self) -> Option<String> {
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
pub(super) fn community_id(
    [from, to]: [IpAddr; 2],
    [port, to_port]: [Option<u16>; 2],
    protocol: u8,
) -> Option<String> {
    community_id::calculate_community_id(0, from, to, port, to_port, protocol, false).ok()
}

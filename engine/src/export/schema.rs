//! The record as users see it: field names, units and order, once for all formats.

mod row;

use std::net::IpAddr;

pub use self::row::{Row, RowDevice, RowTunnel};
pub(crate) use self::row::{Side, community_id};
use crate::flow::features::{BINS, Thousandths};
use crate::flow::{
    Delta, Endpoint, Features, FeaturesSet, FlowKey, FlowRecord, MplsLabels, PortKind, RecordKind,
    Sampling, SideFeatures,
};
use crate::limits::{KEY_VLANS, RECORD_VLANS};
use crate::names::facts::FlowFacts;
use crate::time::Timestamp;

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
    fn vlans(&mut self, name: &'static str, value: Option<[u16; RECORD_VLANS]>);
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
    let encapsulation = row.encapsulation();
    to.vlans("vlan", row.vlans(encapsulation));
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
    to.text("http_user_agent", facts.and_then(|facts| facts.http_user_agent.as_deref()));
    to.text("name", name.as_ref().map(|name| &*name.name));
    to.plain("name_source", name.as_ref().map(|name| name.source));
    to.number("name_age_ns", name.as_ref().and_then(|name| name.age_ns));
    to.plain("name_doubt", name.as_ref().and_then(|name| name.doubt));
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
    fn vlans(&mut self, name: &'static str, _: Option<[u16; RECORD_VLANS]>) {
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

//! Fields, in JSON and in CSV.

use serde_json::Value;

use super::{ROWS, START, record, tcp_record};
use crate::export::schema::names;
use crate::export::{Format, Rows, SinkOptions};
use crate::flow::features::{Features, FeaturesSet, SideFeatures, Spread};
use crate::flow::{
    Delta, Encapsulation, Encapsulations, EndReason, FlowRecord, MplsLabels, PortKind, RecordKind,
    Sampling, SideCounts, Tunnel, TunnelKind,
};

fn encoded(format: Format, records: &[FlowRecord]) -> String {
    encoded_of(format, records, Sampling::ALL)
}

/// With what carried the records.
fn carried(format: Format, record: &FlowRecord, encapsulations: &Encapsulations) -> String {
    let records = std::slice::from_ref(record);
    let rows = Rows { records, encapsulations: Some(encapsulations), ..ROWS };
    let mut out = Vec::new();
    format.encoder(FeaturesSet::Basic, &SinkOptions::default()).encode(&rows, &mut out);
    String::from_utf8(out).unwrap()
}

fn encoded_of(format: Format, records: &[FlowRecord], sampling: Sampling) -> String {
    encoded_with(format, records, None, sampling)
}

fn encoded_with(
    format: Format,
    records: &[FlowRecord],
    features: Option<&[Features]>,
    sampling: Sampling,
) -> String {
    let set = if features.is_some() { FeaturesSet::Extended } else { FeaturesSet::Basic };
    let interfaces = ["lo".to_owned(), "eth0".to_owned()];
    let mut encoder = format.encoder(set, &SinkOptions::default());
    let mut out = Vec::new();
    encoder.begin(&mut out);
    let rows = Rows { records, features, interfaces: &interfaces, sampling, ..ROWS };
    encoder.encode(&rows, &mut out);
    String::from_utf8(out).unwrap()
}

/// The record as a line of JSON; and the same values in CSV, as the csv crate reads it.
fn check(record: &FlowRecord, want: &str) {
    let json = encoded(Format::JsonLines, std::slice::from_ref(record));
    assert_eq!(json, want.replace('\n', "") + "\n");
    let fields: serde_json::Map<String, Value> = serde_json::from_str(&json).unwrap();

    let csv = encoded(Format::Csv, std::slice::from_ref(record));
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header: Vec<_> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(header, names(FeaturesSet::Basic));
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 1);
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(Value::to_string).collect::<Vec<_>>().join(";"),
        Value::Object(tunnel) => {
            let part = |name: &str| tunnel.get(name).map_or(String::new(), Value::to_string);
            ["type", "src_ip", "dst_ip", "id"].map(part).join(";").replace('"', "")
        }
        other => other.to_string(),
    };
    for (name, value) in header.iter().zip(&rows[0]) {
        assert_eq!(value, fields.get(name).map(text).unwrap_or_default(), "{name}");
    }
}

#[test]
fn a_tcp_flow_with_every_field() {
    check(
        &tcp_record(),
        r#"{"kind":"flow","flow_id":"d17179e05803763f","part":2,"community_id":"1:TsLEQj6YHqO+ITs188ucWHeBn5s=",
"interface":"eth0","start":"2024-02-29T23:59:59.500000000Z",
"end":"2024-03-01T00:00:01.000000001Z","duration_ns":1500000001,"ip_version":4,
"protocol":6,"src_ip":"192.0.2.9","dst_ip":"192.0.2.1","src_port":5000,"dst_port":443,
"src_mac":"02:00:00:00:00:0a","dst_mac":"02:00:00:00:00:0b","vlan":[7,9],
"src_packets":1,"dst_packets":11,"src_bytes":2,"dst_bytes":12,
"src_frame_bytes":3,"dst_frame_bytes":13,"src_payload_bytes":4,"dst_payload_bytes":14,
"src_fragments":5,"dst_fragments":15,"src_tcp_flags":16,"dst_tcp_flags":26,
"tcp_state":"established","rtt_server_ns":25000,"rtt_client_ns":0,
"src_retransmits":6,"src_out_of_order":7,"src_zero_windows":8,
"dst_retransmits":16,"dst_out_of_order":17,"dst_zero_windows":18,
"src_ttl_min":50,"src_ttl_max":54,"dst_ttl_min":60,"dst_ttl_max":64,"src_dscp":20,"dst_dscp":30,
"end_reason":"idle","app":"https","app_source":"port"}"#,
    );
}

#[test]
fn a_flow_in_a_tunnel_names_it() {
    for (tunnel, want) in [
        (Tunnel { kind: TunnelKind::Vxlan, id: Some(70_000) }, r#"{"type":"vxlan","id":70000}"#),
        (Tunnel::of(TunnelKind::SixInFour), r#"{"type":"6in4"}"#),
    ] {
        let mut inside = tcp_record();
        inside.key = inside.key.in_tunnel(tunnel);
        let json = encoded(Format::JsonLines, std::slice::from_ref(&inside));
        assert!(json.contains(&format!(r#","tunnel":{want},"#)), "{json}");
        check(&inside, json.trim_end());
    }
}

/// The ends of a tunnel are those of what the initiator sent; an identifier that is not in the
/// key is the first packet's, if the initiator sent that; and so are labels and a third VLAN,
/// whoever did.
#[test]
fn a_flow_says_what_carried_it() {
    let end = |address: &str| address.parse().unwrap();
    let mut labels = MplsLabels::default();
    [16, 0x000f_ffff].into_iter().for_each(|label| labels.push(label));
    let list = Encapsulations::default();
    let ends = Some([end("192.0.2.200"), end("192.0.2.100")]);
    let in_gre = list.number(&Encapsulation { ends, id: Some(7), labels, third_vlan: 0 });
    let labelled = list.number(&Encapsulation { labels, ..Encapsulation::default() });
    let tagged = list.number(&Encapsulation { third_vlan: 11, ..Encapsulation::default() });
    let row = |tunnel: Option<TunnelKind>, number, from_responder: bool| {
        let mut record = tcp_record();
        if let Some(kind) = tunnel {
            record.key = record.key.in_tunnel(Tunnel::of(kind));
        }
        let opening = record.total.opening.as_mut().unwrap();
        opening.encapsulation = number;
        if from_responder {
            opening.first_packet = opening.initiator.opposite();
        }
        record
    };
    let ends = |src: &str, dst: &str| format!(r#""src_ip":"{src}","dst_ip":"{dst}""#);
    let mpls = r#""mpls":[16,1048575]"#;
    let there = ends("192.0.2.200", "192.0.2.100");
    let back = ends("192.0.2.100", "192.0.2.200");
    let gre = Some(TunnelKind::Gre);
    let rows = [
        (row(gre, in_gre, false), format!(r#"{mpls},"tunnel":{{"type":"gre",{there},"id":7}}"#)),
        (row(gre, in_gre, true), format!(r#"{mpls},"tunnel":{{"type":"gre",{back}}}"#)),
        (row(gre, None, false), r#""tunnel":{"type":"gre"}"#.to_owned()),
        (row(None, labelled, false), mpls.to_owned()),
        (row(None, tagged, true), r#""vlan":[7,9,11]"#.to_owned()),
        (row(None, None, false), r#""vlan":[7,9]"#.to_owned()),
    ];
    let flat = [
        ",16;1048575,gre;192.0.2.200;192.0.2.100;7,",
        ",16;1048575,gre;192.0.2.100;192.0.2.200;,",
        ",7;9,,gre;;;,",
        ",7;9,16;1048575,,",
        ",7;9;11,,,1,",
        ",7;9,,,1,",
    ];
    for ((record, want), flat) in rows.iter().zip(flat) {
        let json = carried(Format::JsonLines, record, &list);
        assert!(json.contains(&format!("{want},\"src_packets\"")), "{json} {want}");
        let csv = carried(Format::Csv, record, &list);
        assert!(csv.contains(flat), "{csv} {flat}");
    }
}

#[test]
fn an_icmp_flow_without_what_does_not_apply() {
    let ends = (("fe80::a", 9), ("fe80::b", 9));
    let mut echo = record(58, PortKind::IcmpId, ends.0, ends.1, [0; 2], Some((128, 0)));
    let opening = echo.total.opening.as_mut().unwrap();
    opening.macs = [None; 2];
    opening.interface = 5;
    (echo.total.first, echo.total.last) = (Delta::EMPTY.first, Delta::EMPTY.last);
    echo.total.part = 0;
    echo.total.end = Some(EndReason::Forced);
    check(
        &echo,
        r#"{"kind":"flow","flow_id":"ae5f10f9f3705da5","part":0,"community_id":"1:2O+sC2OMpmYgVKsGlIl0W1jL38A=",
"ip_version":6,"protocol":58,"src_ip":"fe80::a","dst_ip":"fe80::b",
"icmp_type":128,"icmp_code":0,
"src_packets":1,"dst_packets":11,"src_bytes":2,"dst_bytes":12,
"src_frame_bytes":3,"dst_frame_bytes":13,"src_payload_bytes":4,"dst_payload_bytes":14,
"src_fragments":5,"dst_fragments":15,
"src_ttl_min":50,"src_ttl_max":54,"dst_ttl_min":60,"dst_ttl_max":64,"src_dscp":20,"dst_dscp":30,
"end_reason":"forced"}"#,
    );
}

#[test]
fn an_overflow_aggregate_has_a_destination_only() {
    let ends = (("0.0.0.0", 0), ("192.0.2.0", 0));
    let mut overflow = record(17, PortKind::None, ends.0, ends.1, [0; 2], None);
    overflow.kind = RecordKind::Overflow;
    overflow.total.opening.as_mut().unwrap().macs = [None; 2];
    overflow.total.last = START;
    for side in &mut overflow.total.sides {
        // As the table adds them up.
        (side.ttl_min, side.ttl_max, side.dscp) = (u8::MAX, 0, SideCounts::NO_DSCP);
    }
    overflow.total.end = Some(EndReason::Resources);
    check(
        &overflow,
        r#"{"kind":"overflow","interface":"eth0","start":"2024-02-29T23:59:59.500000000Z",
"end":"2024-02-29T23:59:59.500000000Z","duration_ns":0,"ip_version":4,"protocol":17,
"dst_ip":"192.0.2.0","dst_prefix_length":24,
"src_packets":1,"dst_packets":11,"src_bytes":2,"dst_bytes":12,
"src_frame_bytes":3,"dst_frame_bytes":13,"src_payload_bytes":4,"dst_payload_bytes":14,
"src_fragments":5,"dst_fragments":15,"end_reason":"resources"}"#,
    );
}

#[test]
fn sampled_records_say_so() {
    for (text, unit) in [("100", "flow"), ("100:packet", "packet")] {
        let records = [tcp_record()];
        let json = encoded_of(Format::JsonLines, &records, text.parse().unwrap());
        let app = r#""end_reason":"idle","app":"https","app_source":"port""#;
        let end = format!(r#"{app},"sampling":100,"sampling_unit":"{unit}"}}"#);
        assert!(json.trim_end().ends_with(&end), "{json}");
        let csv = encoded_of(Format::Csv, &records, text.parse().unwrap());
        // Sixteen columns in between are empty.
        let end = format!(",idle,https,port{}100,{unit}", ",".repeat(17));
        assert!(csv.trim_end().ends_with(&end), "{csv}");
    }
}

#[test]
fn statistics_follow_the_initiator_and_are_absent_where_they_say_nothing() {
    let spread = |values: [u64; 2], squares, histogram| {
        let [min, max] = values;
        Spread { min, max, squares, histogram }
    };
    let mut record = tcp_record();
    let initiator = record.initiator().idx();
    record.total.sides[initiator].bytes = 1_540;
    record.total.sides[1 - initiator].bytes = 60;
    let mut features = Features::EMPTY;
    features.0[initiator] = SideFeatures {
        lengths: spread([40, 1_500], 2_251_600, [0, 0, 1, 0, 0, 0, 0, 1]),
        gaps: spread([7, 7], 49, [1, 0, 0, 0, 0, 0, 0, 0]),
        gap_sum_ns: 7,
    };
    features.0[1 - initiator].lengths = spread([60, 60], 3_600, [0, 0, 1, 0, 0, 0, 0, 0]);
    let mut overflow = record;
    overflow.kind = RecordKind::Overflow;
    let records = [record, overflow];

    // An overflow aggregate has none, whether it has a place among them or not.
    for features in [vec![features], vec![features, Features::EMPTY]] {
        let json = encoded_with(Format::JsonLines, &records, Some(&features), Sampling::ALL);
        let lines: Vec<_> = json.lines().collect();
        let end = concat!(
            r#","src_length_min":40,"src_length_max":1500,"src_length_mean":770.000"#,
            r#","src_length_stddev":730.000,"src_length_histogram":[0,0,1,0,0,0,0,1]"#,
            r#","src_interarrival_min_ns":7,"src_interarrival_max_ns":7"#,
            r#","src_interarrival_mean_ns":7.000,"src_interarrival_stddev_ns":0.000"#,
            r#","src_interarrival_histogram":[1,0,0,0,0,0,0,0]"#,
            r#","dst_length_min":60,"dst_length_max":60,"dst_length_mean":60.000"#,
            r#","dst_length_stddev":0.000,"dst_length_histogram":[0,0,1,0,0,0,0,0]}"#,
        );
        assert!(lines[0].ends_with(end), "{}", lines[0]);
        assert_eq!(lines[1], encoded(Format::JsonLines, &[overflow]).trim_end());

        let csv = encoded_with(Format::Csv, &records, Some(&features), Sampling::ALL);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let header: Vec<_> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        assert_eq!(header, names(FeaturesSet::Extended));
        let added = names(FeaturesSet::Extended).len() - names(FeaturesSet::Basic).len();
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        let ends: Vec<Vec<_>> =
            rows.iter().map(|row| row.iter().skip(header.len() - added).collect()).collect();
        let src = "40 1500 770.000 730.000 0;0;1;0;0;0;0;1 7 7 7.000 0.000 1;0;0;0;0;0;0;0";
        let dst = "60 60 60.000 0.000 0;0;1;0;0;0;0;0";
        assert_eq!(ends[0].join(" ").trim_end(), format!("{src} {dst}"));
        assert_eq!(ends[1], [""; 20]);
    }
}

/// One field of a record, as CSV has it.
fn field(record: &FlowRecord, name: &str) -> String {
    let csv = encoded(Format::Csv, std::slice::from_ref(record));
    let row = csv::Reader::from_reader(csv.as_bytes()).records().next().unwrap().unwrap();
    let place = names(FeaturesSet::Basic).iter().position(|known| *known == name).unwrap();
    row[place].to_owned()
}

#[test]
fn mac_addresses_follow_the_initiator_and_not_the_first_packet() {
    let mut record = tcp_record();
    let opening = record.total.opening.as_mut().unwrap();
    // A SYN/ACK came first: it carries the responder's address as its source.
    opening.first_packet = opening.initiator.opposite();
    assert_eq!(field(&record, "src_mac"), "02:00:00:00:00:0b");
    assert_eq!(field(&record, "dst_mac"), "02:00:00:00:00:0a");
    assert_eq!(field(&record, "src_ip"), "192.0.2.9");
}

#[test]
fn times_before_1970_and_at_the_ends_of_the_range_are_shown() {
    let rows = [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1_000_000_001, "1970-01-01T00:00:01.000000001Z"),
        (64_000_000_000, "1970-01-01T00:01:04.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
    ];
    for (timestamp, want) in rows {
        let mut record = tcp_record();
        (record.total.first, record.total.last) = (timestamp, timestamp);
        assert_eq!(field(&record, "start"), want);
        assert_eq!(field(&record, "duration_ns"), "0");
    }
    let mut record = tcp_record();
    (record.total.first, record.total.last) = (i64::MIN, i64::MAX);
    assert_eq!(field(&record, "duration_ns"), u64::MAX.to_string());
}

#[test]
fn a_side_that_sent_nothing_has_no_code_point() {
    let mut record = tcp_record();
    let responder = record.initiator().opposite().idx();
    // As in a later part of a flow.
    record.total.sides[responder] =
        SideCounts { dscp: record.total.sides[responder].dscp, ..SideCounts::EMPTY };
    let shown = ["dst_dscp", "dst_ttl_min", "dst_ttl_max"].map(|name| field(&record, name));
    assert_eq!(shown, ["", "", ""]);
    assert_eq!(field(&record, "src_dscp"), "20");
    assert_eq!(field(&record, "dst_retransmits"), "0");
}

/// The published vectors of the specification, baseline/baseline_deflt.json in
/// <https://github.com/corelight/community-id-spec>; for ICMP the first number is the type
/// and the second the code.
#[test]
fn community_ids_are_those_of_the_specification() {
    let rows: [(u8, &str, u16, &str, u16, &str); 19] = [
        (6, "128.232.110.120", 34_855, "66.35.250.204", 80, "LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (6, "66.35.250.204", 80, "128.232.110.120", 34_855, "LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (
            6,
            "2001:470:e5bf:dead:4957:2174:e82c:4887",
            63_943,
            "2607:f8b0:400c:c03::1a",
            25,
            "/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
        ),
        (17, "192.168.1.52", 54_585, "8.8.8.8", 53, "d/FP5EW3wiY1vCndhwleRRKHowQ="),
        (17, "8.8.8.8", 53, "192.168.1.52", 54_585, "d/FP5EW3wiY1vCndhwleRRKHowQ="),
        (132, "192.168.170.8", 7, "192.168.170.56", 7, "MP2EtRCAUIZvTw6MxJHLV7N7JDs="),
        (132, "192.168.170.56", 7, "192.168.170.8", 7, "MP2EtRCAUIZvTw6MxJHLV7N7JDs="),
        (46, "10.1.12.1", 0, "10.1.12.2", 0, "KHlLkgoJW7ifUTyTSgyVfkFHzKw="),
        (46, "10.1.12.2", 0, "10.1.12.1", 0, "KHlLkgoJW7ifUTyTSgyVfkFHzKw="),
        (1, "192.168.0.89", 8, "192.168.0.1", 0, "X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        (1, "192.168.0.1", 0, "192.168.0.89", 0, "X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        (1, "10.0.0.1", 11, "10.0.0.2", 0, "YHxtAirCG//0OzkcVAukqKQN9xM="),
        (
            58,
            "3ffe:501:1800:2345::2",
            3,
            "3ffe:507:0:1:200:86ff:fe05:80da",
            0,
            "2ObVBgIn28oZvibYZhZMBgh7WdQ=",
        ),
        (
            58,
            "3ffe:501:410:0:2c0:dfff:fe47:33e",
            1,
            "3ffe:507:0:1:200:86ff:fe05:80da",
            4,
            "hLZd0XGWojozrvxqE0dWB1iM6R0=",
        ),
        (
            58,
            "3ffe:507:0:1:200:86ff:fe05:80da",
            128,
            "3ffe:501:0:1001::2",
            0,
            "+TW+HtLHvV1xnGhV1lv7XoJrqQg=",
        ),
        (
            58,
            "3ffe:501:0:1001::2",
            129,
            "3ffe:507:0:1:200:86ff:fe05:80da",
            0,
            "+TW+HtLHvV1xnGhV1lv7XoJrqQg=",
        ),
        (
            58,
            "fe80::200:86ff:fe05:80da",
            135,
            "fe80::260:97ff:fe07:69ea",
            0,
            "dGHyGvjMfljg6Bppwm3bg0LO8TY=",
        ),
        (58, "fe80::200:86ff:fe05:80da", 133, "ff02::2", 0, "hO+sN4H+MG5MY/8hIrXPqc4ZQz0="),
        (58, "fe80::260:97ff:fe07:69ea", 134, "ff02::1", 0, "pkvHqCL88/tg1k4cPigmZXUtL00="),
    ];
    for (protocol, source, one, destination, two, want) in rows {
        let byte = |number| u8::try_from(number).unwrap();
        let record = match protocol {
            1 | 58 => {
                let icmp = Some((byte(one), byte(two)));
                record(protocol, PortKind::None, (source, 0), (destination, 0), [0; 2], icmp)
            }
            46 => record(protocol, PortKind::None, (source, 0), (destination, 0), [0; 2], None),
            _ => {
                let ends = ((source, one), (destination, two));
                record(protocol, PortKind::Ports, ends.0, ends.1, [0; 2], None)
            }
        };
        let shown = format!("{protocol} {source} {one} {destination} {two}");
        assert_eq!(field(&record, "community_id"), format!("1:{want}"), "{shown}");
    }
}

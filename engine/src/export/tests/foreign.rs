//! Zeek's and Suricata's formats.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{ROWS, record, tcp_record};
use crate::export::describe;
use crate::export::{Format, Rows, SinkOptions};
use crate::flow::{FeaturesSet, FlowRecord, PortKind, RecordKind};

fn encoded(format: Format, record: &FlowRecord) -> String {
    let interfaces = ["lo".to_owned(), "eth0".to_owned()];
    let mut encoder = format.encoder(FeaturesSet::Basic, &SinkOptions::default());
    let mut out = Vec::new();
    encoder.begin(&mut out);
    let records = std::slice::from_ref(record);
    encoder.encode(&Rows { records, interfaces: &interfaces, ..ROWS }, &mut out);
    encoder.end(&mut out);
    String::from_utf8(out).unwrap()
}

fn icmp() -> FlowRecord {
    let ends = (("192.0.2.1", 9), ("192.0.2.2", 9));
    record(1, PortKind::IcmpId, ends.0, ends.1, [0; 2], Some((8, 0)))
}

fn overflow() -> FlowRecord {
    let ends = (("0.0.0.0", 0), ("192.0.2.0", 0));
    let mut overflow = record(6, PortKind::None, ends.0, ends.1, [0; 2], None);
    overflow.kind = RecordKind::Overflow;
    overflow
}

#[test]
fn a_conn_log_has_its_header_and_all_columns() {
    let text = encoded(Format::Zeek, &tcp_record());
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..5].join("|"),
        concat!(
            "#separator \\x09|#set_separator\t,|#empty_field\t(empty)|#unset_field\t-|",
            "#path\tconn",
        )
    );
    assert!(lines[5].starts_with("#open\t20") && lines[9].starts_with("#close\t20"));
    let [names, kinds] = [(6, "#fields\t"), (7, "#types\t")].map(|(at, before)| {
        lines[at].strip_prefix(before).unwrap().split('\t').collect::<Vec<_>>()
    });
    assert_eq!(names.len(), kinds.len());
    assert_eq!(
        lines[8],
        concat!(
            "1709251199.500000\tCd17179e05803763f\t192.0.2.9\t5000\t192.0.2.1\t443\ttcp\t-\t1.500000\t",
            "4\t14\tOTH\t-\t-\t-\thDTWdttww\t1\t2\t11\t12\t-\t6\t1:TsLEQj6YHqO+ITs188ucWHeBn5s=\t7\t9\t",
            "02:00:00:00:00:0a\t02:00:00:00:00:0b\t2\t-\t-",
        )
    );
    assert_eq!(names.len(), lines[8].split('\t').count());
}

#[test]
fn other_records_leave_unset_what_does_not_apply() {
    let line = |record: &FlowRecord| {
        let text = encoded(Format::Zeek, record);
        text.lines().nth(8).unwrap().split('\t').take(12).collect::<Vec<_>>().join(" ")
    };
    let end = "- 1.500000 4 14 OTH";
    let icmp = line(&icmp());
    assert!(icmp.ends_with(&format!(" 192.0.2.1 8 192.0.2.2 0 icmp {end}")), "{icmp}");
    let overflow = line(&overflow());
    assert_eq!(overflow, format!("1709251199.500000 - - - 192.0.2.0 - tcp {end}"));
}

#[test]
fn a_conn_log_in_json_has_the_same() {
    let line: Value = serde_json::from_str(&encoded(Format::ZeekJson, &tcp_record())).unwrap();
    assert_eq!(
        line,
        json!({
            "ts": 1709251199.5, "uid": "Cd17179e05803763f", "id.orig_h": "192.0.2.9",
            "id.orig_p": 5000, "id.resp_h": "192.0.2.1", "id.resp_p": 443, "proto": "tcp",
            "duration": 1.5, "orig_bytes": 4, "resp_bytes": 14, "conn_state": "OTH",
            "history": "hDTWdttww", "orig_pkts": 1, "orig_ip_bytes": 2, "resp_pkts": 11,
            "resp_ip_bytes": 12, "ip_proto": 6, "community_id": "1:TsLEQj6YHqO+ITs188ucWHeBn5s=",
            "vlan": 7, "inner_vlan": 9, "orig_l2_addr": "02:00:00:00:00:0a",
            "resp_l2_addr": "02:00:00:00:00:0b", "part": 2,
        })
    );
}

#[test]
fn an_event_has_what_suricata_has() {
    let event: Value = serde_json::from_str(&encoded(Format::Eve, &tcp_record())).unwrap();
    assert_eq!(
        event,
        json!({
            "timestamp": "2024-03-01T00:00:01.000000+0000",
            "flow_id": 0xd171_79e0_5803_763f_u64 & ((1 << 53) - 1),
            "in_iface": "eth0", "event_type": "flow", "vlan": [7, 9],
            "src_ip": "192.0.2.9", "src_port": 5000, "dest_ip": "192.0.2.1", "dest_port": 443,
            "proto": "TCP",
            "flow": {
                "pkts_toserver": 1, "pkts_toclient": 11, "bytes_toserver": 3, "bytes_toclient": 13,
                "start": "2024-02-29T23:59:59.500000+0000", "end": "2024-03-01T00:00:01.000000+0000",
                "age": 2, "state": "established", "reason": "timeout",
            },
            "community_id": "1:TsLEQj6YHqO+ITs188ucWHeBn5s=",
            "ether": {"src_macs": ["02:00:00:00:00:0a"], "dest_macs": ["02:00:00:00:00:0b"]},
            "tcp": {
                "tcp_flags": "1a", "tcp_flags_ts": "10", "tcp_flags_tc": "1a",
                "syn": true, "psh": true, "ack": true, "state": "established",
            },
            "flowtap": {"kind": "flow", "part": 2, "end_reason": "idle"},
        })
    );
    let event: Value = serde_json::from_str(&encoded(Format::Eve, &icmp())).unwrap();
    assert_eq!((&event["icmp_type"], &event["proto"]), (&8.into(), &"ICMP".into()));
    assert_eq!((&event["tcp"], &event["vlan"]), (&Value::Null, &Value::Null));
    let event: Value = serde_json::from_str(&encoded(Format::Eve, &overflow())).unwrap();
    assert_eq!((&event["flow_id"], &event["src_ip"]), (&Value::Null, &Value::Null));
    assert_eq!(event["flowtap"]["dst_prefix_length"], 24);
}

/// Each column is some field's, by the words for it, or known to be of nothing that we count.
#[test]
fn the_schema_names_all_columns() {
    let text = encoded(Format::Zeek, &tcp_record());
    let names = text.lines().nth(6).unwrap().split('\t').skip(1);
    let fields = describe::fields();
    let said: BTreeSet<_> = fields
        .iter()
        .filter_map(|field| field.zeek)
        .flat_map(|names| names.split(", ").map(|name| name.split(' ').next().unwrap()))
        .collect();
    let unknown = ["local_orig", "local_resp", "missed_bytes", "tunnel_parents"];
    let columns: BTreeSet<_> = names.filter(|name| !unknown.contains(name)).collect();
    // Letters stand in brackets.
    let said: BTreeSet<_> = said.into_iter().filter(|name| !name.ends_with(')')).collect();
    let said: BTreeSet<_> = said.into_iter().filter(|name| name.len() > 1).collect();
    assert_eq!(said, columns);
}

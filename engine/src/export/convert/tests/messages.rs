//! Messages of IPFIX and NetFlow version 9, ours and others'.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

/// Bytes of numbers, each of so many.
fn bytes(numbers: &[(u64, usize)]) -> Vec<u8> {
    let of = |&(number, count): &(u64, usize)| number.to_be_bytes()[8 - count..].to_vec();
    numbers.iter().flat_map(of).collect()
}

fn set(number: u64, body: &[u8]) -> Vec<u8> {
    let mut set = bytes(&[(number, 2), (body.len() as u64 + 4, 2)]);
    set.extend(body);
    set
}

fn ipfix(sets: &[Vec<u8>]) -> Vec<u8> {
    let body = sets.concat();
    let mut message = bytes(&[(10, 2), (body.len() as u64 + 16, 2), (1_700_000_000, 4)]);
    message.extend(bytes(&[(0, 4), (7, 4)]));
    message.extend(body);
    message
}

/// Sent an hour after the device was started.
fn netflow(sets: &[Vec<u8>]) -> Vec<u8> {
    let header = [(9, 2), (1, 2), (3_600_000, 4), (1_700_000_000, 4), (0, 4), (7, 4)];
    [bytes(&header), sets.concat()].concat()
}

/// A template of elements and their lengths.
fn template(number: u64, fields: &[(u64, u64)]) -> Vec<u8> {
    let mut body = bytes(&[(number, 2), (fields.len() as u64, 2)]);
    fields.iter().for_each(|&(element, len)| body.extend(bytes(&[(element, 2), (len, 2)])));
    body
}

fn read(file: &[u8]) -> (Vec<Json>, Converted) {
    let folder = Folder::new();
    let (converted, path) = folder.convert(&[&folder.file("a.ipfix", file)], "out.jsonl");
    let lines = fs::read_to_string(path).unwrap_or_default();
    (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), converted)
}

const KEY: [(u64, u64); 5] = [(8, 4), (12, 4), (7, 2), (11, 2), (4, 1)];

fn key() -> Vec<(u64, usize)> {
    vec![(0xc000_0201, 4), (0xc000_0202, 4), (1_024, 2), (53, 2), (17, 1)]
}

#[test]
fn netflow_counts_time_from_the_start_of_the_device() {
    let fields = [&KEY[..], &[(2, 4), (1, 4), (22, 4), (21, 4), (5, 1), (10, 2), (13, 1)]].concat();
    let values = [(3, 4), (300, 4), (1_000, 4), (2_500, 4), (0xb8, 1), (9, 2), (24, 1)];
    let data = bytes(&[key(), values.to_vec()].concat());
    // A record, and padding up to four bytes.
    let data = [data.clone(), data, vec![0; 2]].concat();
    let file = netflow(&[set(0, &template(300, &fields)), set(300, &data)]);
    let (records, converted) = read(&file.repeat(2));
    assert_eq!(converted.errors, []);
    assert_eq!(converted.left_out[0].1, [("element 10".to_owned(), 4)].into());
    assert_eq!(records.len(), 4);
    assert_eq!(
        records[3],
        json!({
            "kind": "flow", "start": "2023-11-14T21:13:21.000000000Z",
            "end": "2023-11-14T21:13:22.500000000Z", "duration_ns": 1_500_000_000, "ip_version": 4,
            "protocol": 17, "src_ip": "192.0.2.1", "dst_ip": "192.0.2.2", "src_port": 1024,
            "dst_port": 53, "src_packets": 3, "src_bytes": 300, "src_dscp": 46,
            "community_id": "1:T7A8i/+vKgxK357yO3qrtwZAUug=",
        })
    );
}

#[test]
fn ipfix_of_others_has_lengths_enterprises_and_units_of_its_own() {
    let mut body = bytes(&[(256, 2), (10, 2)]);
    for (element, len) in KEY {
        body.extend(bytes(&[(element, 2), (len, 2)]));
    }
    // Reverse packets; another enterprise's; a name of any length; seconds; a VLAN.
    body.extend(bytes(&[(0x8002, 2), (8, 2), (29_305, 4), (0x8001, 2), (2, 2), (9, 4)]));
    body.extend(bytes(&[(82, 2), (65_535, 2), (150, 2), (4, 2), (58, 2), (2, 2)]));
    let mut data = bytes(&key());
    data.extend(bytes(&[(5, 8), (1, 2), (4, 1)]));
    data.extend(b"eth0");
    data.extend(bytes(&[(1_600_000_000, 4), (0x2064, 2)]));
    // What options say is not read.
    let options = [bytes(&[(400, 2), (2, 2), (1, 2)]), bytes(&[(149, 2), (4, 2), (41, 2), (8, 2)])];
    let sets = [set(2, &body), set(3, &options.concat()), set(400, &[0; 12]), set(256, &data)];
    let (records, converted) = read(&ipfix(&sets));
    assert_eq!(converted.errors, []);
    let left_out = [("element 1 of enterprise 9".to_owned(), 1), ("sets of options".to_owned(), 1)];
    assert_eq!(converted.left_out[0].1, left_out.into());
    assert_eq!(
        records,
        [json!({
            "kind": "flow", "interface": "eth0", "start": "2020-09-13T12:26:40.000000000Z",
            "ip_version": 4, "protocol": 17, "src_ip": "192.0.2.1", "dst_ip": "192.0.2.2",
            "src_port": 1024, "dst_port": 53, "vlan": [100], "dst_packets": 5,
            "community_id": "1:T7A8i/+vKgxK357yO3qrtwZAUug=",
        })]
    );
}

/// nfreplay gives all of them in every record.
#[test]
fn ports_and_types_are_of_protocols_that_have_them() {
    let of = |protocol: u64, more: &[(u64, u64)], values: &[(u64, usize)]| {
        let template = template(300, &[&KEY[..], more].concat());
        let key = [&key()[..4], &[(protocol, 1)], values].concat();
        let (records, _) = read(&netflow(&[set(0, &template), set(300, &bytes(&key))]));
        ["src_port", "dst_port", "icmp_type", "icmp_code"]
            .map(|name| records[0].get(name).and_then(Json::as_u64))
    };
    assert_eq!(of(6, &[(32, 2)], &[(0x0803, 2)]), [Some(1_024), Some(53), None, None]);
    assert_eq!(of(1, &[(32, 2)], &[(0x0803, 2)]), [None, None, Some(8), Some(3)]);
    assert_eq!(of(1, &[], &[]), [None, None, Some(0), Some(53)]);
}

/// Counts of what goes on (OUT_BYTES, OUT_PKTS) stand for those of what came, if there are none.
#[test]
fn counts_behind_a_router_are_better_than_none() {
    let counts = |fields: &[(u64, u64)], values: &[(u64, usize)]| {
        let template = template(300, &[&KEY[..], fields].concat());
        let data = bytes(&[&key()[..], values].concat());
        let (records, _) = read(&netflow(&[set(0, &template), set(300, &data)]));
        ["src_packets", "src_bytes"].map(|name| records[0][name].clone())
    };
    assert_eq!(counts(&[(24, 4), (23, 4)], &[(3, 4), (300, 4)]), [3, 300]);
    let both = [(23, 4), (1, 4), (2, 4), (24, 4)];
    assert_eq!(counts(&both, &[(300, 4), (200, 4), (2, 4), (3, 4)]), [2, 200]);
}

#[test]
fn damaged_messages_say_where() {
    let good = ipfix(&[set(2, &template(256, &KEY)), set(256, &bytes(&key()))]);
    for (wrong, cause) in [
        (vec![0, 5, 0, 0], "version 5"),
        (ipfix(&[])[..9].to_vec(), "it is cut"),
        (ipfix(&[vec![1, 0, 0, 3]]), "a set of 3 bytes"),
        (ipfix(&[vec![1, 0, 9, 9]]), "longer than its message"),
        (ipfix(&[set(2, &template(256, &[(8, 0)])), set(256, &[1])]), "has no bytes"),
        (ipfix(&[set(2, &bytes(&[(256, 2), (9, 2)]))]), "a template is cut"),
        (ipfix(&[set(2, &template(256, &[(8, 3)])), set(256, &[0; 3])]), "element 8: wrong"),
        (ipfix(&[set(2, &template(256, &[(82, 65_535)])), set(256, &[9, 1])]), "a record is cut"),
        (ipfix(&[type_information([0; 3]), set(400, &[1])]), "has no bytes"),
    ] {
        let (records, converted) = read(&[good.clone(), wrong].concat());
        let error = converted.errors.first().map(Error::to_string).unwrap_or_default();
        assert!(error.contains(cause) && error.contains("offset "), "{cause}: {error}");
        assert_eq!(records.len(), 1, "{cause}");
    }
    let (records, converted) = read(&ipfix(&[set(300, &[0; 8])]));
    assert_eq!((records.len(), converted.left_out[0].1["sets without a template"]), (0, 1));
}

/// What IPFIX has no element for is absent, and all else the same; and it goes there from lines as
/// from the engine.
#[test]
fn ours_come_back_as_far_as_there_are_elements() {
    let folder = Folder::new();
    let lines = encoded(Format::JsonLines, FeaturesSet::Basic);
    let there = folder.through(&folder.file("a.jsonl", &lines), "a.ipfix");
    let text = fs::read_to_string(folder.through(&there, "back.jsonl")).unwrap();
    let from_engine = folder.file("b.ipfix", encoded(Format::Ipfix, FeaturesSet::Basic));
    assert_eq!(fs::read_to_string(folder.through(&from_engine, "b.jsonl")).unwrap(), text);
    let records = |text: &str| -> Vec<serde_json::Map<String, Json>> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let id = |record: &serde_json::Map<String, Json>| record["dst_ip"].to_string();
    let (mut ours, mut back) = (records(std::str::from_utf8(&lines).unwrap()), records(&text));
    ours.sort_by_key(id);
    back.sort_by_key(id);
    assert_eq!(ours.len(), back.len());
    for (ours, back) in ours.iter().zip(&back) {
        for name in ["kind", "start", "end", "duration_ns", "src_bytes", "src_ip", "dst_ip"] {
            assert_eq!(ours.get(name), back.get(name), "{name}");
        }
        for (name, value) in back {
            assert_eq!(Some(value), ours.get(name), "{name}");
        }
        assert!(back.len() > 15, "{back:?}");
    }
}

/// Its counts, all 0, are left out of the file.
#[test]
fn a_responder_that_sent_nothing_comes_back_as_such() {
    let folder = Folder::new();
    let lines = encoded(Format::JsonLines, FeaturesSet::Basic);
    let tcp = str::from_utf8(&lines).unwrap().lines().next().unwrap();
    let mut tcp: serde_json::Map<String, Json> = serde_json::from_str(tcp).unwrap();
    let counts: Vec<String> =
        tcp.keys().filter(|name| name.starts_with("dst_")).map(String::clone).collect();
    for name in counts {
        match name.as_str() {
            "dst_ip" | "dst_port" | "dst_mac" | "dst_device" => {}
            "dst_ttl_min" | "dst_ttl_max" | "dst_dscp" => _ = tcp.remove(&name),
            _ => tcp[&name] = json!(0),
        }
    }
    let start = folder.file("a.jsonl", Json::Object(tcp.clone()).to_string());
    for pen in [None, Some(54_321)] {
        let there = folder.path("a.ipfix");
        let mut spec = SinkSpec::parse(there.to_str().unwrap()).unwrap();
        spec.options.pen = pen;
        assert_eq!(convert(std::slice::from_ref(&start), &[spec], None).unwrap().errors, []);
        let back = fs::read_to_string(folder.through(&there, "b.jsonl")).unwrap();
        let back: serde_json::Map<String, Json> = serde_json::from_str(&back).unwrap();
        let own = ["dst_fragments", "dst_retransmits", "dst_out_of_order", "dst_zero_windows"];
        for (name, value) in tcp.iter().filter(|(name, _)| name.starts_with("dst_")) {
            let is_there = pen.is_some() || !own.contains(&name.as_str()) && name != "dst_device";
            assert_eq!(back.get(name), Some(value).filter(|_| is_there), "{name}, {pen:?}");
        }
        assert_eq!(back["community_id"], tcp["community_id"]);
    }
}

/// Of ports it has to be known that there are none.
#[test]
fn community_ids_are_made_of_what_is_known() {
    let folder = Folder::new();
    let header = "src_ip,dst_ip,protocol,src_port,dst_port,icmp_type,icmp_code,kind";
    let [tcp, icmp, sctp, gre] = [
        "1:wCb3OG7yAFWelaUydu0D+125CLM=",
        "1:crodRHL2FEsHjbv3UkRrfbs4bZ0=",
        "1:EKt4MsxuyaE6mL+hmrEkQ9csDD8=",
        "1:+mluqz76jObh6dJLwnhX08n5St4=",
    ];
    let cases = [
        ("1.2.3.4,5.6.7.8,6,1122,3344,,,flow", Some(tcp)),
        ("5.6.7.8,1.2.3.4,6,3344,1122,,,", Some(tcp)),
        ("1.2.3.4,5.6.7.8,132,1122,3344,,,", Some(sctp)),
        ("1.2.3.4,5.6.7.8,1,,,8,0,", Some(icmp)),
        ("1.2.3.4,5.6.7.8,47,0,0,,,", Some(gre)),
        ("1.2.3.4,5.6.7.8,47,,,,,", Some(gre)),
        ("1.2.3.4,5.6.7.8,6,,,,,", None),
        ("1.2.3.4,5.6.7.8,17,0,0,,,", None),
        ("1.2.3.4,5.6.7.8,1,0,2048,,,", None),
        ("1.2.3.4,5.6.7.8,,1122,3344,,,", None),
        ("1.2.3.4,,6,1122,3344,,,", None),
        ("1.2.3.4,5.6.7.8,6,1122,3344,,,overflow", None),
    ];
    let lines: Vec<_> = cases.iter().map(|(line, _)| *line).collect();
    let start = folder.file("a.csv", format!("{header}\n{}\n", lines.join("\n")));
    let back = fs::read_to_string(folder.through(&start, "b.jsonl")).unwrap();
    assert_eq!(back.lines().count(), cases.len());
    for (line, (case, want)) in back.lines().zip(cases) {
        let record: Json = serde_json::from_str(line).unwrap();
        assert_eq!(record["community_id"].as_str(), want, "{case}");
    }
}

/// An options template of records about elements, of such lengths: an enterprise, a number, a name.
fn type_information(lens: [u64; 3]) -> Vec<u8> {
    let mut body = bytes(&[(400, 2), (3, 2), (2, 2)]);
    for (element, len) in [346, 303, 341].into_iter().zip(lens) {
        body.extend(bytes(&[(element, 2), (len, 2)]));
    }
    set(3, &body)
}

/// What was said first of an element counts, and padding behind that says nothing.
#[test]
fn own_elements_are_what_was_said_first() {
    let mut body = bytes(&[(256, 2), (6, 2)]);
    for (element, len) in KEY {
        body.extend(bytes(&[(element, 2), (len, 2)]));
    }
    body.extend(bytes(&[(0x8001, 2), (4, 2), (9, 4)]));
    let data = [bytes(&key()), b"name".to_vec()].concat();
    let told = |name: &[u8; 10]| [&bytes(&[(9, 4), (1, 2)]), &name[..], &[0; 3]].concat();
    let told = [told(b"flowtapSni"), told(b"flowtapJa4")].map(|told| set(400, &told));
    let file = [set(2, &body), type_information([4, 2, 10]), told.concat(), set(256, &data)];
    let (records, converted) = read(&ipfix(&file));
    assert_eq!(converted.errors, []);
    assert_eq!((&records[0]["sni"], records[0].get("ja4")), (&json!("name"), None));
}

/// The same as of the engine's own records.
#[test]
fn own_elements_are_made_of_lines_too() {
    let folder = Folder::new();
    let options = SinkOptions { pen: Some(54_321), ..SinkOptions::default() };
    let lines = encoded(Format::JsonLines, FeaturesSet::Basic);
    let path = folder.path("a.ipfix");
    let spec =
        SinkSpec { options: options.clone(), ..SinkSpec::parse(path.to_str().unwrap()).unwrap() };
    convert(&[folder.file("a.jsonl", &lines)], &[spec], None).unwrap();
    let (made, _) = read(&fs::read(path).unwrap());
    let (engines, _) = read(&encoded_with(Format::Ipfix, FeaturesSet::Basic, &options));
    assert_eq!(made, engines);
}

/// Under whatever number, as the file says what they are.
#[test]
fn own_elements_come_back_too() {
    let options = SinkOptions { pen: Some(54_321), ..SinkOptions::default() };
    let (back, converted) = read(&encoded_with(Format::Ipfix, FeaturesSet::Basic, &options));
    assert!(converted.left_out.is_empty(), "{:?}", converted.left_out);
    let lines = encoded(Format::JsonLines, FeaturesSet::Basic);
    let lines = str::from_utf8(&lines).unwrap().lines();
    let ours: Vec<Json> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut seen = HashSet::new();
    for back in &back {
        let is_it = |ours: &&Json| ours["dst_ip"] == back["dst_ip"];
        let ours = ours.iter().find(is_it).expect("one of ours");
        for (name, value) in back.as_object().unwrap() {
            assert_eq!(Some(value), ours.get(name), "{name}");
            seen.insert(name.as_str());
        }
    }
    for name in [
        "interface",
        "tcp_state",
        "rtt_server_ns",
        "rtt_client_ns",
        "src_retransmits",
        "dst_retransmits",
        "src_out_of_order",
        "dst_zero_windows",
        "src_fragments",
        "sni",
        "alpn",
        "ja4",
        "http_host",
        "http_user_agent",
        "name",
        "name_source",
        "tunnel",
        "part",
        "app",
        "app_source",
        "tls_version",
        "tls_cipher",
        "ech",
        "cert_name",
        "dst_device",
    ] {
        assert!(seen.contains(name), "no {name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever comes is read to an end. Of Arrow and Parquet that is for their own crates to see
    /// to.
    #[test]
    fn any_bytes_come_to_an_end(
        format in prop::sample::select(&[Format::JsonLines, Format::Csv, Format::Ipfix][..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut file = encoded(format, FeaturesSet::Basic);
        for (place, byte) in changes {
            let place = place.index(file.len());
            file[place] = byte;
        }
        read(&file);
    }
}

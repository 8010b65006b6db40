//! What carried a flow, in its record: hand-built packets in tunnels and behind MPLS labels.

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use crate::jumbo::pcap;
use crate::program::{flowtap_fed, json_lines};
use crate::{Outcome, ensure};

const VXLAN: u16 = 4_789;
const SYN: u8 = 2;
const SYN_ACK: u8 = 18;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("carried::records_say_what_carried_the_flow", records),
        Trial::test("carried::the_same_with_any_number_of_workers", workers),
        Trial::test("carried::more_than_there_is_room_for_is_counted", too_many),
        Trial::test(
            "carried::more_bearers_than_there_is_room_for_keep_their_ends",
            too_many_bearers,
        ),
        Trial::test("carried::more_tags_than_are_kept_are_counted", too_many_tags),
    ]
}

/// An IPv4 packet between 10.0.`net`.`from` and 10.0.`net`.`to`.
fn v4(net: u8, [from, to]: [u8; 2], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(20 + payload.len()).expect("it is short").to_be_bytes();
    let mut packet = vec![0x45, 0, high, low, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet.extend([10, 0, net, from, 10, 0, net, to]);
    packet.extend(payload);
    packet
}

/// The same of IPv6, between 2001:db8::`from` and 2001:db8::`to`.
fn v6([from, to]: [u8; 2], next_header: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(payload.len()).expect("it is short").to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, high, low, next_header, 64];
    for last in [from, to] {
        packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend(payload);
    packet
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).expect("it is short");
    [&[from, to, len, 0].map(u16::to_be_bytes).concat()[..], payload].concat()
}

fn tcp([from, to]: [u16; 2], flags: u8) -> Vec<u8> {
    let mut header = [from.to_be_bytes(), to.to_be_bytes()].concat();
    header.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
    header
}

fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    let macs = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    [&macs[..], &kind.to_be_bytes(), payload].concat()
}

fn vxlan(ends: [u8; 2], id: u8, packet: &[u8]) -> Vec<u8> {
    let header = [8, 0, 0, 0, 0, 0, id, 0];
    let frame = [&header[..], &ethernet(0x0800, packet)].concat();
    v4(1, ends, 17, &udp(9, VXLAN, &frame))
}

fn gre(ends: [u8; 2], key: u8, packet: &[u8]) -> Vec<u8> {
    v4(1, ends, 47, &[&[0x20, 0, 8, 0, 0, 0, 0, key][..], packet].concat())
}

fn mpls(labels: &[u16], inside: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (idx, label) in labels.iter().enumerate() {
        let is_bottom = idx + 1 == labels.len();
        bytes.extend((u32::from(*label) << 12 | u32::from(is_bottom) << 8 | 64).to_be_bytes());
    }
    bytes.extend(inside);
    ethernet(0x8847, &bytes)
}

/// Frames of flows in tunnels and behind labels.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    rows().into_iter().flat_map(|row| row.frames).collect()
}

/// A flow of its own for each row: ports tell them apart.
struct Row {
    name: &'static str,
    frames: Vec<Vec<u8>>,
    /// `tunnel`, `mpls`, and packets each way.
    want: [Value; 3],
}

fn rows() -> Vec<Row> {
    let ip = |packet: Vec<u8>| ethernet(0x0800, &packet);
    let there = |port: u16| v4(2, [1, 2], 17, &udp(port, 53, b"?"));
    let back = |port: u16| v4(2, [2, 1], 17, &udp(53, port, b"!"));
    let syn = |port: u16| v4(2, [1, 2], 6, &tcp([port, 80], SYN));
    let syn_ack = |port: u16| v4(2, [2, 1], 6, &tcp([80, port], SYN_ACK));
    let tunnel =
        |kind: &str, src: &str, dst: &str| json!({"type": kind, "src_ip": src, "dst_ip": dst});
    let with_id = |mut tunnel: Value, id: u32| {
        tunnel["id"] = id.into();
        tunnel
    };
    let row = |name, frames, tunnel, labels, packets| Row {
        name,
        frames,
        want: [tunnel, labels, packets],
    };
    let labelled = [&[0_u8; 4][..], &ethernet(0x0800, &there(1_008))].concat();
    vec![
        row(
            "none",
            vec![ip(there(1_000)), ip(back(1_000))],
            Value::Null,
            Value::Null,
            json!([1, 1]),
        ),
        row(
            "VXLAN",
            vec![ip(vxlan([1, 2], 5, &there(1_001))), ip(vxlan([2, 1], 5, &back(1_001)))],
            with_id(tunnel("vxlan", "10.0.1.1", "10.0.1.2"), 5),
            Value::Null,
            json!([1, 1]),
        ),
        row(
            "the responder first",
            vec![ip(vxlan([2, 1], 5, &syn_ack(1_002))), ip(vxlan([1, 2], 5, &syn(1_002)))],
            with_id(tunnel("vxlan", "10.0.1.1", "10.0.1.2"), 5),
            Value::Null,
            json!([1, 1]),
        ),
        row(
            "GRE with another key each way",
            vec![ip(gre([1, 2], 7, &there(1_003))), ip(gre([2, 1], 8, &back(1_003)))],
            with_id(tunnel("gre", "10.0.1.1", "10.0.1.2"), 7),
            Value::Null,
            json!([1, 1]),
        ),
        row(
            "another tunnel later",
            vec![ip(gre([1, 2], 7, &there(1_004))), ip(gre([1, 9], 7, &there(1_004)))],
            with_id(tunnel("gre", "10.0.1.1", "10.0.1.2"), 7),
            Value::Null,
            json!([2, 0]),
        ),
        row(
            "GRE in VXLAN",
            vec![ip(vxlan([1, 2], 5, &gre([3, 4], 7, &there(1_005))))],
            with_id(tunnel("gre", "10.0.1.3", "10.0.1.4"), 7),
            Value::Null,
            json!([1, 0]),
        ),
        row(
            "IPv4 in IPv6",
            vec![ethernet(0x86dd, &v6([1, 2], 4, &there(1_006)))],
            tunnel("ipip", "2001:db8::1", "2001:db8::2"),
            Value::Null,
            json!([1, 0]),
        ),
        row(
            "labels, others on the way back",
            vec![mpls(&[16, 17], &there(1_007)), mpls(&[18], &back(1_007))],
            Value::Null,
            json!([16, 17]),
            json!([1, 1]),
        ),
        row("a pseudowire", vec![mpls(&[19], &labelled)], Value::Null, json!([19]), json!([1, 0])),
        row(
            "labels around a tunnel",
            vec![mpls(&[20, 21], &vxlan([1, 2], 6, &there(1_009)))],
            with_id(tunnel("vxlan", "10.0.1.1", "10.0.1.2"), 6),
            json!([20, 21]),
            json!([1, 0]),
        ),
        row(
            "more labels than are kept",
            vec![mpls(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], &there(1_010))],
            Value::Null,
            json!([1, 2, 3, 4, 5, 6, 7, 8, 9]),
            json!([1, 0]),
        ),
    ]
}

fn read(more: &[&str]) -> Result<Vec<String>, Failed> {
    let frames: Vec<_> = rows().into_iter().flat_map(|row| row.frames).collect();
    let arguments = [&["read", "-q", "-o", "-"][..], more, &["-"]].concat();
    Ok(flowtap_fed(&arguments, &pcap(&frames)).expect(0)?.sorted_lines())
}

fn records() -> Outcome {
    let records = json_lines(&read(&[])?.join("\n"))?;
    ensure(records.len() == rows().len(), format!("{records:#?}"))?;
    for (row, port) in rows().iter().zip(1_000_u64..) {
        let record = records.iter().find(|record| record["src_port"] == port);
        let record = record.ok_or_else(|| format!("{}: no record", row.name))?;
        let packets = json!([record["src_packets"], record["dst_packets"]]);
        let got = [record["tunnel"].clone(), record["mpls"].clone(), packets];
        ensure(got == row.want, format!("{}: {record:#}", row.name))?;
    }
    // Closed tunnels: labels stay, and nothing was taken off.
    for record in json_lines(&read(&["--tunnels", "outer"])?.join("\n"))? {
        ensure(record["tunnel"].is_null(), format!("{record:#}"))?;
    }
    Ok(())
}

fn workers() -> Outcome {
    let one = read(&[])?;
    for workers in ["2", "4", "16"] {
        for dispatch in ["flow", "direction"] {
            let many = read(&["--workers", workers, "--dispatch", dispatch])?;
            ensure(many == one, format!("{workers} workers, by {dispatch}: {many:#?}"))?;
        }
    }
    Ok(())
}

/// As many tunnels as there are flows: those that find no room say their type only.
fn too_many() -> Outcome {
    const TUNNELS: u32 = 70_000;
    let folder = crate::program::folder();
    let stats = folder.path().join("stats.json").display().to_string();
    let frames: Vec<_> = (0..TUNNELS)
        .map(|tunnel| {
            let [_, a, b, c] = tunnel.to_be_bytes();
            let inner = v4(2, [b, c], 17, &udp(1_000 + u16::from(a), 53, b"?"));
            let mut outer = v4(0, [1, 2], 4, &inner);
            outer[13..16].copy_from_slice(&[a, b, c]);
            ethernet(0x0800, &outer)
        })
        .collect();
    let arguments = ["read", "-q", "--strict", "-o", "-", "--stats", &stats, "-"];
    let run = flowtap_fed(&arguments, &pcap(&frames)).expect(0)?;
    let (mut without, mut all) = (0, 0);
    for record in json_lines(&run.stdout)? {
        let tunnel = &record["tunnel"];
        ensure(tunnel["type"] == "ipip", format!("{record:#}"))?;
        without += u64::from(tunnel.get("src_ip").is_none());
        all += 1;
    }
    let ledger = crate::program::json_file(stats.as_ref())?;
    let counted = &ledger["packets"]["encapsulation_not_kept"];
    ensure(*counted == without, format!("{without} of {all} records miss it: {ledger}"))?;
    ensure(all == TUNNELS && without >= u64::from(TUNNELS) - 65_535, format!("{without} of {all}"))
}

/// One tunnel's bearers, more than there is room for: each record says between whom, and those that
/// have an identifier the right one.
fn too_many_bearers() -> Outcome {
    const BEARERS: u32 = 40_000;
    let folder = crate::program::folder();
    let stats = folder.path().join("stats.json").display().to_string();
    let frames: Vec<_> = (0..BEARERS)
        .map(|bearer| {
            let [_, a, b, c] = bearer.to_be_bytes();
            let inner = v4(2, [b, c], 17, &udp(1_000 + u16::from(a), 53, b"?"));
            let bearer = bearer.to_be_bytes();
            let header = [&[0x30, 0xff, 0, 0][..], &bearer, &inner].concat();
            ethernet(0x0800, &v4(0, [1, 2], 17, &udp(2_152, 2_152, &header)))
        })
        .collect();
    let arguments = ["read", "-q", "--strict", "-o", "-", "--stats", &stats, "-"];
    let run = flowtap_fed(&arguments, &pcap(&frames)).expect(0)?;
    let mut without = 0;
    for record in json_lines(&run.stdout)? {
        let tunnel = &record["tunnel"];
        ensure(tunnel["type"] == "gtpu" && tunnel["src_ip"].is_string(), format!("{record:#}"))?;
        let last = |end: &str| record[end].as_str()?.rsplit('.').next()?.parse::<u64>().ok();
        let port = record["src_port"].as_u64().map(|port| port - 1_000);
        let bearer = || Some(port? << 16 | last("src_ip")? << 8 | last("dst_ip")?);
        match tunnel.get("id") {
            Some(id) => ensure(id.as_u64() == bearer(), format!("{record:#}"))?,
            None => without += 1,
        }
    }
    let ledger = crate::program::json_file(stats.as_ref())?;
    let counted = &ledger["packets"]["encapsulation_not_kept"];
    ensure(*counted == without, format!("{without} records miss it: {ledger}"))?;
    let room = 65_536 / 2;
    ensure((u64::from(BEARERS) - room..20_000).contains(&without), format!("{without} without"))
}

/// Flows that only a third tag would tell apart are one, which has that of its first packet; the
/// ledger says so.
fn too_many_tags() -> Outcome {
    let folder = crate::program::folder();
    let stats = folder.path().join("stats.json").display().to_string();
    let tag = |id: u8, inside: &[u8]| [&[0, id, 0x81, 0][..], inside].concat();
    let frames = [7, 8].map(|third| {
        let packet = [&[0, third, 8, 0][..], &v4(1, [0, 1], 17, &udp(1_000, 53, b"?"))].concat();
        ethernet(0x8100, &tag(5, &tag(6, &packet)))
    });
    let arguments = ["read", "-q", "--strict", "-o", "-", "--stats", &stats, "-"];
    let run = flowtap_fed(&arguments, &pcap(&frames)).expect(0)?;
    let records = json_lines(&run.stdout)?;
    let packets = crate::program::json_file(stats.as_ref())?["packets"].clone();
    ensure(records.len() == 1 && records[0]["vlan"] == json!([5, 6, 7]), format!("{records:#?}"))?;
    ensure(packets["vlan_not_kept"] == 2, format!("{packets:#}"))
}

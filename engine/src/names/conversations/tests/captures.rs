//! The names in real captures, as independent truth has them, from the folder beside the project.
//! Only what [`wants`] says yes to is looked at, so that it is shown to be enough.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::*;
use crate::decode::{Decoder, Packet, TunnelPorts, Tunnels};
use crate::flow::KeyHasher;
use crate::names::interest::{follow_ups, wants};
use crate::source::pcap::CaptureFile;
use crate::sync::StopRequest;

/// Protocol, and both ends in order: what the truth knows a flow by.
type Ends = (u8, [(IpAddr, u16); 2]);

/// What was said in one capture.
#[derive(Default)]
struct Said {
    /// Server names and hosts by their flows.
    by_flow: HashMap<(Ends, &'static str), HashSet<String>>,
    /// Names with their addresses, the asked and the owner.
    addresses: HashSet<(String, IpAddr)>,
    /// NetBIOS names that were asked or given, and host names of DHCP.
    hosts: HashSet<String>,
}

/// How an `rx` thread chooses among the payloads of one direction.
#[derive(Default)]
struct Chosen {
    seen: u32,
    until: Option<u32>,
}

/// All captures; none, loudly, if they are not here.
fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures/pcap");
    let mut files: Vec<_> =
        folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    if files.is_empty() {
        let reason = "names in captures: cannot run: there is no folder of captures";
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        eprintln!("\n*** NOT RUN *** {reason}\n");
    }
    files
}

/// Where the payload stands in a frame. Addresses find the IP header, the last one that has them.
fn payload_range(frame: &[u8], packet: &Packet) -> Option<Range<usize>> {
    let octets = |direction| match packet.key.source_ip(direction) {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let ends = [octets(packet.direction), octets(packet.direction.opposite())].concat();
    let at = frame.windows(ends.len()).rposition(|window| window == ends)?;
    let header = at.checked_sub(if packet.key.ip_version() == 4 { 12 } else { 8 })?;
    let end = header + packet.bytes as usize;
    let start = end.checked_sub(packet.payload_bytes as usize)?;
    (start < frame.len()).then(|| start..end.min(frame.len()))
}

fn ends(key: &FlowKey) -> Ends {
    let end =
        |direction| (key.source_ip(direction), key.source_port(direction).unwrap_or_default());
    let mut ends = [end(FROM_CLIENT), end(FROM_SERVER)];
    ends.sort();
    (key.protocol(), ends)
}

fn said(file: &Path, tunnels: Tunnels) -> Said {
    let mut said = Said::default();
    let Ok(mut file) = CaptureFile::open(file, &StopRequest::default()) else { return said };
    let mut decoder = Decoder::new(KeyHasher::default()).with_tunnels(tunnels);
    let mut conversations = Conversations::default();
    let mut chosen: HashMap<_, Chosen> = HashMap::new();
    while let Ok(Some(frame)) = file.next_frame() {
        let Ok(packet) = decoder.decode(&frame) else { continue };
        let is_whole = packet.payload_bytes > 0 && !packet.later_fragment;
        let Some(range) = payload_range(frame.bytes, &packet).filter(|_| is_whole) else {
            continue;
        };
        let bytes = &frame.bytes[range];
        let (key, direction) = (packet.key, packet.direction);
        let Some(ports) = key.source_port(direction).zip(key.source_port(direction.opposite()))
        else {
            continue;
        };
        let flow = chosen.entry((key, direction)).or_default();
        let nth = flow.seen;
        flow.seen += 1;
        let is_tcp = key.protocol() == protocol::TCP;
        if !is_tcp || flow.until.is_none_or(|until| nth >= until) {
            if !wants(key.protocol(), [ports.0, ports.1], bytes, nth, false) {
                continue;
            }
            flow.until = Some(nth + 1 + u32::from(follow_ups(bytes)));
        }
        let sequence = packet.tcp.is_there().then(|| packet.tcp.payload_sequence());
        let payload = Payload {
            key,
            direction,
            timestamp: packet.timestamp,
            tick: packet.tick,
            ordinal: packet.ordinal,
            sequence,
            bytes,
            wire_bytes: packet.payload_bytes,
            ..Payload::NONE
        };
        let mut found = Vec::new();
        conversations.observe(&payload, &mut found);
        conversations.forget_idle(packet.tick);
        said.take(ends(&key), found);
    }
    said
}

impl Said {
    fn take(&mut self, flow: Ends, found: Vec<Finding>) {
        for finding in found {
            let (kind, name) = match finding {
                Finding::Flow(FlowFact::Sni(name)) => ("tls_sni", name),
                Finding::Flow(FlowFact::QuicSni(name)) => ("quic_sni", name),
                Finding::Flow(FlowFact::GquicSni(name)) => ("gquic_sni", name),
                Finding::Flow(FlowFact::HttpHost(name)) => ("http_host", name),
                Finding::Dns(message) => {
                    for answer in message.answers {
                        self.hosts.insert(answer.name.to_string());
                        let owner = answer.owner.unwrap_or_else(|| answer.name.clone());
                        for name in [answer.name, owner] {
                            self.addresses.insert((name.into(), answer.address));
                        }
                    }
                    self.hosts.extend(message.question.map(|(name, _)| name.into()));
                    continue;
                }
                Finding::Host(hint) => {
                    if let HostFact::DhcpName(name) = hint.fact {
                        self.hosts.insert(name.to_lowercase());
                    }
                    continue;
                }
                Finding::Flow(_) => continue,
            };
            self.by_flow.entry((flow, kind)).or_default().insert(name.to_lowercase());
        }
    }
}

/// All strings in a row's field, which may be one.
fn strings(row: &serde_json::Value, field: &str) -> Vec<String> {
    match &row[field] {
        serde_json::Value::Array(all) => {
            all.iter().filter_map(|one| Some(one.as_str()?.to_lowercase())).collect()
        }
        one => one.as_str().map(str::to_lowercase).into_iter().collect(),
    }
}

/// The ends of the flow with this number.
fn ends_of(flows: &serde_json::Value, number: Option<u64>) -> Option<Ends> {
    let row = flows.as_array()?.iter().find(|row| row["id"].as_u64() == number)?;
    let number = |field: &str| row[field].as_u64().and_then(|number| u16::try_from(number).ok());
    let end = |ip: &str, port: &str| Some((row[ip].as_str()?.parse().ok()?, number(port)?));
    let mut ends = [end("src", "sport")?, end("dst", "dport")?];
    ends.sort();
    Some((u8::try_from(number("proto")?).ok()?, ends))
}

/// A NetBIOS name as the truth writes it, `<XX>` for odd bytes and for the suffix, as we write it.
fn escaped(name: &str) -> String {
    let name = name.split(" (").next().unwrap_or_default();
    let name = name.rsplit_once('<').map_or(name, |(name, _)| name).replace(' ', r"\032");
    let mut parts = name.split('<');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        out += &format!("\\{:03}{}", u8::from_str_radix(hex, 16).unwrap(), &rest[1..]);
    }
    // Zeros that fill a name up are none of it.
    out.trim_end_matches(r"\000").to_owned()
}

/// What differs from the truth in one capture and view.
fn check(file: &Path, is_inner: bool) -> (usize, Vec<String>) {
    let tunnels = if is_inner { Tunnels::Inner(TunnelPorts::default()) } else { Tunnels::Outer };
    let said = said(file, tunnels);
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let truth = file.parent().unwrap().with_file_name("oracle").join(format!("{name}.json"));
    let truth: serde_json::Value = serde_json::from_slice(&std::fs::read(truth).unwrap()).unwrap();
    let has_inner = is_inner && truth.get("flows_inner").is_some();
    let (flows, number) = if has_inner { ("flows_inner", "inner_flow") } else { ("flows", "flow") };
    let flows = &truth[flows];
    // A tunnel that stays closed says nothing of what is in it, and nor does a packet of a tunnel
    // that is in fragments.
    let is_closed = |row: &serde_json::Value| {
        let inner = ends_of(&truth["flows_inner"], row["inner_flow"].as_u64());
        inner.is_some()
            && (name.contains("incl_fragmentation")
                || !is_inner && inner != ends_of(&truth["flows"], row["flow"].as_u64()))
    };
    let rows = |kind: &str| {
        let rows = truth["names"][kind].as_array().cloned().unwrap_or_default();
        rows.into_iter().filter(|row| !is_closed(row)).collect::<Vec<_>>()
    };
    let (mut held, mut differ) = (0, Vec::new());

    let mut by_flow: HashMap<(Ends, &str), HashSet<String>> = HashMap::new();
    for (kind, field) in
        [("tls_sni", "sni"), ("quic_sni", "sni"), ("gquic_sni", "sni"), ("http_host", "host")]
    {
        for row in rows(kind) {
            if let Some(flow) = ends_of(flows, row[number].as_u64())
                && strings(&row, "version") != ["0x0a0a0a0a"]
            {
                by_flow.entry((flow, kind)).or_default().extend(strings(&row, field));
            }
        }
    }
    for ((flow, kind), want) in by_flow {
        let got = said.by_flow.get(&(flow, kind)).cloned().unwrap_or_default();
        held += 1;
        if got.is_empty() || !got.is_subset(&want) {
            differ.push(format!("{kind} {flow:?}: got {got:?}, want one of {want:?}"));
        }
    }
    for row in rows("dns") {
        let address: IpAddr = row["addr"].as_str().unwrap().parse().unwrap();
        let name = row["name"].as_str().unwrap().to_lowercase().replace(' ', r"\032");
        held += 1;
        if row[number].is_u64() && !said.addresses.contains(&(name.clone(), address)) {
            differ.push(format!("dns {name} {address} in frame {}", row["frame"]));
        }
    }
    for (kind, field) in [("nbns", "name"), ("dhcp", "hostname")] {
        // Letters that encode no half of a byte are read as if they did by the truth.
        for row in rows(kind).iter().filter(|_| !name.contains("fuzz-2006")) {
            for host in strings(row, field) {
                held += 1;
                if (kind == "dhcp" || row[number].is_u64()) && !said.hosts.contains(&escaped(&host))
                {
                    differ.push(format!("{kind} {host} in frame {}", row["frame"]));
                }
            }
        }
    }
    (held, differ)
}

#[test]
fn names_are_those_of_the_truth() {
    let files = captures();
    let (mut names, mut wrong) = (0, Vec::new());
    for file in &files {
        for is_inner in [false, true] {
            let (held, differ) = check(file, is_inner);
            names += held;
            let name = file.file_name().unwrap().to_string_lossy();
            wrong.extend(
                differ.into_iter().map(|differ| format!("{name} [inner {is_inner}]: {differ}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{} of {names} names:\n{}", wrong.len(), wrong.join("\n"));
    assert!(files.is_empty() || names > 2_800, "{names}");
}

//! Suricata's EVE: `flow` events, one JSON object in each line
//! (<https://docs.suricata.io/en/latest/output/eve/eve-json-format.html#event-type-flow>).
//!
//! An event's `timestamp` is that of the flow's last packet. `flow_id` is the lower 53 bits of
//! ours, which every reader of JSON keeps. Bytes are those of frames, as Suricata counts them.
//! What Suricata has no name for stands in an object `flowtap`. What goes on in TLS is that, and has
//! been something else (`app_proto_orig`). Of an overflow aggregate there is
//! no `flow_id` and no source.

use std::net::IpAddr;

use crate::export::json::Object;
use crate::export::line::Line;
use crate::export::picked::{Picked, PickedSide};
use crate::export::schema::Visit;
use crate::export::{Encoder, InSet, Rows};
use crate::flow::record::tcp_flags;
use crate::time::{SECOND_NS, Timestamp};

/// Bits of a number that a reader of JSON keeps.
const FLOW_ID_BITS: u32 = 53;

/// TCP's flags by Suricata's names.
const FLAGS: [(u8, &str); 8] = [
    (tcp_flags::SYN, "syn"),
    (tcp_flags::FIN, "fin"),
    (tcp_flags::RST, "rst"),
    (0x08, "psh"),
    (tcp_flags::ACK, "ack"),
    (0x20, "urg"),
    (0x40, "ecn"),
    (0x80, "cwr"),
];

#[derive(Debug, Default)]
pub(crate) struct Eve {
    record: Picked,
    line: Line,
}

impl Encoder for Eve {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        rows.iter().for_each(|row| self.add(&row, out));
    }

    fn encode_values(&mut self, records: &[InSet<'_>], out: &mut Vec<u8>) {
        records.iter().for_each(|record| self.add(record, out));
    }
}

impl Eve {
    fn add(&mut self, record: &impl Visit, out: &mut Vec<u8>) {
        record.visit(&mut self.record);
        Object::write(&mut self.line, |event| write(&self.record, event));
        out.extend_from_slice(self.line.take());
        out.push(b'\n');
    }
}

fn write(record: &Picked, event: &mut Object<'_>) {
    let time = |event: &mut Object<'_>, name, time: Option<Timestamp>| {
        event.quoted(name, time, Line::time_to_micros);
    };
    let address = |event: &mut Object<'_>, name, address: Option<IpAddr>| {
        event.quoted(name, address, Line::address);
    };
    let (src, dst) = (&record.src, &record.dst);
    time(event, "timestamp", record.end);
    event.number("flow_id", record.flow_id.map(|id| id & ((1 << FLOW_ID_BITS) - 1)));
    event.text("in_iface", record.interface.get());
    event.plain("event_type", Some("flow"));
    event.member("vlan", record.vlan, |line, vlans| {
        line.bytes(b"[");
        line.vlans(vlans, b',');
        line.bytes(b"]");
    });
    address(event, "src_ip", src.ip);
    event.number("src_port", src.port);
    address(event, "dest_ip", dst.ip);
    event.number("dest_port", dst.port);
    event.plain("proto", record.protocol.map(protocol).as_deref());
    event.number("icmp_type", record.icmp_type);
    event.number("icmp_code", record.icmp_code);
    let in_tls = before_tls(record);
    event.plain("app_proto", in_tls.map_or_else(|| application(record), |_| Some("tls")));
    event.plain("app_proto_orig", in_tls);
    event.object("flow", true, |flow| {
        flow.number("pkts_toserver", src.packets);
        flow.number("pkts_toclient", dst.packets);
        flow.number("bytes_toserver", src.frame_bytes);
        flow.number("bytes_toclient", dst.frame_bytes);
        time(flow, "start", record.start);
        time(flow, "end", record.end);
        flow.number("age", age(record));
        flow.plain("state", state(record));
        flow.plain("reason", reason(record.end_reason.get()));
    });
    event.text("community_id", record.community_id.get());
    event.object("ether", src.mac.or(dst.mac).is_some(), |ether| {
        for (name, mac) in [("src_macs", src.mac), ("dest_macs", dst.mac)] {
            ether.member(name, mac, |line, mac| {
                line.bytes(b"[\"");
                line.mac(mac);
                line.bytes(b"\"]");
            });
        }
    });
    if let Some((to_server, to_client)) = src.tcp_flags.zip(dst.tcp_flags) {
        event.object("tcp", true, |tcp| write_tcp(record, to_server, to_client, tcp));
    }
    if let Some(tunnel) = record.tunnel {
        event.object("tunnel", true, |object| {
            object.plain("type", Some(tunnel.tunnel.kind.name()));
            address(object, "src_ip", tunnel.ends.map(|ends| ends[0]));
            address(object, "dest_ip", tunnel.ends.map(|ends| ends[1]));
            object.number("id", tunnel.tunnel.id);
        });
    }
    let tls = if record.is_quic() { "quic" } else { "tls" };
    event.object(tls, record.has_tls(), |tls| {
        tls.text("sni", record.sni.get());
        tls.text("ja4", record.ja4.get());
        // Of QUIC the version is QUIC's own, which is not kept.
        let version = record.tls_version.get().filter(|_| !record.is_quic());
        tls.text("version", version.map(tls_version));
        tls.text("subject", record.cert_subject.get());
    });
    event.object("http", record.has_http(), |http| {
        http.text("hostname", record.http_host.get());
        http.text("http_user_agent", record.http_user_agent.get());
    });
    event.object("flowtap", true, |ours| {
        ours.text("kind", record.kind.get());
        ours.number("part", record.part);
        ours.number("dst_prefix_length", record.dst_prefix_length);
        ours.text("end_reason", record.end_reason.get());
        ours.text("name", record.name.get());
        ours.text("name_source", record.name_source.get());
    });
}

fn write_tcp(record: &Picked, to_server: u64, to_client: u64, tcp: &mut Object<'_>) {
    let both = to_server | to_client;
    for (name, flags) in
        [("tcp_flags", both), ("tcp_flags_ts", to_server), ("tcp_flags_tc", to_client)]
    {
        tcp.plain(name, Some(&format!("{flags:02x}")));
    }
    for (flag, name) in FLAGS {
        let is_set = both & u64::from(flag) != 0;
        tcp.member(name, is_set.then_some(()), |line, ()| line.bytes(b"true"));
    }
    let has_syn = to_client & u64::from(tcp_flags::SYN) != 0;
    tcp.plain(
        "state",
        match record.tcp_state.get() {
            Some("established") => Some("established"),
            Some("closed" | "reset") => Some("closed"),
            Some("half_open") => Some(if has_syn { "syn_recv" } else { "syn_sent" }),
            // How far one got of which no beginning was seen is not known.
            _ => None,
        },
    );
}

/// Versions of TLS by Suricata's names; others as we have them.
fn tls_version(version: &str) -> &str {
    match version {
        "TLSv1.0" => "TLSv1",
        "TLSv1.1" => "TLS 1.1",
        "TLSv1.2" => "TLS 1.2",
        "TLSv1.3" => "TLS 1.3",
        other => other,
    }
}

/// Protocols by Suricata's names; others as three digits.
fn protocol(number: u64) -> String {
    match number {
        1 => "ICMP",
        2 => "IGMP",
        6 => "TCP",
        17 => "UDP",
        33 => "DCCP",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "IPv6-ICMP",
        132 => "SCTP",
        136 => "UDPLite",
        other => return format!("{other:03}"),
    }
    .to_owned()
}

/// What a flow spoke that went on in TLS.
fn before_tls(record: &Picked) -> Option<&'static str> {
    let app = application(record).filter(|_| record.has_tls());
    app.filter(|app| matches!(*app, "smtp" | "imap" | "pop3" | "ftp" | "http"))
}

/// What the flow itself has shown to speak. That Suricata has given up (`failed`) is not known.
fn application(record: &Picked) -> Option<&'static str> {
    /// By the names that Suricata shares with us, TLS apart.
    const SHARED: [&str; 9] = ["dns", "mdns", "dhcp", "ssh", "smtp", "imap", "pop3", "ftp", "http"];
    let is_shared = |name: &&&str| record.app_seen() == Some(**name);
    match record.app_seen() {
        _ if record.is_quic() => Some("quic"),
        Some("tls" | "https") => Some("tls"),
        Some("llmnr" | "nbns" | "dhcpv6" | "ssdp") => None,
        Some(_) => SHARED.iter().find(is_shared).copied(),
        // Of other programs' records what else they say.
        None if record.has_tls() => Some("tls"),
        None => record.has_http().then_some("http"),
    }
}

/// Seconds between those of the first and of the last packet.
fn age(record: &Picked) -> Option<u64> {
    let second = |time: Timestamp| time.div_euclid(SECOND_NS.cast_signed());
    Some(second(record.end?).abs_diff(second(record.start?)))
}

/// A connection by its handshake and end, others by whether both sides have sent.
fn state(record: &Picked) -> Option<&'static str> {
    let has_sent = |side: &PickedSide| side.packets.map(|packets| packets > 0);
    match record.tcp_state.get() {
        Some("closed" | "reset") => Some("closed"),
        Some("half_open") => Some("new"),
        Some(_) => Some("established"),
        None => {
            let both = has_sent(&record.src)? && has_sent(&record.dst)?;
            Some(if both { "established" } else { "new" })
        }
    }
}

/// Why the record was written. Of a flow that goes on Suricata writes none.
fn reason(end_reason: Option<&str>) -> Option<&'static str> {
    match end_reason? {
        "idle" | "end" => Some("timeout"),
        "forced" => Some("shutdown"),
        "resources" => Some("forced"),
        _ => None,
    }
}

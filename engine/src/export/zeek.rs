//! Zeek's `conn.log` (<https://docs.zeek.org/en/current/logs/conn.html>), as lines of text with its
//! header (<https://docs.zeek.org/en/current/log-formats.html>) and as JSON lines.
//!
//! The columns are Zeek's own; `community_id`, `vlan`, `inner_vlan`, `orig_l2_addr` and
//! `resp_l2_addr` as scripts that come with Zeek add them; and behind them `part`, `resp_name` and
//! `resp_name_source`, as ours. Of an overflow aggregate there is no `uid` and no originator.
//!
//! Text from the wire may aim at who opens the file: bytes that separate, end a line, or could do
//! something to a terminal stand as `\xHH`, as Zeek writes them.

mod state;

use std::fmt::Write as _;
use std::net::IpAddr;

use jiff::Timestamp as Moment;

use self::state::{conn_state, history};
use crate::export::json::Object;
use crate::export::line::{Line, is_harmful};
use crate::export::picked::Picked;
use crate::export::schema::Visit;
use crate::export::{Encoder, InSet, Rows};

/// Takes the columns of a line, in their order, each with Zeek's type.
trait Columns {
    /// Seconds: a `time` or an `interval`.
    fn seconds(&mut self, name: &'static str, kind: &'static str, ns: Option<i128>);
    /// A whole number: a `count`, an `int` or a `port`.
    fn number(&mut self, name: &'static str, kind: &'static str, value: Option<u64>);
    /// Text of ours.
    fn plain(&mut self, name: &'static str, kind: &'static str, value: Option<&str>);
    /// Text that may hold anything.
    fn text(&mut self, name: &'static str, value: Option<&str>);
    /// An address of the network layer.
    fn address(&mut self, name: &'static str, value: Option<IpAddr>);
    /// An address of the link layer.
    fn mac(&mut self, name: &'static str, value: Option<[u8; 6]>);
}

/// Gives all columns of a record.
#[inline(always)]
fn visit_columns(record: &Picked, to: &mut impl Columns) {
    let uid = record.flow_id.map(|id| format!("C{id:016x}"));
    let [orig, resp] = ports(record);
    let vlan = |place: usize| record.vlan.map(|vlans| vlans[place]).filter(|&vlan| vlan != 0);
    to.seconds("ts", "time", record.start.map(i128::from));
    to.plain("uid", "string", uid.as_deref());
    to.address("id.orig_h", record.src.ip);
    to.number("id.orig_p", "port", orig);
    to.address("id.resp_h", record.dst.ip);
    to.number("id.resp_p", "port", resp);
    to.plain("proto", "enum", record.protocol.map(transport));
    to.plain("service", "string", service(record));
    to.seconds("duration", "interval", record.duration_ns.map(i128::from));
    to.number("orig_bytes", "count", record.src.payload_bytes);
    to.number("resp_bytes", "count", record.dst.payload_bytes);
    to.plain("conn_state", "string", conn_state(record));
    // What is ours to say nothing of: which networks are local, what was missed, parents.
    to.plain("local_orig", "bool", None);
    to.plain("local_resp", "bool", None);
    to.number("missed_bytes", "count", None);
    to.plain("history", "string", history(record).as_deref());
    to.number("orig_pkts", "count", record.src.packets);
    to.number("orig_ip_bytes", "count", record.src.bytes);
    to.number("resp_pkts", "count", record.dst.packets);
    to.number("resp_ip_bytes", "count", record.dst.bytes);
    to.plain("tunnel_parents", "set[string]", None);
    to.number("ip_proto", "count", record.protocol);
    to.text("community_id", record.community_id.get());
    to.number("vlan", "int", vlan(0).map(u64::from));
    to.number("inner_vlan", "int", vlan(1).map(u64::from));
    to.mac("orig_l2_addr", record.src.mac);
    to.mac("resp_l2_addr", record.dst.mac);
    to.number("part", "count", record.part);
    to.text("resp_name", record.name.get());
    to.text("resp_name_source", record.name_source.get());
}

/// ICMP's type and code stand for ports, and 0 where there are none.
fn ports(record: &Picked) -> [Option<u64>; 2] {
    match (record.icmp_type, record.icmp_code) {
        _ if record.is_overflow() => [None; 2],
        (Some(kind), Some(code)) => [Some(kind), Some(code)],
        _ => [record.src.port, record.dst.port].map(|port| port.or(Some(0))),
    }
}

/// What Zeek tells apart; `ip_proto` has the number.
fn transport(protocol: u64) -> &'static str {
    match protocol {
        1 | 58 => "icmp",
        6 => "tcp",
        17 => "udp",
        _ => "unknown_transport",
    }
}

/// Of the services that Zeek names those that the flow has shown, in the order in which they came.
/// What Zeek has no analyzer for has none; name services are all DNS to it.
fn service(record: &Picked) -> Option<&'static str> {
    let or_in_tls = |plain, in_tls| Some(if record.has_tls() { in_tls } else { plain });
    match record.app_seen() {
        Some("dns" | "mdns" | "llmnr" | "nbns") => Some("dns"),
        Some("dhcp") => Some("dhcp"),
        Some("ssh") => Some("ssh"),
        Some("smtp") => or_in_tls("smtp", "smtp,ssl"),
        Some("imap") => or_in_tls("imap", "imap,ssl"),
        Some("pop3") => or_in_tls("pop3", "pop3,ssl"),
        Some("ftp") => or_in_tls("ftp", "ftp,ssl"),
        Some("http") => or_in_tls("http", "http,ssl"),
        Some("tls" | "https") => Some("ssl"),
        Some("dhcpv6" | "ssdp" | "gquic") => None,
        // Of other programs' records what else they say.
        _ if record.is_quic() => or_in_tls("quic", "quic,ssl"),
        _ if record.has_tls() => Some("ssl"),
        _ => record.has_http().then_some("http"),
    }
}

/// Lines with tabs between columns.
#[derive(Debug, Default)]
pub(crate) struct Zeek {
    record: Picked,
    line: Tsv,
}

impl Encoder for Zeek {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let mut header = Header::default();
        visit_columns(&Picked::default(), &mut header);
        let (names, kinds) = (header.names.join("\t"), header.kinds.join("\t"));
        let header = format!(
            "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n\
             #path\tconn\n#open\t{}\n#fields\t{names}\n#types\t{kinds}\n",
            now(),
        );
        out.extend_from_slice(header.as_bytes());
    }

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        rows.iter().for_each(|row| self.add(&row, out));
    }

    fn encode_values(&mut self, records: &[InSet<'_>], out: &mut Vec<u8>) {
        records.iter().for_each(|record| self.add(record, out));
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("#close\t{}\n", now()).as_bytes());
    }
}

impl Zeek {
    fn add(&mut self, record: &impl Visit, out: &mut Vec<u8>) {
        record.visit(&mut self.record);
        visit_columns(&self.record, &mut self.line);
        let line = self.line.0.take();
        // In the place of the last tab.
        out.extend_from_slice(&line[..line.len() - 1]);
        out.push(b'\n');
    }
}

/// As Zeek writes when a file was opened and closed; in UTC.
fn now() -> String {
    Moment::now().strftime("%Y-%m-%d-%H-%M-%S").to_string()
}

#[derive(Default)]
struct Header {
    names: Vec<&'static str>,
    kinds: Vec<&'static str>,
}

impl Header {
    fn add(&mut self, name: &'static str, kind: &'static str) {
        self.names.push(name);
        self.kinds.push(kind);
    }
}

impl Columns for Header {
    fn seconds(&mut self, name: &'static str, kind: &'static str, _: Option<i128>) {
        self.add(name, kind);
    }
    fn number(&mut self, name: &'static str, kind: &'static str, _: Option<u64>) {
        self.add(name, kind);
    }
    fn plain(&mut self, name: &'static str, kind: &'static str, _: Option<&str>) {
        self.add(name, kind);
    }
    fn text(&mut self, name: &'static str, _: Option<&str>) {
        self.add(name, "string");
    }
    fn address(&mut self, name: &'static str, _: Option<IpAddr>) {
        self.add(name, "addr");
    }
    fn mac(&mut self, name: &'static str, _: Option<[u8; 6]>) {
        self.add(name, "string");
    }
}

#[derive(Debug, Default)]
struct Tsv(Line);

impl Tsv {
    /// A column and what separates it from the next.
    #[inline(always)]
    fn column<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Line, T)) {
        match value {
            Some(value) => write(&mut self.0, value),
            None => self.0.bytes(b"-"),
        }
        self.0.bytes(b"\t");
    }
}

impl Columns for Tsv {
    fn seconds(&mut self, _: &'static str, _: &'static str, ns: Option<i128>) {
        self.column(ns, Line::seconds);
    }
    fn number(&mut self, _: &'static str, _: &'static str, value: Option<u64>) {
        self.column(value, Line::number);
    }
    fn plain(&mut self, _: &'static str, _: &'static str, value: Option<&str>) {
        self.column(value, |line, text| line.bytes(text.as_bytes()));
    }
    fn text(&mut self, _: &'static str, value: Option<&str>) {
        self.column(value, |line, text| line.bytes(escaped(text).as_bytes()));
    }
    fn address(&mut self, _: &'static str, value: Option<IpAddr>) {
        self.column(value, Line::address);
    }
    fn mac(&mut self, _: &'static str, value: Option<[u8; 6]>) {
        self.column(value, Line::mac);
    }
}

/// Text as it stands between tabs. What would read as an absent or an empty one does not.
fn escaped(text: &str) -> String {
    match text {
        "" => return "(empty)".to_owned(),
        "-" => return "\\x2d".to_owned(),
        "(empty)" => return "\\x28empty)".to_owned(),
        _ => {}
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '\\' && !is_harmful(character) {
            shown.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            write!(shown, "\\x{byte:02x}").expect("a string takes anything");
        }
    }
    shown
}

/// An object in each line, absent columns left out.
#[derive(Debug, Default)]
pub(crate) struct ZeekJson {
    record: Picked,
    line: Line,
}

impl Encoder for ZeekJson {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        rows.iter().for_each(|row| self.add(&row, out));
    }

    fn encode_values(&mut self, records: &[InSet<'_>], out: &mut Vec<u8>) {
        records.iter().for_each(|record| self.add(record, out));
    }
}

impl ZeekJson {
    fn add(&mut self, record: &impl Visit, out: &mut Vec<u8>) {
        record.visit(&mut self.record);
        Object::write(&mut self.line, |object| visit_columns(&self.record, object));
        out.extend_from_slice(self.line.take());
        out.push(b'\n');
    }
}

impl Columns for Object<'_> {
    fn seconds(&mut self, name: &'static str, _: &'static str, ns: Option<i128>) {
        self.member(name, ns, Line::seconds);
    }
    fn number(&mut self, name: &'static str, _: &'static str, value: Option<u64>) {
        Object::number(self, name, value);
    }
    fn plain(&mut self, name: &'static str, _: &'static str, value: Option<&str>) {
        Object::plain(self, name, value);
    }
    fn text(&mut self, name: &'static str, value: Option<&str>) {
        Object::text(self, name, value);
    }
    fn address(&mut self, name: &'static str, value: Option<IpAddr>) {
        self.quoted(name, value, Line::address);
    }
    fn mac(&mut self, name: &'static str, value: Option<[u8; 6]>) {
        self.quoted(name, value, Line::mac);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::schema::Fields;

    #[test]
    fn services_are_those_that_were_seen() {
        let of = |app, source, tls: Option<&'static str>| {
            let mut record = Picked { protocol: Some(6), ..Picked::default() };
            record.text("app", Some(app));
            record.text("app_source", Some(source));
            record.text("tls_version", tls);
            service(&record)
        };
        for (app, plain, in_tls) in [
            ("dns", Some("dns"), Some("dns")),
            ("nbns", Some("dns"), Some("dns")),
            ("dhcp", Some("dhcp"), Some("dhcp")),
            ("smtp", Some("smtp"), Some("smtp,ssl")),
            ("ftp", Some("ftp"), Some("ftp,ssl")),
            ("https", Some("ssl"), Some("ssl")),
            ("quic", Some("quic"), Some("quic,ssl")),
            ("gquic", None, None),
            ("ssdp", None, None),
        ] {
            let is = [None, Some("TLSv1.3")].map(|tls| of(app, "payload", tls));
            assert_eq!(is, [plain, in_tls], "{app}");
            assert_eq!(of(app, "port", None), None, "{app} by its port");
        }
        assert_eq!(of("imaps", "port", Some("TLSv1.3")), Some("ssl"));
    }
}

//! A table for people: one line per record, the columns that fit a terminal.

use std::io::Write as _;

use crate::export::line::{Line, harmless};
use crate::export::rebuild::rebuilt;
use crate::export::schema::{Row, Side};
use crate::export::{Encoder, InSet, Rows};

#[derive(Debug, Default)]
pub(crate) struct Table {
    line: Line,
}

impl Encoder for Table {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let written = writeln!(
            out,
            "{:<15} {:>10} {:<6} {:<34} {:<34} {:>15} {:>19} {:<11} {:<8} NAME",
            "START (UTC)",
            "DURATION",
            "PROTO",
            "SOURCE",
            "DESTINATION",
            "PACKETS",
            "BYTES",
            "STATE",
            "END",
        );
        written.expect("a vector takes anything");
    }

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        rows.iter().for_each(|row| self.line(&row, out));
    }

    fn encode_values(&mut self, records: &[InSet<'_>], out: &mut Vec<u8>) {
        rebuilt(records, |rows| self.encode(rows, out));
    }
}

impl Table {
    fn line(&mut self, row: &Row<'_>, out: &mut Vec<u8>) {
        let (start, duration) = match row.times() {
            Some((first, last)) => {
                self.line.time(first);
                // The time of day, to the microsecond.
                let day_time = String::from_utf8_lossy(&self.line.take()[11..26]).into_owned();
                (day_time, seconds(last.abs_diff(first)))
            }
            None => ("-".to_owned(), "-".to_owned()),
        };
        let (src, dst) = (row.side(Side::Src), row.side(Side::Dst));
        let name = row.name();
        let written = writeln!(
            out,
            "{start:<15} {duration:>10} {:<6} {:<34} {:<34} {:>15} {:>19} {:<11} {:<8} {}",
            protocol(row.record.key.protocol()),
            endpoint(row, Side::Src),
            endpoint(row, Side::Dst),
            format!("{}/{}", src.packets, dst.packets),
            format!("{}/{}", src.bytes, dst.bytes),
            row.tcp_state().unwrap_or_default(),
            row.end_reason().unwrap_or_default(),
            name.as_ref().map(|name| harmless(&name.name)).unwrap_or_default(),
        );
        written.expect("a vector takes anything");
    }
}

fn endpoint(row: &Row<'_>, side: Side) -> String {
    let address = row.address(side);
    match row.port(side) {
        Some(port) => std::net::SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    }
}

fn seconds(ns: u64) -> String {
    format!("{}.{:03}s", ns / 1_000_000_000, ns / 1_000_000 % 1_000)
}

fn protocol(number: u8) -> String {
    match number {
        1 => "ICMP",
        2 => "IGMP",
        6 => "TCP",
        17 => "UDP",
        33 => "DCCP",
        47 => "GRE",
        50 => "ESP",
        58 => "ICMPv6",
        132 => "SCTP",
        136 => "UDPLt",
        other => return other.to_string(),
    }
    .to_owned()
}

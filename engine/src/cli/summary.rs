//! The ledger in a few lines for people, on standard error.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use crate::flow::FlowRecord;
use crate::ledger::{InterfaceLedger, Ledger, Link};

/// Prints the ledger.
pub(crate) fn print(ledger: &Ledger) {
    // Nothing can be done if standard error is gone.
    let _ = std::io::stderr().lock().write_all(text(ledger).as_bytes());
}

/// Prints live flows with the most bytes.
pub(crate) fn print_busiest(records: &[FlowRecord]) {
    let mut text = String::new();
    for record in records {
        let way = record.initiator();
        let bytes = record.total.sides[0].bytes + record.total.sides[1].bytes;
        let (from, to) = (record.key.source_ip(way), record.key.source_ip(way.opposite()));
        let port = |way| record.key.source_port(way).map(|p| format!(" {p}")).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "  {bytes:>15} bytes  protocol {:<3} {from}{} > {to}{}",
            record.key.protocol(),
            port(way),
            port(way.opposite()),
        );
    }
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn text(ledger: &Ledger) -> String {
    let mut out = String::new();
    let packets = &ledger.packets;
    let seconds = ledger.wall_ns as f64 / 1e9;
    let rate = packets.delivered as f64 / seconds.max(1e-9);
    let mut line = |name: &str, text: String| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "  {name:<11}{text}");
    };
    line(
        "packets",
        format!(
            "{} in {seconds:.3} s ({}/s): {} in flows, {} in overflow{}, {} undecodable{}",
            packets.delivered,
            rounded(rate),
            packets.in_flows,
            packets.in_overflow,
            match packets.not_passed_on {
                0 => String::new(),
                count => format!(" ({count} as their core was too busy)"),
            },
            packets.undecodable.values().sum::<u64>(),
            causes(&packets.undecodable),
        ),
    );
    if packets.steps_back > 0 {
        let text = "steps back by more than 60 s, each taken for a gap as long in all flows";
        line("clock", format!("{} {text}", packets.steps_back));
    }
    for interface in &ledger.interfaces {
        let lost: u64 = interface.dropped.values().sum();
        let mut text = format!("seen {}", interface.seen);
        if let Some(nic) = interface.nic_rx {
            let _ = write!(text, " (NIC {nic})");
        }
        let _ = write!(
            text,
            ": {} delivered{}, {} passed on, {lost} lost{}",
            interface.delivered,
            left_out(interface),
            interface.passed,
            causes(&interface.dropped),
        );
        if interface.frames_above_mtu > 0 {
            let _ = write!(text, ", {} longer than the MTU", interface.frames_above_mtu);
        }
        text.push_str(&link_changes(interface));
        let _ = write!(text, "  [{}]", interface.name);
        line("interface", text);
    }
    let flows = &ledger.flows;
    line(
        "records",
        format!(
            "{} begun: {} exported, {} live, {} not sent{}{}",
            flows.created,
            flows.exported,
            flows.live,
            flows.not_sent.values().sum::<u64>(),
            causes(&flows.not_sent),
            spooled(ledger),
        ),
    );
    for sink in &ledger.sinks {
        line("sink", format!("{}: {} records, {} bytes", sink.name, sink.records, sink.bytes));
    }
    let residuals = ledger.residuals;
    line(
        "residuals",
        format!(
            "interface {}, packets {}, flows {}{}",
            residuals.interface,
            residuals.packets,
            residuals.flows,
            if ledger.balances() { ": everything adds up" } else { "" },
        ),
    );
    out
}

/// What is on disk for later, if there is anything.
fn spooled(ledger: &Ledger) -> String {
    let spooled: u64 = ledger.sinks.iter().map(|sink| sink.spooled).sum();
    if spooled > 0 { format!(", {spooled} spooled") } else { String::new() }
}

/// What the kernel left out because it was told to.
fn left_out(interface: &InterfaceLedger) -> String {
    let counts = [
        (interface.filtered, "filtered"),
        (interface.sampled_out, "sampled out"),
        (interface.shunted, "counted in the kernel"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    counts.map(|(count, why)| format!(", {count} {why}")).collect()
}

/// What has become of it, if anything has.
fn link_changes(interface: &InterfaceLedger) -> String {
    let Some(link) = interface.link else { return String::new() };
    let times = [
        (link.downs, "down"),
        (link.removals, "gone"),
        (link.releases, "let go"),
        (link.reopenings, "reopened"),
        (link.renames, "renamed"),
        (link.queue_changes, "given other queues"),
    ];
    let times = times.iter().filter(|(count, _)| *count > 0);
    let mut text: String = times.map(|(count, what)| format!(", {what} {count}x")).collect();
    text.push_str(match link.state {
        Link::Up => "",
        Link::Down => ", is down",
        Link::Gone => ", is gone",
        Link::Released => ", is let go",
    });
    text
}

/// ` (arp 3, lldp 1)`, or nothing if all are 0.
fn causes<K: std::fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    let counts = counts.iter().filter(|&(_, &count)| count > 0);
    let list: Vec<_> = counts.map(|(cause, count)| format!("{cause} {count}")).collect();
    if list.is_empty() { String::new() } else { format!(" ({})", list.join(", ")) }
}

fn rounded(rate: f64) -> String {
    match rate {
        r if r >= 1e6 => format!("{:.1} M", r / 1e6),
        r if r >= 1e3 => format!("{:.1} k", r / 1e3),
        r => format!("{r:.0}"),
    }
}

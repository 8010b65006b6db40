//! The ledger as Prometheus' text format
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>), for the
//! textfile collector of `node_exporter`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::export::SpoolAccount;
use crate::ledger::{Ledger, SinkLedger};

/// Families of samples, one after the other.
#[derive(Default)]
struct Text(String);

impl Text {
    /// A family of one kind, with its samples: labels and their values, and a number each.
    fn family<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&str; N],
        samples: impl IntoIterator<Item = ([&'a str; N], f64)>,
    ) {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP flowtap_{name} {help}\n# TYPE flowtap_{name} {kind}");
        // A file may be read twice, but a sample must stand once.
        let mut sums = BTreeMap::new();
        samples.into_iter().for_each(|(values, number)| *sums.entry(values).or_default() += number);
        let sums: BTreeMap<[&str; N], f64> = sums;
        for (values, number) in sums {
            let _ = write!(self.0, "flowtap_{name}");
            for (place, (label, value)) in labels.iter().zip(values).enumerate() {
                let before = if place == 0 { '{' } else { ',' };
                let _ = write!(self.0, "{before}{label}=\"{}\"", escaped(value));
            }
            let end = if N == 0 { "" } else { "}" };
            let _ = writeln!(self.0, "{end} {number}");
        }
    }

    /// A family of one sample.
    fn one(&mut self, name: &str, help: &str, number: f64) {
        self.family(name, help, [], [([], number)]);
    }
}

/// A label's value between its quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[expect(clippy::cast_precision_loss, reason = "the format's numbers are such")]
fn float(number: u64) -> f64 {
    number as f64
}

/// The ledger of a run.
pub(super) fn text(ledger: &Ledger) -> String {
    let mut text = Text::default();
    text.family(
        "info",
        "The version of flowtap.",
        ["version"],
        [([env!("CARGO_PKG_VERSION")], 1.0)],
    );
    interfaces(ledger, &mut text);
    packets(ledger, &mut text);
    records(ledger, &mut text);
    let residuals = &ledger.residuals;
    let of = [
        (["interface"], float(residuals.interface)),
        (["packets"], float(residuals.packets)),
        (["flows"], float(residuals.flows)),
    ];
    text.family("residual", "What does not add up.", ["step"], of);
    let seconds = |ns: u64| float(ns) / 1e9;
    text.one("complete", "Whether the run is over.", f64::from(u8::from(ledger.complete)));
    text.one("run_seconds", "Time since the start.", seconds(ledger.wall_ns));
    text.one("cpu_seconds_total", "Processor time of all threads.", seconds(ledger.cpu_ns));
    text.one("max_resident_bytes", "Largest resident memory.", float(ledger.max_rss_bytes));
    text.0
}

fn interfaces(ledger: &Ledger, text: &mut Text) {
    let all = &ledger.interfaces;
    let mut by_interface =
        |name: &str, help: &str, of: fn(&crate::ledger::InterfaceLedger) -> u64| {
            let samples = all.iter().map(|it| ([it.name.as_str()], float(of(it))));
            text.family(&format!("interface_{name}_packets_total"), help, ["interface"], samples);
        };
    by_interface("seen", "Packets that an interface or a file gave.", |it| it.seen);
    by_interface("passed", "Packets that went on to the host unseen.", |it| it.passed);
    by_interface("filtered", "Packets that the filter left out.", |it| it.filtered);
    by_interface("sampled_out", "Packets that sampling left out.", |it| it.sampled_out);
    by_interface("shunted", "Packets that the kernel counted.", |it| it.shunted);
    by_interface("delivered", "Packets that came to a decoder.", |it| it.delivered);
    let dropped = all.iter().flat_map(|it| {
        let by_cause = it.dropped.iter();
        by_cause.map(|(cause, &count)| ([it.name.as_str(), *cause], float(count)))
    });
    let help = "Packets that were lost, by cause.";
    text.family("interface_dropped_packets_total", help, ["interface", "cause"], dropped);
}

fn packets(ledger: &Ledger, text: &mut Text) {
    let packets = &ledger.packets;
    let delivered = float(packets.delivered);
    text.one("delivered_packets_total", "Packets that came to a decoder.", delivered);
    text.one("flow_packets_total", "Packets counted in flows.", float(packets.in_flows));
    let overflow = float(packets.in_overflow);
    text.one("overflow_packets_total", "Packets counted in overflow aggregates.", overflow);
    let undecodable = packets.undecodable.iter().map(|(cause, &count)| ([*cause], float(count)));
    let help = "Packets that cannot be counted in a flow, by cause.";
    text.family("undecodable_packets_total", help, ["cause"], undecodable);
}

fn records(ledger: &Ledger, text: &mut Text) {
    let flows = &ledger.flows;
    text.one("records_created_total", "Records begun.", float(flows.created));
    text.one("records_live", "Records of flows that go on.", float(flows.live));
    let not_sent = flows.not_sent.iter().map(|(sink_and_cause, &count)| {
        let parts = sink_and_cause.rsplit_once(": ").unwrap_or((sink_and_cause, ""));
        (parts.into(), float(count))
    });
    let help = "Records that a sink did not write, by cause.";
    text.family("sink_not_sent_records_total", help, ["sink", "cause"], not_sent);
    let mut by_sink = |name: &str, help: &str, of: fn(&SinkLedger) -> u64| {
        let samples = ledger.sinks.iter().map(|it| ([it.name.as_str()], float(of(it))));
        text.family(&format!("sink_{name}_total"), help, ["sink"], samples);
    };
    by_sink("records", "Records that a sink has written.", |it| it.records);
    by_sink("bytes", "Bytes that a sink has written.", |it| it.bytes);
    by_sink("errors", "Operations of a sink that failed.", |it| it.errors);
    by_sink("removed_files", "Finished files that were removed.", |it| it.removed_files);
    let mut by_spool = |name: &str, help: &str, of: fn(&SinkLedger, &SpoolAccount) -> u64| {
        let spools = ledger.sinks.iter().filter_map(|it| Some((it, it.spool.as_ref()?)));
        let samples = spools.map(|(it, spool)| ([it.name.as_str()], float(of(it, spool))));
        text.family(&format!("spool_{name}"), help, ["sink"], samples);
    };
    by_spool("records", "Records on disk, to be sent later.", |it, spool| it.spooled + spool.left);
    by_spool("bytes", "Bytes that they take.", |_, spool| spool.bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_quoted() {
        let mut text = Text::default();
        text.family("x_total", "Help.", ["a", "b"], [(["1\\2", "\"\n"], 3.0)]);
        text.one("y", "More.", 0.5);
        assert_eq!(
            text.0,
            "# HELP flowtap_x_total Help.\n# TYPE flowtap_x_total counter\n\
             flowtap_x_total{a=\"1\\\\2\",b=\"\\\"\\n\"} 3\n\
             # HELP flowtap_y More.\n# TYPE flowtap_y gauge\nflowtap_y 0.5\n"
        );
    }
}

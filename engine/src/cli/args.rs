//! The arguments, as clap reads them.

mod capture;

pub(crate) use capture::{CaptureArguments, Mode};

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::config::Options;
use crate::config::values::{
    parse_batch, parse_bytes, parse_datagram_bytes, parse_duration, parse_in_flight,
    parse_interval, parse_keep, parse_prefix, parse_spool_bytes, parse_timeout,
};
use crate::export::{Keep, SinkOptions, SpoolOptions, StreamOptions, TlsFiles};
use crate::host::tune::Tune;
use crate::limits::{
    DATAGRAM_BYTES, DEFAULT_MAX_FLOWS, DEFAULT_MAX_NAMES, SPOOL_BYTES, STREAM_IN_FLIGHT,
};
use crate::time::Tick;

/// Turns packets into flow records, and accounts for every one.
#[derive(Debug, Parser)]
#[command(name = "flowtap", version, about, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done; 1 done with loss under --strict, doctor: \
                        not ready; 2 failed.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read capture files: pcap and pcapng, also compressed with gzip or Zstandard.
    Read(ReadArguments),
    /// Capture live from network interfaces.
    Capture(CaptureArguments),
    /// Make a whole file of what was written of one that was never completed.
    Repair(RepairArguments),
    /// Show the devices that a run has kept: MAC address, vendor, name, addresses, when seen.
    Devices(DevicesArguments),
    /// Look at this machine and its interfaces: what a capture would find, and what mends it.
    Doctor(DoctorArguments),
    /// Convert files of records: JSON lines, CSV, Parquet, Arrow, IPFIX, NetFlow version 9.
    Convert(ConvertArguments),
    /// Show the fields of a record: name, type, unit, meaning; what IPFIX, Zeek and Suricata call
    /// it.
    Schema(SchemaArguments),
    /// Hold an interface's settings: started by `capture --tune`.
    #[command(hide = true, name = crate::cli::hold::COMMAND)]
    Hold(HoldArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "What an input does not know is absent. What it has and a record has no \
                        field for is counted and said. A file that breaks is converted up to \
                        there, and the exit code is 2.")]
pub(crate) struct ConvertArguments {
    /// Files of records, in this order; their first bytes say what they are, compressed or not. -
    /// is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where records go, as for read, but no collector. May be given several times. Without it:
    /// JSON lines on standard output.
    #[arg(short, long = "output", value_name = "SINK")]
    outputs: Vec<String>,
    /// What outputs have room for [default: what the first records have].
    #[arg(long, value_enum, value_name = "SET")]
    features_set: Option<FeaturesSet>,
    /// Begin another file when one has so many bytes (k, M, G: 1,000, and so on).
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    rotate_size: Option<u64>,
    /// IPFIX: give what has no element of IANA's as elements of this private enterprise number.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pen: Option<u32>,
    /// Say only what went wrong.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl ConvertArguments {
    pub(crate) fn options(&self) -> Options {
        let to_stdout = || vec!["-".to_owned()];
        Options {
            outputs: if self.outputs.is_empty() { to_stdout() } else { self.outputs.clone() },
            sink: SinkOptions {
                rotate_size: self.rotate_size,
                pen: self.pen,
                ..SinkOptions::default()
            },
            inputs: self.files.clone(),
            ..Options::default()
        }
    }

    pub(crate) fn features_set(&self) -> Option<crate::flow::FeaturesSet> {
        self.features_set.map(Into::into)
    }
}

#[derive(Debug, Args)]
pub(crate) struct RepairArguments {
    /// The file, whose name ends in .part or .part.1: it is read only. zeek:, zeek-json: or eve:
    /// may stand before it, as before the output's name.
    #[arg(value_name = "FILE.part")]
    pub(crate) part: PathBuf,
    /// The new file, of the same format; compressed as its name says. Without it: the name that
    /// FILE.part would have got.
    #[arg(short, long = "output", value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct DevicesArguments {
    /// What --devices has written.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The folder that --state named.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// How to show them.
    #[arg(long, value_enum, default_value_t = SchemaFormat::Markdown)]
    pub(crate) format: SchemaFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaFormat {
    /// A table.
    Markdown,
    /// An array of objects.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct HoldArguments {
    /// The interface; several times for several.
    #[arg(long = "interface", required = true)]
    pub(crate) interfaces: Vec<String>,
    /// As `capture` was given it.
    #[arg(long, default_value = "")]
    pub(crate) tune: Tune,
}

#[derive(Debug, Args)]
pub(crate) struct ReadArguments {
    /// Capture files, read in this order; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Which worker gets a packet.
    #[arg(long, value_enum, default_value_t = Dispatch::Flow, value_name = "HOW")]
    pub(crate) dispatch: Dispatch,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Interface to look at in full; may be given several times. Without it: all, in short.
    #[arg(short, long = "interface", value_name = "IF")]
    pub(crate) interfaces: Vec<String>,
    /// Print facts and verdicts as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Set back what a capture with --tune that was killed has left changed, and look at nothing.
    #[arg(long, conflicts_with = "json")]
    pub(crate) restore: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dispatch {
    /// The one that counts its flow.
    Flow,
    /// For each direction of a flow another one, which passes it on: as queues of a network
    /// card do. The records are the same.
    Direction,
}

impl From<Dispatch> for crate::engine::Dispatch {
    fn from(dispatch: Dispatch) -> Self {
        match dispatch {
            Dispatch::Flow => Self::Flow,
            Dispatch::Direction => Self::Direction,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tunnels {
    /// The innermost IP header makes the flow.
    Inner,
    /// The outermost IP header makes the flow.
    Outer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FeaturesSet {
    /// Counts, times and flags.
    Basic,
    /// These, and per direction minimum, maximum, mean, standard deviation and a histogram of
    /// packet lengths and of times between packets, in JSON lines, CSV, Parquet and Arrow. Takes
    /// 256 bytes more for each of --max-flows, and 1.7 times the time to count a packet.
    Extended,
}

impl From<FeaturesSet> for crate::flow::FeaturesSet {
    fn from(set: FeaturesSet) -> Self {
        match set {
            FeaturesSet::Basic => Self::Basic,
            FeaturesSet::Extended => Self::Extended,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("kept").multiple(true))]
pub(crate) struct Common {
    /// Where records go: a file ending in .parquet or .arrow; in .jsonl, .csv, .ipfix or .log
    /// (Zeek's conn.log), with .zst or .gz if you like; zeek:NAME, zeek-json:NAME, eve:NAME
    /// (Suricata) whatever the ending; - for JSON lines on standard output; a collector:
    /// ipfix+tcp://HOST:PORT, ipfix+tls://HOST:PORT, ipfix+udp://HOST:PORT,
    /// netflow9+udp://HOST:PORT; or a stream of NATS JetStream: nats://HOST:PORT/SUBJECT,
    /// nats+tls://HOST:PORT/SUBJECT, where {host} and {interface} may stand in SUBJECT. May be
    /// given several times. Without it: a table on a terminal, JSON lines otherwise.
    #[arg(short, long = "output", value_name = "SINK")]
    outputs: Vec<String>,
    /// Where transactions of name services go (DNS, mDNS, LLMNR, NetBIOS), each with its question,
    /// its answers and how long they took: a file ending in .jsonl or .csv, with .zst or .gz if
    /// you like; - for JSON lines on standard output; or nats://HOST:PORT/SUBJECT. --rotate and
    /// --rotate-size hold for it too.
    #[arg(long, value_name = "FILE")]
    dns_log: Option<String>,
    /// Parquet and Arrow files: write what has gathered at least every so often.
    #[arg(long, value_name = "DUR", value_parser = parse_duration, default_value = "10s")]
    checkpoint: Duration,
    /// Files: begin another one so often, when the clock is at a multiple of it.
    #[arg(long, value_name = "DUR", value_parser = parse_interval)]
    rotate: Option<Duration>,
    /// Files: begin another one when one has so many bytes (k, M, G: 1,000, and so on).
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    rotate_size: Option<u64>,
    /// Files by a pattern with a date: when one is complete, remove the oldest if all that the
    /// pattern made have more bytes (10GB), or older ones (7d). May be given for both.
    #[arg(long, value_name = "BYTES|AGE", value_parser = parse_keep)]
    keep: Vec<Keep>,
    /// Collectors: a record for each direction of a flow, and none for both.
    #[arg(long)]
    uniflow: bool,
    /// IPFIX: give names, tunnels, the interface, and what else has no element of IANA's, as
    /// elements of this private enterprise number, and say what they are (RFC 5610).
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pen: Option<u32>,
    /// Collectors and NATS over TLS: trust the authorities whose certificates are in this file
    /// (PEM), and no others. Without it those that the system trusts.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Collectors and NATS over TLS: show this certificate (PEM, with those between it and an
    /// authority).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Collectors and NATS over TLS: the certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// NATS: who we are is in this file: one of nsc's (.creds), or lines with user: NAME and
    /// password: TEXT, with token: TEXT, or with nkey: SEED.
    #[arg(long, value_name = "FILE")]
    nats_creds: Option<PathBuf>,
    /// NATS: put up to N records into a message, one JSON object per line.
    #[arg(long, value_name = "N", value_parser = parse_batch, default_value = "1")]
    nats_batch: usize,
    /// NATS: publish up to N messages before the first of them is acknowledged.
    #[arg(long, value_name = "N", value_parser = parse_in_flight, default_value_t = STREAM_IN_FLIGHT)]
    nats_in_flight: usize,
    /// Collectors over UDP: send messages of up to so many bytes [default: 1400].
    #[arg(long, value_name = "BYTES", value_parser = parse_datagram_bytes)]
    datagram_bytes: Option<usize>,
    /// Collectors: keep on disk, in a folder of its own in this one, what one that is away cannot be
    /// sent; it is sent when it is back, if need be by the next run.
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// The most bytes on disk for one collector; then the oldest records make room (k, M, G)
    /// [default: 1 GiB].
    #[arg(long, value_name = "BYTES", value_parser = parse_spool_bytes, requires = "spool")]
    spool_size: Option<u64>,
    /// End flows that had no packet for so long: 500ms, 15s, 5m, 1h, off. Unless given: 60s,
    /// 30s for UDP and ICMP, 10s for TCP handshakes that do not finish.
    #[arg(long, value_name = "DUR", value_parser = parse_timeout)]
    idle_timeout: Option<Tick>,
    /// Cut records of flows that go on for so long [default: 30m].
    #[arg(long, value_name = "DUR", value_parser = parse_timeout)]
    active_timeout: Option<Tick>,
    /// Which IP header makes the flow.
    #[arg(long, value_enum, default_value_t = Tunnels::Inner)]
    tunnels: Tunnels,
    /// Look for VXLAN behind this UDP port as well as 4789; up to three.
    #[arg(long = "vxlan-port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    vxlan_ports: Vec<u16>,
    /// Flow-table workers [default: 1 for read; one per receive queue for capture, and no more
    /// than processors where it observes]. capture: rings of each interface that is observed.
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Room for so many flows, all workers together.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_FLOWS)]
    max_flows: usize,
    /// What is kept of each flow.
    #[arg(long, value_enum, default_value_t = FeaturesSet::Basic, value_name = "SET")]
    features_set: FeaturesSet,
    /// Learn names from what is on the wire, and give them to records.
    #[arg(long, value_enum, default_value_t = Switch::On, value_name = "SWITCH")]
    names: Switch,
    /// Keep so many flows that said a name, and so many answers of name services.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_NAMES)]
    max_names: usize,
    /// Hosts with addresses in this prefix are local devices too, beside those with private and
    /// link-local ones; may be given several times.
    #[arg(long = "local", value_name = "PREFIX", value_parser = parse_prefix)]
    locals: Vec<IpNet>,
    /// Where the IEEE's registries of vendors are, oui.csv and more, as Debian's package ieee-data
    /// has them [default: /usr/share/ieee-data, if it is there].
    #[arg(long, value_name = "DIR")]
    oui: Option<PathBuf>,
    /// Write the devices that were seen to this file, as JSON lines, at the end, and at USR1.
    #[arg(long, value_name = "FILE", group = "kept")]
    pub(crate) devices: Option<PathBuf>,
    /// Keep devices from run to run in this folder, which is made if it is not there.
    #[arg(long, value_name = "DIR", group = "kept")]
    pub(crate) state: Option<PathBuf>,
    /// Count only packets that this expression accepts, as tcpdump takes it (pcap-filter(7)):
    /// 'tcp port 443 and not net 10.0.0.0/8'. Needs libpcap.
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// The same expression from a file. capture reads it again at HUP, and has what it says then
    /// take over while packets come.
    #[arg(long, value_name = "FILE", conflicts_with = "filter")]
    pub(crate) filter_file: Option<PathBuf>,
    /// Write the ledger to this file at the end: as JSON, or as Prometheus' text if its name ends
    /// in .prom, for node_exporter's textfile collector. Or statistics of intervals: sums in lines
    /// if it ends in .jsonl or .csv, histograms if it ends in .hlog (HdrHistogram's log), with
    /// .zst or .gz if you like. May be given several times.
    #[arg(long, value_name = "FILE", group = "kept")]
    pub(crate) stats: Vec<PathBuf>,
    /// Write the ledger and the devices also every so often; and how long an interval of statistics
    /// is [default: 10s].
    #[arg(long, value_name = "DUR", value_parser = parse_duration, requires = "kept")]
    pub(crate) stats_interval: Option<Duration>,
    /// Statistics of intervals: give so many names and so many talkers, those with the most bytes
    /// [default: 10].
    #[arg(long, value_name = "N", requires = "stats")]
    top: Option<usize>,
    /// Stop after so long.
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Stop after so many packets, those that --filter rejects included; capture: soon after.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Exit with 1 if anything was lost or does not add up.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Say only what went wrong.
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more.
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

impl Common {
    pub(crate) fn learns_names(&self) -> bool {
        self.names == Switch::On
    }

    /// Whether records go to a terminal, where nothing else should.
    pub(crate) fn writes_to_terminal(&self) -> bool {
        let mut outputs = self.outputs.iter().chain(&self.dns_log);
        let to_stdout = self.outputs.is_empty() || outputs.any(|output| output == "-");
        to_stdout && std::io::stdout().is_terminal()
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            outputs: self.outputs.clone(),
            dns_log: self.dns_log.clone(),
            sink: SinkOptions {
                checkpoint: self.checkpoint,
                rotate: self.rotate,
                rotate_size: self.rotate_size,
                keep: Keep {
                    bytes: self.keep.iter().filter_map(|keep| keep.bytes).min(),
                    age: self.keep.iter().filter_map(|keep| keep.age).min(),
                },
                uniflow: self.uniflow,
                pen: self.pen,
                tls: TlsFiles {
                    ca: self.tls_ca.clone(),
                    cert: self.tls_cert.clone(),
                    key: self.tls_key.clone(),
                },
                stream: StreamOptions {
                    batch: self.nats_batch,
                    in_flight: self.nats_in_flight,
                    credentials: self.nats_creds.clone(),
                },
                datagram_bytes: self.datagram_bytes.unwrap_or(DATAGRAM_BYTES),
                spool: self.spool.as_ref().map(|folder| SpoolOptions {
                    folder: folder.clone(),
                    bytes: self.spool_size.unwrap_or(SPOOL_BYTES),
                }),
            },
            inputs: Vec::new(),
            dispatch: Default::default(),
            stats: self.stats.clone(),
            stats_interval: self.stats_interval,
            top: self.top,
            idle_timeout: self.idle_timeout,
            active_timeout: self.active_timeout,
            workers: self.workers,
            max_flows: self.max_flows,
            features_set: self.features_set.into(),
            learns_names: self.learns_names(),
            max_names: self.max_names,
            locals: self.locals.clone(),
            oui: self.oui.clone(),
            devices: self.devices.clone(),
            state: self.state.clone(),
            opens_tunnels: self.tunnels == Tunnels::Inner,
            vxlan_ports: self.vxlan_ports.clone(),
            filter: self.filter.clone(),
            filter_file: self.filter_file.clone(),
            count: self.count,
            duration: self.duration,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}

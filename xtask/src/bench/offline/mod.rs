//! `cargo xtask bench offline`: from a capture file to a flow file, as a whole process. Every
//! meter takes its turn in every round; results are held against the truth before a time counts.

mod meter;
mod peers;
pub(super) mod result;
mod walk;

use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use meter::{Case, Meter};
use result::{Offline, Run, Series};

use super::document;
use super::form::Form;
use super::ipfix::Sums;
use super::machine::Machine;
use super::report::{Measured, Report};
use super::usage::measure;

/// How much to run, and where.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    form: Form,
    /// Without peers
    #[arg(long)]
    alone: bool,
    /// Only these meters, by the names in the tables
    #[arg(long, value_name = "NAME", value_delimiter = ';')]
    only: Vec<String>,
    /// Rounds, in each of which every meter runs once
    #[arg(long)]
    rounds: Option<usize>,
    /// Another seed makes other traffic
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// A capture to run on.
struct Kind {
    name: &'static str,
    /// What it is.
    about: &'static str,
    /// In the short form.
    packets: u64,
    flows: u64,
    /// About what a packet takes in the file.
    packet_bytes: u64,
}

const CAPTURES: [Kind; 4] = [
    Kind {
        name: "imix",
        about: "frames of 60, 590 and 1,514 bytes, 7 : 4 : 1, all flows alike",
        packets: 1_000_000,
        flows: 100_000,
        packet_bytes: 380,
    },
    Kind {
        name: "small64",
        about: "frames of 60 bytes, all flows alike",
        packets: 2_000_000,
        flows: 10_000,
        packet_bytes: 80,
    },
    Kind {
        name: "scan",
        about: "one-packet flows beside a thousand long ones",
        packets: 1_000_000,
        flows: 500_000,
        packet_bytes: 110,
    },
    Kind {
        name: "web",
        about: "sessions of TLS: 5 % of packets are of DNS, 5 % of handshakes; 1 % have two VLAN \
                tags, which of the peers only tshark looks behind",
        packets: 1_050_000,
        flows: 30_000,
        packet_bytes: 900,
    },
];

/// The most that a meter writes for a flow, in bytes: JSON lines.
const FLOW_BYTES: u64 = 600;

/// How much larger captures of the long form are, and smaller those of the small one.
const FACTOR: u64 = 10;

/// A meter that takes longer, in seconds, runs once and no more.
const PATIENCE_S: f64 = 15.0;

pub(super) use walk::{Args as WalkArgs, run as walk};

pub(super) fn run(args: &Args) -> Result<(), String> {
    Report::expect(&args.form.output)?;
    let machine = Machine::here();
    let flowtap = args.form.build().flowtap()?;
    let (mut meters, missing) = meter::all(&flowtap);
    if args.alone {
        meters.retain(Meter::is_ours_or_ceiling);
    }
    if !args.only.is_empty() {
        meters.retain(|meter| args.only.iter().any(|name| name == meter.name));
    }
    for meter in &meters {
        eprintln!("bench: {} ({})", meter.name, meter.version());
    }
    eprintln!("bench: not here: {}", missing.join(", "));
    let folder = args.form.work_folder()?;
    let size =
        |n| if args.form.long { n * FACTOR } else { n / if args.form.small { FACTOR } else { 1 } };
    let by_size = if args.form.long { 5 } else { 3 };
    let rounds = args.rounds.unwrap_or(if args.form.small { 1 } else { by_size });
    let room = |kind: Kind| size(kind.packets * kind.packet_bytes + kind.flows * FLOW_BYTES);
    folder.expect_room(CAPTURES.map(room).into_iter().max().unwrap_or(0))?;
    let mut found = Offline {
        seed: args.seed,
        rounds,
        timeouts_s: meter::TIMEOUTS,
        versions: meters.iter().map(|meter| (meter.name.to_owned(), meter.version())).collect(),
        missing: missing.into_iter().map(str::to_owned).collect(),
        series: Vec::new(),
    };
    for Kind { name, about, packets, flows, .. } in CAPTURES {
        let (packets, flows) = (size(packets), size(flows));
        let capture = Capture::make(&folder.0, name, packets, flows, args.seed)?;
        let (runs, reasons) = take_turns(&meters, &capture, &folder.0, rounds, flows)?;
        fs::remove_file(&capture.path).map_err(|error| error.to_string())?;
        let one = Series {
            capture: name.to_owned(),
            about: about.to_owned(),
            packets,
            flows,
            capture_bytes: capture.file_bytes,
            runs,
            reasons,
        };
        println!("{}: {}\n", one.capture, one.about());
        println!("{}", document::text(&[one.table()]));
        found.series.push(one);
        // What comes later may fail.
        let found = Measured::on(machine.clone(), found.clone());
        Report::change(&args.form.output, |report| report.offline = Some(found))?;
    }
    Ok(())
}

/// A capture file and its truth.
struct Capture {
    path: PathBuf,
    file_bytes: u64,
    packets: u64,
    flows: u64,
    /// By IP length.
    bytes: u64,
    frame_bytes: u64,
}

impl Capture {
    fn make(folder: &Path, mix: &str, packets: u64, flows: u64, seed: u64) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|e| format!("create {}: {e}", folder.display()))?;
        let path = folder.join(format!("{mix}.pcap"));
        let made = crate::r#gen::write(mix, packets, flows, seed, &path)?;
        let file_bytes = fs::metadata(&path).map_err(|error| error.to_string())?.len();
        let (packets, bytes, frame_bytes) = made;
        Ok(Self { path, file_bytes, packets, flows, bytes, frame_bytes })
    }

    /// What is wrong with a result; empty if nothing is. Of ours each flow is one record.
    fn check(&self, sums: &Sums, is_ours: bool) -> String {
        if is_ours && sums.records != 0 && sums.records != self.flows {
            return format!("wrong: {} records of {} flows", sums.records, self.flows);
        }
        if sums.packets != self.packets {
            return format!("wrong: {} packets of {}", sums.packets, self.packets);
        }
        if sums.bytes == self.bytes || sums.bytes == self.frame_bytes {
            return String::new();
        }
        if sums.bytes == 0 {
            return "bytes not looked at".into();
        }
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let off = (sums.bytes as f64 / self.bytes as f64 - 1.0) * 100.0;
        format!("bytes {off:+.1} %")
    }
}

/// Why a meter has no result, by its name.
type Reasons = BTreeMap<String, String>;

/// Runs all meters by turns.
fn take_turns(
    meters: &[Meter],
    capture: &Capture,
    folder: &Path,
    rounds: usize,
    flows: u64,
) -> Result<(Vec<Run>, Reasons), String> {
    let mut runs = Vec::new();
    let mut reasons = Reasons::new();
    for meter in meters.iter().filter(|meter| capture.packets > meter.most_packets) {
        let most = format!("not asked for more than {} packets", meter.most_packets);
        reasons.insert(meter.name.to_owned(), most);
    }
    let mut no_more: Vec<&str> = Vec::new();
    for round in 0..rounds {
        for turn in 0..meters.len() {
            let meter = &meters[(turn + round) % meters.len()];
            if no_more.contains(&meter.name) || capture.packets > meter.most_packets {
                continue;
            }
            match run_once(meter, capture, folder, flows) {
                Ok(run) if meter.is_ours() && !run.wrong.is_empty() => {
                    return Err(format!("{}: {}", meter.name, run.wrong));
                }
                Ok(run) => {
                    if run.usage.wall_s > PATIENCE_S && !meter.is_ours() {
                        no_more.push(meter.name);
                    }
                    runs.push(run);
                }
                Err(error) if meter.is_ours() => return Err(error),
                Err(error) => {
                    eprintln!("bench: {}: {error}", meter.name);
                    reasons.insert(meter.name.to_owned(), meter.without_paths(&error, folder));
                    no_more.push(meter.name);
                }
            }
        }
    }
    Ok((runs, reasons))
}

fn run_once(meter: &Meter, capture: &Capture, folder: &Path, flows: u64) -> Result<Run, String> {
    let own = folder.join("run");
    let failed = |error: std::io::Error| format!("{}: {error}", own.display());
    let _ = fs::remove_dir_all(&own);
    fs::create_dir_all(&own).map_err(failed)?;
    // What is sent there is dropped once the socket is full.
    let collector = UdpSocket::bind("127.0.0.1:0").map_err(failed)?;
    let port = collector.local_addr().map_err(failed)?.port();
    let case = Case { capture: &capture.path, folder: &own, flows, collector: port };
    let mut command = vec![meter.program.display().to_string()];
    command.extend((meter.args)(&case));
    let (usage, said) = measure(&command, meter.cpus, &own)?;
    let sums = (meter.sums)(&case, &said)?;
    let shown = command.join(" ").replace(&capture.path.display().to_string(), "CAPTURE");
    Ok(Run {
        meter: meter.name.to_owned(),
        is_ours: meter.is_ours(),
        command: meter.without_paths(&shown, folder),
        writes: meter.writes.to_owned(),
        cpus: meter.cpus.to_owned(),
        usage,
        records: sums.records,
        wrong: capture.check(&sums, meter.is_ours()),
    })
}

impl Meter {
    fn is_ours(&self) -> bool {
        self.name.starts_with(meter::OURS)
    }

    fn is_ours_or_ceiling(&self) -> bool {
        self.is_ours() || self.name == meter::CEILING
    }

    /// As it would be said on any machine.
    fn without_paths(&self, text: &str, folder: &Path) -> String {
        let program = self.program.display().to_string();
        let text = text.replace(&program, self.name_of_program());
        text.replace(&folder.display().to_string(), "FOLDER")
    }

    fn name_of_program(&self) -> &str {
        self.program.file_name().and_then(|name| name.to_str()).unwrap_or(self.name)
    }
}

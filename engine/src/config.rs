//! From what the user typed to what the engine is told: durations, numbers, sinks.

mod heeded;

use std::io::IsTerminal;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use jiff::SignedDuration;

use crate::decode::{TunnelPorts, Tunnels, VXLAN_PORTS};
use crate::devices::vendors::VENDORS_FOLDER;
use crate::devices::{DevicesSetup, LocalNetworks, Vendors};
use crate::engine::{Dispatch, IntervalsSettings, Settings};
use crate::error::{Error, Result};
use crate::export::{Format, Keep, SinkOptions, SinkSpec, Target, devices};
use crate::filter::Filter;
use crate::flow::{FeaturesSet, Timeouts};
use crate::limits::{
    DATAGRAM_BYTES_BOUNDS, DEFAULT_INTERVAL, DEFAULT_TOP, INTERVAL_KEYS, MAX_CORES, MAX_FLOWS,
    MAX_NAMES, MAX_QUEUE_FRAMES, MIN_INTERVAL, MIN_QUEUE_FRAMES, SPOOL_BYTES_LEAST,
    STREAM_BATCH_BOUNDS, STREAM_IN_FLIGHT_BOUNDS,
};
use crate::sync::Arc;
use crate::time::Tick;

/// A duration on the command line: `500ms`, `15s`, `5m`, `1h`.
///
/// # Errors
/// A text for the user, if it is none, is negative, or does not fit.
pub fn parse_duration(text: &str) -> std::result::Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration; write 500ms, 15s, 5m or 1h");
    let duration: SignedDuration = text.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from(duration).map_err(|_| wrong())?;
    // All times of the engine are nanoseconds in 64 bits.
    match u64::try_from(duration.as_nanos()) {
        Ok(_) => Ok(duration),
        Err(_) => Err(format!("'{text}' is too long; 500 years are the most")),
    }
}

/// A timeout: a duration, or `off` for never.
///
/// # Errors
/// As [`parse_duration`].
pub fn parse_timeout(text: &str) -> std::result::Result<Tick, String> {
    if text == "off" {
        return Ok(Timeouts::NEVER);
    }
    let duration = parse_duration(text).map_err(|wrong| format!("{wrong}, or off"))?;
    Tick::try_from(duration.as_nanos()).map_err(|_| format!("'{text}' is too long; write off"))
}

/// Frames of a receive queue: a power of two within bounds.
///
/// # Errors
/// A text for the user, if it is not.
pub fn parse_ring_frames(text: &str) -> std::result::Result<u32, String> {
    let bounds = MIN_QUEUE_FRAMES..=MAX_QUEUE_FRAMES;
    let is_right = |frames: &u32| frames.is_power_of_two() && bounds.contains(frames);
    text.parse().ok().filter(is_right).ok_or_else(|| {
        format!("'{text}' is not a power of two from {MIN_QUEUE_FRAMES} to {MAX_QUEUE_FRAMES}")
    })
}

/// A duration that something is done over and over after: not 0.
///
/// # Errors
/// As [`parse_duration`].
pub fn parse_interval(text: &str) -> std::result::Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err(format!("'{text}' is no time at all")),
        interval => Ok(interval),
    }
}

/// A number of bytes: `500`, `20k`, `100M`, `1G`.
///
/// # Errors
/// A text for the user, if it is none, or 0.
pub fn parse_bytes(text: &str) -> std::result::Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((end, 'k')) => (&text[..end], 1_000),
        Some((end, 'M')) => (&text[..end], 1_000_000),
        Some((end, 'G')) => (&text[..end], 1_000_000_000),
        _ => (text, 1),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let wrong = || format!("'{text}' is not a number of bytes; write 500k, 100M or 1G");
    bytes.filter(|&bytes| bytes > 0).ok_or_else(wrong)
}

/// Bytes of a spool: a number of bytes that is large enough.
///
/// # Errors
/// A text for the user, if it is none, or too small.
pub fn parse_spool_bytes(text: &str) -> std::result::Result<u64, String> {
    match parse_bytes(text)? {
        bytes if bytes >= SPOOL_BYTES_LEAST => Ok(bytes),
        _ => {
            Err(format!("'{text}' is too little; {} M is the least", SPOOL_BYTES_LEAST / 1_000_000))
        }
    }
}

/// What is kept of finished files: a number of bytes, `500M`, `10GB`, or an age, `12h`, `7d`.
///
/// # Errors
/// A text for the user, if it is neither.
pub fn parse_keep(text: &str) -> std::result::Result<Keep, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let age = match days.and_then(|days| days.checked_mul(24)) {
        Some(hours) => parse_interval(&format!("{hours}h")),
        None => parse_interval(text),
    };
    let bytes = parse_bytes(text.strip_suffix('B').unwrap_or(text));
    match (age, bytes) {
        (Ok(age), _) => Ok(Keep { age: Some(age), bytes: None }),
        (_, Ok(bytes)) => Ok(Keep { bytes: Some(bytes), age: None }),
        _ => Err(format!("'{text}' is neither bytes nor an age; write 500M, 10GB, 12h or 7d")),
    }
}

/// Bytes of a datagram, within bounds.
///
/// # Errors
/// A text for the user, if it is not.
pub fn parse_datagram_bytes(text: &str) -> std::result::Result<usize, String> {
    parse_within(text, DATAGRAM_BYTES_BOUNDS)
}

/// Records in a message to a broker, within bounds.
///
/// # Errors
/// A text for the user, if it is not.
pub fn parse_batch(text: &str) -> std::result::Result<usize, String> {
    parse_within(text, STREAM_BATCH_BOUNDS)
}

/// Messages to a broker that may be under way, within bounds.
///
/// # Errors
/// A text for the user, if it is not.
pub fn parse_in_flight(text: &str) -> std::result::Result<usize, String> {
    parse_within(text, STREAM_IN_FLIGHT_BOUNDS)
}

fn parse_within(text: &str, bounds: RangeInclusive<usize>) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(|| {
        format!("'{text}' is not a number from {} to {}", bounds.start(), bounds.end())
    })
}

/// A prefix of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address.
///
/// # Errors
/// A text for the user, if it is none.
pub fn parse_prefix(text: &str) -> std::result::Result<IpNet, String> {
    let prefix = text.parse::<IpNet>().map(|prefix| prefix.trunc());
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    prefix.or_else(|_| address()).map_err(|_| {
        format!("'{text}' is no prefix; write 192.0.2.0/24, 2001:db8::/32, or one address")
    })
}

/// The file in a folder of `--state` that devices are kept in.
#[must_use]
pub fn state_file(folder: &Path) -> PathBuf {
    folder.join("devices.jsonl")
}

/// What both `read` and `capture` are told.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Arguments of `-o`.
    pub outputs: Vec<String>,
    /// Argument of `--dns-log`, if given.
    pub dns_log: Option<String>,
    /// What is asked of all of them.
    pub sink: SinkOptions,
    /// Files that are read, which nothing may be written to.
    pub inputs: Vec<PathBuf>,
    /// Where the ledger and statistics of intervals go.
    pub stats: Vec<PathBuf>,
    /// How long an interval of statistics is, if given.
    pub stats_interval: Option<Duration>,
    /// Names and talkers of an interval that have lines, if given.
    pub top: Option<usize>,
    /// Idle timeout, if given.
    pub idle_timeout: Option<Tick>,
    /// Active timeout, if given.
    pub active_timeout: Option<Tick>,
    /// Workers, if given.
    pub workers: Option<usize>,
    /// Which worker gets a packet.
    pub dispatch: Dispatch,
    /// Flow-table slots.
    pub max_flows: usize,
    /// What is kept of flows.
    pub features_set: FeaturesSet,
    /// Whether names are learned.
    pub learns_names: bool,
    /// Names that are kept.
    pub max_names: usize,
    /// Prefixes whose hosts are local devices.
    pub locals: Vec<IpNet>,
    /// Where the registries of vendors are, if that is given.
    pub oui: Option<PathBuf>,
    /// Where devices are written.
    pub devices: Option<PathBuf>,
    /// Where they are kept from run to run.
    pub state: Option<PathBuf>,
    /// Whether the innermost IP header makes the flow, and not the outermost.
    pub opens_tunnels: bool,
    /// UDP ports of VXLAN beside its own.
    pub vxlan_ports: Vec<u16>,
    /// A pcap-filter expression, if given.
    pub filter: Option<String>,
    /// Stop after so many packets.
    pub count: Option<u64>,
    /// Stop after so long.
    pub duration: Option<Duration>,
}

impl Options {
    /// Settings for the engine.
    ///
    /// # Errors
    /// If an option is out of range, the filter is none, or two sinks would write the same file.
    pub fn settings(&self) -> Result<Settings> {
        let workers = self.workers.unwrap_or(1);
        if !(1..=MAX_CORES).contains(&workers) {
            return Err(Error::new(format!("--workers {workers}"), "out of range")
                .advise(format!("give a number from 1 to {MAX_CORES}")));
        }
        if !(workers..=MAX_FLOWS).contains(&self.max_flows) {
            return Err(Error::new(format!("--max-flows {}", self.max_flows), "out of range")
                .advise(format!("give a number from the number of workers to {MAX_FLOWS}")));
        }
        if self.learns_names && !(1..=MAX_NAMES).contains(&self.max_names) {
            return Err(Error::new(format!("--max-names {}", self.max_names), "out of range")
                .advise(format!("give a number from 1 to {MAX_NAMES}, or --names off")));
        }
        let AllSinks { records: sinks, dns_log, intervals } = self.sinks()?;
        Ok(Settings {
            timeouts: Timeouts::new(self.idle_timeout, self.active_timeout),
            workers: self.workers,
            dispatch: self.dispatch,
            merges: 1,
            max_flows: self.max_flows,
            features_set: self.features_set,
            max_names: self.learns_names.then_some(self.max_names),
            devices: self.devices()?,
            sinks,
            dns_log,
            intervals: self.intervals(intervals)?,
            tunnels: self.tunnels()?,
            filter: self.filter()?.map(Arc::new),
            count: self.count,
            duration: self.duration,
        })
    }

    fn intervals(&self, sinks: Vec<SinkSpec>) -> Result<IntervalsSettings> {
        let top = self.top.unwrap_or(DEFAULT_TOP);
        if top > INTERVAL_KEYS {
            return Err(Error::new(format!("--top {top}"), "out of range")
                .advise(format!("give a number up to {INTERVAL_KEYS}")));
        }
        let every = self.stats_interval.unwrap_or(DEFAULT_INTERVAL);
        if !sinks.is_empty() && every < MIN_INTERVAL {
            let cause = format!("{every:?} is too short for statistics of intervals");
            return Err(Error::new("--stats-interval", cause)
                .advise(format!("give {MIN_INTERVAL:?} or more")));
        }
        Ok(IntervalsSettings { every, top, sinks })
    }

    /// Which of `--stats` are for the ledger.
    ///
    /// # Errors
    /// If one is neither for that nor for statistics of intervals.
    pub fn ledger_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for path in &self.stats {
            if SinkSpec::parse_intervals(path)?.is_some() {
                continue;
            }
            if path.extension().is_some_and(|ending| ending == "gz" || ending == "zst") {
                let cause = "the ledger is not compressed";
                return Err(Error::new(format!("--stats {}", path.display()), cause).advise(
                    "use a name that ends in .json or .prom; or for statistics of intervals in \
                     .jsonl, .csv or .hlog, with .zst or .gz if you like",
                ));
            }
            files.push(path.clone());
        }
        Ok(files)
    }

    fn tunnels(&self) -> Result<Tunnels> {
        let ports = TunnelPorts::with_vxlan(&self.vxlan_ports).ok_or_else(|| {
            Error::new("--vxlan-port", format!("given {} times", self.vxlan_ports.len()))
                .advise(format!("name up to {VXLAN_PORTS} ports beside its own"))
        })?;
        if !self.opens_tunnels && !self.vxlan_ports.is_empty() {
            return Err(Error::new("--vxlan-port", "tunnels stay closed with --tunnels outer")
                .advise("leave one of them out"));
        }
        Ok(if self.opens_tunnels { Tunnels::Inner(ports) } else { Tunnels::Outer })
    }

    /// What is known of devices before: where names are learned.
    fn devices(&self) -> Result<DevicesSetup> {
        if !self.learns_names {
            let given = [
                ("--devices", self.devices.is_some()),
                ("--state", self.state.is_some()),
                ("--local", !self.locals.is_empty()),
                ("--oui", self.oui.is_some()),
            ];
            return match given.into_iter().find(|(_, is_given)| *is_given) {
                Some((option, _)) => Err(Error::new(option, "devices are learned with names")
                    .advise("leave out --names off, or this")),
                None => Ok(DevicesSetup::default()),
            };
        }
        let vendors = match &self.oui {
            Some(folder) => Vendors::read(folder)?,
            // What nobody has asked for does not stop a run.
            None => Vendors::read(Path::new(VENDORS_FOLDER)).unwrap_or_default(),
        };
        if let Some(folder) = self.oui.as_ref().filter(|_| vendors.is_empty()) {
            return Err(Error::new(format!("read {}", folder.display()), "no vendor is in it")
                .advise("give --oui a folder with the IEEE's oui.csv"));
        }
        let kept = self.state.as_deref().map(state_file).filter(|file| file.exists());
        Ok(DevicesSetup {
            networks: Arc::new(LocalNetworks::with(self.locals.clone())),
            vendors: Arc::new(vendors),
            known: kept.map_or(Ok(Vec::new()), |file| devices::read(&file))?.into(),
        })
    }

    fn filter(&self) -> Result<Option<Filter>> {
        self.filter.as_deref().map(Filter::new).transpose()
    }

    /// Sinks of records, of transactions of name services, and of statistics of intervals.
    ///
    /// # Errors
    /// If one is none that is known, or would write what is given twice or read.
    pub(crate) fn sinks(&self) -> Result<AllSinks> {
        let mut sinks: Vec<_> = if self.outputs.is_empty() {
            let terminal = std::io::stdout().is_terminal();
            let format = if terminal { Format::Table } else { Format::JsonLines };
            vec![SinkSpec::stdout(format)]
        } else {
            self.outputs.iter().map(|output| SinkSpec::parse(output)).collect::<Result<_>>()?
        };
        let mut dns_log = self.dns_log.as_deref().map(SinkSpec::parse_dns_log).transpose()?;
        if dns_log.is_some() && !self.learns_names {
            return Err(Error::new("--dns-log", "nothing is read of name services")
                .advise("leave --names off out"));
        }
        let intervals = self.stats.iter().map(|path| SinkSpec::parse_intervals(path));
        let mut intervals: Vec<_> =
            intervals.filter_map(Result::transpose).collect::<Result<_>>()?;
        let all = sinks.iter_mut().chain(&mut dns_log).chain(&mut intervals);
        all.for_each(|sink| sink.options = self.sink.clone());
        let all = || sinks.iter().chain(&dns_log).chain(&intervals);
        all().try_for_each(|sink| match &sink.target {
            Target::File(path) => self.sink.keep.check(path),
            _ => Ok(()),
        })?;
        heeded::check(&self.sink, all())?;
        let outputs = all().map(|sink| match &sink.target {
            Target::Stdout => PathBuf::from("-"),
            Target::File(path) => path.clone(),
            Target::Collector(endpoint) => endpoint.to_string().into(),
            Target::Stream(address) => address.to_string().into(),
        });
        let mut taken: Vec<PathBuf> = self.inputs.iter().map(|input| true_name(input)).collect();
        // An input may be read twice, and standard input is not what standard output is.
        taken.retain(|input| input != Path::new("-"));
        let state = self.state.as_deref().map(state_file);
        let kept = self.ledger_files()?.into_iter().chain(self.devices.clone()).chain(state);
        for path in outputs.chain(kept) {
            let name = true_name(&path);
            if taken.contains(&name) {
                return Err(Error::new(
                    format!("output {}", path.display()),
                    "given twice, or is read",
                )
                .advise("give each output a name of its own"));
            }
            taken.push(name);
        }
        Ok(AllSinks { records: sinks, dns_log, intervals })
    }
}

/// All sinks, by what they are for.
pub(crate) struct AllSinks {
    pub(crate) records: Vec<SinkSpec>,
    dns_log: Option<SinkSpec>,
    intervals: Vec<SinkSpec>,
}

/// The path without links and dots, as far as it exists: what tells files apart.
fn true_name(path: &Path) -> PathBuf {
    if path == Path::new("-") {
        return path.to_owned();
    }
    // What is replaced is the name itself, even if it is a link; so only its folder is
    // followed, unless it is something that is written to or read in place.
    let whole = path.canonicalize();
    match (whole, path.parent(), path.file_name()) {
        (Ok(whole), _, _) => whole,
        (Err(_), Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            parent.canonicalize().unwrap_or_else(|_| parent.to_owned()).join(name)
        }
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("15s"), Ok(Duration::from_secs(15)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_timeout("off"), Ok(Timeouts::NEVER));
        for wrong in ["", "5", "s", "-5s", "5 parsecs", "999999999999h", "off"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_ledger_has_no_compressed_name() {
        let files =
            |name: &str| Options { stats: vec![name.into()], ..Options::default() }.ledger_files();
        for name in ["s.json.gz", "x.prom.gz", "s.json.zst", "s.gz"] {
            let error = files(name).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(".json or .prom"), "{error}");
        }
        for (name, number) in [("s.json", 1), ("x.prom", 1), ("s.jsonl.gz", 0), ("s.hlog.zst", 0)] {
            assert_eq!(files(name).map(|files| files.len()), Ok(number), "{name}");
        }
    }

    #[test]
    fn bytes_are_read_with_their_unit() {
        assert_eq!(parse_bytes("500"), Ok(500));
        assert_eq!(parse_bytes("20k"), Ok(20_000));
        assert_eq!(parse_bytes("3M"), Ok(3_000_000));
        assert_eq!(parse_bytes("1G"), Ok(1_000_000_000));
        for wrong in ["", "0", "k", "-1", "1.5M", "1T", "99999999999G"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_interval("5m"), Ok(Duration::from_secs(300)));
        assert!(parse_interval("0s").is_err());
    }

    #[test]
    fn what_is_kept_is_bytes_or_an_age() {
        let bytes = |bytes| Ok(Keep { bytes: Some(bytes), age: None });
        let age =
            |hours: u64| Ok(Keep { bytes: None, age: Some(Duration::from_secs(3_600 * hours)) });
        assert_eq!(parse_keep("500M"), bytes(500_000_000));
        assert_eq!(parse_keep("10GB"), bytes(10_000_000_000));
        assert_eq!(parse_keep("700B"), bytes(700));
        assert_eq!((parse_keep("12h"), parse_keep("7d")), (age(12), age(168)));
        for wrong in ["", "0", "0d", "-1d", "d", "7 parsecs", "GB", "999999999999d"] {
            assert!(parse_keep(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_ring_has_a_power_of_two_of_frames() {
        assert_eq!(parse_ring_frames("64"), Ok(64));
        assert_eq!(parse_ring_frames("65536"), Ok(65_536));
        for wrong in ["", "0", "32", "100", "131072", "-64", "64k"] {
            assert!(parse_ring_frames(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let options = |workers, max_flows| Options { workers, max_flows, ..Options::default() };
        assert!(options(Some(0), 10).settings().is_err());
        assert!(options(Some(MAX_CORES + 1), 1000).settings().is_err());
        assert!(options(Some(4), 3).settings().is_err());
        assert!(options(None, MAX_FLOWS + 1).settings().is_err());
        assert!(options(Some(4), 4).settings().is_ok());
        let names = |max_names| Options { learns_names: true, max_names, ..options(None, 1) };
        assert!(names(0).settings().is_err());
        assert!(names(MAX_NAMES + 1).settings().is_err());
        assert_eq!(names(7).settings().unwrap().max_names, Some(7));
        assert_eq!(options(None, 1).settings().unwrap().max_names, None);
        let ports = |count| Options {
            opens_tunnels: true,
            vxlan_ports: vec![8_472; count],
            ..options(None, 1)
        };
        assert!(ports(VXLAN_PORTS).settings().is_ok());
        assert!(Options { opens_tunnels: false, ..ports(1) }.settings().is_err());
        assert!(ports(VXLAN_PORTS + 1).settings().is_err());
        let outputs = vec!["a.csv".to_owned(), "./a.csv".to_owned()];
        let twice = Options { outputs, max_flows: 1, ..Options::default() };
        assert!(twice.settings().unwrap_err().to_string().contains("given twice"));
        let log = |outputs: &[&str], dns_log: &str, learns_names| Options {
            outputs: outputs.iter().map(|output| (*output).to_owned()).collect(),
            dns_log: Some(dns_log.to_owned()),
            ..Options { learns_names, ..names(1) }
        };
        assert!(log(&["a.csv"], "b.csv", true).settings().unwrap().dns_log.is_some());
        assert!(log(&["a.csv"], "-", true).settings().is_ok());
        for refused in
            [log(&["a.csv"], "a.csv", true), log(&[], "-", true), log(&[], "a.csv", false)]
        {
            assert!(refused.settings().is_err(), "{refused:?}");
        }
        let over_input = Options {
            outputs: vec!["./no-such/../a.csv".to_owned()],
            inputs: vec!["./no-such/../a.csv".into()],
            max_flows: 1,
            ..Options::default()
        };
        assert!(over_input.settings().is_err());
        let over_output = Options {
            outputs: vec!["a.csv".to_owned()],
            stats: vec!["b.json".into(), "./a.csv".into()],
            max_flows: 1,
            ..Options::default()
        };
        assert!(over_output.settings().is_err());
        let stats = |stats: &[&str], every| Options {
            stats: stats.iter().map(PathBuf::from).collect(),
            stats_interval: Some(every),
            ..options(None, 1)
        };
        let (second, short) = (Duration::from_secs(1), Duration::from_millis(99));
        let several = stats(&["a.jsonl", "a.json", "b.csv", "a.hlog", "a.prom"], second);
        let settings = several.settings().unwrap();
        assert_eq!((settings.intervals.sinks.len(), settings.intervals.every), (3, second));
        let ledgers = [PathBuf::from("a.json"), PathBuf::from("a.prom")];
        assert_eq!(several.ledger_files().unwrap(), ledgers);
        assert!(stats(&["a.json"], short).settings().is_ok());
        for refused in [stats(&["a.csv"], short), stats(&["a.hlog", "./a.hlog"], second)] {
            assert!(refused.settings().is_err());
        }
        let top = Some(INTERVAL_KEYS + 1);
        assert!(Options { top, ..stats(&["a.csv"], second) }.settings().is_err());
    }
}

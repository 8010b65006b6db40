//! From what the user typed to what the engine is told.

mod heeded;
pub mod values;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::decode::{TunnelPorts, Tunnels, VXLAN_PORTS};
use crate::devices::vendors::VENDORS_FOLDER;
use crate::devices::{DevicesSetup, LocalNetworks, Vendors};
use crate::engine::{Dispatch, IntervalsSettings, Settings};
use crate::error::{Error, Result};
use crate::export::{Format, SinkOptions, SinkSpec, Target, devices};
use crate::filter::Filter;
use crate::flow::{FeaturesSet, Timeouts};
use crate::limits::{
    DEFAULT_INTERVAL, DEFAULT_TOP, INTERVAL_KEYS, MAX_CORES, MAX_FLOWS, MAX_NAMES, MIN_INTERVAL,
};
use crate::sync::Arc;
use crate::time::Tick;

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
    /// A file with one, if given.
    pub filter_file: Option<PathBuf>,
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
        match (&self.filter, &self.filter_file) {
            (Some(expression), _) => Filter::new(expression).map(Some),
            (None, file) => file.as_deref().map(Filter::read).transpose(),
        }
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

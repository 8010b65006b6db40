//! The filter of a capture, and how another takes its place while packets come
//! (`--filter-file`, HUP).
//!
//! It is compiled for each queue's link type: the first one by `main`, each other by a thread of
//! its own, as libpcap may take its time. The queue's `rx` thread asks its [`LinkFilter`], and
//! looks once for a batch whether there is another ([`Snapshot`]), which `main` publishes. What the
//! kernel leaves out beforehand of a tap's packets is never more than what threads would reject:
//! before they get another filter it lets all packets through, and gets its part of that one when
//! they have it. So each packet is judged by one of the two filters, none is lost, and whatever
//! fails on the way leaves one of the two in force.

use std::path::PathBuf;
use std::thread::JoinHandle;

use super::settings::CaptureSettings;
use crate::engine::{Observer, Settings};
use crate::error::{Error, Result};
use crate::filter::{Filter, LinkFilter};
use crate::source::LinkType;
use crate::source::live::{Queue, Source};
use crate::sync::snapshot::{Reader, Snapshot};
use crate::sync::{Arc, thread};
use crate::xdp::filter::{Action, KernelFilter};

/// What one thread asks.
pub(super) type QueueFilter = Reader<LinkFilter>;

/// A capture's filter, and where its threads look for it.
pub(super) struct Filters {
    filter: Arc<Filter>,
    in_kernel: Option<KernelFilter>,
    /// Whether the kernel has refused its part.
    is_refused: bool,
    /// What is read anew, if that was given.
    file: Option<PathBuf>,
    /// Whether that is wanted.
    is_asked: bool,
    coming: Option<Coming>,
    queues: Vec<Place>,
}

/// A filter, and what is made of it for each queue.
type Compiled = (Filter, Vec<LinkFilter>);

/// The thread that makes another one; none if the file has the same.
type Coming = JoinHandle<Result<Option<Compiled>>>;

/// libpcap calls itself for each term of an expression, which may be
/// [`FILTER_BYTES`](crate::limits::FILTER_BYTES) long.
const STACK_BYTES: usize = 16 << 20;

/// One queue.
struct Place {
    interface: String,
    link: LinkType,
    filter: Snapshot<LinkFilter>,
    /// The one before, until there is another: its thread looks at it no more by then, and need not
    /// free it.
    before: Option<Arc<LinkFilter>>,
}

impl Filters {
    /// The filter of `settings`, if there is one, for these queues, with the numbers of their
    /// interfaces; those that are not there yet will be a tap's. The kernel has `in_kernel` of it.
    ///
    /// # Errors
    /// If a queue's link type has not got what the expression asks for.
    pub(super) fn new(
        settings: &Settings,
        live: &CaptureSettings,
        queues: &[(u16, Option<Queue>)],
        in_kernel: Option<KernelFilter>,
    ) -> Result<Option<Self>> {
        let Some(filter) = &settings.filter else { return Ok(None) };
        let of = |(number, queue): &(u16, Option<Queue>)| {
            let link = queue.as_ref().map_or(LinkType::ETHERNET, Queue::link);
            (link, live.interfaces[usize::from(*number)].as_str())
        };
        let links: Vec<_> = queues.iter().map(of).collect();
        let compiled = compile(filter, links.iter().copied())?;
        let place = |((link, interface), compiled): ((LinkType, &str), LinkFilter)| {
            let filter = Snapshot::of(compiled);
            Place { interface: interface.to_owned(), link, filter, before: None }
        };
        let queues = links.into_iter().zip(compiled).map(place).collect();
        let (filter, file) = (Arc::clone(filter), live.filter_file.clone());
        let (is_refused, is_asked, coming) = Default::default();
        Ok(Some(Self { filter, in_kernel, is_refused, file, is_asked, coming, queues }))
    }

    /// What each thread asks, in the order of queues.
    pub(super) fn of_threads(&self) -> impl Iterator<Item = QueueFilter> {
        self.queues.iter().map(|place| place.filter.reader())
    }

    /// Says how much of the filter the kernel runs.
    pub(super) fn tell(&self, sources: &[Source], observer: &mut dyn Observer) {
        let what = match &self.in_kernel {
            Some(filter) if filter.action == Action::Keep => {
                format!("the kernel keeps only {filter}")
            }
            Some(filter) => format!("the kernel keeps {filter}"),
            None => "it has nothing that the kernel could decide".to_owned(),
        };
        for source in sources.iter().filter(|source| matches!(source, Source::Tap(_))) {
            observer.detail(&format!("--filter on {}: {what}", source.interface()));
        }
    }

    /// Asks for the file to be read again, if there is one.
    pub(super) fn reload(&mut self) {
        self.is_asked = true;
    }

    /// Has the file read if that was asked for, and what it says now take over once it is compiled,
    /// if that is another expression. Says what came of it.
    pub(super) fn tick(&mut self, sources: &mut [Source], observer: &mut dyn Observer) {
        if self.coming.is_none()
            && std::mem::take(&mut self.is_asked)
            && let Some(file) = self.file.clone()
        {
            match self.begin(file) {
                Ok(coming) => self.coming = Some(coming),
                Err(error) => observer.fault(&format!("{error}; the filter stays as it was")),
            }
        }
        let Some(compiled) = self.coming.take_if(|coming| coming.is_finished()) else { return };
        let compiled = compiled.join().expect("it does not panic");
        let replaced = compiled.and_then(|other| {
            other.map(|(filter, compiled)| self.replace(filter, compiled, sources)).transpose()
        });
        match replaced {
            Err(error) => observer.fault(&format!("{error}; the filter stays as it was")),
            Ok(None) => {}
            Ok(Some(refusal)) => {
                observer.notice(&format!("the filter is now '{}'", self.filter.shown()));
                match refusal {
                    Some(refusal) => observer.fault(&refusal),
                    None => self.tell(sources, observer),
                }
            }
        }
    }

    /// Starts the thread that reads the file and compiles what is in it, if that is another filter.
    ///
    /// # Errors
    /// If the system has no thread to give.
    fn begin(&self, file: PathBuf) -> Result<Coming> {
        let known = (!self.is_refused).then(|| self.filter.expression().to_owned());
        let link = |place: &Place| (place.link, place.interface.clone());
        let links: Vec<_> = self.queues.iter().map(link).collect();
        let read = move || {
            let filter = Filter::read_another(&file, known.as_deref())?;
            let links = links.iter().map(|(link, interface)| (*link, interface.as_str()));
            filter.map(|filter| compile(&filter, links).map(|all| (filter, all))).transpose()
        };
        let thread = thread::Builder::new().name("filter".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(read).map_err(|e| Error::new("start thread filter", e))
    }

    /// Puts another filter in the place of this one. What the kernel does not take of it.
    ///
    /// # Errors
    /// If the kernel does not give up the old one. That one stays.
    fn replace(
        &mut self,
        filter: Filter,
        compiled: Vec<LinkFilter>,
        sources: &mut [Source],
    ) -> Result<Option<String>> {
        set_in_kernel(sources, None).inspect_err(|_| self.is_refused = true)?;
        self.in_kernel = None;
        for (place, compiled) in self.queues.iter_mut().zip(compiled) {
            place.before = Some(place.filter.publish(compiled));
        }
        let in_kernel = filter.in_kernel();
        self.filter = Arc::new(filter);
        self.is_refused = false;
        if in_kernel.is_some()
            && let Err(refusal) = set_in_kernel(sources, in_kernel.as_ref())
        {
            self.is_refused = true;
            return Ok(Some(format!("{refusal}: it copies packets that are rejected then")));
        }
        self.in_kernel = in_kernel;
        Ok(None)
    }
}

/// For each queue, of which the link type is given and the interface's name. Of a link type all
/// have the same: names of hosts, which are looked up, may mean something else the next time.
fn compile<'a>(
    filter: &Filter,
    queues: impl Iterator<Item = (LinkType, &'a str)>,
) -> Result<Vec<LinkFilter>> {
    let mut known: Vec<(LinkType, LinkFilter)> = Vec::new();
    let compile = |(link, interface)| {
        if let Some((_, compiled)) = known.iter().find(|(of, _)| *of == link) {
            return Ok(compiled.clone());
        }
        let compiled = filter.for_link(link, interface)?;
        known.push((link, compiled.clone()));
        Ok(compiled)
    };
    queues.map(compile).collect()
}

fn set_in_kernel(sources: &mut [Source], filter: Option<&KernelFilter>) -> Result<()> {
    sources.iter_mut().try_for_each(|source| source.set_filter(filter))
}

//! What the user sees while the engine runs: a progress bar, a status line, notices, and
//! the ledger when asked for. All on standard error.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::args::Common;
use crate::cli::devices::DeviceFiles;
use crate::cli::{stats, summary};
use crate::engine::{Control, Observer};
use crate::error::Result;
use crate::sync::{Arc, Ordering, SignalFlag};
use crate::view::{View, Views};

/// Writes a line for the user.
pub(crate) fn say(text: &str) {
    // Nothing can be done if standard error is gone.
    let _ = writeln!(std::io::stderr().lock(), "flowtap: {text}");
}

/// The user's end of a run.
pub(crate) struct Console {
    bar: Option<ProgressBar>,
    status: Option<ProgressBar>,
    verbose: bool,
    quiet: bool,
    print: SignalFlag,
    /// Those of the ledger.
    stats: Vec<PathBuf>,
    devices: DeviceFiles,
    /// How often both are written.
    interval: Option<Duration>,
    last_files: Instant,
    files_failed: bool,
}

impl Console {
    /// # Errors
    /// If the ledger or the devices cannot be written where the user wants them.
    pub(crate) fn new(common: &Common, control: &Control, is_read: bool) -> Result<Self> {
        let stats = common.options().ledger_files()?;
        stats.iter().try_for_each(|path| stats::check(path))?;
        let devices = DeviceFiles::of(common);
        devices.check()?;
        let show = std::io::stderr().is_terminal() && !common.quiet && !common.writes_to_terminal();
        Ok(Self {
            bar: (show && is_read).then(progress_bar),
            status: (show && !is_read).then(status_line),
            verbose: common.verbose,
            quiet: common.quiet,
            print: Arc::clone(&control.print),
            stats,
            devices,
            interval: common.stats_interval,
            last_files: Instant::now(),
            files_failed: false,
        })
    }

    /// Takes bar and status line off the screen.
    pub(crate) fn finish(&mut self) {
        for line in [self.bar.take(), self.status.take()].into_iter().flatten() {
            line.finish_and_clear();
        }
    }

    fn show(&self, view: &View) {
        let packets = view.ledger.packets.delivered;
        let flows = view.ledger.flows.created;
        if let (Some(bar), Some((done, total))) = (&self.bar, view.progress) {
            bar.set_length(total);
            bar.set_position(done.min(total));
            bar.set_message(format!("{packets} packets, {flows} flows"));
        }
        if let Some(status) = &self.status {
            let lost = view.ledger.lost();
            let live = view.ledger.flows.live;
            status.set_message(format!(
                "{packets} packets, {flows} records begun, {live} live, {lost} lost"
            ));
            status.tick();
        }
    }

    /// Writes the ledger and the devices when it is time.
    fn write_files(&mut self, view: &View) {
        let is_due = |interval: Duration| self.last_files.elapsed() >= interval;
        if !self.interval.is_some_and(is_due) {
            return;
        }
        self.last_files = Instant::now();
        let written = self.stats.iter().try_for_each(|path| stats::write(path, &view.ledger));
        self.say_once(written);
        self.write_devices(view);
    }

    fn write_devices(&mut self, view: &View) {
        let written = view.devices.as_ref().map(|devices| self.devices.write(devices));
        self.say_once(written.unwrap_or(Ok(())));
    }

    /// What failed is said once; the final write fails for good.
    fn say_once(&mut self, written: Result<()>) {
        if let Err(error) = written
            && !self.files_failed
        {
            self.files_failed = true;
            self.notice(&error.to_string());
        }
    }
}

impl Observer for Console {
    fn tick(&mut self, views: &Views) {
        let view = views.latest();
        let Some(view) = view.as_ref() else { return };
        self.show(view);
        self.write_files(view);
        // Relaxed: a request, about itself only.
        if self.print.swap(false, Ordering::Relaxed) {
            self.write_devices(view);
            let draw = || {
                summary::print(&view.ledger);
                summary::print_busiest(&view.busiest);
            };
            match self.bar.as_ref().or(self.status.as_ref()) {
                Some(line) => line.suspend(draw),
                None => draw(),
            }
        }
    }

    fn notice(&mut self, text: &str) {
        if !self.quiet {
            self.fault(text);
        }
    }

    fn fault(&mut self, text: &str) {
        match self.bar.as_ref().or(self.status.as_ref()) {
            Some(line) => line.suspend(|| say(text)),
            None => say(text),
        }
    }

    fn detail(&mut self, text: &str) {
        if self.verbose {
            self.notice(text);
        }
    }
}

fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = "{bar:30} {percent:>3} % {bytes} of {total_bytes}, {binary_bytes_per_sec}, {msg}";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is well-formed"));
    bar
}

fn status_line() -> ProgressBar {
    let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = "{spinner} {elapsed} {msg}";
    line.set_style(ProgressStyle::with_template(style).expect("the template is well-formed"));
    line
}

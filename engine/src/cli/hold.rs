//! The process that holds a card's settings while a capture runs with `--tune`.
//!
//! `capture` starts this program again, as `hold-settings`, and gives up all its own rights as it
//! does without `--tune`: what goes back at the end is not left to a process that reads packets
//! of strangers. The holder changes the settings, says so on its standard output, keeps
//! CAP_NET_ADMIN alone, and waits for the end of its standard input: that comes however the
//! capture ends, `kill -9` included. Then it goes back. If it is killed itself, the file that it
//! has written ([`crate::host::tune`]) is for the next start, or `flowtap doctor --restore`.
//!
//! On its output each line is `+` and what the user is to be told, `!` and why it has failed, or
//! `.` when all is set.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::cli::args::HoldArguments;
use crate::error::{Error, Result};
use crate::host::tune::{Tune, Tuned};
use crate::privileges;
use crate::source::packet::Promiscuous;
use crate::sync::Arc;

/// The command under which this program holds settings.
pub(crate) const COMMAND: &str = "hold-settings";

/// The holder, from the capture's side.
pub(crate) struct Holder {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Holder {
    /// Starts it, and waits until all is set. `say` is told what.
    ///
    /// # Errors
    /// If an interface is missing, its settings are another's, or cannot be written down.
    /// Nothing stays changed then.
    pub(crate) fn start(interfaces: &[String], tune: Tune, say: impl FnMut(&str)) -> Result<Self> {
        let fail = |cause: io::Error| Error::new("start the process that holds settings", cause);
        let mut command = Command::new("/proc/self/exe");
        command.arg(COMMAND);
        interfaces.iter().for_each(|name| _ = command.args(["--interface", name]));
        if let Some(count) = tune.channels {
            command.arg("--tune").arg(format!("channels={count}"));
        }
        // A terminal's INT is for the capture.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(fail)?;
        let output = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut holder = Self { child, output };
        let error = match holder.listen(say) {
            Heard::Set => return Ok(holder),
            Heard::Failed(cause) => Error::new("--tune", cause),
            Heard::End => Error::new("--tune", "the process that holds settings has died"),
        };
        _ = holder.child.wait();
        Err(error)
    }

    /// Has it go back, and waits for that.
    ///
    /// # Errors
    /// If something could not be set back.
    pub(crate) fn finish(mut self, say: impl FnMut(&str)) -> Result<()> {
        drop(self.child.stdin.take());
        let heard = self.listen(say);
        let is_success = self.child.wait().is_ok_and(|status| status.success());
        match heard {
            Heard::Failed(cause) => Err(Error::new("--tune", cause)),
            _ if is_success => Ok(()),
            _ => Err(Error::new("--tune", "the process that held settings has died")
                .advise("`flowtap doctor --restore` puts them back")),
        }
    }

    fn listen(&mut self, mut say: impl FnMut(&str)) -> Heard {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).unwrap_or(0) == 0 {
                return Heard::End;
            }
            match line.trim_end().split_at_checked(1) {
                Some((".", _)) => return Heard::Set,
                Some(("!", cause)) => return Heard::Failed(cause.to_owned()),
                Some(("+", text)) => say(text),
                _ => {}
            }
        }
    }
}

/// What the holder had to say.
enum Heard {
    Set,
    Failed(String),
    End,
}

/// The holder itself.
///
/// # Errors
/// As it says on its output.
pub(crate) fn run(arguments: &HoldArguments) -> Result<()> {
    let result = hold(arguments);
    if let Err(error) = &result {
        tell('!', &error.to_string());
    }
    result
}

fn hold(arguments: &HoldArguments) -> Result<()> {
    // Who ends everything at once, as a service manager does, ends the capture: that is heard.
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1] {
        signal_hook::flag::register(signal, Arc::default())
            .map_err(|cause| Error::new("ignore signals", cause))?;
    }
    let mut held = Vec::new();
    let set = arguments.interfaces.iter().try_for_each(|name| {
        let promiscuous = Promiscuous::make(name)?;
        let say = |text: String| tell('+', &text);
        held.push((Tuned::apply(name, arguments.tune, say)?, promiscuous));
        Ok(())
    });
    let mut result = set.and_then(|()| privileges::keep_net_admin());
    if result.is_ok() {
        tell('.', "");
        // Whatever comes, what counts is that no more does.
        _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    }
    for (tuned, _) in held.into_iter().rev() {
        result = result.and(tuned.undo(|text| tell('+', &text)));
    }
    result
}

/// Nothing can be done if nobody listens any more.
fn tell(kind: char, text: &str) {
    let mut output = io::stdout().lock();
    _ = writeln!(output, "{kind}{text}").and_then(|()| output.flush());
}

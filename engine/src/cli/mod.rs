//! The command line: arguments in, exit code out.
//!
//! Standard output carries data only; everything else goes to standard error. Exit codes:
//! 0 done, 1 done with loss under `--strict` (`doctor`: not ready), 2 failed.

mod args;
mod console;
mod convert;
mod devices;
mod doctor;
mod hold;
mod prometheus;
mod stats;
mod summary;
mod whole_file;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::args::{
    Arguments, CaptureArguments, Command, Common, Mode, ReadArguments, RepairArguments,
    SchemaFormat,
};
use crate::cli::console::Console;
use crate::cli::devices::{DeviceFiles, StateFolder};
use crate::cli::hold::Holder;
use crate::config::Options;
use crate::engine::{CaptureSettings, Control, Observer, Outcome};
use crate::error::{Error, Result};
use crate::export::{Repaired, SinkSpec, describe, repair};
use crate::host::real_names;
use crate::host::tune::restore;
use crate::privileges::{self, Confinement};
use crate::source::afxdp::check_free;
use crate::sync::Arc;
use crate::sync::SignalFlag;
use crate::view::Views;
use crate::xdp::interface::Interface;

/// Done, but something was lost and `--strict` was given.
const LOSS: u8 = 1;

/// `doctor`: `capture` would not work, or not at its best.
const NOT_READY: u8 = 1;

/// Failed: bad flags, unreadable input, no privilege.
const FAILED: u8 = 2;

/// Runs the program with its command-line arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let command = arguments.get(1).and_then(|command| command.to_str()).unwrap_or_default();
    let help = match command {
        "read" | "capture" | "convert" | "repair" | "devices" | "doctor" => {
            format!("flowtap {command} --help")
        }
        _ => "flowtap --help".to_owned(),
    };
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            console::say(&usage_line(&error, &help));
            return ExitCode::from(FAILED);
        }
        // Help and version.
        Err(text) => {
            // Nothing can be done if standard output is gone.
            let _ = text.print();
            return ExitCode::SUCCESS;
        }
    };
    exit_code(match arguments.command {
        Command::Doctor(mut doctor) => {
            doctor.interfaces = real_names(&doctor.interfaces);
            doctor::run(&doctor).map(code_of_readiness)
        }
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Devices(devices) => devices::run(&devices).map(|()| 0),
        Command::Schema(schema) => show_schema(schema.format).map(|()| 0),
        Command::Repair(settings) => repair_file(&settings).map(|()| 0),
        Command::Hold(settings) => {
            // It has told whom it works for.
            let code = hold::run(&settings).map_or(FAILED, |()| 0);
            return ExitCode::from(code);
        }
        Command::Read(read) => run_read(&read),
        Command::Capture(mut capture) => {
            capture.interfaces = real_names(&capture.interfaces);
            run_capture(&capture)
        }
    })
}

/// Repairs a file, and says what is in the new one.
fn repair_file(arguments: &RepairArguments) -> Result<()> {
    let Repaired { file, records, cut } = repair(&arguments.part, arguments.output.as_deref())?;
    let (file, part) = (file.display(), arguments.part.display());
    console::say(&match cut {
        None => format!("{file}: all {records} records of {part}"),
        Some(cut) => format!("{file}: {records} records of {part}; {cut}"),
    });
    Ok(())
}

/// Shows the fields of a record on standard output.
fn show_schema(format: SchemaFormat) -> Result<()> {
    let text = match format {
        SchemaFormat::Markdown => describe::markdown(),
        SchemaFormat::Json => {
            let json = serde_json::to_string_pretty(&describe::fields());
            json.map_err(|e| Error::new("show the schema", e))? + "\n"
        }
    };
    print(&text)
}

/// Writes to standard output.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // A reader that has seen enough goes away.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new("write standard output", error))
        }
        _ => Ok(()),
    }
}

fn code_of_readiness(is_ready: bool) -> u8 {
    if is_ready { 0 } else { NOT_READY }
}

fn exit_code(result: Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            console::say(&error.to_string());
            ExitCode::from(FAILED)
        }
    }
}

/// What clap says in several lines, in one that says where to look.
fn usage_line(error: &clap::Error, help: &str) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let commands = "read, capture, convert, repair, devices, doctor or schema";
        return format!("give a command: {commands}; see {help}");
    }
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default().trim_start_matches("error: ");
    let first = first.split_whitespace().collect::<Vec<_>>().join(" ");
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let tip = tip.filter(|tip| tip.contains("similar"));
    let tip = tip.map(|tip| format!("; {tip}")).unwrap_or_default();
    format!("{first}{tip}; see {help}")
}

fn run_read(arguments: &ReadArguments) -> Result<u8> {
    let _state = StateFolder::take(&arguments.common)?;
    let options = Options {
        inputs: arguments.files.clone(),
        dispatch: arguments.dispatch.into(),
        ..arguments.common.options()
    };
    let settings = options.settings()?;
    let control = signals()?;
    let mut console = Console::new(&arguments.common, &control, true)?;
    console.detail(&format!(
        "{} files, {} workers, room for {} flows",
        arguments.files.len(),
        settings.workers.unwrap_or(1),
        settings.max_flows
    ));
    let views = Views::default();
    let outcome = crate::engine::read(&settings, &arguments.files, &control, &views, &mut console);
    console.finish();
    conclude(&arguments.common, outcome?)
}

fn run_capture(arguments: &CaptureArguments) -> Result<u8> {
    let _state = StateFolder::take(&arguments.common)?;
    let settings = arguments.common.options().settings()?;
    let sinks = settings.all_sinks();
    sinks.iter().try_for_each(|sink| sink.make_folder(arguments.user.as_deref()))?;
    let outputs: Vec<_> = sinks.iter().filter_map(SinkSpec::path).collect();
    let devices = DeviceFiles::of(&arguments.common);
    let ledgers = arguments.common.options().ledger_files()?;
    let more = ledgers.iter().map(PathBuf::as_path).chain(devices.paths());
    let outputs = outputs.iter().map(PathBuf::as_path).chain(more);
    let mut confinement = Confinement::new(arguments.user.as_deref(), outputs)?;
    if arguments.keep_privileges {
        confinement.keep_what_opening_takes();
    }
    let live = CaptureSettings { confinement: Some(confinement), ..arguments.settings() };
    let control = signals()?;
    let mut console = Console::new(&arguments.common, &control, false)?;
    let views = Views::default();
    let holder = hold_settings(arguments, &mut console)?;
    let outcome = crate::engine::capture(&settings, &live, &control, &views, &mut console);
    console.finish();
    let settings_are_back =
        holder.map_or(Ok(()), |holder| holder.finish(|text| console.notice(text)));
    let mut outcome = outcome?;
    outcome.errors.extend(settings_are_back.err());
    conclude(&arguments.common, outcome)
}

/// Sets back what an earlier capture has left changed; with `--tune` starts the process that
/// changes settings and holds them.
fn hold_settings(arguments: &CaptureArguments, console: &mut Console) -> Result<Option<Holder>> {
    let interfaces = &arguments.interfaces;
    if let Err(error) = restore(interfaces, |text| console.notice(&text)) {
        // It works all the same, if with other settings than there should be.
        console.notice(&error.to_string());
    }
    let Some(tune) = arguments.tune else { return Ok(None) };
    privileges::require("--tune")?;
    if arguments.mode == Mode::Tap {
        // Refused later anyway, but then the link would have been disturbed.
        for name in interfaces {
            check_free(&Interface::find(name)?, arguments.force)?;
        }
    }
    Holder::start(interfaces, tune, |text| console.notice(text)).map(Some)
}

/// Lets signals set the run's requests. A second INT or TERM ends the program at once.
fn signals() -> Result<Control> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    let control = Control::default();
    let install = || {
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset and sets it.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                FAILED.into(),
                Arc::clone(&control.stop.by_signal),
            )?;
            signal_hook::flag::register(signal, Arc::clone(&control.stop.by_signal))?;
        }
        let on = |signal, flag: &SignalFlag| {
            signal_hook::flag::register(signal, Arc::clone(flag)).map(drop)
        };
        on(SIGHUP, &control.reopen)?;
        on(SIGUSR1, &control.print)
    };
    install().map_err(|e| Error::new("handle signals", e))?;
    Ok(control)
}

/// Says how it went, writes the ledger and the devices, and decides the exit code.
fn conclude(common: &Common, outcome: Outcome) -> Result<u8> {
    for error in outcome.errors.iter().chain(&outcome.losses) {
        console::say(&error.to_string());
    }
    if !common.quiet {
        summary::print(&outcome.ledger);
    }
    let ledgers = common.options().ledger_files()?;
    ledgers.iter().try_for_each(|path| stats::write(path, &outcome.ledger))?;
    if let Some(devices) = &outcome.devices {
        DeviceFiles::of(common).write(devices)?;
    }
    let is_clean = outcome.ledger.lost() == 0 && outcome.ledger.balances();
    if !outcome.errors.is_empty() {
        Ok(FAILED)
    } else if common.strict && !is_clean {
        console::say("packets or records were lost, or do not add up (--strict)");
        Ok(LOSS)
    } else {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program with all the library's checks, and as the library's tests are built.
    #[test]
    #[ignore = "scripts/sanitize says what to do in FLOWTAP_ARGUMENTS"]
    fn runs_as_told() {
        let told = std::env::var("FLOWTAP_ARGUMENTS").unwrap();
        let arguments = ["flowtap"].into_iter().chain(told.split(' '));
        assert_eq!(run(arguments.map(OsString::from)), ExitCode::SUCCESS);
    }
}

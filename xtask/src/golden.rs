//! `cargo xtask golden`: small files of every format, committed in `tests/golden`, so that a change
//! of what flowtap writes is seen.
//!
//! They are of a made-up capture that is the same everywhere. What a run reads of it is put in
//! order, and converted into the other formats; what tells the time of the run is blotted out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where they are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden");

/// The capture: a bit of everything.
const CAPTURE: &[&str] =
    &["gen", "--mix", "demo", "--packets", "400", "--flows", "24", "--seed", "3", "-o"];

/// The records in their order, which the others are made of.
const RECORDS: &str = "flows.jsonl";

/// What follows `-o`, and the name of the file.
const FORMATS: &[(&str, &str)] = &[
    ("", "flows.csv"),
    ("", "flows.parquet"),
    ("", "flows.arrow"),
    ("", "flows.ipfix"),
    ("", "conn.log"),
    ("zeek-json:", "conn.json"),
    ("eve:", "eve.json"),
];

/// Bytes of IPFIX's header with the time at which a message left (RFC 7011 section 3.1).
const EXPORT_TIME: std::ops::Range<usize> = 4..8;

/// Write the golden files, or compare
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if a file is not what is committed
    #[arg(long)]
    check: bool,
    /// The flowtap that writes them, instead of the one that is built now
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Writes or compares them.
///
/// # Errors
/// If a program fails, or a file is another one.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let program = match &args.program {
        Some(program) => std::path::absolute(program)
            .map_err(|error| format!("find {}: {error}", program.display()))?,
        None => build()?,
    };
    let made = std::env::temp_dir().join(format!("flowtap-golden-{}", std::process::id()));
    fs::create_dir_all(&made).map_err(|error| format!("create {}: {error}", made.display()))?;
    let result = make(&program, &made).and_then(|()| match args.check {
        true => compare(&made),
        false => write(&made),
    });
    // What is left in the system's temporary folder is no harm.
    let _ = fs::remove_dir_all(&made);
    result
}

/// Builds flowtap as this program was built, so that it is beside it.
fn build() -> Result<PathBuf, String> {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    expect(Command::new("cargo").args([
        "build",
        "--quiet",
        "--bin",
        "flowtap",
        "--profile",
        profile,
    ]))?;
    let ours = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    Ok(ours.with_file_name("flowtap"))
}

/// Makes all of them in a folder.
fn make(program: &Path, folder: &Path) -> Result<(), String> {
    let ours = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    let flowtap = |args: &[&str]| expect(Command::new(program).args(args).current_dir(folder));
    expect(Command::new(ours).args(CAPTURE).arg("made.pcap").current_dir(folder))?;
    flowtap(&["read", "-q", "--strict", "--features-set", "extended", "made.pcap", "-o", RECORDS])?;
    // Threads may give records in another order.
    let text = String::from_utf8_lossy(&read(&folder.join(RECORDS))?).into_owned();
    let mut lines: Vec<_> = text.split_inclusive('\n').collect();
    lines.sort_unstable();
    put(&folder.join(RECORDS), lines.concat().as_bytes())?;
    for (prefix, name) in FORMATS {
        flowtap(&["convert", "-q", RECORDS, "-o", &format!("{prefix}{name}")])?;
    }
    let log = folder.join("conn.log");
    put(&log, &without_times(&read(&log)?))?;
    let ipfix = folder.join("flows.ipfix");
    put(&ipfix, &without_export_times(read(&ipfix)?)?)
}

/// Zeek's lines that say when a file was opened and closed, without that.
fn without_times(log: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(log);
    let lines = text.split_inclusive('\n').map(|line| match line.split_once('\t') {
        Some((name @ ("#open" | "#close"), _)) => format!("{name}\t-\n"),
        _ => line.to_owned(),
    });
    lines.collect::<String>().into_bytes()
}

fn without_export_times(mut file: Vec<u8>) -> Result<Vec<u8>, String> {
    let mut rest = file.as_mut_slice();
    while !rest.is_empty() {
        let len = rest.get(2..4).map_or(0, |len| usize::from(len[0]) << 8 | usize::from(len[1]));
        let message = rest.split_at_mut_checked(len.max(EXPORT_TIME.end));
        let (message, after) = message.ok_or("read flows.ipfix: it is cut")?;
        message[EXPORT_TIME].fill(0);
        rest = after;
    }
    Ok(file)
}

fn names() -> impl Iterator<Item = &'static str> {
    std::iter::once(RECORDS).chain(FORMATS.iter().map(|(_, name)| *name))
}

fn write(made: &Path) -> Result<(), String> {
    fs::create_dir_all(FOLDER).map_err(|error| format!("create {FOLDER}: {error}"))?;
    names().try_for_each(|name| put(&Path::new(FOLDER).join(name), &read(&made.join(name))?))
}

fn compare(made: &Path) -> Result<(), String> {
    let mut others = Vec::new();
    for name in names() {
        let (now, committed) = (read(&made.join(name))?, read(&Path::new(FOLDER).join(name))?);
        if now != committed {
            others.push(format!("{name} from {}", place(&committed, &now)));
        }
    }
    if others.is_empty() {
        return Ok(());
    }
    Err(format!(
        "tests/golden: not what flowtap writes: {}; if that is meant, write them anew with cargo \
         xtask golden",
        others.join(", ")
    ))
}

/// Where two files begin to differ.
fn place(one: &[u8], other: &[u8]) -> String {
    let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let line = one[..same].iter().filter(|&&byte| byte == b'\n').count() + 1;
    match std::str::from_utf8(one) {
        Ok(_) => format!("line {line}"),
        Err(_) => format!("byte {same}"),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("write {}: {error}", path.display()))
}

fn expect(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("run {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("run {program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

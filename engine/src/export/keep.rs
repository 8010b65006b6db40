//! Which finished files of a pattern are kept (`--keep`): up to so many bytes, or so old.
//!
//! Only files whose whole name the pattern would make for some time are looked at: the time is
//! read out of the name, and the name made of it again must be the same. Whatever else is in a
//! folder is somebody else's, and what has just been completed is never removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::error::{Error, Result};
use crate::export::name;
use crate::limits::KEEP_FOLDERS;

/// What is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// All files together have so many bytes at most.
    pub bytes: Option<u64>,
    /// A file is removed when nothing has been written to it for longer.
    pub age: Option<Duration>,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Those that could not be removed.
    pub(super) refused: u64,
}

/// A finished file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finished {
    start: Timestamp,
    /// Of files that began at the same time.
    number: u64,
    path: PathBuf,
    bytes: u64,
    written: SystemTime,
}

impl Keep {
    /// Whether anything is removed at all.
    pub(super) fn is_limited(&self) -> bool {
        self.bytes.is_some() || self.age.is_some()
    }

    /// Sees that names of a pattern say when a file was begun.
    ///
    /// # Errors
    /// If they do not.
    pub(crate) fn check(&self, pattern: &Path) -> Result<()> {
        // Any day but the first of a month or a year.
        let sample = Timestamp::from_second(1_771_988_645).unwrap_or(Timestamp::UNIX_EPOCH);
        let made = name::name(pattern, &[], sample).unwrap_or_default();
        if !self.is_limited() || start_of(pattern, &[], &made).is_some() {
            return Ok(());
        }
        Err(Error::new(format!("output {}", pattern.display()), "its names do not say which day")
            .advise("with --keep use a pattern with the date, such as {start:%Y%m%dT%H%M%S}"))
    }

    /// Removes what is too old or too much, oldest first, but not `latest`; and folders that are
    /// empty then.
    pub(super) fn apply(
        &self,
        pattern: &Path,
        interfaces: &[String],
        latest: &Path,
        now: SystemTime,
    ) -> Removed {
        let mut removed = Removed::default();
        if !self.is_limited() {
            return removed;
        }
        let root = name::root(pattern);
        let mut files = finished(pattern, interfaces, &root);
        files.sort();
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files.iter().filter(|file| file.path != latest) {
            let is_too_much = self.bytes.is_some_and(|most| bytes > most);
            let age = now.duration_since(file.written).unwrap_or_default();
            if !is_too_much && self.age.is_none_or(|most| age <= most) {
                continue;
            }
            match fs::remove_file(&file.path) {
                Ok(()) => {
                    removed.files += 1;
                    removed.bytes += file.bytes;
                    bytes -= file.bytes;
                    remove_empty(&file.path, &root);
                }
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => bytes -= file.bytes,
                Err(_) => removed.refused += 1,
            }
        }
        removed
    }
}

/// Folders above a file that was removed, below `root`, as far as nothing is in them.
fn remove_empty(path: &Path, root: &Path) {
    let folders = path.ancestors().skip(1).take_while(|folder| *folder != root);
    // The first that is not empty is refused, and all above it are not empty.
    let _ = folders.filter(|folder| !folder.as_os_str().is_empty()).try_for_each(fs::remove_dir);
}

/// Files of a pattern that are complete.
fn finished(pattern: &Path, interfaces: &[String], root: &Path) -> Vec<Finished> {
    let depth = pattern_depth(pattern).saturating_sub(root_depth(root));
    let mut folders = vec![(root.to_owned(), depth)];
    let (mut files, mut looked) = (Vec::new(), 0);
    while let Some((folder, depth)) = folders.pop() {
        looked += 1;
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            // As patterns have it: without `./` before it.
            let path =
                if folder == Path::new(".") { entry.file_name().into() } else { entry.path() };
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth > 1 && looked + folders.len() < KEEP_FOLDERS {
                folders.push((path, depth - 1));
            } else if kind.is_file()
                && let Some((start, number)) = start_of(pattern, interfaces, &path)
                && let Ok(metadata) = entry.metadata()
                && let Ok(written) = metadata.modified()
            {
                files.push(Finished { start, number, path, bytes: metadata.len(), written });
            }
        }
    }
    files
}

/// Names in a path, one below the other. Times may have more of them than it looks like.
fn pattern_depth(pattern: &Path) -> usize {
    pattern.components().count()
}

fn root_depth(root: &Path) -> usize {
    if root == Path::new(".") { 0 } else { root.components().count() }
}

/// When a file began, if the pattern has made its name; and the number that was put into it, as
/// another one had the name.
fn start_of(pattern: &Path, interfaces: &[String], path: &Path) -> Option<(Timestamp, u64)> {
    let exact = |path: &Path| {
        let start = read_start(pattern, interfaces, path)?;
        let made = name::name(pattern, interfaces, start).ok()?;
        (made == path).then_some(start)
    };
    if let Some(start) = exact(path) {
        return Some((start, 1));
    }
    let file = path.file_name()?.to_str()?;
    let (stem, endings) = file.split_once('.')?;
    let (stem, number) = stem.rsplit_once('-')?;
    let value: u64 = number.parse().ok().filter(|value| *value > 1)?;
    let plain = path.with_file_name(format!("{stem}.{endings}"));
    let is_as_we_write_it = value.to_string() == number;
    is_as_we_write_it.then(|| Some((exact(&plain)?, value))).flatten()
}

/// The time in a name.
fn read_start(pattern: &Path, interfaces: &[String], path: &Path) -> Option<Timestamp> {
    let format = name::time_format(pattern, interfaces)?;
    let time = strtime::parse(format, path.to_str()?).ok()?;
    // What the name does not say of the time of day is 0.
    let of_date = || time.to_datetime()?.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
    time.to_timestamp().or_else(|_| of_date()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_pattern_makes_are_its_own() {
        let interfaces = ["eth0".to_owned()];
        let is_ours = |pattern: &str, path: &str| {
            start_of(Path::new(pattern), &interfaces, Path::new(path)).map(|(start, number)| {
                assert!(number >= 1);
                start.to_string()
            })
        };
        let flat = "d/{iface}-{start:%Y%m%dT%H%M%S}.csv.gz";
        assert_eq!(
            is_ours(flat, "d/eth0-20260301T040506.csv.gz").as_deref(),
            Some("2026-03-01T04:05:06Z")
        );
        assert!(is_ours(flat, "d/eth0-20260301T040506-12.csv.gz").is_some());
        for other in [
            "d/eth1-20260301T040506.csv.gz",
            "d/eth0-20260301T040506.csv",
            "d/eth0-20260301T040506.csv.gz.part",
            "d/eth0-20260301T040506-1.csv.gz",
            "d/eth0-20260301T040506-x.csv.gz",
            "d/eth0-20260301T250506.csv.gz",
            "d/eth0-2026031T040506.csv.gz",
            "e/eth0-20260301T040506.csv.gz",
            "d/eth0-20260301T040506.csv.gz~",
            "d/eth0.csv.gz",
        ] {
            assert_eq!(is_ours(flat, other), None, "{other}");
        }
        for (pattern, path) in [
            ("{start:%Y/%m/%d}/{start:%H%M}.csv", "2026/03/01/0405.csv"),
            ("{start:%Y-%m-%d}.csv", "2026-03-01.csv"),
            ("{start:%s}.csv", "1772337906.csv"),
            ("100%-{start:%F}.csv", "100%-2026-03-01.csv"),
        ] {
            assert!(is_ours(pattern, path).is_some(), "{pattern}");
            let keep = Keep { bytes: Some(1), age: None };
            assert!(keep.check(Path::new(pattern)).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_without_a_date_is_refused() {
        let keep = Keep { bytes: None, age: Some(Duration::from_secs(1)) };
        for pattern in ["flows.csv", "{iface}.csv", "{start:%H%M%S}.csv"] {
            let error = keep.check(Path::new(pattern)).unwrap_err().to_string();
            assert!(error.contains("{start:%Y%m%dT%H%M%S}"), "{error}");
            assert!(Keep::default().check(Path::new(pattern)).is_ok());
        }
    }

    #[test]
    fn the_oldest_go_first_and_what_is_not_ours_stays() {
        let folder = std::env::temp_dir().join(format!("flowtap-{}-keep", std::process::id()));
        let pattern = folder.join("{start:%Y/%m/%d}/f-{start:%H%M%S}.csv");
        let make = |name: &str, age: u64| {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, [0; 10]).unwrap();
            let written = SystemTime::now() - Duration::from_secs(age);
            fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
            path
        };
        let files = [
            make("2026/02/28/f-235900.csv", 400),
            make("2026/03/01/f-000000.csv", 300),
            make("2026/03/01/f-000000-2.csv", 200),
            make("2026/03/01/f-000100.csv", 100),
        ];
        let others = [make("2026/03/01/g-000000.csv", 900), make("notes.csv", 900)];
        let apply = |bytes, age| {
            let keep = Keep { bytes, age };
            keep.apply(&pattern, &[], &files[3], SystemTime::now())
        };
        let there = || files.iter().filter(|file| file.exists()).count();
        assert_eq!(apply(Some(40), None), Removed::default());
        assert_eq!(apply(Some(39), None), Removed { files: 1, bytes: 10, refused: 0 });
        assert!(there() == 3 && !folder.join("2026/02").exists(), "an empty folder is left");
        let age = Some(Duration::from_secs(250));
        assert_eq!(apply(None, age), Removed { files: 1, bytes: 10, refused: 0 });
        assert!(!files[1].exists());
        assert_eq!(apply(Some(1), None), Removed { files: 1, bytes: 10, refused: 0 });
        assert!(files[3].exists() && others.iter().all(|other| other.exists()));
        fs::remove_dir_all(folder).unwrap();
    }
}

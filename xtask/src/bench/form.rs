//! What all benchmarks are told: how much to run, where to work, and where the report goes.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::programs::Build;

/// How much to run, and where.
#[derive(clap::Args)]
pub(crate) struct Form {
    /// The form that figures are quoted from
    #[arg(long, conflicts_with = "small")]
    pub(super) long: bool,
    /// As little as shows that it works
    #[arg(long)]
    pub(super) small: bool,
    /// A folder for captures and flow files: the disk's speed counts, so a tmpfs
    #[arg(long, default_value = "/dev/shm")]
    folder: PathBuf,
    /// Where the report goes: report.json and report.html
    #[arg(long, default_value = "target/bench")]
    pub(super) output: PathBuf,
}

impl Form {
    /// How what it runs is built.
    pub(super) fn build(&self) -> Build {
        if self.small { Build::Tests } else { Build::Release }
    }

    /// A folder of this run's own, by its whole path, as meters run in folders of theirs. Those
    /// of runs that were killed are removed.
    ///
    /// # Errors
    /// If there is no such folder.
    pub(super) fn work_folder(&self) -> Result<Folder, String> {
        let folder = fs::canonicalize(&self.folder)
            .map_err(|error| format!("find {}: {error}; name a folder", self.folder.display()))?;
        remove_left(&folder);
        Ok(Folder(folder.join(format!("{PREFIX}{}", std::process::id()))))
    }
}

/// Of the folders' names, before the number of the process.
const PREFIX: &str = "flowtap-bench-";

/// Removes folders of processes that are gone.
fn remove_left(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if number.is_some_and(|number| !Path::new(&format!("/proc/{number}")).exists()) {
            // As when it is dropped.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Removes the folder and everything in it.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    /// Asked before hours are spent.
    ///
    /// # Errors
    /// If there is less room than so many bytes where it is.
    pub(super) fn expect_room(&self, bytes: u64) -> Result<(), String> {
        let place = self.0.parent().unwrap_or(&self.0);
        let failed = |errno| format!("ask for the room in {}: {errno}", place.display());
        let here = statvfs(place).map_err(failed)?;
        let free = here.blocks_available() * here.fragment_size();
        if free >= bytes {
            return Ok(());
        }
        Err(format!(
            "work in {}: {} MB are needed there, {} MB are free; name another folder with --folder",
            place.display(),
            bytes.div_ceil(1_000_000),
            free / 1_000_000
        ))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left there is no harm but for its size; the next run removes it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_runs_have_left_is_removed_and_too_little_room_is_said() {
        let own = std::process::id();
        let folder = std::env::temp_dir().join(format!("flowtap-form-{own}"));
        let of = |name: &str| folder.join(format!("{PREFIX}{name}"));
        let (gone, runs, other) = (of(&u32::MAX.to_string()), of(&own.to_string()), of("notes"));
        for made in [&gone, &runs, &other] {
            fs::create_dir_all(made.join("run")).unwrap();
        }
        let form =
            Form { long: false, small: true, folder: folder.clone(), output: PathBuf::new() };
        let work = form.work_folder().unwrap();
        assert_eq!([&gone, &runs, &other].map(|it| it.exists()), [false, true, true]);
        assert_eq!(work.expect_room(1), Ok(()));
        assert!(work.expect_room(u64::MAX).unwrap_err().contains("MB are free; name another"));
        fs::remove_dir_all(&folder).unwrap();
    }
}

//! What all benchmarks are told: how much to run, where to work, and where the report goes.

use std::fs;
use std::path::PathBuf;

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

    /// A folder of this run's own, by its whole path, as meters run in folders of theirs.
    ///
    /// # Errors
    /// If there is no such folder.
    pub(super) fn work_folder(&self) -> Result<Folder, String> {
        let folder = fs::canonicalize(&self.folder)
            .map_err(|error| format!("find {}: {error}; name a folder", self.folder.display()))?;
        Ok(Folder(folder.join(format!("flowtap-bench-{}", std::process::id()))))
    }
}

/// Removes the folder and everything in it.
pub(super) struct Folder(pub(super) PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left there is no harm but for its size.
        let _ = fs::remove_dir_all(&self.0);
    }
}

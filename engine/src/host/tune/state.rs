//! What a card was set to before `--tune`, in a file that outlives a crash.
//!
//! One file for each interface, `NAME@NETWORK.json`, as several network namespaces may share
//! `/run`. It is locked as long as its writer lives, and on the disk before anything changes.
//! What is not whole was written by one that had changed nothing yet.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Setting;
use super::card::{Identity, network};
use crate::error::{Error, Result};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Content {
    identity: Identity,
    was: Vec<Setting>,
}

/// The file of one interface, locked until it is dropped.
#[derive(Debug)]
pub(super) struct StateFile {
    file: File,
    path: PathBuf,
    /// What it had in it when it was locked.
    found: Option<Content>,
}

impl StateFile {
    /// Makes the file, or takes over one that nobody holds.
    pub(super) fn lock(folder: &Path, identity: &Identity) -> Result<Self> {
        let path = folder.join(format!("{}@{}.json", identity.interface, identity.network));
        let fail = |cause: io::Error| {
            Error::new(format!("write {}", path.display()), cause)
                .advise("--tune writes down there what it changes: run as root")
        };
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(fail)?;
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(&path).map_err(fail)?;
            match Self::locked(file, path.clone()).map_err(fail)? {
                Taken::Ours(state) => return Ok(state),
                // Its holder has just removed it.
                Taken::Gone => {}
                Taken::Held => {
                    let operation = format!("tune {}", identity.interface);
                    return Err(Error::new(operation, "another flowtap holds its settings")
                        .advise("leave --tune out, or end the other one first"));
                }
            }
        }
    }

    /// Those of this network namespace that nobody holds.
    pub(super) fn abandoned(folder: &Path) -> Result<Vec<Self>> {
        let fail = |path: &Path, cause: io::Error| {
            Error::new(format!("read {}", path.display()), cause).advise("run as root")
        };
        let entries = match fs::read_dir(folder) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|cause| fail(folder, cause))?,
        };
        let suffix = format!("@{}.json", network().map_err(|cause| fail(folder, cause))?);
        let mut states = Vec::new();
        for entry in entries {
            let path = entry.map_err(|cause| fail(folder, cause))?.path();
            let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !file_name.ends_with(&suffix) {
                continue;
            }
            let file = match OpenOptions::new().read(true).write(true).open(&path) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(|cause| fail(&path, cause))?,
            };
            let taken = Self::locked(file, path.clone()).map_err(|cause| fail(&path, cause))?;
            if let Taken::Ours(state) = taken {
                states.push(state);
            }
        }
        Ok(states)
    }

    fn locked(mut file: File, path: PathBuf) -> io::Result<Taken> {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Taken::Held),
            Err(TryLockError::Error(cause)) => return Err(cause),
        }
        let is_there = fs::metadata(&path)
            .is_ok_and(|at_path| file.metadata().is_ok_and(|ours| ours.ino() == at_path.ino()));
        if !is_there {
            return Ok(Taken::Gone);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let found = serde_json::from_slice(&bytes).ok();
        Ok(Taken::Ours(Self { file, path, found }))
    }

    /// The interface's name when it was written.
    pub(super) fn interface(&self) -> &str {
        self.found.as_ref().map_or("", |content| &content.identity.interface)
    }

    /// The interface's number.
    pub(super) fn index(&self) -> Option<u32> {
        self.found.as_ref().map(|content| content.identity.index)
    }

    /// All that somebody has left behind.
    pub(super) fn take(&mut self) -> Option<(Identity, Vec<Setting>)> {
        self.found.take().map(|found| (found.identity, found.was))
    }

    /// What it was before, if somebody has left that behind for this very interface.
    pub(super) fn left_behind(&mut self, identity: &Identity) -> Option<Vec<Setting>> {
        self.found.take().filter(|found| found.identity.is_same(identity)).map(|found| found.was)
    }

    /// Writes down what is to come back, on the disk.
    pub(super) fn write(&mut self, identity: &Identity, was: &[Setting]) -> Result<()> {
        let content = Content { identity: identity.clone(), was: was.to_vec() };
        let bytes = serde_json::to_vec(&content).expect("settings are plain data");
        let mut write = || {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(&bytes)?;
            self.file.sync_all()?;
            self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        write().map_err(|cause| Error::new(format!("write {}", self.path.display()), cause))
    }

    /// All is as it was.
    pub(super) fn remove(self) -> Result<()> {
        fs::remove_file(&self.path)
            .map_err(|cause| Error::new(format!("remove {}", self.path.display()), cause))
    }
}

/// What came of trying to lock a file.
enum Taken {
    Ours(StateFile),
    Held,
    Gone,
}

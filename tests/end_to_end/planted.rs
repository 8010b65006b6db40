//! Folders that somebody else than root may write to: what is put there does not lead root elsewhere.

use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};

use crate::program::{FLOWTAP, Run, folder, generate, is_root};
use crate::{Outcome, ensure, not_here};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("planted::a_link_to_a_file_is_replaced", file),
        Trial::test("planted::a_link_among_the_folders_of_a_pattern_is_refused", pattern),
    ];
    if is_root() {
        trials.push(Trial::test("planted::root_follows_its_own_links_to_devices_only", device));
    } else {
        trials.extend(not_here("planted_as_root", "needs root"));
    }
    trials
}

const NOBODY: u32 = 65_534;

/// A folder of somebody else's, and one where nothing is to be changed.
struct Folders {
    folder: tempfile::TempDir,
    theirs: PathBuf,
    kept: PathBuf,
}

impl Folders {
    fn new() -> Result<Self, Failed> {
        let folder = folder();
        let [theirs, kept] = ["theirs", "kept"].map(|name| folder.path().join(name));
        fs::create_dir(&theirs)?;
        fs::create_dir(&kept)?;
        fs::write(kept.join("secret"), "kept\n")?;
        if is_root() {
            chown(&theirs, Some(NOBODY), Some(NOBODY))?;
        }
        Ok(Self { folder, theirs, kept })
    }

    /// A link in their folder, and theirs.
    fn plant(&self, to: &Path, name: &str) -> Outcome {
        let link = self.theirs.join(name);
        symlink(to, &link)?;
        if is_root() {
            lchown(link, Some(NOBODY), Some(NOBODY))?;
        }
        Ok(())
    }

    fn read(&self, output: &str, code: i32) -> Result<Run, Failed> {
        read(&self.theirs.join(output), code)
    }

    /// Nothing has changed.
    fn are_kept(&self) -> Outcome {
        let names = fs::read_dir(&self.kept)?.map(|it| it.map(|it| it.file_name()));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        ensure(names == ["secret"], format!("{names:?}"))?;
        let secret = self.kept.join("secret");
        ensure(fs::read_to_string(secret)? == "kept\n", "it was written to")
    }
}

fn read(output: &Path, code: i32) -> Result<Run, Failed> {
    let made = generate(1_000, 20, 3);
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q"]).arg(&made.capture).arg("-o").arg(output);
    Run::of(&mut command).expect(code)
}

fn file() -> Outcome {
    let folders = Folders::new()?;
    let secret = folders.kept.join("secret");
    for name in ["flows.jsonl.part", "flows.jsonl"] {
        folders.plant(&secret, name)?;
        folders.read("flows.jsonl", 0)?;
        let made = folders.theirs.join("flows.jsonl");
        ensure(fs::symlink_metadata(&made)?.is_file(), "it is a link")?;
        fs::remove_file(made)?;
        folders.are_kept()?;
    }
    Ok(())
}

fn pattern() -> Outcome {
    let folders = Folders::new()?;
    folders.plant(&folders.kept, "day")?;
    let run = folders.read("{start:day}/flows.jsonl", 2)?;
    ensure(run.stderr.contains("day is a symbolic link"), run.stderr)?;
    folders.are_kept()?;
    // What leads to the folder that has to be there was given.
    let link = folders.folder.path().join("link");
    symlink(&folders.theirs, &link)?;
    read(&link.join("{start:night}/flows.jsonl"), 0)?;
    ensure(folders.theirs.join("night/flows.jsonl").is_file(), "no file")
}

fn device() -> Outcome {
    let folders = Folders::new()?;
    folders.plant(Path::new("/dev/null"), "flows.jsonl")?;
    let run = folders.read("flows.jsonl", 2)?;
    ensure(run.stderr.contains("others may have put there"), run.stderr)?;
    // Also one of root's, as they may move it.
    symlink("/dev/null", folders.theirs.join("root.jsonl"))?;
    folders.read("root.jsonl", 2)?;
    symlink("/dev/null", folders.kept.join("root.jsonl"))?;
    read(&folders.kept.join("root.jsonl"), 0)?;
    ensure(fs::symlink_metadata(folders.kept.join("root.jsonl"))?.is_symlink(), "it was replaced")
}

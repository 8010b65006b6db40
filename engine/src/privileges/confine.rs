//! Giving up: another user, no capabilities, no way to new ones, and few folders to write to.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{
    AccessFlags, Gid, Uid, User, access, faccessat, fchown, getgroups, setegid, seteuid, setgid,
    setgroups, setuid,
};

use crate::error::{Error, Result};

/// What is left of a process once it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    user: Option<(String, Uid, Gid)>,
    /// Files that are created, and replaced by others under their names.
    files: BTreeSet<PathBuf>,
    /// Where they are.
    folders: BTreeSet<PathBuf>,
    /// Pipes and devices, which are written to in place.
    places: BTreeSet<PathBuf>,
    /// Whether what it takes to open an interface is kept.
    keeps_opening: bool,
}

impl Confinement {
    /// As `user`, if one is given; writing only beside `outputs`, and to those that are pipes or
    /// devices.
    ///
    /// # Errors
    /// If there is no such user, who would not be allowed to write there, or to become whom is
    /// not allowed.
    pub fn new<'a>(
        user: Option<&str>,
        outputs: impl IntoIterator<Item = &'a Path>,
    ) -> Result<Self> {
        let is_place =
            |path: &PathBuf| fs::metadata(path).is_ok_and(|it| !it.is_file() && !it.is_dir());
        let (places, files): (BTreeSet<_>, BTreeSet<_>) =
            outputs.into_iter().map(Path::to_owned).partition(is_place);
        let folders = files.iter().map(|file| folder_of(file)).collect();
        let user = user.map(find).transpose()?;
        let confinement = Self { user, files, folders, places, keeps_opening: false };
        confinement.check_outputs()?;
        Ok(confinement)
    }

    /// Leaves it the capabilities to open an interface anew.
    pub fn keep_what_opening_takes(&mut self) {
        self.keeps_opening = true;
    }
}

impl Confinement {
    /// Better told before anything is opened: afterwards nothing could be cleaned up.
    fn check_outputs(&self) -> Result<()> {
        let Some((name, uid, gid)) = &self.user else { return Ok(()) };
        let (own_uid, own_gid) = (Uid::effective(), Gid::effective());
        let fail = |errno: nix::Error| {
            Error::new(format!("--user {name}"), errno.desc())
                .advise("start flowtap as root for it")
        };
        let own_groups = getgroups().map_err(fail)?;
        setgroups(&[]).and_then(|()| setegid(*gid)).and_then(|()| seteuid(*uid)).map_err(fail)?;
        let refused = self.writes().find_map(|(path, wish)| {
            let errno = faccessat(AT_FDCWD, path, wish, AtFlags::AT_EACCESS).err()?;
            Some(not_writable(path, self, errno))
        });
        seteuid(own_uid)
            .and_then(|()| setegid(own_gid))
            .and_then(|()| setgroups(&own_groups))
            .map_err(fail)?;
        let refused = refused.or_else(|| self.files.iter().find_map(|file| not_ours(file, *uid)));
        refused.map_or(Ok(()), Err)
    }

    /// What is to be written to, and what that takes.
    fn writes(&self) -> impl Iterator<Item = (&Path, AccessFlags)> {
        let folders = self.folders.iter().map(|path| (path, AccessFlags::W_OK | AccessFlags::X_OK));
        let places = self.places.iter().map(|path| (path, AccessFlags::W_OK));
        folders.chain(places).map(|(path, wish)| (path.as_path(), wish))
    }
}

/// In a folder where everyone may write, and replace what is one's own only, a file of somebody
/// else's in the place of ours.
fn not_ours(file: &Path, uid: Uid) -> Option<Error> {
    const STICKY: u32 = 0o1000;
    let folder = fs::metadata(folder_of(file)).ok()?;
    let there = fs::symlink_metadata(file).ok()?;
    let is_kept = folder.mode() & STICKY != 0 && folder.uid() != uid.as_raw();
    (is_kept && there.uid() != uid.as_raw()).then(|| {
        Error::new(format!("write {}", file.display()), "it is there, and somebody else's")
            .advise("remove it, or choose another name")
    })
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn find(name: &str) -> Result<(String, Uid, Gid)> {
    let fail = |cause: String| {
        Error::new(format!("--user {name}"), cause).advise("`getent passwd` lists the users")
    };
    let user = User::from_name(name).map_err(|errno| fail(errno.desc().to_owned()))?;
    let user = user.ok_or_else(|| fail("there is no such user".to_owned()))?;
    Ok((name.to_owned(), user.uid, user.gid))
}

/// Gives up, for good, what a running capture does not need. `files` are open already and
/// become the user's: by what is open, as their names may lead elsewhere by now. Returns what was
/// done, in words.
///
/// # Errors
/// If the process has several threads, a step is refused, or an output folder could not be
/// written to afterwards.
pub fn confine<'a>(
    confinement: &Confinement,
    files: impl IntoIterator<Item = BorrowedFd<'a>>,
) -> Result<String> {
    expect_one_thread()?;
    let keep = kept(confinement);
    if let Some((name, uid, gid)) = &confinement.user {
        become_user(name, *uid, *gid, files, !keep.is_empty())?;
    }
    let refuse = |step: &str, cause: String| Error::new(format!("give up {step}"), cause);
    let none = CapsHashSet::new();
    // What is in effect must be permitted; and what is ambient, both permitted and inheritable.
    for (set, left) in [
        (CapSet::Effective, &none),
        (CapSet::Inheritable, &none),
        (CapSet::Permitted, &keep),
        (CapSet::Effective, &keep),
    ] {
        caps::set(None, set, left).map_err(|error| refuse("capabilities", error.to_string()))?;
    }
    nix::sys::prctl::set_no_new_privs()
        .map_err(|errno| refuse("new privileges", errno.desc().to_owned()))?;
    let is_landlocked =
        restrict(confinement).map_err(|error| refuse("folders to write to", error.to_string()))?;
    for (path, wish) in confinement.writes() {
        access(path, wish).map_err(|errno| not_writable(path, confinement, errno))?;
    }
    Ok(describe(confinement, &keep, is_landlocked))
}

/// Threads that run already would keep what is given up here.
fn expect_one_thread() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    match threads.map(str::trim) {
        None | Some("1") => Ok(()),
        Some(threads) => Err(Error::new(
            "give up privileges",
            format!("{threads} threads run, which would keep them"),
        )),
    }
}

/// [`super::NEEDED`]; the last where memory may not be locked otherwise, as it was at the start.
const NEEDED_TO_OPEN: [Capability; 5] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_IPC_LOCK,
];

/// Capabilities that a running capture needs: mostly none.
fn kept(confinement: &Confinement) -> CapsHashSet {
    let mut keep = CapsHashSet::new();
    let had = caps::read(None, CapSet::Permitted).unwrap_or_default();
    // Root writes to another's folder by it. Landlock says to which.
    if confinement.user.is_none() && Uid::effective().is_root() {
        keep.insert(Capability::CAP_DAC_OVERRIDE);
    }
    if confinement.keeps_opening {
        keep.extend(NEEDED_TO_OPEN);
    }
    // Until then reading a map asked for it as making one does (Linux commit c8644cd0efe7).
    if kernel_version() < (5, 19) {
        keep.insert(Capability::CAP_BPF);
    }
    keep.intersection(&had).copied().collect()
}

fn kernel_version() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn become_user<'a>(
    name: &str,
    uid: Uid,
    gid: Gid,
    files: impl IntoIterator<Item = BorrowedFd<'a>>,
    keeps_capabilities: bool,
) -> Result<()> {
    let fail = |step: &str, errno: nix::Error| {
        Error::new(format!("--user {name}: {step}"), errno.desc())
            .advise("start flowtap as root for it")
    };
    for file in files {
        fchown(file, Some(uid), Some(gid)).map_err(|errno| fail("give it the outputs", errno))?;
    }
    if keeps_capabilities {
        nix::sys::prctl::set_keepcaps(true).map_err(|errno| fail("keep capabilities", errno))?;
    }
    setgroups(&[]).map_err(|errno| fail("leave groups", errno))?;
    setgid(gid).map_err(|errno| fail("change group", errno))?;
    setuid(uid).map_err(|errno| fail("change user", errno))
}

/// Leaves the outputs to write to. Whether the kernel does it.
fn restrict(confinement: &Confinement) -> std::result::Result<bool, Box<dyn std::error::Error>> {
    // Version 3 (Linux 6.2) can tell truncation; an older kernel does what it can.
    let write = AccessFs::from_write(ABI::V3);
    let mut ruleset = Ruleset::default().handle_access(write)?.create()?;
    for folder in &confinement.folders {
        ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(folder)?, write))?;
    }
    // Pipes without a name have no path, and are not kept from anybody.
    for place in confinement.places.iter().filter_map(|place| place.canonicalize().ok()) {
        let write = write & AccessFs::from_file(ABI::V3);
        ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(place)?, write))?;
    }
    Ok(ruleset.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

fn not_writable(path: &Path, confinement: &Confinement, errno: nix::Error) -> Error {
    let operation = format!("write to {}", path.display());
    if confinement.places.contains(path) {
        return Error::new(operation, errno.desc()).advise("choose one that you may write to");
    }
    match &confinement.user {
        Some((name, ..)) => Error::new(format!("{operation} as {name}"), errno.desc())
            .advise(format!("`chown {name} {}`, or choose another folder", path.display())),
        None => Error::new(operation, errno.desc()).advise("choose a folder that you may write to"),
    }
}

fn describe(confinement: &Confinement, keep: &CapsHashSet, is_landlocked: bool) -> String {
    let user = confinement.user.as_ref().map(|(name, ..)| format!("user {name}, "));
    let kept: Vec<_> = keep.iter().map(Capability::to_string).collect();
    let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(", ") };
    let folders: Vec<_> = confinement.writes().map(|(p, _)| p.display().to_string()).collect();
    let writes = match (is_landlocked, folders.is_empty()) {
        (false, _) => "the kernel has no Landlock".to_owned(),
        (true, true) => "opens nothing to write to".to_owned(),
        (true, false) => format!("writes to {} only", folders.join(", ")),
    };
    format!("{}capabilities: {kept}; {writes}", user.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_those_of_the_outputs() {
        let outputs = ["a.jsonl", "/x/b.csv", "/x/c.csv"].map(Path::new);
        let confinement = Confinement::new(None, outputs).unwrap();
        let folders: Vec<_> = confinement.folders.iter().map(|f| f.to_str().unwrap()).collect();
        assert_eq!(folders, ["/x", "."]);
    }

    #[test]
    fn what_is_written_to_in_place_needs_no_folder() {
        let confinement = Confinement::new(None, [Path::new("/dev/null")]).unwrap();
        assert!(confinement.folders.is_empty(), "{confinement:?}");
        let writes: Vec<_> = confinement.writes().collect();
        assert_eq!(writes, [(Path::new("/dev/null"), AccessFlags::W_OK)]);
    }

    #[test]
    fn an_unknown_user_is_refused() {
        let error = Confinement::new(Some("no-such-user"), []).unwrap_err().to_string();
        assert!(error.starts_with("--user no-such-user: there is no such user"), "{error}");
    }

    #[test]
    fn a_process_with_threads_is_refused() {
        // The test harness has several.
        let refusal = std::thread::spawn(|| confine(&Confinement::default(), []));
        let error = refusal.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("threads run"), "{error}");
    }
}

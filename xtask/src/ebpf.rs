//! Builds the XDP programs: `cargo xtask ebpf [--check]`.
//!
//! The objects are committed, so that building what embeds them needs no eBPF toolchain, and the
//! same source gives the same bytes wherever it is built with the reference compiler: every path
//! that ends up in the object (debug information, BTF line records) is remapped. `--check` is how
//! CI knows that the committed object is what the source says.
//!
//! It installs nothing and fetches nothing but crates; `scripts/setup-ebpf` does that.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The compiler whose object is committed, as `rustc --version` begins. Others give an object
/// that works the same but differs in its bytes.
const REFERENCE_RUSTC: &str = "rustc 1.96.0 ";

/// Debian's compiler with the library's source (`rustc-web`, `rust-web-src`).
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// What is built: the engine's programs, and the generator's.
const PROGRAMS: [&str; 3] = ["flowtap", "observe", "feed"];

/// The target of 64-bit little-endian BPF, which is all that flowtap runs on.
const TARGET: &str = "bpfel-unknown-none";

const FIX: &str = "run scripts/setup-ebpf";

type Result<T> = std::result::Result<T, String>;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Compare with the committed object instead of replacing it; fail if they differ.
    #[arg(long)]
    check: bool,
}

/// Builds the object, then writes or compares it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask has no parent")?;
    let tools = Tools::find(root)?;
    tools.build(root)?;
    for program in PROGRAMS {
        let name = format!("{program}.bpf.o");
        let built = tools.strip(root, program)?;
        let object = root.join("ebpf").join(&name);
        let sum = object.with_extension("o.sha256");
        let line = |object: &Path| Ok::<_, String>(format!("{}  {name}\n", sha256(object)?));
        if options.check {
            if read(&sum)? != line(&object)?.as_bytes() {
                return Err(format!("{} is not the hash of the object beside it", sum.display()));
            }
            check(&tools, &built, &object)?;
            continue;
        }
        copy(&built, &object)?;
        write(&sum, &line(&object)?)?;
        println!("wrote {} ({})", object.display(), tools.version);
        if !tools.is_reference() {
            println!("note: do not commit it: {}", tools.difference());
        }
    }
    Ok(())
}

fn check(tools: &Tools, built: &Path, object: &Path) -> Result<()> {
    if read(built)? == read(object)? {
        println!("{} is what the source gives ({})", object.display(), tools.version);
        return Ok(());
    }
    let why = if tools.is_reference() {
        "run cargo xtask ebpf and commit the result".to_owned()
    } else {
        tools.difference()
    };
    Err(format!("{} is not what {} is; {why}", object.display(), built.display()))
}

/// What the build needs beside cargo.
struct Tools {
    /// A compiler that has the source of `core`, to build it for the target.
    rustc: PathBuf,
    /// What it says it is.
    version: String,
    /// Where the source of `core` is.
    library: PathBuf,
    linker: PathBuf,
    objcopy: PathBuf,
}

impl Tools {
    fn find(root: &Path) -> Result<Self> {
        let (rustc, library) = find_rustc()?;
        let version = output(Command::new(&rustc).arg("--version"))?;
        let linker = find_in(&[root.join("target/tools/bin")], "bpf-linker")?;
        let objcopy = find_in(&[PathBuf::from("/usr/lib/llvm-22/bin")], "llvm-objcopy")?;
        Ok(Self { rustc, version, library, linker, objcopy })
    }

    fn is_reference(&self) -> bool {
        self.version.starts_with(REFERENCE_RUSTC) && self.rustc == Path::new(DEBIAN_RUSTC)
    }

    fn difference(&self) -> String {
        let reference = REFERENCE_RUSTC.trim_end();
        format!("only Debian's {reference} gives the committed bytes, this is {}", self.version)
    }

    /// Builds the programs.
    fn build(&self, root: &Path) -> Result<()> {
        let source = root.join("ebpf");
        self.run(self.cargo(&source).args(["fetch", "--locked", "--quiet"]))?;
        self.run(
            self.cargo(&source)
                .args(["build", "--release", "--locked", "--quiet", "-Z", "build-std=core"])
                .args(["--target", TARGET, "--target-dir"])
                .arg(target_directory(root))
                .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker)
                .env("CARGO_ENCODED_RUSTFLAGS", self.flags(&source)?.join("\x1f")),
        )?;
        Ok(())
    }

    /// Strips a built program; returns where the object is.
    fn strip(&self, root: &Path, program: &str) -> Result<PathBuf> {
        let target = target_directory(root);
        let linked = target.join(TARGET).join("release").join(program);
        let stripped = target.join(program).with_extension("bpf.o");
        // Not `llvm-strip -s`: without its symbols the object does not load.
        self.run(Command::new(&self.objcopy).arg("--strip-debug").args([&linked, &stripped]))?;
        Ok(stripped)
    }

    /// Cargo on the eBPF workspace, with none of the settings of the cargo that runs us.
    fn cargo(&self, source: &Path) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            let is_setting = name.starts_with("CARGO_") || name.starts_with("RUSTC");
            if (is_setting && name != "CARGO_HOME") || name.starts_with("RUSTFLAGS") {
                cargo.env_remove(&*name);
            }
        }
        // `-Z build-std` is unstable, and a release compiler takes it only when told to.
        cargo.current_dir(source).env("RUSTC", &self.rustc).env("RUSTC_BOOTSTRAP", "1");
        cargo
    }

    fn flags(&self, source: &Path) -> Result<Vec<String>> {
        // v3: the verifier refuses some of what the compiler makes of older instruction sets.
        let mut flags: Vec<String> =
            ["-Cdebuginfo=2", "-Ctarget-cpu=v3", "-Clink-arg=--btf"].map(Into::into).into();
        let mut remap = |from: &Path, to: &str| {
            flags.push(format!("--remap-path-prefix={}={to}", from.display()));
        };
        remap(source, "/src");
        remap(&self.library, "/rust");
        remap(&real(&self.library)?, "/rust");
        for registry in registries()? {
            remap(&registry, "/cargo");
        }
        Ok(flags)
    }

    fn run(&self, command: &mut Command) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        let status = command.status().map_err(|error| format!("run {program}: {error}"))?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("build the XDP programs: {program}: {status} ({})", self.version))
        }
    }
}

/// Debian's compiler, or a nightly of rustup's, whichever has the source of `core`.
fn find_rustc() -> Result<(PathBuf, PathBuf)> {
    let nightly = output(Command::new("rustup").args(["which", "rustc", "--toolchain", "nightly"]));
    let found = [Some(PathBuf::from(DEBIAN_RUSTC)), nightly.ok().map(PathBuf::from)];
    for rustc in found.into_iter().flatten() {
        let Ok(sysroot) = output(Command::new(&rustc).args(["--print", "sysroot"])) else {
            continue;
        };
        let library = Path::new(&sysroot).join("lib/rustlib/src/rust");
        if library.join("library/core").is_dir() {
            return Ok((rustc, library));
        }
    }
    Err(format!("find a compiler with the source of core: none installed; {FIX}"))
}

/// The program in one of `directories`, else on `PATH`.
fn find_in(directories: &[PathBuf], program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let all = directories.iter().cloned().chain(env::split_paths(&path));
    all.map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| format!("find {program}: not installed; {FIX}"))
}

/// Where cargo unpacks crates: a directory for each registry, named after its host.
fn registries() -> Result<Vec<PathBuf>> {
    let home = match (env::var_os("CARGO_HOME"), env::var_os("HOME")) {
        (Some(cargo), _) => PathBuf::from(cargo),
        (None, Some(home)) => Path::new(&home).join(".cargo"),
        (None, None) => return Err("find the registry: neither CARGO_HOME nor HOME is set".into()),
    };
    let sources = home.join("registry/src");
    let entries = fs::read_dir(&sources).map_err(|e| format!("read {}: {e}", sources.display()))?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort();
    Ok(found)
}

/// Never in `ebpf/` itself, so that a check leaves the tree as it was.
fn target_directory(root: &Path) -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    root.join(target).join("ebpf")
}

fn sha256(file: &Path) -> Result<String> {
    let line = output(Command::new("sha256sum").arg(file))?;
    Ok(line.split(' ').next().unwrap_or_default().to_owned())
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("run {program}: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("run {program}: {}", text.lines().next().unwrap_or_default()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|error| format!("read {}: {error}", file.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).map_err(|error| format!("write {}: {error}", file.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).map_err(|error| format!("write {}: {error}", to.display()))
}

fn real(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|error| format!("resolve {}: {error}", path.display()))
}

//! `cargo xtask net`: two network namespaces with a link between them, for live captures away
//! from any real network. Refuses to touch anything but namespaces of the given name.

use std::process::{Command, Output};

/// What to do with the namespaces.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make them; older ones of the same name are removed first
    Up(Name),
    /// Remove them
    Down(Name),
}

#[derive(clap::Args)]
struct Name {
    /// The namespaces are called NAME-a (interface v0) and NAME-b (interface v1)
    #[arg(long, default_value = "ft", value_parser = parse_name)]
    name: String,
}

/// Makes or removes the namespaces.
///
/// # Errors
/// Without root's rights, without `ip`, or when `ip` fails: what it said.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    expect_root()?;
    match &args.action {
        Action::Up(Name { name }) => up(name),
        Action::Down(Name { name }) => down(name).map(|removed| {
            let was = if removed == 0 { "there were none" } else { "removed" };
            eprintln!("net: {name}-a and {name}-b: {was}");
        }),
    }
}

/// Two namespaces with a link, which are removed when this is dropped.
pub(crate) struct Link {
    pub(crate) name: &'static str,
}

impl Link {
    /// # Errors
    /// Those of [`run`].
    pub(crate) fn up(name: &'static str) -> Result<Self, String> {
        expect_root()?;
        for netns in [format!("{name}-a"), format!("{name}-b")] {
            // Without such a namespace it fails, and nobody is in it.
            let inside = ip(&["netns", "pids", &netns]).map(|output| output.stdout);
            if inside.is_ok_and(|pids| !pids.is_empty()) {
                return Err(format!(
                    "make namespace {netns}: another run uses it; wait for its end, or remove it \
                     with cargo xtask net down --name {name}"
                ));
            }
        }
        down(name)?;
        let link = Self { name };
        make(name)?;
        Ok(link)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = down(self.name);
    }
}

fn expect_root() -> Result<(), String> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err("change network namespaces: not permitted; run it as root".into())
}

fn up(name: &str) -> Result<(), String> {
    down(name)?;
    make(name).inspect_err(|_| {
        // The first error is the one to tell.
        let _ = down(name);
    })?;
    eprintln!(
        "net: {name}-a (v0) and {name}-b (v1) are up, 2 queues each way\n\
         send:    cargo xtask send FILE --to v0 --netns {name}-a\n\
         capture: ip netns exec {name}-b PROGRAM … v1\n\
         remove:  cargo xtask net down --name {name}"
    );
    Ok(())
}

fn make(name: &str) -> Result<(), String> {
    let (a, b) = (format!("{name}-a"), format!("{name}-b"));
    for netns in [&a, &b] {
        ip(&["netns", "add", netns])?;
        // Without IPv6 the kernel itself sends nothing (router solicitations, MLD reports).
        let quiet = "for each in all default; do \
                     echo 1 > /proc/sys/net/ipv6/conf/$each/disable_ipv6 || exit 1; done";
        ip(&[
            "netns",
            "exec",
            netns,
            "sh",
            "-c",
            &format!("test ! -d /proc/sys/net/ipv6 || {{ {quiet}; }}"),
        ])?;
    }
    ip(&[
        "link",
        "add",
        "v0",
        "netns",
        &a,
        "numrxqueues",
        "2",
        "numtxqueues",
        "2",
        "type",
        "veth",
        "peer",
        "name",
        "v1",
        "netns",
        &b,
        "numrxqueues",
        "2",
        "numtxqueues",
        "2",
    ])?;
    for (netns, interface) in [(&a, "v0"), (&b, "v1")] {
        // Packets of the host's own stack would carry unfinished checksums.
        let offload = ["netns", "exec", netns, "ethtool", "-K", interface, "tx", "off"];
        if has_ethtool() {
            ip(&offload)?;
        }
        ip(&["-netns", netns, "link", "set", "dev", interface, "arp", "off", "up"])?;
    }
    Ok(())
}

/// Removes the namespaces, and with them the link; returns how many there were.
fn down(name: &str) -> Result<usize, String> {
    let listed = ip(&["netns", "list"])?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut removed = 0;
    for netns in [format!("{name}-a"), format!("{name}-b")] {
        // A line is a name and maybe its number.
        if listed.lines().any(|line| line.split_whitespace().next() == Some(&netns)) {
            ip(&["netns", "delete", &netns])?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn has_ethtool() -> bool {
    Command::new("ethtool").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Runs `ip` with `args`.
///
/// # Errors
/// What it says.
pub(crate) fn ip(args: &[&str]) -> Result<Output, String> {
    let output = Command::new("ip")
        .args(args)
        .output()
        .map_err(|error| format!("run ip: {error}; install iproute2"))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", args.join(" "), said.lines().next().unwrap_or("it failed").trim()))
}

/// Names that are safe as file names and in advice to copy.
fn parse_name(name: &str) -> Result<String, String> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    if name.is_empty() || name.len() > 32 || name.starts_with('-') || !name.chars().all(fits) {
        return Err("1 to 32 letters, digits, hyphens and underscores".into());
    }
    Ok(name.to_owned())
}

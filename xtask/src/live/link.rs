//! Interfaces to send on, in this or another network namespace. Refuses those that are not
//! veth, so that nobody sends onto a real network by accident.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

/// What there is to say about where to send.
#[derive(clap::Args, Clone)]
pub(crate) struct Target {
    /// The interface to send on
    #[arg(long = "to", value_name = "IF")]
    pub(crate) interface: String,
    /// The network namespace of the interface (`ip netns`)
    #[arg(long)]
    pub(crate) netns: Option<String>,
    /// Also send on an interface that is not a veth
    #[arg(long)]
    pub(crate) any_interface: bool,
}

impl Target {
    /// Does `work` where the interface is, if we may send on it.
    ///
    /// # Errors
    /// If there is no such namespace or interface, or it is not a veth; those of `work`.
    pub(crate) fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send,
    ) -> Result<T, String> {
        let checked = || {
            if !self.any_interface {
                self.expect_veth()?;
            }
            work()
        };
        let Some(netns) = &self.netns else { return checked() };
        let failed = |cause: &dyn std::fmt::Display, advice: &str| {
            format!("enter network namespace {netns}: {cause}{advice}")
        };
        let file = File::open(Path::new("/run/netns").join(netns)).map_err(|error| {
            failed(&error.to_string().to_lowercase(), "; `ip netns` lists those there are")
        })?;
        // A thread has a namespace of its own, and takes it along when it ends.
        thread::scope(|scope| {
            let entered = || {
                setns(file, CloneFlags::CLONE_NEWNET)
                    .map_err(|errno| failed(&errno.desc().to_lowercase(), "; run it as root"))?;
                checked()
            };
            scope.spawn(entered).join().expect("who works inside does not panic")
        })
    }

    /// The interface's number.
    pub(crate) fn index(&self) -> Result<u32, String> {
        let index = self.look(&[])?["ifindex"].as_u64();
        index
            .and_then(|index| u32::try_from(index).ok())
            .ok_or_else(|| format!("look at {}: ip did not tell its number", self.interface))
    }

    /// The number of the XDP program that is attached to it, if one is.
    pub(crate) fn xdp_program(&self) -> Result<Option<u32>, String> {
        let id = self.look(&[])?["xdp"]["prog"]["id"].as_u64();
        Ok(id.and_then(|id| u32::try_from(id).ok()))
    }

    /// The longest frame it takes, without tags.
    pub(crate) fn max_frame_len(&self) -> Result<usize, String> {
        let mtu = self.look(&[])?["mtu"].as_u64().and_then(|mtu| usize::try_from(mtu).ok());
        mtu.map(|mtu| mtu + 14)
            .ok_or_else(|| format!("look at {}: ip did not tell its MTU", self.interface))
    }

    /// How many packets the interface says it has sent. A veth counts what its other end has
    /// taken.
    pub(crate) fn sent_packets(&self) -> Result<u64, String> {
        let link = self.look(&["-statistics"])?;
        link["stats64"]["tx"]["packets"]
            .as_u64()
            .ok_or_else(|| format!("look at {}: ip did not tell what it sent", self.interface))
    }

    /// How many of `want` packets the interface has sent since it had sent `before`, as soon as
    /// they are all there or no more come.
    pub(crate) fn sent_since(&self, before: u64, want: u64) -> Result<u64, String> {
        const STEP: Duration = Duration::from_millis(20);
        const STEPS_WITHOUT: u32 = 25;
        let mut sent = 0;
        let mut without = 0;
        while sent < want && without < STEPS_WITHOUT {
            let now = self.sent_packets()?.saturating_sub(before);
            without = if now > sent { 0 } else { without + 1 };
            sent = now;
            if sent < want {
                // Other threads are at it, and do not tell.
                thread::sleep(STEP);
            }
        }
        Ok(sent)
    }

    /// An error unless it is one end of a virtual pair.
    fn expect_veth(&self) -> Result<(), String> {
        match self.look(&["-details"])?["linkinfo"]["info_kind"].as_str() {
            Some("veth") => Ok(()),
            _ => Err(format!(
                "send on {}: not a veth, so it may lead to a real network; --any-interface sends \
                 all the same",
                self.interface
            )),
        }
    }

    /// What `ip link` says of it.
    fn look(&self, options: &[&str]) -> Result<Value, String> {
        let interface = &self.interface;
        let output = Command::new("ip")
            .args(options)
            .args(["-json", "link", "show", "dev", interface])
            .output()
            .map_err(|error| format!("look at {interface} with ip: {error}; install iproute2"))?;
        if !output.status.success() {
            return Err(format!(
                "look at {interface}: no such interface in this network namespace; `ip link` lists \
                 those there are, --netns looks elsewhere"
            ));
        }
        let mut links: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("look at {interface}: ip gave no JSON: {error}"))?;
        Ok(links[0].take())
    }
}

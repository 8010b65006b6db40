//! What this machine and its network interfaces can do, and whether a capture may use them.
//!
//! `netlink` asks the kernel, `machine` reads `/proc` and `/sys`; both fill [`facts`], which
//! are plain data. [`judge`] makes verdicts of facts, and [`usage`] says what the host itself
//! needs an interface for; [`link`] follows an interface while it is captured from. Only [`tune`]
//! changes anything, if it is asked to, and goes back. It is called by [`crate::cli`], by
//! [`crate::source`] before it takes an interface over, and by the engine while it has it.

mod below;
mod ethtool;
pub mod facts;
pub mod judge;
pub mod link;
mod machine;
mod netlink;
mod routes;
mod taken;
pub mod tune;
pub mod usage;

use crate::error::Result;

/// The names of these interfaces, some of which may be called by alternative ones (`altname`).
/// What no interface is called stays as it is, for who looks it up to refuse.
#[must_use]
pub fn real_names(interfaces: &[String]) -> Vec<String> {
    let mut kernel = netlink::Kernel::new();
    let name_of = |name: &String| kernel.name_of(name).unwrap_or_else(|| name.clone());
    interfaces.iter().map(name_of).collect()
}

/// All there is to know of this machine and of these interfaces.
///
/// # Errors
/// If there is no such interface, or the kernel does not say.
pub fn examine(interfaces: &[String]) -> Result<facts::Facts> {
    let mut kernel = netlink::Kernel::new();
    let links = kernel.links()?;
    let host = usage::Host::look(&mut kernel)?;
    let names: Vec<&str> = match interfaces {
        // The loopback interface is nobody's network.
        [] => links.iter().map(|link| &*link.name).filter(|name| *name != "lo").collect(),
        names => names.iter().map(String::as_str).collect(),
    };
    // Not everybody may read what is written down there.
    let left = tune::left_changed().unwrap_or_default();
    let interfaces = names
        .into_iter()
        .map(|name| {
            let link = netlink::find(&links, name)?;
            let mut facts = kernel.interface(link);
            machine::complete(&mut facts, link);
            facts.below =
                (below::below(&links, link).into_iter()).map(|lower| kernel.lower(lower)).collect();
            facts.uses = host.uses(&links, link)?;
            let left = left.iter().find(|(index, _)| *index == link.index);
            facts.left_tuned = left.map(|(_, was)| was.clone()).unwrap_or_default();
            Ok(facts)
        })
        .collect::<Result<_>>()?;
    Ok(facts::Facts { machine: machine::examine(), interfaces })
}

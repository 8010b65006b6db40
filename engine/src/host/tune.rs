//! A card's settings while a capture runs (`--tune`): what is changed, and back again.
//!
//! [`wanted`] says from facts what to change: what `flowtap doctor` advises, and no more; the
//! number of queues only if it is asked for. [`Tuned::apply`] writes down what is there before it
//! changes anything (`state`), and [`Tuned::undo`] goes back, last first. Who was killed leaves
//! the file, and [`restore`] goes back by it. Both leave alone what a running process holds.
//! A setting that the driver refuses is said, and the others are made all the same.
//!
//! It is called by [`crate::cli`]: by the process that holds the settings, and by `doctor`.

mod card;
mod state;

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::host::facts::Interface;
use crate::host::judge::{OFFLOADS, advised_ring};
use crate::host::netlink::Kernel;
use crate::limits::BUSY_PATIENCE;
use crate::sync::thread;
use card::{Card, Identity};
use state::StateFile;

/// Where settings are written down: gone after a restart, as they are themselves.
const FOLDER: &str = "/run/flowtap";

/// How long to wait before the kernel is asked again.
const RETRY: Duration = Duration::from_millis(20);

/// What `--tune` was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tune {
    /// So many queues; as many as there are, if not said.
    pub channels: Option<u32>,
}

impl FromStr for Tune {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let channels = text.strip_prefix("channels=").and_then(|count| count.parse().ok());
        match channels.filter(|&count| count > 0) {
            Some(count) => Ok(Self { channels: Some(count) }),
            None => Err("give nothing, or channels=N".to_owned()),
        }
    }
}

/// One setting of a card, with a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Setting {
    /// Queues for both directions.
    Combined(u32),
    /// Queues for receiving only.
    RxChannels(u32),
    /// The length of receive rings.
    RxRing(u32),
    /// What is done to the hash's input, by its name in [`crate::host::facts::Rss`].
    RssTransform(Option<String>),
    /// The hash's key.
    RssKey(Vec<u8>),
    /// An offload, by its name in the kernel.
    Offload(String, bool),
}

impl Setting {
    /// The same setting with the value that it has; `None` if the driver does not say.
    fn now(&self, facts: &Interface) -> Option<Self> {
        Some(match self {
            Self::Combined(_) => Self::Combined(facts.channels?.combined),
            Self::RxChannels(_) => Self::RxChannels(facts.channels?.rx),
            Self::RxRing(_) => Self::RxRing(facts.rx_ring?[0]),
            Self::RssTransform(_) => Self::RssTransform(facts.rss.as_ref()?.transform.clone()),
            Self::RssKey(_) => Self::RssKey(facts.rss.as_ref()?.key.clone()),
            Self::Offload(name, _) => Self::Offload(name.clone(), facts.offloads.contains(name)),
        })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Combined(count) => write!(f, "combined channels {count}"),
            Self::RxChannels(count) => write!(f, "rx channels {count}"),
            Self::RxRing(frames) => write!(f, "rx ring {frames}"),
            Self::RssTransform(name) => {
                write!(f, "rss input {}", name.as_deref().unwrap_or("as it is"))
            }
            Self::RssKey(key) if key.chunks(2).all(|two| SYMMETRIC.starts_with(two)) => {
                f.write_str("symmetric rss key")
            }
            Self::RssKey(_) => f.write_str("rss key"),
            Self::Offload(name, is_on) => write!(f, "{name} {}", if *is_on { "on" } else { "off" }),
        }
    }
}

/// A key of this pattern all along gives both directions of a flow one hash (see
/// [`crate::host::facts::Rss::is_symmetric`]).
const SYMMETRIC: [u8; 2] = [0x6d, 0x5a];

/// What to change, in this order; of each step the first that the driver takes.
fn wanted(facts: &Interface, tune: Tune) -> Vec<Vec<Setting>> {
    let mut steps = Vec::new();
    if let Some(count) = tune.channels {
        let has_combined = facts.channels.is_none_or(|channels| channels.combined_max > 0);
        let kind = if has_combined { Setting::Combined } else { Setting::RxChannels };
        steps.push(vec![kind(count)]);
    }
    if let Some(frames) = facts.rx_ring.and_then(advised_ring) {
        steps.push(vec![Setting::RxRing(frames)]);
    }
    let queues = tune.channels.or(facts.channels.map(|channels| channels.receiving()));
    if let Some(rss) = facts.rss.as_ref().filter(|rss| !rss.is_symmetric())
        && queues.is_some_and(|queues| queues > 1)
    {
        let key: Vec<u8> = SYMMETRIC.into_iter().cycle().take(rss.key.len()).collect();
        let by_key = (!key.is_empty()).then_some(Setting::RssKey(key));
        let by_input = Setting::RssTransform(Some("symmetric-xor".to_owned()));
        steps.push([by_input].into_iter().chain(by_key).collect());
    }
    let is_on = |name: &&str| facts.offloads.iter().any(|one| one == name);
    let names = OFFLOADS.iter().map(|offload| offload.names[0]);
    steps.extend(names.filter(is_on).map(|name| vec![Setting::Offload(name.to_owned(), false)]));
    steps
}

/// What settings are read from and written to.
trait Nic {
    /// # Errors
    /// If it is gone.
    fn facts(&mut self) -> Result<Interface>;

    /// # Errors
    /// If the driver refuses it.
    fn set(&mut self, setting: &Setting) -> io::Result<()>;
}

/// Takes the steps. What was done, and what was refused, in words.
fn apply(nic: &mut impl Nic, steps: &[Vec<Setting>]) -> Result<(Vec<String>, Vec<String>)> {
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for step in steps {
        let mut refusals = Vec::new();
        for setting in step {
            match change(nic, setting)? {
                Ok(()) => {
                    done.push(setting.to_string());
                    refusals.clear();
                    break;
                }
                Err(cause) => refusals.push(format!("{setting} is refused: {cause}")),
            }
        }
        refused.extend(refusals);
    }
    Ok((done, refused))
}

/// Changes one setting, and looks whether it has changed: some drivers take an offload's
/// change without a word and do not make it.
fn change(nic: &mut impl Nic, to: &Setting) -> Result<std::result::Result<(), String>> {
    let Some(was) = to.now(&nic.facts()?) else {
        return Ok(Err("the driver does not say what it is".to_owned()));
    };
    if was == *to {
        return Ok(Ok(()));
    }
    if let Err(cause) = nic.set(to) {
        return Ok(Err(Error::new("", cause).cause().to_owned()));
    }
    let is_changed = to.now(&nic.facts()?).is_some_and(|now| now != was);
    Ok(if is_changed { Ok(()) } else { Err(format!("it stays {was}")) })
}

/// Goes back to `was`, last first. What could not be, in words.
fn undo(nic: &mut impl Nic, was: &[Setting]) -> Result<Vec<String>> {
    let mut refused = Vec::new();
    for setting in was.iter().rev() {
        if let Err(cause) = change(nic, setting)? {
            refused.push(format!("{setting} is refused: {cause}"));
        }
    }
    Ok(refused)
}

/// The same for a while: sockets and programs of a process that ended go a little after it, and
/// hold queues until then.
fn undo_patiently(nic: &mut impl Nic, was: &[Setting]) -> Result<()> {
    let end = Instant::now() + BUSY_PATIENCE;
    loop {
        let refused = undo(nic, was)?;
        if refused.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            let operation = format!("restore the settings of {}", nic.facts()?.name);
            return Err(Error::new(operation, refused.join(", "))
                .advise("`flowtap doctor --restore` tries again"));
        }
        thread::park_timeout(RETRY);
    }
}

/// An interface whose settings this process holds.
pub(crate) struct Tuned {
    card: Card,
    state: StateFile,
    was: Vec<Setting>,
}

impl Tuned {
    /// Changes what suits a capture on `interface`; `say` is told what, and what was refused.
    ///
    /// # Errors
    /// If there is no such interface, another process holds its settings, or they cannot be
    /// written down. Nothing is changed then.
    pub(crate) fn apply(interface: &str, tune: Tune, mut say: impl FnMut(String)) -> Result<Self> {
        let mut card = Card::find(interface)?;
        let mut state = StateFile::lock(Path::new(FOLDER), &card.identity)?;
        if let Some(was) = state.left_behind(&card.identity) {
            undo_patiently(&mut card, &was)?;
        }
        let facts = card.facts()?;
        let steps = wanted(&facts, tune);
        let all = steps.iter().flatten();
        let was: Vec<_> = all.filter_map(|setting| setting.now(&facts)).collect();
        state.write(&card.identity, &was)?;
        let mut tuned = Self { card, state, was };
        match apply(&mut tuned.card, &steps) {
            Ok((done, refused)) => {
                if !done.is_empty() {
                    say(format!("tuned {interface}: {}", done.join(", ")));
                }
                refused.iter().for_each(|text| say(format!("{interface}: {text}")));
                Ok(tuned)
            }
            Err(error) => {
                tuned.undo(say)?;
                Err(error)
            }
        }
    }

    /// Goes back. `say` is told of an interface that is not here any more.
    ///
    /// # Errors
    /// If that is refused. What is written down stays then, for another try.
    pub(crate) fn undo(self, say: impl FnMut(String)) -> Result<()> {
        go_back(self.state, &self.card.identity, &self.was, say).map(drop)
    }
}

/// Sets back what is written down, and removes that. Whether anything was there to set back.
///
/// An interface that is gone has taken its settings with it, and another may have its number. One
/// that was moved to another network namespace keeps them, and cannot be reached from here: what is
/// written down stays for when it is back.
fn go_back(
    state: StateFile,
    identity: &Identity,
    was: &[Setting],
    mut say: impl FnMut(String),
) -> Result<bool> {
    let card = identity.card()?;
    let is_here = card.is_some();
    if let Some(mut card) = card {
        undo_patiently(&mut card, was)?;
    } else if !was.is_empty() && identity.may_be_away()? {
        say(format!(
            "{} is gone, or in another network namespace, where it keeps what --tune has set; \
             before: {}; once it is back here `flowtap doctor --restore` sets it back",
            identity.interface,
            in_words(was)
        ));
        return Ok(false);
    }
    state.remove()?;
    Ok(is_here)
}

fn in_words(settings: &[Setting]) -> String {
    settings.iter().map(Setting::to_string).collect::<Vec<_>>().join(", ")
}

/// What processes that are gone have changed and not set back: the interface's number, and what
/// it was set to before. Nothing is changed.
///
/// # Errors
/// If what is written down cannot be read.
pub(super) fn left_changed() -> Result<Vec<(u32, Vec<String>)>> {
    let of_state = |mut state: StateFile| {
        let Some(card) = card_of(&state)? else { return Ok(None) };
        let was = state.left_behind(&card.identity);
        let was = was.map(|was| was.iter().map(Setting::to_string).collect());
        Ok(was.map(|was| (card.identity.index, was)))
    };
    let states = StateFile::abandoned(Path::new(FOLDER))?;
    states.into_iter().filter_map(|state| of_state(state).transpose()).collect()
}

/// The interface with the number that was written down, if there is one.
fn card_of(state: &StateFile) -> Result<Option<Card>> {
    state.index().map_or(Ok(None), Card::with_index)
}

/// Goes back to what processes that are gone have left written down for `interfaces`, or for
/// all. `say` is told.
///
/// # Errors
/// If that is refused, or what is written down cannot be read: the first refusal, once all others
/// are restored.
pub fn restore(interfaces: &[String], say: impl FnMut(String)) -> Result<()> {
    restore_from(Path::new(FOLDER), interfaces, say)
}

fn restore_from(folder: &Path, interfaces: &[String], mut say: impl FnMut(String)) -> Result<()> {
    let mut kernel = Kernel::new();
    let indexes: Vec<_> = interfaces.iter().filter_map(|name| kernel.index_of(name)).collect();
    // By their names of then, or by those of now.
    let is_wanted = |state: &StateFile| {
        interfaces.is_empty()
            || interfaces.iter().any(|name| name == state.interface())
            || state.index().is_some_and(|index| indexes.contains(&index))
    };
    let states = StateFile::abandoned(folder)?.into_iter().filter(is_wanted);
    // Each is tried before the first refusal is given.
    let tried: Vec<_> = states.map(|state| restore_one(state, &mut say)).collect();
    tried.into_iter().collect()
}

fn restore_one(mut state: StateFile, say: &mut impl FnMut(String)) -> Result<()> {
    let Some((identity, was)) = state.take() else { return state.remove() };
    if go_back(state, &identity, &was, &mut *say)? {
        let name = &identity.interface;
        say(format!("{name} is as it was before --tune: {}", in_words(&was)));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Interfaces that change while they are captured from: down, up, gone, back, renamed, with
//! another number of queues. Each change is noticed, counted ([`LinkCounters`]) and said once;
//! no other interface suffers by it.
//!
//! `main` looks every [`LINK_LOOK`]; `rx` threads know nothing of this. What can go on by
//! itself does: sockets of an interface that is down work again once it is up. One that is gone
//! takes its sockets with it. When there is another of its name, it is opened in its place, if
//! this process still may (`--keep-privileges`).

use std::time::Instant;

use super::handover::Giver;
use super::open::of_choice;
use crate::error::Error;
use crate::host::link::{LinkState, Links};
use crate::ledger::{Accounts, Link, LinkCounters};
use crate::limits::{FAILING_LOOKS, LINK_LOOK, REOPEN_EVERY};
use crate::source::live::Source;

/// All interfaces of a capture.
pub(super) struct Watched<'a> {
    links: Links,
    ports: Vec<Port<'a>>,
    /// Whether what has gone can be opened anew.
    may_reopen: bool,
    last_look: Instant,
}

/// One interface.
struct Port<'a> {
    /// As it was given, and as records say.
    given: &'a str,
    /// As it is called now.
    name: String,
    index: u32,
    state: Link,
    /// As the kernel counts them.
    downs: u32,
    /// Receive queues in use, if it is known and matters.
    queues: Option<u32>,
    /// Of the threads that receive from it.
    givers: Vec<Giver>,
    counters: &'a LinkCounters,
    /// Looks since its queues began to give errors while it was up.
    failing_looks: u32,
    /// When it was last tried to open another in its place.
    last_try: Option<Instant>,
    /// What was last said of why that cannot be.
    refusal: Option<String>,
}

impl<'a> Watched<'a> {
    /// Watches what was opened: `givers` has the number of its interface with each thread's.
    pub(super) fn new(
        accounts: &'a Accounts,
        sources: &[Source],
        givers: impl IntoIterator<Item = (u16, Giver)>,
        may_reopen: bool,
    ) -> Self {
        let mut links = Links::default();
        let ports = sources.iter().zip(&accounts.names[..]).zip(&accounts.sources);
        let mut ports: Vec<_> = ports
            .map(|((source, name), counters)| Port::new(&mut links, source, name, &counters.link))
            .collect();
        for (interface, giver) in givers {
            ports[usize::from(interface)].givers.push(giver);
        }
        Self { links, ports, may_reopen, last_look: Instant::now() }
    }

    /// Looks after all, when it is time.
    pub(super) fn tick(&mut self, sources: &mut [Source], say: &mut dyn FnMut(&str)) {
        if self.last_look.elapsed() < LINK_LOOK {
            return;
        }
        self.last_look = Instant::now();
        for (port, source) in self.ports.iter_mut().zip(sources) {
            if port.state == Link::Gone {
                port.come_back(&mut self.links, source, self.may_reopen, say);
            } else {
                port.look(&mut self.links, source.is_by_queue(), say);
                if port.state == Link::Gone && self.may_reopen {
                    port.givers.iter().for_each(Giver::ask_back);
                }
            }
        }
    }

    /// Why there is nothing to wait for any more, if so: all are gone, for good.
    pub(super) fn end(&self) -> Option<Error> {
        let is_over = !self.may_reopen && self.ports.iter().all(|port| port.state == Link::Gone);
        let names: Vec<_> = self.ports.iter().map(|port| port.given).collect();
        let cause = if names.len() == 1 { "the interface is gone" } else { "all of them are gone" };
        is_over.then(|| {
            Error::new(format!("capture on {}", names.join(", ")), cause)
                .advise("--keep-privileges waits for another of its name")
        })
    }
}

impl<'a> Port<'a> {
    fn new(links: &mut Links, source: &Source, given: &'a str, counters: &'a LinkCounters) -> Self {
        let mut port = Self {
            given,
            name: given.to_owned(),
            index: 0,
            state: Link::Up,
            downs: 0,
            queues: None,
            givers: Vec::new(),
            counters,
            failing_looks: 0,
            last_try: None,
            refusal: None,
        };
        port.begin(links, source.index());
        port
    }

    /// Takes an interface as it is, of which nothing is to be said.
    fn begin(&mut self, links: &mut Links, index: u32) {
        self.index = index;
        self.name = self.given.to_owned();
        self.queues = links.rx_queues(index);
        self.failing_looks = 0;
        self.refusal = None;
        let link = links.look(index).ok().flatten();
        self.downs = link.as_ref().map_or(0, |link| link.downs);
        let is_up = link.is_none_or(|link| link.is_up);
        self.set(if is_up { Link::Up } else { Link::Down });
    }

    fn set(&mut self, state: Link) {
        self.state = state;
        self.counters.set(state);
    }

    /// Looks at an interface that was there when last looked at.
    fn look(&mut self, links: &mut Links, is_by_queue: bool, say: &mut dyn FnMut(&str)) {
        match links.look(self.index) {
            // The kernel does not say: next time.
            Err(_) => {}
            Ok(None) => self.lose("is gone", say),
            Ok(Some(link)) => {
                self.follow_name(&link, say);
                self.follow_state(&link, say);
                self.follow_queues(links, is_by_queue, say);
                self.check_queues(say);
            }
        }
    }

    fn follow_name(&mut self, link: &LinkState, say: &mut dyn FnMut(&str)) {
        if link.name == self.name {
            return;
        }
        say(&format!("{} is called {} now; records keep {}", self.name, link.name, self.given));
        self.name.clone_from(&link.name);
        self.counters.renames.add(1);
    }

    fn follow_state(&mut self, link: &LinkState, say: &mut dyn FnMut(&str)) {
        let state = if link.is_up { Link::Up } else { Link::Down };
        let has_gone_down = self.state == Link::Up && state == Link::Down;
        // A device that does not count them has at least gone down where we see it.
        let downs = link.downs.wrapping_sub(self.downs).max(has_gone_down.into());
        self.downs = link.downs;
        self.counters.downs.add(downs.into());
        let given = self.given;
        match (self.state, state) {
            (Link::Up, Link::Down) => say(&format!("{given} is down; it goes on once it is up")),
            (Link::Down, Link::Up) => say(&format!("{given} is up again")),
            (Link::Up, _) if downs > 0 => say(&format!("{given} was down for a moment")),
            _ => {}
        }
        self.set(state);
    }

    fn follow_queues(&mut self, links: &mut Links, is_by_queue: bool, say: &mut dyn FnMut(&str)) {
        let now = links.rx_queues(self.index);
        let Some((before, now)) = self.queues.zip(now).filter(|(before, now)| before != now) else {
            return;
        };
        self.queues = Some(now);
        self.counters.queue_changes.add(1);
        let given = self.given;
        let sockets = self.givers.len();
        let what = if is_by_queue && now as usize > sockets {
            format!(
                "; packets of those beyond {sockets} pass on to the host: start flowtap again, or \
                 go back with ethtool -L"
            )
        } else {
            "; all its packets are seen".to_owned()
        };
        say(&format!("{given} has {now} receive queues now, not {before}{what}"));
    }

    /// Gives an interface up whose queues give errors, although it is up.
    fn check_queues(&mut self, say: &mut dyn FnMut(&str)) {
        let is_failing = self.state == Link::Up && self.givers.iter().any(Giver::is_failing);
        self.failing_looks = if is_failing { self.failing_looks + 1 } else { 0 };
        if self.failing_looks >= FAILING_LOOKS {
            self.lose("is up, but its sockets fail", say);
        }
    }

    fn lose(&mut self, why: &str, say: &mut dyn FnMut(&str)) {
        say(&format!("{} {why}", self.given));
        self.counters.removals.add(1);
        self.set(Link::Gone);
    }

    /// Opens another interface of this name in the place of the one that is gone, when there is
    /// one.
    fn come_back(
        &mut self,
        links: &mut Links,
        source: &mut Source,
        may_reopen: bool,
        say: &mut dyn FnMut(&str),
    ) {
        if self.last_try.is_some_and(|last| last.elapsed() < REOPEN_EVERY) {
            return;
        }
        let Some(index) = links.find(self.given) else { return };
        if !may_reopen {
            let refusal = "flowtap has given up the privileges to open it; start it again, \
                           with --keep-privileges";
            return self.refuse(refusal.to_owned(), say);
        }
        // Until it is up its opening would be refused; and until all are closed.
        let is_up = links.look(index).ok().flatten().is_some_and(|link| link.is_up);
        if !is_up || !self.givers.iter().all(Giver::is_vacant) {
            return;
        }
        let reopened = source.reopen(self.givers.len());
        // It may have taken its time.
        self.last_try = Some(Instant::now());
        match reopened {
            Err(refusal) => self.refuse(refusal.to_string(), say),
            Ok(queues) => {
                let opened = queues.len();
                self.givers.iter().zip(queues).for_each(|(giver, queue)| giver.give(queue));
                self.begin(links, source.index());
                self.counters.reopenings.add(1);
                say(&format!("{} is there again: {}", self.given, source.description()));
                if source.is_by_queue() {
                    let link = links.look(index).ok().flatten();
                    link.and_then(|link| of_choice(self.given, link.promiscuity))
                        .iter()
                        .for_each(|text| say(text));
                }
                if source.is_by_queue() && self.queues.is_some_and(|all| all as usize > opened) {
                    say(&format!(
                        "{} has more receive queues than before: packets of the last ones pass \
                         on to the host",
                        self.given
                    ));
                }
            }
        }
    }

    /// Says why it stays away, once.
    fn refuse(&mut self, refusal: String, say: &mut dyn FnMut(&str)) {
        if self.refusal.as_ref() != Some(&refusal) {
            say(&format!("{} is there again, but not captured from: {refusal}", self.given));
            self.refusal = Some(refusal);
        }
    }
}

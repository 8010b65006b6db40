//! Interfaces that change while they are captured from: down, up, gone, back, renamed, with another
//! MTU or another number of queues. Each change is noticed, counted ([`LinkCounters`]) and said
//! once; no other interface suffers by it.
//!
//! A tap is let go, too, when the host comes to use the interface, unless `--force` was given.
//!
//! `main` looks every [`LINK_LOOK`]; `rx` threads know nothing of this. What can go on by itself
//! does: sockets of an interface that is down work again once it is up. One that is gone takes its
//! sockets with it, also if it is in another network namespace now: it is detached, so that its
//! packets go on to whoever has it. When there is another of its name, it is opened in its place,
//! if this process still may (`--keep-privileges`). If it may, it also opens queues that are added
//! to a tap. A thread is held ready for each that the driver can have: until there is such a queue
//! it is no part of the exchange between those that count flows, and costs them nothing.
//! [`Recruiter`] makes them one. A queue that has a socket is never taken away by the kernel
//! (`ethnl_set_channels`, `ethtool_set_channels`).

use std::collections::VecDeque;
use std::time::Instant;

use super::handover::{Giver, Passing};
use super::open::of_choice;
use super::rx::lane_batches;
use crate::error::Error;
use crate::host::link::{LinkState, Links};
use crate::host::usage::{Use, uses_of};
use crate::ledger::{Accounts, Link, LinkCounters, count_unbound};
use crate::limits::{
    EXCHANGE_BATCH, FAILING_LOOKS, LINK_LOOK, REOPEN_EVERY, USES_LOOK, USES_SHARE,
};
use crate::source::live::Source;
use crate::sync::Arc;
use crate::table::exchange::{Order, exchange, joining};

/// All interfaces of a capture.
pub(super) struct Watched<'a> {
    links: Links,
    ports: Vec<Port<'a>>,
    recruiter: Recruiter,
    last_look: Instant,
}

/// One interface.
struct Port<'a> {
    /// As it was given, and as records say.
    given: &'a str,
    /// As it is called now.
    name: String,
    index: u32,
    /// Whether each of its queues has a socket.
    is_by_queue: bool,
    /// Whether it can be opened anew where it has gone, and queues that were added.
    may_reopen: bool,
    state: Link,
    /// As the kernel counts them.
    downs: u32,
    /// If it is known.
    mtu: u32,
    /// Receive queues in use, if it is known and matters.
    queues: Option<u32>,
    /// Of the threads that receive from it, or can.
    givers: Vec<Giver>,
    /// How many of them have a queue, the first ones.
    open: usize,
    /// Of threads that are held ready.
    spares: VecDeque<Giver>,
    accounts: &'a Accounts,
    /// Which of theirs it is.
    number: usize,
    counters: &'a LinkCounters,
    /// Looks since its queues began to give errors while it was up.
    failing_looks: u32,
    /// When it was last tried to open another in its place, or another queue.
    last_try: Option<Instant>,
    /// What was last said of why that cannot be.
    refusal: Option<String>,
    /// When to look next whether the host uses it, if that matters.
    uses_due: Option<Instant>,
}

impl<'a> Watched<'a> {
    /// Watches what was opened: `givers` has the number of its interface with each thread's, of
    /// which the first `cores` count flows, and the others have no queue yet.
    pub(super) fn new(
        accounts: &'a Accounts,
        sources: &[Source],
        (cores, givers): (usize, Vec<(u16, Giver)>),
        (may_reopen, is_forced): (bool, bool),
    ) -> Self {
        let mut links = Links::default();
        let ports = sources.iter().enumerate();
        let mut ports: Vec<_> = ports
            .map(|(number, source)| {
                let may = (may_reopen, is_forced);
                Port::new(&mut links, (source, may), (accounts, number))
            })
            .collect();
        let mut counting = Vec::with_capacity(cores);
        for (core, (interface, giver)) in givers.into_iter().enumerate() {
            let port = &mut ports[usize::from(interface)];
            if core < cores {
                counting.push(giver.clone());
                port.givers.push(giver);
                port.open += 1;
            } else {
                port.spares.push_back(giver);
            }
        }
        let recruiter = Recruiter { counting, threads: cores, has_exchange: cores > 1 };
        Self { links, ports, recruiter, last_look: Instant::now() }
    }

    /// Looks after all, when it is time.
    pub(super) fn tick(&mut self, sources: &mut [Source], say: &mut dyn FnMut(&str)) {
        if self.last_look.elapsed() < LINK_LOOK {
            return;
        }
        self.last_look = Instant::now();
        for (port, source) in self.ports.iter_mut().zip(sources) {
            if port.state.is_away() {
                if self.recruiter.is_heard() {
                    port.come_back(&mut self.links, source, say);
                }
            } else {
                port.look(&mut self.links, source, say);
                port.follow_uses(source, say);
                if port.state == Link::Up && port.is_by_queue && port.may_reopen {
                    port.grow(source, &mut self.recruiter, say);
                }
            }
        }
    }

    /// Counts what no socket has taken of interfaces that are lost, when all else is counted.
    pub(super) fn conclude(&self) {
        for port in self.ports.iter().filter(|port| port.is_by_queue) {
            // Or nobody had the time to see it.
            if port.state.is_away() || port.givers.iter().any(Giver::is_failing) {
                count_unbound(port.accounts, port.number);
            }
        }
    }

    /// Why there is nothing to wait for any more, if so: all are gone, for good.
    pub(super) fn end(&self) -> Option<Error> {
        let is_over = self.ports.iter().all(|port| port.state.is_away() && !port.may_reopen);
        let names: Vec<_> = self.ports.iter().map(|port| port.given).collect();
        let cause = match &self.ports[..] {
            [Port { state: Link::Released, .. }] => "the host uses the interface",
            [_] => "the interface is gone",
            _ => "all of them are gone",
        };
        is_over.then(|| {
            Error::new(format!("capture on {}", names.join(", ")), cause)
                .advise("--keep-privileges waits for another of its name")
        })
    }
}

impl<'a> Port<'a> {
    fn new(
        links: &mut Links,
        (source, (may_reopen, is_forced)): (&Source, (bool, bool)),
        (accounts, number): (&'a Accounts, usize),
    ) -> Self {
        let given = accounts.names[number].as_str();
        let mut port = Self {
            given,
            name: given.to_owned(),
            index: 0,
            is_by_queue: source.is_by_queue(),
            may_reopen,
            state: Link::Up,
            downs: 0,
            mtu: 0,
            queues: None,
            givers: Vec::new(),
            open: 0,
            spares: VecDeque::new(),
            accounts,
            number,
            counters: &accounts.sources[number].link,
            failing_looks: 0,
            last_try: None,
            refusal: None,
            // At the start it was seen to be free.
            uses_due: (source.is_by_queue() && !is_forced).then(|| Instant::now() + USES_LOOK),
        };
        port.begin(links, source);
        port
    }

    /// Takes an interface as it is, of which nothing is to be said.
    fn begin(&mut self, links: &mut Links, source: &Source) {
        let index = source.index();
        self.index = index;
        self.name = self.given.to_owned();
        self.queues = links.rx_queues(index);
        self.failing_looks = 0;
        self.refusal = None;
        let link = links.look(index).ok().flatten();
        self.downs = link.as_ref().map_or(0, |link| link.downs);
        self.mtu = link.as_ref().map_or(0, |link| link.mtu);
        if self.mtu > 0 {
            source.set_mtu(self.mtu);
        }
        let is_up = link.is_none_or(|link| link.is_up);
        self.set(if is_up { Link::Up } else { Link::Down });
    }

    fn set(&mut self, state: Link) {
        self.state = state;
        self.counters.set(state);
    }

    /// Looks at an interface that was there when last looked at.
    fn look(&mut self, links: &mut Links, source: &mut Source, say: &mut dyn FnMut(&str)) {
        match links.look(self.index) {
            // The kernel does not say: next time.
            Err(_) => {}
            Ok(None) => self.lose(source, (Link::Gone, "is gone"), say),
            Ok(Some(link)) => {
                self.follow_name(&link, say);
                self.follow_state(&link, say);
                self.follow_mtu(&link, source, say);
                self.follow_queues(links, say);
                self.check_queues(source, say);
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

    /// Which frames are several on the wire goes by the MTU as it is.
    fn follow_mtu(&mut self, link: &LinkState, source: &Source, say: &mut dyn FnMut(&str)) {
        if link.mtu == self.mtu || link.mtu == 0 {
            return;
        }
        source.set_mtu(link.mtu);
        say(&format!("{} has an MTU of {} now, not {}", self.given, link.mtu, self.mtu));
        self.mtu = link.mtu;
    }

    fn follow_queues(&mut self, links: &mut Links, say: &mut dyn FnMut(&str)) {
        let now = links.rx_queues(self.index);
        let Some((before, now)) = self.queues.zip(now).filter(|(before, now)| before != now) else {
            return;
        };
        self.queues = Some(now);
        self.counters.queue_changes.add(1);
        let what = match self.beyond() {
            Some(what) => what,
            None if self.is_by_queue && now as usize > self.open => "; they are opened".to_owned(),
            None => "; all its packets are seen".to_owned(),
        };
        say(&format!("{} has {now} receive queues now, not {before}{what}", self.given));
    }

    /// What is to be said of queues for which there are no threads, if there are any.
    fn beyond(&self) -> Option<String> {
        let threads = self.givers.len() + self.spares.len();
        // With privileges there is a thread for each that flowtap can have.
        let again = match self.may_reopen {
            true => "",
            false => {
                "start flowtap again (with --keep-privileges it opens those that are added), or "
            }
        };
        (self.is_by_queue && self.queues? as usize > threads).then(|| {
            format!(
                "; packets of those beyond {threads} pass on to the host: {again}go back with \
                 ethtool -L"
            )
        })
    }

    /// Has those that have no socket opened, as far as there are threads for them; until they hear
    /// of it this is to be called again.
    fn grow(&mut self, source: &mut Source, recruiter: &mut Recruiter, say: &mut dyn FnMut(&str)) {
        let threads = self.givers.len() + self.spares.len();
        let wanted = self.queues.map_or(0, |queues| queues as usize).min(threads);
        let is_early = self.last_try.is_some_and(|last| last.elapsed() < REOPEN_EVERY);
        if wanted <= self.open || is_early {
            return;
        }
        while self.givers.len() < wanted {
            let spare = self.spares.pop_front().expect("there are so many threads");
            recruiter.recruit(&spare);
            self.givers.push(spare);
        }
        if !recruiter.is_heard() || !self.givers.iter().all(Giver::is_heard) {
            return;
        }
        let number = |queue: usize| u32::try_from(queue).expect("there are at most MAX_CORES");
        match source.extend(&self.name, number(self.open)..number(wanted)) {
            Err(refusal) => {
                self.last_try = Some(Instant::now());
                self.refuse("has more queues", refusal.to_string(), say);
            }
            Ok(queues) => {
                self.counters.queues_added.add(queues.len() as u64);
                self.givers[self.open..].iter().zip(queues).for_each(|(giver, it)| giver.give(it));
                self.open = wanted;
                self.refusal = None;
                let how = source.description();
                say(&format!("{wanted} queues of {} are captured from: {how}", self.given));
            }
        }
    }

    /// Gives an interface up whose queues give errors, although it is up.
    fn check_queues(&mut self, source: &mut Source, say: &mut dyn FnMut(&str)) {
        let is_failing = self.state == Link::Up && self.givers.iter().any(Giver::is_failing);
        self.failing_looks = if is_failing { self.failing_looks + 1 } else { 0 };
        if self.failing_looks >= FAILING_LOOKS {
            self.lose(source, (Link::Gone, "is up, but its sockets fail"), say);
        }
    }

    /// Lets it go. A device that is in another network namespace now has kept the program, and its
    /// sockets are bound to nothing: packets would go nowhere.
    fn lose(&mut self, source: &mut Source, (state, why): (Link, &str), say: &mut dyn FnMut(&str)) {
        let detached = source.detach();
        say(&format!("{} {why}", self.given));
        if let Err(refusal) = detached {
            say(&refusal.to_string());
        }
        self.givers[..self.open].iter().for_each(Giver::ask_back);
        match state {
            Link::Released => self.counters.releases.add(1),
            _ => self.counters.removals.add(1),
        }
        self.set(state);
    }

    /// What the host uses it for, when it is time to look and that matters. Where there are many
    /// routes or sessions a look takes its time, and the next one comes later.
    fn new_use(&mut self) -> Option<Use> {
        let start = Instant::now();
        if self.uses_due.is_none_or(|due| start < due) {
            return None;
        }
        // What the kernel does not say now it may say the next time.
        let found = uses_of(&self.name).ok();
        self.uses_due = Some(Instant::now() + USES_LOOK.max(start.elapsed() * USES_SHARE));
        found?.into_iter().next()
    }

    /// Lets a tap go that the host has come to use (an address by DHCP): its packets reach the host
    /// again.
    fn follow_uses(&mut self, source: &mut Source, say: &mut dyn FnMut(&str)) {
        if self.state.is_away() {
            return;
        }
        if let Some(used) = self.new_use() {
            let why = format!("is let go, and its packets pass on to the host: {used}");
            self.lose(source, (Link::Released, &why), say);
        }
    }

    /// Opens another interface of this name in the place of the one that is gone, when there is
    /// one.
    fn come_back(&mut self, links: &mut Links, source: &mut Source, say: &mut dyn FnMut(&str)) {
        let is_vacant = self.givers.iter().all(Giver::is_vacant);
        if is_vacant && self.is_by_queue {
            count_unbound(self.accounts, self.number);
        }
        if self.last_try.is_some_and(|last| last.elapsed() < REOPEN_EVERY) {
            return;
        }
        let start = Instant::now();
        let is_early = !self.may_reopen || self.uses_due.is_some_and(|due| start < due);
        if self.state == Link::Released && is_early {
            return;
        }
        let Some(index) = links.find(self.given) else { return };
        if !self.may_reopen {
            let refusal = "flowtap has given up the privileges to open it; start it again, \
                           with --keep-privileges";
            return self.refuse("is there again", refusal.to_owned(), say);
        }
        // Until it is up its opening would be refused; and until all are closed.
        let is_up = links.look(index).ok().flatten().is_some_and(|link| link.is_up);
        if !is_up || !is_vacant {
            return;
        }
        let reopened = source.reopen(self.givers.len());
        // It may have taken its time.
        self.last_try = Some(Instant::now());
        match reopened {
            // It is the host's still, which has been said.
            Err(_) if self.state == Link::Released => {
                self.uses_due = Some(Instant::now() + USES_LOOK.max(start.elapsed() * USES_SHARE));
            }
            Err(refusal) => self.refuse("is there again", refusal.to_string(), say),
            Ok(queues) => {
                self.open = queues.len();
                self.givers.iter().zip(queues).for_each(|(giver, queue)| giver.give(queue));
                self.begin(links, source);
                self.counters.reopenings.add(1);
                say(&format!("{} is there again: {}", self.given, source.description()));
                if self.is_by_queue {
                    let link = links.look(index).ok().flatten();
                    link.and_then(|link| of_choice(self.given, link.promiscuity))
                        .iter()
                        .for_each(|text| say(text));
                }
                if let Some(what) = self.beyond() {
                    say(&format!("{} has more receive queues than before{what}", self.given));
                }
            }
        }
    }

    /// Says why what there is now is not captured from, once.
    fn refuse(&mut self, there_is: &str, refusal: String, say: &mut dyn FnMut(&str)) {
        if self.refusal.as_ref() != Some(&refusal) {
            say(&format!("{} {there_is}, but not captured from: {refusal}", self.given));
            self.refusal = Some(refusal);
        }
    }
}

/// Makes threads that were held ready part of the exchange.
struct Recruiter {
    /// Of those that count flows.
    counting: Vec<Giver>,
    /// How many pass on packets, or would if there were another.
    threads: usize,
    /// A single one needs none until there is another.
    has_exchange: bool,
}

impl Recruiter {
    /// Has a thread pass on what it will receive, and those that count flows take it. It may
    /// receive once all have heard of it.
    fn recruit(&mut self, spare: &Giver) {
        self.threads += 1;
        let batches = lane_batches(self.threads);
        if !std::mem::replace(&mut self.has_exchange, true) {
            let alone = exchange(1, Order::Time, lane_batches(1), EXCHANGE_BATCH).remove(0);
            self.counting[0].pass(Passing::On(Box::new(alone)));
        }
        let cores = self.counting.len();
        let (joins, incoming) = joining(cores, Order::Time, batches, EXCHANGE_BATCH);
        let bells: Vec<_> = self.counting.iter().map(|core| Arc::clone(core.bell())).collect();
        for (core, incoming) in self.counting.iter().zip(incoming) {
            core.pass(Passing::From(Box::new(incoming)));
        }
        spare.pass(Passing::On(Box::new(joins.with_bells(&bells))));
    }

    fn is_heard(&self) -> bool {
        self.counting.iter().all(Giver::is_heard)
    }
}

//! Live frames by AF_XDP: the `tap` mode, in which the interface is ours.
//!
//! [`Tap`] owns the XDP program on one interface; each [`TapQueue`] owns one receive queue's
//! socket and goes to its own `rx` thread. All that the kernel hands us is checked in
//! [`crate::xdp`]; there is no unsafe code here. Where a packet can be lost it is counted:
//! `seen = passed + filtered + sampled out + shunted + redirected + aborted` in the program, and
//! `redirected = delivered + drops` in the sockets, from counters of their own.

mod config;
mod queue;
mod room;

pub use config::TapConfig;
pub use queue::TapQueue;

use std::ops::Range;

use crate::{
    error::{Error, Result},
    host::facts::Xdp,
    host::link::{Links, NicCount, NicCounts},
    host::usage::{Use, uses_of},
    limits::MAX_CORES,
    privileges,
    source::longest::LongestFrame,
    xdp::{
        busy::WhenBusy,
        filter::KernelFilter,
        interface::Interface,
        program::{Attachment, Constants, Program},
        shunt::ShuntMaps,
        socket::{Choice, Mode, Socket},
    },
};

pub use crate::xdp::{program::XdpMode, socket::ZeroCopy, stamp::Timestamps};

/// What happened to the frames of an interface before they reached a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapCounters {
    /// Frames that reached the XDP program.
    pub seen: u64,
    /// Those that went on to the host, as their queue had no socket, or had not begun.
    pub passed: u64,
    /// Those that went to their queue's socket.
    pub redirected: u64,
    /// Those that the kernel dropped as the redirect failed.
    pub aborted: u64,
    /// Those that the filter in the kernel rejected.
    pub filtered: u64,
    /// Those that sampling left out.
    pub sampled_out: u64,
    /// Those of shunted flows, which the program has counted by itself.
    pub shunted: u64,
    /// Frames that the interface says it has received between open and detach, and missed since the
    /// first queue has begun; `None` if it does not say. Its driver counts in its own time, so that
    /// what it has received is `seen` only once the line has been quiet at both ends: under traffic
    /// it differs by what came meanwhile.
    pub nic: Option<NicCounts>,
}

/// What a queue has lost since it was opened, each packet in one place.
pub use crate::xdp::socket::Losses as TapDrops;

/// One interface with the program attached; detached when dropped.
pub struct Tap {
    config: TapConfig,
    program: Program,
    interface: Interface,
    attachment: Attachment,
    ways: Ways,
    clock: &'static str,
    longest: LongestFrame,
    /// Until they are taken.
    shunts: Vec<ShuntMaps>,
    nic: NicCount,
}

/// How frames come to the sockets of an interface.
struct Ways {
    queues: u32,
    /// Why those of one queue are copied, if they are.
    copied: Option<String>,
    /// What is to be said of their room, if it is less than was asked for.
    fewer: String,
    locked_bytes: u64,
}

impl Tap {
    /// Attaches the XDP program to the interface and binds a socket to every receive queue.
    /// Frames go on to the host until [`Tap::begin`], and are counted as passed.
    ///
    /// # Errors
    /// If the interface is in use by the host (unless forced), down or missing, or if the
    /// kernel refuses a step. Nothing stays changed then.
    pub fn open(config: &TapConfig) -> Result<(Self, Vec<TapQueue>)> {
        config.check()?;
        let interface = Interface::find(&config.interface)?;
        check_free(&interface, config.force)?;
        privileges::require(&format!("tap {}", interface.name))?;
        privileges::raise_locked_memory();
        let queues = interface.rx_queues();
        if queues as usize > MAX_CORES {
            let operation = format!("tap {}", interface.name);
            return Err(Error::new(operation, format!("{queues} queues; at most {MAX_CORES}"))
                .advise(format!("`ethtool -L {} combined {MAX_CORES}`", interface.name)));
        }
        let (timestamps, tunnel_ports) = (config.timestamps, config.tunnel_ports);
        let constants = Constants { timestamps, tunnel_ports };
        let (mut program, shunts) = if config.shunting_cores > 0 {
            let cores = config.shunting_cores;
            Program::load_with_shunt(interface.clone(), constants, cores)?
        } else {
            (Program::load(interface.clone(), constants)?, Vec::new())
        };
        program.set_sampling(config.sampling)?;
        if config.filter.is_some() {
            program.set_filter(config.filter.as_ref())?;
        }
        let nic = NicCount::start(interface.index);
        let attachment = attach(&mut program, config, &interface, WhenBusy::Wait)?;
        let how = (&attachment, WhenBusy::Wait);
        let longest = LongestFrame::of_mtu(interface.mtu()?);
        let (ways, queues) = bind((config, &longest), &interface, how, 0..queues, 0)?;
        let (config, clock) = (config.clone(), config.timestamps.clock());
        let tap =
            Self { config, program, interface, attachment, ways, clock, longest, shunts, nic };
        Ok((tap, queues))
    }

    /// Sends the frames of a queue to its socket from now on. To be called when somebody is there
    /// to take them out: the socket has room for as many as it has frames.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn begin(&mut self, queue: &TapQueue) -> Result<()> {
        if queue.queue() == 0 {
            // What was missed before was wanted by nobody.
            self.nic.forgive_missed();
        }
        self.program.insert(queue.queue(), queue.socket())
    }

    /// Taps another interface that has taken the place and the name of the one that is gone, on
    /// `queues` of its receive queues at most, whose frames come at once. The program and its
    /// counters stay; what the NICs have counted is added up. What is busy is not waited for.
    ///
    /// # Errors
    /// Those of [`Tap::open`]. Nothing is attached then.
    pub fn reopen(&mut self, queues: usize) -> Result<Vec<TapQueue>> {
        let interface = Interface::find(&self.config.interface)?;
        check_free(&interface, self.config.force)?;
        let queues = interface.rx_queues().min(u32::try_from(queues).unwrap_or(u32::MAX));
        self.program.move_to(interface.clone());
        let mut nic = NicCount::start(interface.index).after(&self.nic);
        let begun = attach(&mut self.program, &self.config, &interface, WhenBusy::Refuse).and_then(
            |attachment| {
                let how = (&attachment, WhenBusy::Refuse);
                self.longest.set_mtu(interface.mtu()?);
                let config = (&self.config, &self.longest);
                let (ways, queues) = bind(config, &interface, how, 0..queues, 0)?;
                nic.forgive_missed();
                queues.iter().try_for_each(|queue| self.begin(queue))?;
                Ok((attachment, ways, queues))
            },
        );
        match begun {
            Ok((attachment, ways, queues)) => {
                self.attachment = attachment;
                self.ways = ways;
                self.interface = interface;
                self.nic = nic;
                Ok(queues)
            }
            Err(refusal) => {
                self.program.detach();
                Err(refusal)
            }
        }
    }

    /// Binds sockets to these queues of the interface, whose `name` may be another now: queues that
    /// were added since. Their frames come at once. Until then they have gone on to the host, and
    /// are counted as passed, unless the driver had not run the program on them (veth). What is
    /// busy is not waited for.
    ///
    /// # Errors
    /// If the kernel refuses a step. The queues stay the host's then.
    pub fn extend(&mut self, name: &str, queues: Range<u32>) -> Result<Vec<TapQueue>> {
        let interface = Interface { name: name.to_owned(), ..self.interface.clone() };
        let how = (&self.attachment, WhenBusy::Refuse);
        let locked = self.ways.locked_bytes;
        self.longest.set_mtu(interface.mtu()?);
        let config = (&self.config, &self.longest);
        let (added, queues) = bind(config, &interface, how, queues, locked)?;
        if self.attachment == Attachment::Native && Links::default().is_veth(interface.index) {
            self.program.follow_queues()?;
        }
        queues.iter().try_for_each(|queue| self.begin(queue))?;
        self.ways.add(added);
        Ok(queues)
    }

    /// Has frames held against another MTU from now on.
    pub fn set_mtu(&self, mtu: u32) {
        self.longest.set_mtu(mtu);
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface.name
    }

    /// Its number in this network namespace.
    pub fn index(&self) -> u32 {
        self.interface.index
    }

    /// How frames come, and why not in a better way:
    /// `native copy, 2 queues (the driver has no zero-copy)`.
    pub fn description(&self) -> String {
        self.ways.describe(&self.attachment)
    }

    /// Which clock packets' times are from.
    pub fn clock(&self) -> &'static str {
        self.clock
    }

    /// What happened so far; one moment's truth only once nothing arrives any more.
    ///
    /// # Errors
    /// If the kernel does not give the program's counters.
    pub fn counters(&self) -> Result<TapCounters> {
        let verdicts = self.program.verdicts()?;
        Ok(TapCounters {
            seen: verdicts.seen_packets,
            passed: verdicts.passed_packets,
            redirected: verdicts.redirected_packets,
            aborted: verdicts.aborted_packets,
            filtered: verdicts.filtered_packets,
            sampled_out: verdicts.sampled_out_packets,
            shunted: verdicts.shunted_packets,
            nic: self.nic.get(),
        })
    }

    /// Puts another filter in the kernel, or none, in the place of the one in force, also while
    /// packets come: each is judged by one of the two, none is lost, and when this returns the
    /// new one has taken over.
    ///
    /// # Errors
    /// If the filter is too large or the kernel refuses it; the old one stays in force.
    pub fn set_filter(&mut self, filter: Option<&KernelFilter>) -> Result<()> {
        self.program.set_filter(filter)
    }

    /// The maps of the shunt, one for each core, once. They go on with the program, also when
    /// another interface is tapped.
    pub fn take_shunts(&mut self) -> Vec<ShuntMaps> {
        std::mem::take(&mut self.shunts)
    }

    /// Waits for what an owner of the shunt has asked for, if that is anything: some milliseconds.
    /// To be called from time to time.
    pub fn wait_for_runs(&self) {
        self.program.wait_for_runs();
    }

    /// Detaches the program: nothing new arrives, counters stand still, and what is in the
    /// queues can still be received.
    ///
    /// # Errors
    /// None today: the kernel cannot refuse it.
    pub fn detach(&mut self) -> Result<()> {
        self.program.detach();
        self.nic.stop();
        Ok(())
    }
}

/// Refuses an interface that is down, or that the host uses, unless `force`.
///
/// # Errors
/// If it is one, or the kernel does not say.
pub fn check_free(interface: &Interface, force: bool) -> Result<()> {
    let uses = if force { Vec::new() } else { uses_of(&interface.name)? };
    check_uses(interface, &uses)
}

fn check_uses(interface: &Interface, uses: &[Use]) -> Result<()> {
    let name = &interface.name;
    let refuse = |cause: String| Error::new(format!("tap {name}"), cause);
    if !interface.is_up {
        return Err(refuse("the interface is down".to_owned())
            .advise(format!("bring it up with `ip link set {name} up`")));
    }
    if let Some(kind) = interface.link_kind.filter(|_| !interface.is_ethernet()) {
        return Err(refuse(format!("its link type is {kind}, and a tap reads Ethernet frames"))
            .advise("use --mode observe, or tap what carries it"));
    }
    let Some(used) = uses.first() else { return Ok(()) };
    Err(refuse(format!("{used}, and a tap takes all its packets: the host would be cut off"))
        .advise("use --mode observe, tap another interface, or give --force"))
}

/// Attaches the program to the interface, which decides how sockets can be bound.
fn attach(
    program: &mut Program,
    config: &TapConfig,
    interface: &Interface,
    when_busy: WhenBusy,
) -> Result<Attachment> {
    match not_native(config.xdp_mode, Links::default().xdp(interface.index)) {
        Some(why) => {
            program.attach(XdpMode::Generic, when_busy)?;
            Ok(Attachment::Generic(why.to_owned()))
        }
        None => program.attach(config.xdp_mode, when_busy),
    }
}

/// Binds a socket to each of these queues; those before them have locked so much memory. Says how
/// their frames come.
fn bind(
    (config, longest): (&TapConfig, &LongestFrame),
    interface: &Interface,
    (attachment, when_busy): (&Attachment, WhenBusy),
    queues: Range<u32>,
    locked_bytes: u64,
) -> Result<(Ways, Vec<TapQueue>)> {
    let number = queues.end - queues.start;
    let share = |bytes| room::share(bytes, queues.end, config.all_queues);
    let lockable = privileges::lockable_bytes().map(|all| share(all).saturating_sub(locked_bytes));
    let (layout, fewer) = room::fit(config.check()?, number, lockable);
    let timestamps = config.timestamps;
    let is_native = *attachment == Attachment::Native;
    let may_take_several = longest.bytes() > layout.room_bytes();
    let zero_copy = config.zero_copy;
    let choice = Choice { is_native, zero_copy, may_take_several, timestamps, when_busy };
    let mut sockets = queues
        .map(|queue| Socket::open(interface, queue, layout, choice))
        .collect::<Result<Vec<_>>>()?;
    if let Some(us) = config.busy_poll_us {
        sockets.iter_mut().try_for_each(|socket| socket.poll_device_for(us))?;
    }
    // Not all of a device's queues need be able to do the same; the least is what is said.
    let copied = sockets.iter().find_map(|socket| match socket.mode() {
        Mode::Copy(why) => Some(why.to_string()),
        Mode::ZeroCopy => None,
    });
    let bytes = u64::from(layout.frames) * u64::from(layout.frame_bytes);
    let ways = Ways { queues: number, copied, fewer, locked_bytes: bytes * u64::from(number) };
    let is_stamped = timestamps == Timestamps::Packet;
    let queue = |socket| TapQueue::new(socket, is_stamped, longest.clone());
    Ok((ways, sockets.into_iter().map(queue).collect()))
}

/// Why the program is not even tried in the driver: it would run there, and each packet would be
/// lost on its way to a socket.
fn not_native(mode: XdpMode, driver: Option<Xdp>) -> Option<&'static str> {
    let lacks_redirect = driver.is_some_and(|xdp| xdp.native && !xdp.redirect);
    (mode == XdpMode::Auto && lacks_redirect)
        .then_some("the driver's native XDP sends nothing to sockets")
}

impl Ways {
    /// With those of more queues. Of both the least is what is said.
    fn add(&mut self, added: Self) {
        self.queues += added.queues;
        self.locked_bytes += added.locked_bytes;
        self.copied = self.copied.take().or(added.copied);
        if !added.fewer.is_empty() {
            self.fewer = added.fewer;
        }
    }

    fn describe(&self, attachment: &Attachment) -> String {
        let Self { queues, copied, fewer, .. } = self;
        let plural = if *queues == 1 { "" } else { "s" };
        let (place, why) = match attachment {
            Attachment::Native => ("native", copied.as_ref()),
            Attachment::Generic(why) => ("generic", Some(why)),
        };
        match why {
            Some(why) => format!("{place} copy, {queues} queue{plural} ({why}){fewer}"),
            None => format!("{place} zero-copy, {queues} queue{plural}{fewer}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(is_up: bool) -> Interface {
        let (name, addresses, link_kind) = ("no-such-if".into(), Vec::new(), None);
        Interface { name, index: 1, is_up, addresses, link_kind }
    }

    #[test]
    fn only_ethernet_is_tapped() {
        for (kind, is_tapped) in [
            (libc::ARPHRD_ETHER, true),
            (libc::ARPHRD_LOOPBACK, true),
            (libc::ARPHRD_NONE, false),
            (libc::ARPHRD_IPGRE, false),
        ] {
            let interface = Interface { link_kind: Some(kind), ..interface(true) };
            let refusal = check_uses(&interface, &[]).err().map(|error| error.to_string());
            let is_right = refusal.as_ref().is_none_or(|text| text.contains("reads Ethernet"));
            assert!(is_right && refusal.is_none() == is_tapped, "{kind}: {refusal:?}");
        }
    }

    #[test]
    fn an_interface_in_use_is_refused() {
        let check =
            |uses: &[Use]| check_uses(&interface(true), uses).map_err(|error| error.to_string());
        assert_eq!(check(&[]), Ok(()));
        let address = Use::Address([192, 0, 2, 1].into());
        for (used, words) in [
            (address.clone(), "it has the address 192.0.2.1, and"),
            (Use::DefaultRoute, "it carries the default route, and"),
            (Use::Session([192, 0, 2, 9].into()), "a TCP session with 192.0.2.9 goes over it, and"),
            (Use::Upper("br0".into(), Box::new(address)), "it carries br0, and that has the"),
        ] {
            let error = check(&[used]).unwrap_err();
            assert!(error.contains(words) && error.contains("use --mode observe"), "{error}");
            assert!(error.ends_with("or give --force"), "{error}");
        }
        let down = check_uses(&interface(false), &[]).unwrap_err().to_string();
        assert!(down.ends_with("`ip link set no-such-if up`"), "{down}");
    }

    #[test]
    fn a_driver_that_redirects_nothing_is_not_asked() {
        let driver = |native, redirect| Some(Xdp { native, redirect, ..Xdp::default() });
        for (mode, driver, is_tried) in [
            (XdpMode::Auto, driver(true, false), false),
            (XdpMode::Auto, driver(true, true), true),
            // It refuses for itself, or says less than it can.
            (XdpMode::Auto, driver(false, false), true),
            (XdpMode::Auto, None, true),
            (XdpMode::Native, driver(true, false), true),
            (XdpMode::Generic, driver(true, false), true),
        ] {
            assert_eq!(not_native(mode, driver.clone()).is_none(), is_tried, "{mode:?} {driver:?}");
        }
    }

    #[test]
    fn sizes_that_the_kernel_would_refuse_are_refused_in_words() {
        let error = |frames_per_queue, frame_bytes| {
            let config = TapConfig { frames_per_queue, frame_bytes, ..TapConfig::new("x") };
            config.check().map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(error(4096, 4096), Ok(()));
        assert_eq!(error(64, 2048), Ok(()));
        assert!(error(100, 4096).unwrap_err().contains("not a power of two"));
        assert!(error(0, 4096).unwrap_err().contains("not a power of two"));
        assert!(error(1 << 31, 4096).unwrap_err().contains("not a power of two"));
        assert!(error(64, 1024).unwrap_err().contains("neither 2048 nor 4096"));
    }
}

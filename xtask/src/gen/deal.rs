//! Deals a budget of flows and packets out to a mix: who talks to whom, when, and how much.
//! Called by [`super::run`].

use super::datagram;
use super::flow::{Ends, ICMP, ICMPV6, SCTP, TCP, Tags, UDP};
use super::host::{CLOCK, Host, RESOLVER, Side};
use super::mix::{Draft, Kind, Mix};
use super::number::{self, low16};
use super::rng::Rng;
use super::session;
use super::tcp::{self, Story};

/// What is asked for.
pub(crate) struct Budget {
    pub(crate) packets: u64,
    pub(crate) flows: u64,
    pub(crate) seed: u64,
    pub(crate) duration_ns: u64,
}

/// Deals `budget` out: exactly so many flows, exactly so many frames. In the order of start.
///
/// # Errors
/// If there are not enough packets for the flows; the text says how many are needed.
pub(crate) fn drafts(mix: &Mix, budget: &Budget) -> Result<Vec<Draft>, String> {
    let mut dealer = Dealer::new(mix, budget);
    let mut drafts: Vec<Draft> = Vec::with_capacity(usize::try_from(budget.flows).unwrap_or(0));
    for index in 0..budget.flows {
        drafts.push(dealer.draft(index)?);
    }
    // Frames of no flow are neither few nor many.
    let arp = (budget.packets / 400).next_multiple_of(2).clamp(2, 2_000);
    drafts.push(dealer.plain_draft(Kind::Arp, false, 0, arp, budget.flows)?);
    let lldp = (budget.duration_ns / 30_000_000_000).clamp(2, 100);
    drafts.push(dealer.plain_draft(Kind::Lldp, false, 0, lldp, budget.flows + 1)?);
    dealer.deal_rest(&mut drafts)?;
    drafts.sort_by_key(|draft| (draft.start_ns, draft.index));
    Ok(drafts)
}

/// Who talks to whom, when, and how much.
struct Dealer<'a> {
    mix: &'a Mix,
    budget: &'a Budget,
    rng: Rng,
    shares_total: u64,
    /// Ports (or echo identifiers) given out so far, per client.
    ports_used: Vec<u16>,
    servers: u16,
    /// A server whose address a client has just asked for: client, server, IPv6, since when.
    looked_up: Option<(Host, Host, bool, u64)>,
}

const FIRST_PORT: u16 = 32_768;
const LAST_PORT: u16 = 60_999;
const FIRST_CLIENT: u16 = 10;
const FIRST_SERVER: u16 = 200;

impl<'a> Dealer<'a> {
    fn new(mix: &'a Mix, budget: &'a Budget) -> Self {
        let clients = (budget.flows / 8).clamp(4, 8_192);
        let servers = (budget.flows / 40).clamp(4, 1_024);
        Self {
            mix,
            budget,
            rng: Rng::new(budget.seed, u64::MAX - 1),
            shares_total: mix.shares.iter().map(|share| share.1).sum(),
            ports_used: vec![0; usize::try_from(clients).expect("a few thousand")],
            servers: u16::try_from(servers).expect("about a thousand"),
            looked_up: None,
        }
    }

    /// The next flow with the fewest packets it can have.
    fn draft(&mut self, index: u64) -> Result<Draft, String> {
        let position = usize::try_from(index).unwrap_or(usize::MAX);
        let (kind, ipv6, tags) = match self.mix.once.get(position) {
            Some(&once) => once,
            None => {
                let tagged = self.rng.between(0, 99);
                let qinq = u64::from(self.mix.qinq_percent);
                let vlan = qinq + u64::from(self.mix.vlan_percent);
                let tags = if tagged < qinq { 2 } else { u8::from(tagged < vlan) };
                (self.draw_kind(), self.rng.percent(self.mix.ipv6_percent), tags)
            }
        };
        let packets = self.min_packets(kind);
        self.plain_draft(kind, ipv6, tags, packets, index)
    }

    fn draw_kind(&mut self) -> Kind {
        let mut drawn = self.rng.between(1, self.shares_total);
        for &(kind, weight) in self.mix.shares {
            if drawn <= weight {
                return kind;
            }
            drawn -= weight;
        }
        unreachable!("a number up to the sum of all weights is in one of them")
    }

    fn min_packets(&mut self, kind: Kind) -> u64 {
        match kind {
            Kind::Tcp(Story::HalfOpen) => {
                self.rng.between(1, tcp::syns_within(self.budget.duration_ns))
            }
            Kind::Tcp(story) => story.min_packets(),
            Kind::Tls => session::MIN_PACKETS,
            Kind::Dns => self.rng.one_of(&[2, 2, 4]),
            Kind::Fragments => 1 + datagram::fragment_counts(&mut self.rng),
            Kind::Echo => self.rng.between(1, 5) * 2,
            Kind::Sctp => datagram::SCTP_MIN_PACKETS + 6,
            Kind::Udp => self.rng.between(1, 4),
            Kind::Ntp => 2,
            Kind::Arp | Kind::Lldp => 1,
        }
    }

    fn plain_draft(
        &mut self,
        kind: Kind,
        ipv6: bool,
        tags: u8,
        packets: u64,
        index: u64,
    ) -> Result<Draft, String> {
        let number = FIRST_SERVER + self.rng.length(0, self.servers - 1);
        let mut about = Host { side: Side::B, number };
        let mut start_ns = self.rng.between(0, self.budget.duration_ns * 9 / 10);
        let mut client = None;
        let connects =
            matches!(kind, Kind::Tls | Kind::Tcp(Story::Fin | Story::Open | Story::Reset));
        if connects && let Some(lookup) = self.looked_up.take_if(|lookup| lookup.2 == ipv6) {
            client = Some(lookup.0);
            about = lookup.1;
            start_ns = lookup.3;
        }
        let server = match kind {
            Kind::Dns => RESOLVER,
            Kind::Ntp => CLOCK,
            _ => about,
        };
        let (client, client_port) = self.client_port(client)?;
        let (protocol, server_port) = self.service(kind, ipv6);
        // Fragments go untagged as well: a kernel that sends tagged ones spreads them over
        // queues by their length (see `send`), away from the first fragment.
        let no_tags = matches!(kind, Kind::Arp | Kind::Lldp | Kind::Fragments);
        let tags = self.draw_tags(if no_tags { 0 } else { tags });
        if kind == Kind::Tcp(Story::HalfOpen) {
            // Its SYNs come by the clock of RFC 6298, so they need their time.
            start_ns /= 2;
        }
        if kind == Kind::Dns {
            let ready_ns = start_ns + self.rng.between(20_000_000, 40_000_000);
            if ready_ns < self.budget.duration_ns * 9 / 10 {
                self.looked_up = Some((client, about, ipv6, ready_ns));
            }
        }
        let ends = Ends { client, server, ipv6, protocol, client_port, server_port, tags };
        // Flows that last to the end of the capture do not all stop at the same moment.
        let early_ns = self.rng.between(1, self.budget.duration_ns / 20);
        let (seed, end_ns) = (self.budget.seed, self.budget.duration_ns - early_ns);
        Ok(Draft { kind, ends, start_ns, end_ns, packets, about, seed, index })
    }

    /// A client and a port it has not used.
    fn client_port(&mut self, wanted: Option<Host>) -> Result<(Host, u16), String> {
        let clients = u16::try_from(self.ports_used.len()).expect("a few thousand");
        let drawn = self.rng.length(0, clients - 1);
        let first = wanted.map_or(drawn, |host| host.number - FIRST_CLIENT);
        for step in 0..clients {
            let position = (u32::from(first) + u32::from(step)) % u32::from(clients);
            let used = &mut self.ports_used[position as usize];
            if *used <= LAST_PORT - FIRST_PORT {
                // A prime step visits every port once, in an order that does not look counted.
                let ports = u32::from(LAST_PORT - FIRST_PORT) + 1;
                let offset = (u32::from(*used) * 7_919 + position * 104_729) % ports;
                *used += 1;
                let port = u32::from(FIRST_PORT) + offset;
                let number = FIRST_CLIENT + low16(position.into());
                return Ok((Host { side: Side::A, number }, low16(port.into())));
            }
        }
        Err(format!("deal {} flows: no client has a free port; ask for fewer", self.budget.flows))
    }

    /// Protocol and port of the server.
    fn service(&mut self, kind: Kind, ipv6: bool) -> (u8, u16) {
        match kind {
            Kind::Tcp(_) => (TCP, self.rng.one_of(&[443, 443, 443, 80, 80, 22, 25, 5432, 8080])),
            Kind::Tls => (TCP, 443),
            Kind::Udp => (UDP, self.rng.one_of(&[3478, 5004, 8801, 9000, 27_015])),
            Kind::Fragments => (UDP, self.rng.one_of(&[2049, 5004, 9000])),
            Kind::Dns => (UDP, 53),
            Kind::Ntp => (UDP, 123),
            Kind::Echo => (if ipv6 { ICMPV6 } else { ICMP }, 0),
            Kind::Sctp => (SCTP, 2905),
            Kind::Arp | Kind::Lldp => (0, 0),
        }
    }

    fn draw_tags(&mut self, tags: u8) -> Tags {
        let inner = self.rng.one_of(&[10, 20, 30, 40]);
        match tags {
            0 => Tags::None,
            1 => Tags::Vlan(inner),
            _ => Tags::Qinq(self.rng.one_of(&[100, 200]), inner),
        }
    }

    /// Gives the packets that are left to the flows that can take any number, a few of them much.
    fn deal_rest(&mut self, drafts: &mut [Draft]) -> Result<(), String> {
        let (asked, flows) = (self.budget.packets, self.budget.flows);
        let needed: u64 = drafts.iter().map(|draft| draft.packets).sum();
        let Some(mut rest) = asked.checked_sub(needed) else {
            return Err(format!(
                "deal {asked} packets to {flows} flows: too few; ask for at least {needed}"
            ));
        };
        let elastic = |kind: Kind| match kind {
            Kind::Tcp(story) => !matches!(story, Story::HalfOpen | Story::Refused),
            kind => matches!(kind, Kind::Udp | Kind::Tls),
        };
        let takers: Vec<usize> =
            (0..drafts.len()).filter(|&position| elastic(drafts[position].kind)).collect();
        let weights: Vec<u64> = takers.iter().map(|_| self.rng.weight()).collect();
        let total = weights.iter().sum();
        let extra = rest;
        for (&taker, &weight) in takers.iter().zip(&weights) {
            let share = number::share(extra, weight, total);
            drafts[taker].packets += share;
            rest -= share;
        }
        // What rounding left over is less than one packet for each of them.
        for &taker in takers.iter().take(usize::try_from(rest).unwrap_or(usize::MAX)) {
            drafts[taker].packets += 1;
            rest -= 1;
        }
        if rest > 0 {
            return Err(format!("deal {asked} packets to {flows} flows: too few flows that grow"));
        }
        Ok(())
    }
}

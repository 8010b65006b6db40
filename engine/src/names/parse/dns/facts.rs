//! What the records of a message lead to: from the name that was asked, over aliases, to addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{SVCB, svcb::SvcParamValue};
use hickory_proto::rr::{Name, RData, Record as WholeRecord};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};

use super::{Asked, Record, kind, name_at};
use crate::limits::DNS_RECORDS;
use crate::names::parse::text::domain_name;
use crate::names::{AnswerWay, DnsAnswer, DnsSection, NameService};

const INTERNET: u16 = 1;
/// mDNS has a bit of its own in the class (RFC 6762 sections 5.4 and 10.2).
const CLASS: u16 = 0x7fff;

/// Steps from the question to an address that are followed.
const CHAIN_STEPS: usize = 16;

/// What the records of a message say, before it is clear what was asked.
#[derive(Default)]
pub(super) struct Facts {
    addresses: Vec<Address>,
    pointers: Vec<Pointer>,
    aliases: Vec<Alias>,
    places: Vec<Place>,
    /// The upper eight bits of the response code.
    pub(super) extended_rcode: u16,
}

struct Address {
    owner: Box<str>,
    address: IpAddr,
    ttl: u32,
}

/// What a reverse name points to, and the address that it is of, if it is one's.
struct Pointer {
    owner: Box<str>,
    host: Box<str>,
    address: Option<IpAddr>,
    ttl: u32,
}

/// Who asks for `from` gets what `to` has.
struct Alias {
    from: Box<str>,
    to: Box<str>,
    ttl: u32,
    /// And so for all names below (DNAME, RFC 6672).
    with_names_below: bool,
}

/// Where what is asked for by `from` is found.
struct Place {
    from: Box<str>,
    at: Box<str>,
    ttl: u32,
    kind: PlaceKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PlaceKind {
    /// There it goes by the name that was asked (SVCB, RFC 9460).
    Service,
    /// A mail server, or another's (MX, SRV), under its own name.
    Server,
    /// The same for all names below `from` (NS).
    NameServer,
}

impl Facts {
    /// Takes what a record of `message` says.
    pub(super) fn add(&mut self, message: &[u8], record: &Record) {
        if record.kind == kind::OPT {
            // RFC 6891 section 6.1.3: the upper eight bits of twelve.
            self.extended_rcode = u16::from(record.ttl.to_be_bytes()[0]);
            return;
        }
        let is_elsewhere = record.section == DnsSection::Authority && record.kind != kind::NS;
        if is_elsewhere || record.class & CLASS != INTERNET {
            return;
        }
        if !kind::ADDRESSES.contains(&record.kind) {
            return;
        }
        let Some(name) = name_at(message, record.start) else { return };
        let owner = || domain_name(name.iter());
        let data = &message[record.data.clone()];
        let target = || name_at(message, record.data.start);
        match record.kind {
            kind::A => {
                let v4 = data.try_into().ok().map(|octets: [u8; 4]| Ipv4Addr::from(octets).into());
                self.address(owner(), v4, record.ttl);
            }
            kind::AAAA => {
                let v6 = data.try_into().ok().map(|octets: [u8; 16]| Ipv6Addr::from(octets).into());
                self.address(owner(), v6, record.ttl);
            }
            kind::PTR => {
                let host = target().map(|host| domain_name(host.iter())).unwrap_or_default();
                if !host.is_empty() {
                    let (address, ttl) = (reverse(&name), record.ttl);
                    self.pointers.push(Pointer { owner: owner(), host, address, ttl });
                }
            }
            kind::NS => self.place(owner(), target(), record.ttl, PlaceKind::NameServer),
            // Behind its preference, or priority, weight and port.
            kind::MX | kind::SRV => {
                let at = record.data.start + if record.kind == kind::MX { 2 } else { 6 };
                let server = name_at(message, at).filter(|_| at < record.data.end);
                self.place(owner(), server, record.ttl, PlaceKind::Server);
            }
            kind::CNAME | kind::DNAME => {
                self.alias(owner(), target(), record.ttl, record.kind == kind::DNAME);
            }
            kind::SVCB | kind::HTTPS => self.service(message, record, &owner()),
            _ => {}
        }
    }

    fn address(&mut self, owner: Box<str>, address: Option<IpAddr>, ttl: u32) {
        if let Some(address) = address.filter(|_| !owner.is_empty()) {
            self.addresses.push(Address { owner, address, ttl });
        }
    }

    fn place(&mut self, from: Box<str>, at: Option<Name>, ttl: u32, kind: PlaceKind) {
        if let Some(at) = at.filter(|at| !at.is_root()) {
            self.places.push(Place { from, at: domain_name(at.iter()), ttl, kind });
        }
    }

    fn alias(&mut self, from: Box<str>, to: Option<Name>, ttl: u32, with_names_below: bool) {
        if let Some(to) = to {
            let to = domain_name(to.iter());
            self.aliases.push(Alias { from, to, ttl, with_names_below });
        }
    }

    /// Service bindings (RFC 9460): another name, and addresses that spare a question for them.
    fn service(&mut self, message: &[u8], record: &Record, owner: &str) {
        let Ok(start) = u16::try_from(record.start) else { return };
        let mut decoder = BinDecoder::new(&message[..record.data.end]).clone(start);
        let binding: SVCB = match WholeRecord::read(&mut decoder).map(|record| record.data) {
            Ok(RData::SVCB(binding)) => binding,
            Ok(RData::HTTPS(binding)) => binding.0,
            _ => return,
        };
        for (_, value) in binding.svc_params {
            let hints: Vec<IpAddr> = match value {
                SvcParamValue::Ipv4Hint(hint) => hint.0.iter().map(|a| a.0.into()).collect(),
                SvcParamValue::Ipv6Hint(hint) => hint.0.iter().map(|a| a.0.into()).collect(),
                _ => continue,
            };
            let room = DNS_RECORDS.saturating_sub(self.addresses.len());
            for address in hints.into_iter().take(room) {
                self.address(owner.into(), Some(address), record.ttl);
            }
        }
        // There may be several; of the first it is known too where that leads.
        let target = binding.target_name;
        self.place(owner.into(), Some(target.clone()), record.ttl, PlaceKind::Service);
        if !target.is_root() {
            self.alias(owner.into(), Some(target), record.ttl, false);
        }
    }

    /// The addresses with the names that were asked for them, and how many there are of names that
    /// nobody asked for. What all hosts hear need not be an answer to a question in it; by mDNS it
    /// is of names in `local` (RFC 6762 sections 3 and 6).
    pub(super) fn answers(
        self,
        asked: Option<&Asked>,
        service: NameService,
    ) -> (Vec<DnsAnswer>, u32) {
        let chain = asked.map(|asked| self.chain(&asked.text)).unwrap_or_default();
        let places = self.reached(&chain);
        let is_heard = |name: &str| match service {
            NameService::Dns => false,
            NameService::Mdns => is_below(name, "local"),
            NameService::Llmnr | NameService::Nbns => true,
        };
        let mut answers = Vec::with_capacity(self.addresses.len() + self.pointers.len());
        let mut unasked = 0;
        for Address { owner, address, ttl } in &self.addresses {
            let step = chain.iter().find(|(name, _)| name == owner);
            let step = step.map(|(_, least)| (true, AnswerWay::Asked, *least));
            let place = || {
                let place = places.iter().find(|place| place.at == *owner)?;
                Some(match place.kind {
                    PlaceKind::Service => (true, AnswerWay::Asked, place.ttl),
                    PlaceKind::Server | PlaceKind::NameServer => {
                        (false, AnswerWay::Server, place.ttl)
                    }
                })
            };
            let heard = || is_heard(owner).then_some((false, AnswerWay::Asked, *ttl));
            let Some((is_asked, way, least)) = step.or_else(place).or_else(heard) else {
                unasked += 1;
                continue;
            };
            let name = asked.filter(|_| is_asked).map_or(owner, |asked| &asked.text);
            answers.push(DnsAnswer {
                name: host_of(name),
                owner: (owner != name).then(|| owner.clone()),
                address: *address,
                ttl_seconds: least.min(*ttl),
                way,
            });
        }
        for Pointer { owner, host, address, ttl } in &self.pointers {
            let step = chain.iter().find(|(name, _)| name == owner);
            // Behind an alias it is the asked name that is the address's (RFC 2317).
            let of_asked = || step.and_then(|_| reverse(&asked?.name));
            let Some(address) = address.or_else(of_asked) else { continue };
            if step.is_none() && !is_heard(host) {
                unasked += 1;
                continue;
            }
            answers.push(DnsAnswer {
                name: host.clone(),
                owner: None,
                address,
                ttl_seconds: step.map_or(*ttl, |(_, least)| (*ttl).min(*least)),
                way: AnswerWay::Reverse,
            });
        }
        (answers, unasked)
    }

    /// The places to which `chain` leads.
    fn reached(&self, chain: &[(Box<str>, u32)]) -> Vec<&Place> {
        let is_reached = |place: &&Place| {
            chain.iter().any(|(step, _)| match place.kind {
                PlaceKind::NameServer => is_below(step, &place.from),
                PlaceKind::Service | PlaceKind::Server => *step == place.from,
            })
        };
        self.places.iter().filter(is_reached).collect()
    }

    /// The names that a resolver comes by from `asked` on, with the least time to live on the way.
    fn chain(&self, asked: &str) -> Vec<(Box<str>, u32)> {
        let mut chain = vec![(Box::from(asked), u32::MAX)];
        while chain.len() < CHAIN_STEPS
            && let Some((at, least)) = chain.last()
            && let Some((next, ttl)) = self.aliases.iter().find_map(|alias| alias.lead(at))
            && chain.iter().all(|(been, _)| *been != next)
        {
            let least = (*least).min(ttl);
            chain.push((next, least));
        }
        chain
    }
}

impl Alias {
    /// Where `name` leads by this.
    fn lead(&self, name: &str) -> Option<(Box<str>, u32)> {
        if !self.with_names_below {
            return (*self.from == *name).then(|| (self.to.clone(), self.ttl));
        }
        let below = name.strip_suffix(&*self.from)?.strip_suffix('.')?;
        Some((format!("{below}.{}", self.to).into(), self.ttl))
    }
}

/// Whether a name is `zone` or below it.
fn is_below(name: &str, zone: &str) -> bool {
    let above = name.strip_suffix(zone);
    above.is_some_and(|above| above.is_empty() || above.ends_with('.') || zone.is_empty())
}

/// Without labels as `_8443._https`, with which service names lead, and which are no part of the
/// host's.
fn host_of(name: &str) -> Box<str> {
    let mut host = name;
    while let Some((label, rest)) = host.split_once('.')
        && label.starts_with('_')
    {
        host = rest;
    }
    host.into()
}

/// The address whose reverse name this is (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse(name: &Name) -> Option<IpAddr> {
    let network = name.parse_arpa_name().ok()?;
    (network.prefix_len() == network.max_prefix_len()).then(|| network.addr())
}

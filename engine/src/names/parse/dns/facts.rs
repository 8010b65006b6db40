//! What the records of a message lead to: from the name that was asked, over aliases, to addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{SVCB, svcb::SvcParamValue};
use hickory_proto::rr::{Name, RData, Record as WholeRecord};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};

use super::{Record, kind, name_at};
use crate::limits::DNS_RECORDS;
use crate::names::parse::text::domain_name;
use crate::names::{DnsAnswer, DnsSection};

const INTERNET: u16 = 1;
/// mDNS has a bit of its own in the class (RFC 6762 sections 5.4 and 10.2).
const CLASS: u16 = 0x7fff;

/// Steps from the question to an address that are followed.
const CHAIN_STEPS: usize = 16;

/// What the records of a message say, before it is clear what was asked.
#[derive(Default)]
pub(super) struct Facts {
    addresses: Vec<Address>,
    aliases: Vec<Alias>,
    /// The upper eight bits of the response code.
    pub(super) extended_rcode: u16,
}

struct Address {
    owner: Box<str>,
    address: IpAddr,
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

impl Facts {
    /// Takes what a record of `message` says.
    pub(super) fn add(&mut self, message: &[u8], record: &Record) {
        if record.kind == kind::OPT {
            // RFC 6891 section 6.1.3: the upper eight bits of twelve.
            self.extended_rcode = u16::from(record.ttl.to_be_bytes()[0]);
            return;
        }
        if record.section == DnsSection::Authority || record.class & CLASS != INTERNET {
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
                self.address(host, reverse(&name), record.ttl);
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
        // Service names lead with labels as `_8443._https`, which are no part of the host's.
        let host = owner.split('.').skip_while(|label| label.starts_with('_'));
        let host: Box<str> = host.collect::<Vec<_>>().join(".").into();
        for (_, value) in binding.svc_params {
            let hints: Vec<IpAddr> = match value {
                SvcParamValue::Ipv4Hint(hint) => hint.0.iter().map(|a| a.0.into()).collect(),
                SvcParamValue::Ipv6Hint(hint) => hint.0.iter().map(|a| a.0.into()).collect(),
                _ => continue,
            };
            let room = DNS_RECORDS.saturating_sub(self.addresses.len());
            for address in hints.into_iter().take(room) {
                self.address(host.clone(), Some(address), record.ttl);
            }
        }
        if !binding.target_name.is_root() {
            self.alias(owner.into(), Some(binding.target_name), record.ttl, false);
        }
    }

    /// The addresses with the names that were asked for them.
    pub(super) fn answers(self, question: Option<&(Box<str>, u16)>) -> Vec<DnsAnswer> {
        let chain = question.map(|(asked, _)| self.chain(asked)).unwrap_or_default();
        let answer = |found: Address| {
            let step = chain.iter().find(|step| step.0 == found.owner);
            let (Some((asked, _)), Some((_, ttl))) = (question, step) else {
                return DnsAnswer {
                    name: found.owner,
                    owner: None,
                    address: found.address,
                    ttl_seconds: found.ttl,
                };
            };
            DnsAnswer {
                name: asked.clone(),
                owner: (found.owner != *asked).then_some(found.owner),
                address: found.address,
                ttl_seconds: found.ttl.min(*ttl),
            }
        };
        self.addresses.into_iter().map(answer).collect()
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

/// The address whose reverse name this is (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse(name: &Name) -> Option<IpAddr> {
    let network = name.parse_arpa_name().ok()?;
    (network.prefix_len() == network.max_prefix_len()).then(|| network.addr())
}

//! NetBIOS name service (RFC 1002 section 4.2), whose messages are those of DNS but for the
//! encoding of names, and for what the records hold.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::MessageType;
use hickory_proto::rr::Name;

use super::dns::{Message, Question, Record};
use super::text::{domain_name, hex};
use crate::limits::DNS_OTHER_NAMES;
use crate::names::{
    AnswerWay, DnsAnswer, DnsMessage, DnsRecord, Finding, HostFact, HostHint, NameService,
};

pub(crate) const NB: u16 = 0x0020;
pub(crate) const NBSTAT: u16 = 0x0021;

/// Flags and address in a record of type NB.
const NB_ENTRY: usize = 6;
/// Name, suffix and flags in a record of type NBSTAT.
const NBSTAT_ENTRY: usize = 18;
/// The flag of names that several hosts have.
const GROUP: u8 = 0x80;
/// Suffixes of names that computers have, as such and as file servers.
const OF_COMPUTERS: [u8; 2] = [0x00, 0x20];

/// The message in `bytes`, and what a host says of itself in it. A host that registers a name
/// says its own address with it, so that requests have answers too; and it is the host's own name
/// if it is of a computer, and no group's.
pub(crate) fn parse(
    bytes: &[u8],
    sender: IpAddr,
    in_detail: bool,
    found: &mut Vec<Finding>,
) -> Option<()> {
    let mut message = Message::open(bytes)?;
    let question = message.question()?;
    let question_class = question.as_ref().map(|question| question.class);
    let question = question.and_then(|Question { name, kind, .. }| Some((decode(&name)?, kind)));
    let mut answers = Vec::new();
    let mut hints = Vec::new();
    for record in message.records() {
        if record.class != 1 || ![NB, NBSTAT].contains(&record.kind) {
            continue;
        }
        let Some(name) = message.owner(&record).and_then(|owner| decode(&owner)) else { continue };
        let data = &bytes[record.data.clone()];
        match record.kind {
            NB => {
                let suffix = message.owner(&record).and_then(|owner| suffix(&owner));
                if !suffix.is_some_and(|suffix| OF_COMPUTERS.contains(&suffix)) {
                    continue;
                }
                let entries = data.as_chunks::<NB_ENTRY>().0.iter();
                let own = entries.filter(|[flags, ..]| flags & GROUP == 0);
                let addresses: Vec<IpAddr> =
                    own.map(|&[_, _, a, b, c, d]| [a, b, c, d].into()).collect();
                if addresses == [sender] {
                    let fact = HostFact::NetbiosName(name.clone());
                    hints.push(HostHint { mac: None, address: Some(sender), fact });
                }
                answers.extend(addresses.into_iter().map(|address| DnsAnswer {
                    name: name.clone(),
                    owner: None,
                    address,
                    ttl_seconds: record.ttl,
                    way: AnswerWay::Asked,
                }));
            }
            NBSTAT => hints.extend(status(data, sender)),
            _ => {}
        }
    }
    let is_response = message.header.metadata.message_type == MessageType::Response;
    let rcode = u16::from(bytes[3] & 0x0f);
    // Answers have no question in them, but the records have the name that was asked.
    let owners = message.records().filter_map(|record| message.owner(&record));
    let owners = owners.filter(|_| is_response).filter_map(|owner| decode(&owner));
    let mut other_names: Vec<_> = owners.take(DNS_OTHER_NAMES).collect();
    if is_response && rcode != 0 && other_names.is_empty() {
        // A denial has a record too, which is not counted (RFC 1002 section 4.2.14).
        other_names.extend(message.next_name().and_then(|owner| decode(&owner)));
    }
    // Of a name that is no computer's, such as a group's, nothing else is said.
    let is_of_name = |record: &Record| record.kind == NB && record.data.len() >= NB_ENTRY;
    let is_answer = rcode != 0 || message.records().any(|record| is_of_name(&record));
    let says_name = is_answer && !other_names.is_empty();
    if question.is_none() && answers.is_empty() && hints.is_empty() && !says_name {
        return None;
    }
    found.push(Finding::Dns(DnsMessage {
        service: NameService::Nbns,
        id: message.header.metadata.id,
        is_response,
        rcode,
        is_truncated: message.header.metadata.truncation,
        question,
        answers,
        unasked: 0,
        other_names,
        detail: in_detail.then(|| {
            message.detail(question_class, |message, record| logged(message, bytes, record))
        }),
    }));
    found.extend(hints.into_iter().map(Finding::Host));
    Some(())
}

/// A record with its data as text: addresses of a name, or the names of a node.
fn logged(message: &Message<'_>, bytes: &[u8], record: &Record) -> Option<DnsRecord> {
    let data = &bytes[record.data.clone()];
    let data = match record.kind {
        NB => {
            let entries = data.as_chunks::<NB_ENTRY>().0.iter();
            let addresses =
                entries.map(|&[_, _, a, b, c, d]| Ipv4Addr::new(a, b, c, d).to_string());
            addresses.collect::<Vec<_>>().join(" ").into()
        }
        NBSTAT => {
            let names = data.get(1..).unwrap_or_default().as_chunks::<NBSTAT_ENTRY>().0.iter();
            let names = names.take(data.first().copied().unwrap_or(0).into());
            names.map(|name| plain(&name[..15])).collect::<Vec<_>>().join(" ").into()
        }
        _ => hex(data),
    };
    Some(DnsRecord {
        section: record.section,
        name: message.owner(record).and_then(|owner| decode(&owner))?,
        kind: record.kind,
        ttl_seconds: record.ttl,
        data,
    })
}

/// The name of a node that its status gives (RFC 1002 section 4.2.18), with its MAC address.
fn status(data: &[u8], sender: IpAddr) -> Option<HostHint> {
    let (&count, rest) = data.split_first()?;
    let names = rest.get(..usize::from(count) * NBSTAT_ENTRY)?.as_chunks::<NBSTAT_ENTRY>().0;
    let own = names.iter().find(|name| name[15] == 0 && name[16] & GROUP == 0)?;
    let mac = rest[names.len() * NBSTAT_ENTRY..].first_chunk().copied();
    Some(HostHint {
        mac: mac.filter(|mac| *mac != [0; 6]),
        address: Some(sender),
        fact: HostFact::NetbiosName(plain(&own[..15])),
    })
}

/// First-level decoding (RFC 1001 section 14.1): each byte is two letters from A to P, and the last
/// of sixteen is a suffix that says what kind of name it is. A scope, if any, is left out.
fn decode(name: &Name) -> Option<Box<str>> {
    Some(plain(&decoded(name)?[..15]))
}

/// What kind of name it is.
fn suffix(name: &Name) -> Option<u8> {
    decoded(name).map(|bytes| bytes[15])
}

fn decoded(name: &Name) -> Option<[u8; 16]> {
    let letters: &[u8; 32] = name.iter().next()?.try_into().ok()?;
    let nibble = |letter: u8| letter.checked_sub(b'A').filter(|&nibble| nibble < 16);
    let mut bytes = [0; 16];
    for (byte, &[high, low]) in bytes.iter_mut().zip(letters.as_chunks().0) {
        *byte = nibble(high)? << 4 | nibble(low)?;
    }
    Some(bytes)
}

/// Without the spaces, or zeros, that fill it up. Dots are those of a domain name that was not
/// found by DNS, as systems ask for that here.
fn plain(name: &[u8]) -> Box<str> {
    let filled = name.iter().rev().take_while(|&&byte| byte == b' ' || byte == 0).count();
    domain_name(name[..name.len() - filled].split(|&byte| byte == b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes as hosts do.
    fn encoded(name: &str, suffix: u8) -> Vec<u8> {
        let bytes: Vec<u8> =
            format!("{name:15}").into_bytes().into_iter().chain([suffix]).collect();
        let mut out = vec![32];
        out.extend(bytes.iter().flat_map(|byte| [b'A' + (byte >> 4), b'A' + (byte & 15)]));
        out.push(0);
        out
    }

    fn check(message: &[u8]) -> Vec<Finding> {
        let mut found = Vec::new();
        parse(message, IpAddr::from([192, 0, 2, 9]), true, &mut found);
        found
    }

    #[test]
    fn letters_are_halves_of_bytes() {
        // "The NetBIOS name", the example of RFC 1001 section 14.1.
        let name = Name::from_labels([b"FEGIGFCAEOGFHEECEJEPFDCAGOGBGNGF".as_slice()]).unwrap();
        assert_eq!(decode(&name).as_deref(), Some(r"the\032netbios\032nam"));
        let odd = Name::from_labels([b"ZEGIGFCAEOGFHEECEJEPFDCAGOGBGNGF".as_slice()]).unwrap();
        assert_eq!(decode(&odd), None, "a letter behind P");
    }

    #[test]
    fn a_registration_says_name_and_address() {
        let mut message = vec![0x12, 0x34, 0x29, 0x10, 0, 1, 0, 0, 0, 0, 0, 1];
        message.extend(encoded("FILESERVER", 0x20));
        message.extend([0, 0x20, 0, 1, 0xc0, 12, 0, 0x20, 0, 1, 0, 0, 1, 44, 0, 6]);
        message.extend([0, 0, 192, 0, 2, 7]);
        let [Finding::Dns(said)] = &check(&message)[..] else { panic!("it is another's address") };
        assert_eq!(said.question, Some(("fileserver".into(), NB)));
        assert_eq!((&*said.answers[0].name, said.answers[0].ttl_seconds), ("fileserver", 300));
        assert_eq!(said.answers[0].address, IpAddr::from([192, 0, 2, 7]));
        assert!(!said.is_response);
        // Its own, then a group's.
        let [.., flags, _, _, _, _, last] = &mut message[..] else { panic!() };
        (*last, *flags) = (9, 0);
        let own = HostFact::NetbiosName("fileserver".into());
        let hint = HostHint { mac: None, address: Some([192, 0, 2, 9].into()), fact: own };
        assert_eq!(check(&message)[1..], [Finding::Host(hint)]);
        let flags = message.len() - 6;
        message[flags] = GROUP;
        let answers = |message: &[u8]| match &check(message)[..] {
            [Finding::Dns(said)] => said.answers.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(answers(&message), 0, "a group is no host");
        message[flags] = 0;
        let browser = encoded("WORKGROUP", 0x1d);
        message[12..12 + browser.len()].copy_from_slice(&browser);
        assert_eq!(answers(&message), 0, "nor is what its browser is called");
    }

    /// Some count the record in which the name is, and some do not.
    #[test]
    fn a_denial_says_what_was_asked() {
        for count in [0, 1] {
            let mut message = vec![0, 7, 0x85, 0x83, 0, 0, 0, count, 0, 0, 0, 0];
            message.extend(encoded("NOSUCH", 0x20));
            message.extend([0, 0x0a, 0, 1, 0, 0, 0, 0, 0, 0]);
            let [Finding::Dns(said)] = &check(&message)[..] else { panic!("{count}") };
            assert_eq!((said.rcode, said.answers.len()), (3, 0));
            assert_eq!(said.other_names, ["nosuch".into()]);
            message[3] = 0x80;
            assert_eq!(check(&message), [], "it denies nothing");
        }
    }

    #[test]
    fn an_answer_for_a_group_is_one() {
        let mut message = vec![0, 7, 0x85, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        message.extend(encoded("WORKGROUP", 0x1c));
        message.extend([0, 0x20, 0, 1, 0, 0, 0, 60, 0, 6, 0x80, 0, 10, 0, 0, 9]);
        let [Finding::Dns(said)] = &check(&message)[..] else { panic!("not understood") };
        assert_eq!((said.rcode, said.answers.len()), (0, 0));
        assert_eq!(said.other_names, ["workgroup".into()]);
    }

    #[test]
    fn a_status_says_name_and_mac() {
        let mut message = vec![0, 1, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        message.extend(encoded("*", 0));
        message.extend([0, 0x21, 0, 1, 0, 0, 0, 0, 0, 43, 2]);
        message.extend(b"WORKGROUP      \x00\x84\x00PC-7           \x00\x04\x00");
        message.extend([2, 0, 0, 0, 0, 7]);
        let found = check(&message);
        let hint = HostHint {
            mac: Some([2, 0, 0, 0, 0, 7]),
            address: Some(IpAddr::from([192, 0, 2, 9])),
            fact: HostFact::NetbiosName("pc-7".into()),
        };
        assert_eq!(found[1], Finding::Host(hint));
        let Finding::Dns(said) = &found[0] else { panic!() };
        assert_eq!(said.other_names, ["*".into()], "what was asked");
        // As many names as there are not.
        message[56] = 255;
        assert_eq!(check(&message).len(), 0);
    }
}

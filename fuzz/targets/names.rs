//! Any bytes as payloads of every kind that names are learned from (name services, DHCP, SSDP, TLS,
//! QUIC, HTTP, SSH, greetings, ARP, LLDP, CDP), in any row: nothing that is said is longer than it
//! may be, and what is remembered stays bounded, also for what is unfinished.
//!
//! An input is a script: a byte that says whether tables are filled and records labelled too, and
//! whether datagrams are fragments there, which say in four bytes where they stand, and whether
//! transactions are logged; then
//! for each payload its kind and how it comes, its length in two bytes, and the payload.

#![no_main]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flowtap::decode::{Announced, Announcement, FragmentPlace, Macs, Packet, TcpHeader};
use flowtap::devices::DevicesSetup;
use flowtap::flow::{
    Delta, Direction, EndReason, Endpoint, FlowKey, FlowRecord, Opening, PortKind, protocol,
};
use flowtap::limits::{
    CONVERSATION_BYTES, COPIED_BYTES, DNS_RECORDS, NAME_BYTES, NAME_TEXT_BYTES, STREAM_BYTES,
};
use flowtap::names::payload::Carrier;
use flowtap::names::{
    Conversations, DnsMessage, Finding, FlowFact, HostFact, Names, NamesCounters, Payload,
    TransactionSink,
};
use libfuzzer_sys::fuzz_target;

const UDP: u8 = protocol::UDP;
const TCP: u8 = protocol::TCP;
const SECOND_NS: u64 = 1_000_000_000;

/// Protocol and port of the server.
const FLOWS: [(u8, u16); 13] = [
    (UDP, 53),
    (UDP, 5_353),
    (UDP, 5_355),
    (UDP, 137),
    (UDP, 67),
    (UDP, 547),
    (UDP, 1_900),
    (UDP, 443),
    (TCP, 53),
    (TCP, 80),
    (TCP, 443),
    (TCP, 22),
    (TCP, 25),
];
const ANNOUNCED: [Announced; 3] = [Announced::Arp, Announced::Lldp, Announced::Cdp];

/// Findings of one payload, with those before it: no message of any protocol has less than 12 bytes.
const FINDINGS: usize = (STREAM_BYTES + COPIED_BYTES) / 12;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, script)) = input.split_first() else { return };
    let payloads = read(script);
    check_findings(&payloads);
    if choice & 1 != 0 {
        check_labels(&payloads, choice & 2 != 0, choice & 4 != 0);
    }
});

/// One payload of a script.
struct Step<'a> {
    announced: Option<Announced>,
    key: FlowKey,
    direction: Direction,
    time_ns: u64,
    sequence: Option<u32>,
    bytes: &'a [u8],
    /// Bytes that were not captured.
    missing: u32,
}

fn read(mut script: &[u8]) -> Vec<Step<'_>> {
    let (mut steps, mut time_ns) = (Vec::new(), SECOND_NS);
    let mut next = [[0_u32; 2]; FLOWS.len()];
    while let Some((&[kind, high, low], rest)) = script.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (bytes, behind) = rest.split_at(length);
        script = behind;
        let direction = if kind & 16 == 0 { Direction::Forward } else { Direction::Reverse };
        let missing = if kind & 32 == 0 { 0 } else { 1_000 };
        let is_again = kind & 64 != 0;
        time_ns += if kind & 128 == 0 { 1_000 } else { 3 * SECOND_NS };
        let which = usize::from(kind & 15);
        let (announced, number) = match which.checked_sub(FLOWS.len()) {
            Some(announced) => (Some(ANNOUNCED[announced]), 0),
            None => (None, which),
        };
        let sequence = &mut next[number][direction.idx()];
        let step = Step {
            announced,
            key: key(FLOWS[number]),
            direction,
            time_ns,
            sequence: (FLOWS[number].0 == TCP).then_some(*sequence),
            bytes,
            missing,
        };
        if !is_again && announced.is_none() {
            let wire_bytes = u32::try_from(length).expect("16 bits") + missing;
            *sequence = sequence.wrapping_add(wire_bytes);
        }
        steps.push(step);
    }
    steps
}

fn key((protocol, port): (u8, u16)) -> FlowKey {
    let end = |last, port| {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[192, 168, 0, last]);
        Endpoint { address, port }
    };
    FlowKey::canonical(end(1, 40_000), end(2, port), 4, protocol, PortKind::Ports, [0; 2]).0
}

fn check_findings(steps: &[Step<'_>]) {
    let mut conversations = Conversations::default();
    conversations.want_detail();
    for step in steps {
        let bytes = &step.bytes[..step.bytes.len().min(COPIED_BYTES)];
        let payload = Payload {
            announced: step.announced,
            key: step.key,
            direction: step.direction,
            timestamp: Some(step.time_ns.cast_signed()),
            tick: step.time_ns,
            sequence: step.sequence,
            bytes,
            wire_bytes: u32::try_from(step.bytes.len()).expect("16 bits") + step.missing,
            ..Payload::NONE
        };
        let mut found = Vec::new();
        conversations.forget_idle(step.time_ns);
        conversations.observe(&payload, &mut found);
        assert!(found.len() <= FINDINGS, "{} findings of {}", found.len(), bytes.len());
        found.iter().for_each(check_finding);
        let (flows, bytes) = conversations.held();
        assert!(flows <= FLOWS.len(), "{flows} flows");
        assert!(bytes <= (2 * STREAM_BYTES * flows).min(CONVERSATION_BYTES), "{bytes} bytes");
    }
}

fn check_finding(finding: &Finding) {
    let is_short = |text: &str| assert!(text.len() <= NAME_TEXT_BYTES, "{} bytes", text.len());
    match finding {
        Finding::Flow(fact) => match fact {
            FlowFact::Sni(text)
            | FlowFact::QuicSni(text)
            | FlowFact::Alpn(text)
            | FlowFact::Ja4(text)
            | FlowFact::HttpHost(text)
            | FlowFact::UserAgent(text)
            | FlowFact::GquicSni(text)
            | FlowFact::CertSubject(text)
            | FlowFact::CertName(text) => is_short(text),
            FlowFact::EncryptedHello
            | FlowFact::App(_)
            | FlowFact::TlsVersion(_)
            | FlowFact::TlsCipher(_) => {}
        },
        Finding::Dns(DnsMessage { question, answers, detail, .. }) => {
            question.iter().for_each(|(name, _)| is_short(name));
            assert!(answers.len() <= 16 * DNS_RECORDS, "{} answers", answers.len());
            for answer in answers {
                is_short(&answer.name);
                answer.owner.iter().for_each(|owner| is_short(owner));
            }
            for record in detail.iter().flat_map(|detail| &detail.records) {
                is_short(&record.name);
                is_short(&record.data);
            }
        }
        Finding::Host(hint) => match &hint.fact {
            HostFact::DhcpName(text)
            | HostFact::DhcpFqdn(text)
            | HostFact::DhcpVendor(text)
            | HostFact::DhcpParameters(text)
            | HostFact::LldpName(text)
            | HostFact::CdpName(text)
            | HostFact::NetbiosName(text)
            | HostFact::SshBanner(text)
            | HostFact::SsdpServer(text)
            | HostFact::SsdpUsn(text) => is_short(text),
            HostFact::DhcpAddress | HostFact::ArpAddress => {}
        },
    }
}

/// The same through the tables, into labels of records.
fn check_labels(steps: &[Step<'_>], has_fragments: bool, is_logged: bool) {
    let counters = Arc::new(NamesCounters::new(1, 1));
    let names = Names::new(&counters, 64, &DevicesSetup::default(), Some(Duration::ZERO));
    let Names { mut senders, mut labellers, thread, .. } = names;
    let logged = Arc::new(AtomicU64::new(0));
    let mut thread = thread.with_log(is_logged.then(|| log(&logged)));
    let sender = &mut senders[0];
    for step in steps {
        let macs = [Some([0, 0x11, 0x22, 0, 0, 9]), Some([2; 6])];
        let time = Some(step.time_ns.cast_signed());
        // With all under way it is not taken, as in a live capture.
        if let Some(kind) = step.announced {
            let announcement = Announcement { kind, macs, vlans: [0; 2], bytes: step.bytes };
            sender.push_announcement(&announcement, time, step.time_ns);
            continue;
        }
        let header = |sequence| TcpHeader::new(0, sequence, 0, 1);
        let tcp = step.sequence.map_or(TcpHeader::NONE, header);
        let packet = Packet {
            key: step.key,
            direction: step.direction,
            timestamp: time,
            tick: step.time_ns,
            macs: Macs::new(macs),
            ttl: 64,
            tcp,
            payload_bytes: u32::try_from(step.bytes.len()).expect("16 bits") + step.missing,
            ..Packet::NONE
        };
        match step.bytes.split_first_chunk() {
            Some((place, rest)) if has_fragments && step.sequence.is_none() => {
                let payload_bytes = packet.payload_bytes - 4;
                let packet = Packet { payload_bytes, ..packet };
                sender.push_part(&packet, rest, Some(fragment(*place)), None, None);
            }
            _ if step.time_ns % 8 == 0 => {
                let is_all = step.time_ns % 16 == 0;
                let carrier = Carrier { key: key(FLOWS[0]), is_all };
                sender.push_part(&packet, step.bytes, None, None, Some(carrier));
            }
            _ => _ = sender.push(&packet, step.bytes),
        }
    }
    sender.flush();
    while thread.step() {}
    assert_eq!(logged.load(Ordering::Relaxed), counters.thread.transactions.get());
    let until = steps.last().map_or(0, |step| step.time_ns).cast_signed();
    let records: Vec<_> = FLOWS.iter().map(|flow| record(key(*flow), until)).collect();
    for (_, labels) in labellers[0].label(&records) {
        let facts = labels.facts.as_deref();
        let texts = facts.into_iter().flat_map(|facts| {
            let hello = [&facts.sni, &facts.alpn, &facts.ja4, &facts.http_host];
            let others = [&facts.http_user_agent, &facts.cert_subject, &facts.cert_name];
            hello.into_iter().chain(others).flatten()
        });
        texts.for_each(|text| assert!(text.len() <= NAME_BYTES, "{} bytes", text.len()));
        let name = labels.best_name().map(|best| best.name).unwrap_or_default();
        assert!(name.len() <= NAME_BYTES, "{} bytes", name.len());
        assert!(labels.app().is_none_or(|app| app.name().len() <= 15));
    }
}

/// Counts transactions, each of which has a message.
fn log(logged: &Arc<AtomicU64>) -> TransactionSink {
    let logged = Arc::clone(logged);
    Box::new(move |transactions| {
        for transaction in &transactions {
            assert!(transaction.question.is_some() || transaction.reply.is_some());
            let name = transaction.question.as_ref().map_or("", |question| &question.name);
            assert!(name.len() <= NAME_TEXT_BYTES, "{} bytes", name.len());
        }
        logged.fetch_add(transactions.len() as u64, Ordering::Relaxed);
    })
}

/// Datagrams and places are few, so that they meet.
fn fragment([identification, flags, high, low]: [u8; 4]) -> FragmentPlace {
    FragmentPlace {
        identification: (identification & 3).into(),
        start: u16::from_be_bytes([high, low]).into(),
        is_first: flags & 1 != 0,
        is_last: flags & 2 != 0,
    }
}

/// The record of a flow from the beginning to the end.
fn record(key: FlowKey, until: i64) -> FlowRecord {
    let opening = Opening {
        flow_start: Some(0),
        ordinal: 0,
        initiator: Direction::Forward,
        macs: [None; 2],
        first_packet: Direction::Forward,
        icmp: None,
        interface: 0,
        encapsulation: None,
    };
    let end = Some(EndReason::Idle);
    FlowRecord::flow(
        key,
        Delta { first: 0, last: until, opening: Some(opening), end, ..Delta::EMPTY },
    )
}

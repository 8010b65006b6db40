//! TLS sessions: their names are there to read, for a parser of hand and for a foreign one.

use std::collections::{BTreeMap, HashMap};
use std::process::{Command, Stdio};

use etherparse::{SlicedPacket, TransportSlice};

use super::{Budget, MIXES, SECOND_NS, Traffic, Truth, Wishes, frames, write};

fn make(packets: u64, flows: u64) -> (Vec<u8>, Truth) {
    make_mix("tls-mix", packets, flows)
}

fn make_mix(name: &str, packets: u64, flows: u64) -> (Vec<u8>, Truth) {
    let mix = MIXES.iter().find(|mix| mix.name == name).unwrap();
    let budget = Budget { packets, flows, seed: 5, duration_ns: 10 * SECOND_NS };
    write(&Traffic::Mix(mix), Wishes::default(), budget)
}

/// How often each name is in the truth.
fn names(truth: &Truth) -> BTreeMap<String, u64> {
    let mut names = BTreeMap::new();
    for name in truth.flows.iter().filter_map(|flow| flow.sni.clone()) {
        *names.entry(name).or_default() += 1;
    }
    names
}

/// The name in a ClientHello, if these bytes are all of one.
fn parse_name(record: &[u8]) -> Option<String> {
    let number =
        |at: usize| Some(usize::from(*record.get(at)?) << 8 | usize::from(*record.get(at + 1)?));
    if record.len() < 5 + number(3)? {
        return None;
    }
    assert_eq!((record[0], record[5]), (22, 1), "a ClientHello in a handshake record");
    assert_eq!(number(3)?, 4 + number(7)?, "one message fills the record");
    let ciphers_at = 44 + usize::from(record[43]);
    let compressions_at = ciphers_at + 2 + number(ciphers_at)?;
    let mut at = compressions_at + 1 + usize::from(record[compressions_at]);
    let end = at + 2 + number(at)?;
    assert_eq!(end, 5 + number(3)?, "extensions are the last");
    at += 2;
    let mut name = None;
    while at < end {
        if number(at)? == 0 {
            let from = at + 9;
            name = Some(String::from_utf8(record[from..from + number(at + 7)?].to_vec()).unwrap());
        }
        at += 4 + number(at + 2)?;
    }
    assert_eq!(at, end);
    name
}

#[test]
fn every_session_says_its_name() {
    let (file, truth) = make(20_000, 500);
    assert!(file == make(20_000, 500).0, "the same seed makes other bytes");
    assert_eq!((truth.frames, truth.flows.len()), (20_000, 500));
    let mut streams = HashMap::<_, (Vec<u8>, u32)>::new();
    let (mut found, mut long) = (BTreeMap::new(), 0);
    for frame in frames(&file) {
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else { continue };
        if tcp.destination_port() != 443 || tcp.payload().is_empty() {
            continue;
        }
        // Hosts have addresses of their own, so the MAC stands for them.
        let key = (frame[6..12].to_vec(), tcp.source_port());
        let (bytes, segments) = streams.entry(key).or_default();
        if *segments == u32::MAX {
            continue;
        }
        bytes.extend_from_slice(tcp.payload());
        *segments += 1;
        if let Some(name) = parse_name(bytes) {
            *found.entry(name).or_default() += 1;
            long += u32::from(*segments == 2);
            *segments = u32::MAX;
        }
    }
    assert_eq!(found, names(&truth));
    let sessions: u64 = found.values().sum();
    assert!(sessions > 300 && long > 50, "{long} of {sessions} need two segments");
}

/// One packet in twenty has a message of DNS, and one in twenty a part of a handshake of TLS.
#[test]
fn web_looks_names_up_and_shakes_hands() {
    let (file, truth) = make_mix("web", 70_000, 2_000);
    let (mut dns, mut handshakes) = (0, 0);
    // Who has sent a record that is encrypted with what was agreed: its type is 23.
    let mut is_agreed = HashMap::new();
    for frame in frames(&file) {
        match SlicedPacket::from_ethernet(&frame).unwrap().transport {
            Some(TransportSlice::Udp(udp)) => {
                dns += u64::from(udp.source_port() == 53 || udp.destination_port() == 53);
            }
            Some(TransportSlice::Tcp(tcp)) if !tcp.payload().is_empty() => {
                let key = (frame[..12].to_vec(), tcp.source_port(), tcp.destination_port());
                let is_agreed = is_agreed.entry(key).or_insert(false);
                *is_agreed |= tcp.payload()[0] == 23;
                handshakes += u64::from(!*is_agreed);
            }
            _ => {}
        }
    }
    for (what, packets) in [("DNS", dns), ("handshakes", handshakes)] {
        let permille = packets * 1_000 / truth.frames;
        assert!((40..=60).contains(&permille), "{what}: {permille} in a thousand");
    }
}

/// A foreign reader finds the same names and nothing to complain about.
#[test]
fn tshark_reads_the_names() {
    if Command::new("tshark").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "tshark is not installed, which CI promises");
        eprintln!("*** NOT RUN *** tshark_reads_the_names: install tshark");
        return;
    }
    let (file, truth) = make(20_000, 500);
    let path = std::env::temp_dir().join(format!("flowtap-gen-{}.pcap", std::process::id()));
    std::fs::write(&path, file).unwrap();
    let fields = |filter: &str, field: &str| {
        let output = Command::new("tshark")
            .args(["-Y", filter, "-T", "fields", "-e", field, "-r"])
            .arg(&path)
            .stderr(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let mut found = BTreeMap::new();
    for name in fields("tls.handshake.type == 1", "tls.handshake.extensions_server_name").lines() {
        *found.entry(name.to_owned()).or_default() += 1;
    }
    let answers = fields("tls.handshake.type == 2", "tls.handshake.ciphersuite").lines().count();
    // From warnings upwards.
    let strange = fields("_ws.malformed or _ws.expert.severity >= 6291456", "frame.protocols");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(found, names(&truth));
    assert_eq!(answers as u64, found.values().sum::<u64>());
    assert_eq!(strange, "");
}

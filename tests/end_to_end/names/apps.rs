//! What flows speak: by what was seen in them, or else by their ports.

use std::path::{Path, PathBuf};

use etherparse::PacketBuilder;
use libtest_mimic::Failed;

use crate::messages::{client, dns, server, udp, write_pcap};
use crate::program::{flowtap, folder, generate_with, json_lines};
use crate::{Outcome, ensure};

fn tcp(port: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let packet = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(client(1), server(9), 64);
    let packet = packet.tcp(port, to, 1_000, 1_024);
    packet.write(&mut frame, payload).expect("a vector takes anything");
    frame
}

/// A DHCP message of which nothing is learned but that it is one.
fn dhcp() -> Vec<u8> {
    let mut message = vec![1, 1, 6, 0];
    message.resize(236, 0);
    message.extend([99, 130, 83, 99, 53, 1, 1, 255]);
    message
}

/// Source port, destination port, what a flow speaks, and what its port says.
const WANT: [(u64, u64, &str, &str); 13] = [
    (5_000, 53, "dns payload", "dns port"),
    (5_001, 53, "dns port", "dns port"),
    (5_002, 5_355, "llmnr payload", "llmnr port"),
    (5_003, 67, "dhcp payload", "dhcp port"),
    (5_004, 1_900, "ssdp payload", "ssdp port"),
    (5_005, 8_080, "http payload", "http-alt port"),
    (5_006, 443, "http payload", "https port"),
    (5_007, 443, "https port", "https port"),
    (5_008, 9_999, "ssh payload", ""),
    (5_009, 3_306, "mysql port", "mysql port"),
    (5_010, 9_998, "", ""),
    (5_011, 53, "dns payload", "dns port"),
    // What was seen first is an answer.
    (123, 5_012, "ntp port", "ntp port"),
];

fn frames() -> Vec<Vec<u8>> {
    let datagram =
        |from: u16, to: u16, payload: &[u8]| udp((client(1), from), (server(9), to), payload);
    let question = dns(7, "a.example", None);
    let framed = [&[0, u8::try_from(question.len()).expect("it is short")][..], &question].concat();
    let mut frames = vec![
        datagram(5_000, 53, &question),
        datagram(5_001, 53, b"no message"),
        datagram(5_002, 5_355, &question),
        datagram(5_003, 67, &dhcp()),
        datagram(5_004, 1_900, b"M-SEARCH * HTTP/1.1\r\nHost: 239.255.255.250:1900\r\n\r\n"),
        tcp(5_005, 8_080, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        tcp(5_006, 443, b"GET / HTTP/1.0\r\n\r\n"),
        tcp(5_007, 443, b"neither TLS nor HTTP"),
        tcp(5_008, 9_999, b"SSH-2.0-OpenSSH_9.9\r\n"),
        tcp(5_009, 3_306, b""),
        tcp(5_010, 9_998, b"what may this be"),
        tcp(5_011, 53, &framed),
        datagram(123, 5_012, b"an answer"),
    ];
    // What comes again and again is noted once, and changes nothing.
    frames.extend((0..100).map(|_| datagram(5_000, 53, &question)));
    frames
}

/// Source port, destination port, application and source of all flows, in order.
fn apps(file: &Path, more: &[&str]) -> Result<Vec<(u64, u64, String)>, Failed> {
    let arguments = ["read", "-q", "--strict", "-o", "-"].iter().chain(more).map(PathBuf::from);
    let run = flowtap(arguments.chain([file.to_owned()])).expect(0)?;
    let mut apps = Vec::new();
    for record in json_lines(&run.stdout)? {
        let text = |name: &str| record[name].as_str().unwrap_or_default();
        let number = |name: &str| record[name].as_u64().unwrap_or_default();
        let app = format!("{} {}", text("app"), text("app_source"));
        apps.push((number("src_port"), number("dst_port"), app.trim().to_owned()));
    }
    apps.sort();
    Ok(apps)
}

pub(super) fn by_payload_or_port() -> Outcome {
    let folder = folder();
    let file = folder.path().join("made.pcap");
    write_pcap(&file, frames().into_iter().map(|frame| (0, frame)));
    let want = |with_payload: bool| {
        let mut want: Vec<_> = WANT
            .iter()
            .map(|(src, dst, seen, port)| {
                (*src, *dst, (if with_payload { *seen } else { *port }).to_owned())
            })
            .collect();
        want.sort();
        want
    };
    for workers in ["1", "4"] {
        let got = apps(&file, &["--workers", workers])?;
        ensure(got == want(true), format!("{workers} workers: {got:#?}"))?;
    }
    let got = apps(&file, &["--names", "off"])?;
    ensure(got == want(false), format!("without names: {got:#?}"))
}

/// Nothing is lost by there being many: each flow of name services shows what it speaks, and names
/// stay what they are with room for few.
pub(super) fn many() -> Outcome {
    let made = generate_with("dns-heavy", 20_000, 4_000, 5, &["--duration", "60s"]);
    let all = apps(&made.capture, &[])?;
    let is_dns = |(src, dst, _): &&(u64, u64, String)| *src == 53 || *dst == 53;
    let dns: Vec<_> = all.iter().filter(is_dns).collect();
    ensure(dns.len() > 1_000, format!("{} flows of DNS", dns.len()))?;
    ensure(dns.iter().all(|(.., app)| app == "dns payload"), format!("{dns:?}"))
}

/// Two days of a host that asks from one port, flow after flow: each shows what it speaks, and one
/// that cannot be read does not, though the same is spoken before and after it.
pub(super) fn for_days() -> Outcome {
    const FLOWS: u64 = 2_880;
    let folder = folder();
    let file = folder.path().join("made.pcap");
    let ends = ((client(1), 5_353), (server(9), 5_353));
    let (question, garbage) = (dns(7, "a.example", None), b"no message".as_slice());
    let is_garbage = |minute: u64| minute % 97 == 5;
    let frames = (0..FLOWS).map(|minute| {
        let payload = if is_garbage(minute) { garbage } else { &question };
        (minute * 60_000, udp(ends.0, ends.1, payload))
    });
    write_pcap(&file, frames);
    let mut want: Vec<_> = (0..FLOWS)
        .map(|minute| if is_garbage(minute) { "mdns port" } else { "mdns payload" })
        .map(|app| (5_353, 5_353, app.to_owned()))
        .collect();
    want.sort();
    for workers in ["1", "8"] {
        let got = apps(&file, &["--workers", workers])?;
        let seen = got.iter().filter(|(.., app)| app == "mdns payload").count();
        ensure(got == want, format!("{workers} workers: {} flows, {seen} seen", got.len()))?;
    }
    Ok(())
}

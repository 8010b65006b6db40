//! Fifty-six expressions on all captures: what tcpdump accepts, we accept.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use flowtap::filter::Filter;
use flowtap::source::pcap::CaptureFile;
use flowtap::source::{Frame, LinkType};
use flowtap::sync::StopRequest;
use libtest_mimic::Failed;

use crate::program::folder;
use crate::{Outcome, captures, ensure};

/// What is asked of every capture.
const EXPRESSIONS: [&str; 56] = [
    // Protocols, by name and by number.
    "ip",
    "ip6",
    "arp or rarp",
    "tcp",
    "udp",
    "icmp or icmp6",
    "sctp",
    "ip proto 47 or ip proto \\esp",
    "ip6 proto 44",
    "ether proto 0x88cc",
    "not ip and not ip6",
    "ip proto 4 or ip proto 41",
    // Going from header to header.
    "ip protochain 6",
    "ip6 protochain 17",
    "ip6 protochain \\tcp and not ip6 proto 6",
    // Addresses and networks.
    "host 192.168.1.1",
    "src host 10.0.0.1 or dst host 10.0.0.2",
    "net 192.168.0.0/16",
    "src net 10.0.0.0/8 and not dst net 10.0.0.0/8",
    "ip6 net 2001:db8::/32 or ip6 src net fe80::/10",
    "net 172.16 mask 255.240.0.0",
    "ip multicast or ip6 multicast",
    "ether multicast or ether broadcast",
    "ether host ff:ff:ff:ff:ff:ff",
    "ether src ca:01:0e:88:00:06",
    // Ports.
    "port 53",
    "tcp dst port 443",
    "udp src port 53 or udp dst port 5353",
    "tcp port 80 and (tcp src port 80 or src portrange 1024-65535)",
    "portrange 1-1023",
    "udp portrange 5000-6000",
    "sctp port 7",
    "not port 22 and not port 443",
    "port domain or port https",
    // What stands below.
    "vlan",
    "vlan 13 and vlan 10",
    "vlan and ip",
    "vlan and vlan and udp",
    "mpls",
    "mpls 29 and host 10.34.0.1",
    "pppoed",
    "pppoes and ip6",
    "pppoes and icmp6",
    "llc or stp",
    // Flags and other fields.
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
    "tcp[13] & 4 != 0 or tcp[tcpflags] & tcp-fin != 0",
    "icmp[icmptype] == icmp-echo or icmp[icmptype] == icmp-echoreply",
    "icmp6[0] == 135 or icmp6[0] == 136",
    "ip[6:2] & 0x1fff != 0 or ip[6] & 0x20 != 0",
    "ip[8] < 5 or ip6[7] < 5",
    "udp[4:2] > 100 and udp[4:2] - 8 == ip[2:2] - ((ip[0] & 0xf) << 2) - 8",
    "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
    "ip[2:2] % 3 == 1 and ip[16] * 256 + ip[17] >= 0x100 ^ ip[18]",
    // Lengths, on the wire and in the frame.
    "len > 1000",
    "less 64 or greater 1500",
    "ether[len - 1] == 0 or link[0:4] != 0 and not ether[60] = 0",
];

/// The frames of all captures that have a link type: where they are from, their length on the
/// wire and their bytes.
type Captured = Vec<(String, u32, Vec<u8>)>;

/// All frames of all captures, by link type, as far as they can be read.
fn captured() -> Result<BTreeMap<u16, Captured>, Failed> {
    let mut links: BTreeMap<u16, Captured> = BTreeMap::new();
    for path in captures::files() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut file = CaptureFile::open(&path, &StopRequest::default())?;
        while let Ok(Some(frame)) = file.next_frame() {
            let frames = links.entry(frame.link.0).or_default();
            let from = format!("{name}, frame {} of its link type", frames.len());
            frames.push((from, frame.wire_len, frame.bytes.to_vec()));
        }
    }
    Ok(links)
}

/// They as one capture file, in which the time of each is its number.
fn as_file(link: u16, frames: &Captured) -> Vec<u8> {
    let header = [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 262_144, u32::from(link)];
    let mut file: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (number, (_, wire_len, bytes)) in (0..).zip(frames) {
        let captured = u32::try_from(bytes.len()).expect("a frame is short");
        let record = [number, 0_u32, captured, *wire_len];
        file.extend(record.iter().flat_map(|word| word.to_le_bytes()));
        file.extend(bytes);
    }
    file
}

/// The numbers of the frames that tcpdump accepts, or what it says of the expression.
fn tcpdump(file: &Path, expression: &str) -> Result<Vec<usize>, String> {
    // It would read as somebody who may read less.
    let mut command = Command::new("tcpdump");
    command.args(["-Z", "root", "-s", "0", "-w", "-", "-r"]).arg(file).arg(expression);
    let output = command.output().unwrap_or_else(|e| panic!("tcpdump: {e}"));
    let Some((_, mut rest)) = output.stdout.split_at_checked(24) else {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    };
    let mut numbers = Vec::new();
    while let Some((header, behind)) = rest.split_first_chunk::<16>() {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
        numbers.push(word(0) as usize);
        rest = &behind[word(8) as usize..];
    }
    Ok(numbers)
}

/// The numbers of the frames that our filter accepts, or what it says.
fn ours(link: u16, frames: &Captured, expression: &str) -> Result<Vec<usize>, String> {
    let filter = Filter::new(expression).map_err(|e| e.to_string())?;
    let link = LinkType(link);
    let filter = filter.for_link(link, "it").map_err(|e| e.to_string())?;
    let accepts = |(_, wire_len, bytes): &(_, u32, Vec<u8>)| {
        filter.accepts(&Frame { bytes, wire_len: *wire_len, timestamp: None, link })
    };
    let numbered = frames.iter().enumerate();
    Ok(numbered.filter(|(_, frame)| accepts(frame)).map(|(number, _)| number).collect())
}

/// Both accept the same frames of all captures, or refuse the expression. Each accepts some and
/// rejects some.
pub(super) fn same() -> Outcome {
    let (folder, links) = (folder(), captured()?);
    let mut accepted = [0; EXPRESSIONS.len()];
    for (&link, frames) in &links {
        let file = folder.path().join("all.pcap");
        fs::write(&file, as_file(link, frames))?;
        for (expression, accepted) in EXPRESSIONS.iter().zip(&mut accepted) {
            match (tcpdump(&file, expression), ours(link, frames, expression)) {
                (Ok(theirs), Ok(ours)) => {
                    let differs = theirs.iter().zip(&ours).find(|(a, b)| a != b);
                    let first = differs.map(|(a, b)| &frames[*a.min(b)].0);
                    let counts = format!("{} of tcpdump's, {} of ours", theirs.len(), ours.len());
                    let text = format!("'{expression}', link type {link}: {counts}; {first:?}");
                    ensure(theirs == ours, text)?;
                    *accepted += ours.len();
                }
                (Err(theirs), Err(ours)) => {
                    let said = theirs.trim().rsplit(": ").next().unwrap_or_default();
                    let text = format!("'{expression}': tcpdump says {said}, we say {ours}");
                    ensure(ours.contains(said), text)?;
                }
                (theirs, ours) => {
                    let [theirs, ours] = [theirs.err(), ours.err()];
                    let text = format!("'{expression}' is refused by one: {theirs:?}, {ours:?}");
                    return Err(text.into());
                }
            }
        }
    }
    let all = links.values().map(Vec::len).sum();
    let idle = EXPRESSIONS.iter().zip(accepted).filter(|(_, count)| [0, all].contains(count));
    let idle: Vec<_> = idle.map(|(expression, _)| expression).collect();
    ensure(idle.is_empty(), format!("accepted by no frame or all of {all}: {idle:?}"))
}

//! What a flood of name services costs: names, and nothing else.

use std::path::Path;

use libtest_mimic::Failed;
use serde_json::Value;

use super::Event::Sends;
use super::{frame, ledger, records};
use crate::messages::{client, dns, server, udp, write_pcap};
use crate::program::{folder, json_lines};
use crate::{Outcome, ensure};

/// Answers as fast as 200,000 in a second: random names, names that lead to themselves, records
/// without end and answers that nobody asked for. Flows are counted as without them.
pub(super) fn flood() -> Outcome {
    const MESSAGES: u32 = 40_000;
    let folder = folder();
    let file = folder.path().join("made.pcap");
    write_pcap(&file, frames(MESSAGES));
    let log = folder.path().join("log.jsonl").display().to_string();
    let on = ["--max-names", "1000", "--dns-log", &log];
    let (with, without) = (records(&file, &on)?, records(&file, &["--names", "off"])?);
    let counted = |lines: &[String]| -> Result<Vec<_>, Failed> {
        let counts = |record: &Value| {
            ["flow_id", "src_packets", "dst_packets", "src_bytes", "end_reason"]
                .map(|field| record[field].to_string())
        };
        let mut counted: Vec<_> = json_lines(&lines.join("\n"))?.iter().map(counts).collect();
        counted.sort();
        Ok(counted)
    };
    ensure(counted(&with)? == counted(&without)?, "other flows")?;
    let with = ledger(&file, &on)?;
    let without = ledger(&file, &["--names", "off"])?;
    ensure(with["packets"]["in_flows"] == MESSAGES + 2, format!("{}", with["packets"]))?;
    let names = &with["names"];
    ensure(names["answers"].as_u64().is_some_and(|n| n <= 1_000), format!("{names}"))?;
    ensure(names["answered"] == MESSAGES / 8, format!("{names}"))?;
    ensure(names["evicted"].as_u64().is_some_and(|n| n > 0), format!("{names}"))?;
    ensure(names["dns_log"]["transactions"] == names["dns_log"]["records"], format!("{names}"))?;
    let rss = |ledger: &Value| ledger["max_rss_bytes"].as_u64().unwrap_or(u64::MAX);
    let more = rss(&with).saturating_sub(rss(&without));
    ensure(more < 200 << 20, format!("{more} bytes more with names than without"))
}

/// The flood, each frame with its time in milliseconds; and a flow that goes on all the while, in
/// two packets.
pub(crate) fn frames(messages: u32) -> Vec<(u64, Vec<u8>)> {
    let resolver = (server(53), 53);
    let message = |number: u32| {
        // One in eight answers the question before it.
        let n = number - u32::from(number % 8 == 3);
        let [.., high, low] = n.to_be_bytes();
        let asks = (client(high), 1_024 + u16::from(low));
        let id = u16::from_be_bytes([high, low]);
        let name = format!("{n:x}.{}.example", n.wrapping_mul(2_654_435_761));
        let mut answer = dns(id, &name, Some(([10, 0, high, low], 60)));
        match number % 8 {
            0..3 => return udp(asks, resolver, &dns(id, &name, None)),
            // To a question; to none.
            3 | 4 => {}
            5 => {
                let loops = answer.len() - 16;
                answer[loops + 1] = u8::try_from(loops).unwrap_or(0);
            }
            6 => {
                let one = answer[answer.len() - 16..].to_vec();
                answer[6..8].copy_from_slice(&[0xff; 2]);
                answer.extend(one.repeat(75));
            }
            _ => answer.truncate(answer.len() - 7),
        }
        udp(resolver, asks, &answer)
    };
    let mut frames: Vec<_> =
        (0..messages).map(|n| (1_000 + u64::from(n / 200), message(n))).collect();
    let sends = |ms, port| (ms, frame(&Sends(1, port, 9)));
    frames.insert(0, sends(0, 5_000));
    frames.push(sends(1_000 + u64::from(messages / 200) + 800, 5_000));
    frames
}

/// Payloads of a capture that are handed over where packets can wait.
pub(crate) fn payloads(file: &Path) -> Result<u64, Failed> {
    Ok(ledger(file, &[])?["names"]["payloads"].as_u64().unwrap_or(0))
}

//! What became of flow records and of packets, as options data (RFC 7011 section 4): each total
//! under a scope, since this program has begun to send to this collector.
//!
//! Octets of ignored packets and the times at which something was lost first and last are not
//! known, and left out.

use super::Told;
use super::message::{DOMAIN, Dialect, OPTIONS_SET};
use super::template::number_of_options;

/// What an exporter has done, and what it was not given to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::export) struct Totals {
    /// Messages that have left, their bytes, and the flow records in them.
    pub(in crate::export) messages: u64,
    pub(in crate::export) octets: u64,
    pub(in crate::export) records: u64,
    /// Packets that are in no flow record: lost before they were decoded, or undecodable.
    pub(in crate::export) ignored_packets: u64,
    /// Flow records that did not get here in time, or found no room, and what they count.
    pub(in crate::export) not_sent_flows: u64,
    pub(in crate::export) not_sent_packets: u64,
    pub(in crate::export) not_sent_octets: u64,
}

/// Options templates: their scope, and their counters of eight bytes.
const TEMPLATES: [(u16, &[u16]); 3] = [
    // observationDomainId: exportedMessage-, exportedFlowRecord-, exportedOctetTotalCount.
    (149, &[41, 42, 40]),
    // observationDomainId: ignoredPacketTotalCount.
    (149, &[164]),
    // exportingProcessId: notSentFlow-, notSentPacket-, notSentOctetTotalCount.
    (144, &[166, 167, 168]),
];

/// A message that says what totals there are. Each template is in a set of its own: nfacctd 1.7.7
/// finds no second one in a set, as it adds the scope's count to one that has it.
pub(super) fn templates() -> Told {
    let mut sets = Vec::new();
    for (which, (scope, counters)) in (1..).zip(TEMPLATES) {
        let count = u16::try_from(counters.len()).expect("there are few");
        let header = [number_of_options(which), count + 1, 1, scope, 4];
        let counters = counters.iter().flat_map(|&counter| [counter, 8]);
        let template: Vec<_> =
            header.into_iter().chain(counters).flat_map(u16::to_be_bytes).collect();
        Dialect::Ipfix.write_set(OPTIONS_SET, &template, &mut sets);
    }
    Told { bytes: with_header(sets), records: 0 }
}

/// A message with the totals.
pub(in crate::export) fn totals(totals: &Totals) -> Told {
    // Unique on this machine as long as it runs.
    let process = std::process::id();
    let records: [(u32, &[u64]); 3] = [
        (DOMAIN, &[totals.messages, totals.records, totals.octets]),
        (DOMAIN, &[totals.ignored_packets]),
        (process, &[totals.not_sent_flows, totals.not_sent_packets, totals.not_sent_octets]),
    ];
    let mut sets = Vec::new();
    for (which, (scope, counters)) in (1..).zip(records) {
        let counters = counters.iter().flat_map(|counter| counter.to_be_bytes());
        let record: Vec<_> = scope.to_be_bytes().into_iter().chain(counters).collect();
        Dialect::Ipfix.write_set(number_of_options(which), &record, &mut sets);
    }
    Told { bytes: with_header(sets), records: 3 }
}

/// A message of these sets.
fn with_header(mut sets: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Dialect::Ipfix.write_header(sets.len(), 0, &mut bytes);
    bytes.append(&mut sets);
    bytes
}

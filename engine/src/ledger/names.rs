//! What has become of payloads and names.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::export::SinkAccount;
use crate::ledger::SinkLedger;
use crate::names::{NamesCounters, ParserCounters};
use crate::sync::Gauge;

/// Names: learned, kept and given to records. What is dropped here costs names, and no packet.
#[derive(Debug, Clone, Serialize)]
pub struct NamesLedger {
    /// Payloads handed over to the `names` thread.
    pub payloads: u64,
    /// Payloads that it has read: all, at the end.
    pub read: u64,
    /// Payloads that were not handed over, by cause.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Things that payloads said.
    pub findings: u64,
    /// What could not be read, by cause.
    pub unread: BTreeMap<&'static str, u64>,
    /// Answers of name services to questions that were seen.
    pub answered: u64,
    /// Answers to none, which name nothing.
    pub unsolicited: u64,
    /// Addresses in answers, of names that nobody asked for: they name nothing.
    pub unasked: u64,
    /// Questions that were forgotten for others before their answer came.
    pub questions_forgotten: u64,
    /// Flows of which something is known that they said, and that go on.
    pub flows: u64,
    /// Answers that are known.
    pub answers: u64,
    /// Flows and answers that were evicted for others.
    pub evicted: u64,
    /// Answers that an earlier one with the same name stands for, for want of room: flows that
    /// began after them may be told a greater age, and no other name.
    pub merged: u64,
    /// ARP messages of another device than the one whose frame they came in. They count.
    pub arp_relayed: u64,
    /// Devices that are known.
    pub devices: u64,
    /// Devices that were evicted for others.
    pub devices_evicted: u64,
    /// Ends of records that are devices, and found no room to be noted as such.
    pub devices_missed: u64,
    /// How often devices were published.
    pub published: u64,
    /// Records that got a label.
    pub labelled: u64,
    /// Records that went on without what the `names` thread still had to read.
    pub late: u64,
    /// Transactions of name services, where they are logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_log: Option<DnsLogLedger>,
}

/// What became of transactions of name services: written, or not sent.
#[derive(Debug, Clone, Serialize)]
pub struct DnsLogLedger {
    /// Transactions that were over: at the end as many as were written and were not sent.
    pub transactions: u64,
    /// What was written, and where.
    #[serde(flatten)]
    pub sink: SinkLedger,
    /// Transactions that were not written, by cause.
    pub not_sent: BTreeMap<String, u64>,
}

impl NamesLedger {
    pub(super) fn of(counters: &NamesCounters, log: Option<&SinkAccount>) -> Self {
        let NamesCounters { handovers, thread, labels } = counters;
        let mut unread: BTreeMap<_, _> =
            ParserCounters::CAUSES.into_iter().zip(thread.unread.iter().map(Gauge::get)).collect();
        // Most of them show before they are handed over.
        for handover in handovers {
            *unread.entry("malformed").or_default() += handover.malformed.get();
            *unread.entry("fragments_alone").or_default() += handover.fragments_alone.get();
        }
        Self {
            payloads: handovers.iter().map(|h| h.handed.get()).sum(),
            read: thread.read.get(),
            dropped: [("ring_full", handovers.iter().map(|h| h.ring_full.get()).sum())].into(),
            findings: thread.findings.get(),
            unread,
            answered: thread.answered.get(),
            unsolicited: thread.unsolicited.get(),
            unasked: thread.unasked.get(),
            questions_forgotten: thread.questions_forgotten.get(),
            flows: thread.flows.get(),
            answers: thread.answers.get(),
            evicted: thread.evicted.get(),
            merged: thread.merged.get(),
            arp_relayed: thread.arp_relayed.get(),
            devices: thread.devices.get(),
            devices_evicted: thread.devices_evicted.get(),
            devices_missed: labels.iter().map(|l| l.devices_missed.get()).sum(),
            published: thread.published.get(),
            labelled: labels.iter().map(|l| l.labelled.get()).sum(),
            late: labels.iter().map(|l| l.late.get()).sum(),
            dns_log: log.map(|log| DnsLogLedger {
                transactions: thread.transactions.get(),
                sink: SinkLedger::of(log),
                not_sent: log.not_sent(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_shows_before_or_after_it_is_handed_over() {
        let counters = NamesCounters::new(2, 1);
        counters.handovers[0].fragments_alone.set(16);
        counters.handovers[0].malformed.set(1);
        counters.handovers[1].malformed.set(2);
        let by_cause = ParserCounters {
            malformed: 4,
            gaps: 8,
            fragments_alone: 32,
            ..ParserCounters::default()
        };
        for (gauge, times) in counters.thread.unread.iter().zip(by_cause.by_cause()) {
            gauge.set(times);
        }
        let unread = NamesLedger::of(&counters, None).unread;
        assert_eq!((unread["malformed"], unread["gaps"]), (7, 8));
        assert_eq!(unread["fragments_alone"], 48);
        assert_eq!(unread.len(), ParserCounters::CAUSES.len());
    }
}

//! Collectors that are there, and do not take what comes.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use super::{empty_context, tcp_record};
use crate::export::{Distributor, Patience, Sink, SinkOptions, SinkSpec, SpoolOptions, WhenFull};
use crate::global::Ended;
use crate::limits::{COLLECTOR_SILENCE, COLLECTOR_SPOOL_BYTES, SINK_RECORDS, SPOOL_BYTES};

/// More than memory holds, in messages of some 100 bytes a record, in the queue and in the socket.
const RECORDS: usize = 2 * (COLLECTOR_SPOOL_BYTES / 100 + SINK_RECORDS);

/// A live capture does not wait: without a place for them records would be lost.
#[test]
fn what_a_collector_does_not_take_is_spooled_while_it_comes() {
    // Whoever brings records waits for room, which makes the sink no less in a hurry.
    spools(WhenFull::Drop, Sink::last_call);
}

/// Packets that can wait do so for a collector, but not once they are told to stop.
#[test]
fn what_a_collector_does_not_take_is_spooled_when_a_run_is_stopped() {
    spools(WhenFull::Wait, |_| {});
}

/// Brings records to a sink whose collector takes nothing, in a run that has ended.
fn spools(when_full: WhenFull, begin: impl FnOnce(&Sink)) {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ipfix+tcp://{}", listener.local_addr().unwrap());
    let spool = SpoolOptions { folder: folder.path().join("spool"), bytes: SPOOL_BYTES };
    let options = SinkOptions { spool: Some(spool), ..SinkOptions::default() };
    let spec = SinkSpec { options, ..SinkSpec::parse(&url).unwrap() };
    let context = empty_context();
    let sink = Sink::start_all(&[spec], &context).unwrap().remove(0);
    let account = sink.account();
    let connection = listener.accept().unwrap();
    begin(&sink);
    let (start, patience) = (Instant::now(), Patience::default());
    thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            let mut distributor = Distributor::new(std::slice::from_ref(&sink), when_full);
            (0..RECORDS).for_each(|_| distributor.ended(tcp_record()));
            distributor.flush();
        });
        while !feeder.is_finished() {
            assert!(!sink.give_up_if_stuck(start, &patience), "{:?}", account.failure());
            thread::sleep(Duration::from_millis(1));
        }
    });
    let end = Instant::now();
    Sink::finish_all(vec![sink], &patience, || Some(end));
    assert!(start.elapsed() < COLLECTOR_SILENCE, "it has waited for the collector");
    assert_eq!(account.not_sent().len(), 0, "{:?}", account.not_sent());
    assert!(account.failure().is_none() && account.loss().is_none());
    assert_eq!(account.spooled() + account.records(), RECORDS as u64);
    assert!(account.spooled() > RECORDS as u64 / 2, "{} spooled", account.spooled());
    drop(connection);
}

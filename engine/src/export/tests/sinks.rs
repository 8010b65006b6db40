//! Files, devices and pipes at the end of a sink.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{empty_context, tcp_record};
use crate::export::output::Output;
use crate::export::queue::Progress;
use crate::export::{
    Compression, Content, Distributor, Format, Patience, Sink, SinkOptions, SinkSpec, Target,
    WhenFull,
};
use crate::global::Ended;
use crate::limits::{BATCH_RECORDS, SINK_RECORDS};
use crate::names::transactions::{DnsQuestion, TransactionEnd};
use crate::names::{DnsTransaction, NameService};
use crate::sync::{Arc, Counter, thread};

/// A folder of its own for a test, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("flowtap-{}-{test}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn spec(path: &Path, compression: Compression) -> SinkSpec {
    let (target, format) = (Target::File(path.to_owned()), Format::JsonLines);
    let content = Content::Flows;
    SinkSpec { content, target, format, compression, options: SinkOptions::default() }
}

fn start(spec: &SinkSpec) -> Sink {
    start_all(std::slice::from_ref(spec)).unwrap().remove(0)
}

fn start_all(specs: &[SinkSpec]) -> crate::error::Result<Vec<Sink>> {
    Sink::start_all(specs, &empty_context())
}

/// Waits as long as it takes.
fn finish(sink: Sink) {
    Sink::finish_all(vec![sink], &Patience::default(), || None);
}

/// Passes `batches` batches of one record each.
fn send(sink: &Sink, batches: usize, when_full: WhenFull) {
    let mut distributor = Distributor::new(std::slice::from_ref(sink), when_full);
    for _ in 0..batches {
        distributor.ended(tcp_record());
        distributor.flush();
    }
}

/// Somebody who may write to the folder could have it lead anywhere.
#[test]
fn a_link_in_the_place_of_a_part_is_not_followed() {
    let folder = Folder::new("link");
    let (path, target) = (folder.path("flows.jsonl"), folder.path("target"));
    for is_there in [false, true] {
        if is_there {
            fs::write(&target, "").unwrap();
        }
        std::os::unix::fs::symlink(&target, folder.path("flows.jsonl.part")).unwrap();
        let sink = start(&spec(&path, Compression::None));
        send(&sink, 1, WhenFull::Wait);
        finish(sink);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        assert_eq!(fs::read_to_string(&target).ok(), is_there.then(String::new));
    }
}

#[test]
fn a_file_has_its_name_when_it_is_complete_and_not_before() {
    let folder = Folder::new("part");
    let (path, part) = (folder.path("a.jsonl"), folder.path("a.jsonl.part"));
    fs::write(&path, "old").unwrap();
    let sink = start(&spec(&path, Compression::None));
    send(&sink, 3, WhenFull::Wait);
    assert!(part.exists());
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    let account = sink.account();
    finish(sink);
    assert!(!part.exists());
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert_eq!((account.records(), account.bytes()), (3, text.len() as u64));
    assert_eq!((account.errors(), account.not_sent().len()), (0, 0));
}

#[test]
fn an_unfinished_file_keeps_its_old_content() {
    let folder = Folder::new("unfinished");
    let path = folder.path("a.jsonl");
    fs::write(&path, "old").unwrap();
    let mut output =
        Output::open(&spec(&path, Compression::None), &[], &Arc::new(Progress::new())).unwrap();
    output.take(b"new");
    output.write_due().unwrap();
    drop(output);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
}

#[test]
fn compressed_files_are_read_back() {
    let folder = Folder::new("compressed");
    let content = |compression, name: &str| {
        let path = folder.path(name);
        let sink = start(&spec(&path, compression));
        send(&sink, 500, WhenFull::Wait);
        let account = sink.account();
        finish(sink);
        let bytes = fs::read(&path).unwrap();
        assert_eq!((account.records(), account.bytes()), (500, bytes.len() as u64));
        bytes
    };
    let plain = content(Compression::None, "a.jsonl");
    let mut unzipped = Vec::new();
    let gzip = content(Compression::Gzip, "a.jsonl.gz");
    flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut unzipped).unwrap();
    assert!(unzipped == plain, "gzip");
    let zstd = content(Compression::Zstd, "a.jsonl.zst");
    assert!(zstd::decode_all(&zstd[..]).unwrap() == plain, "zstd");
}

#[test]
fn a_target_that_cannot_be_opened_is_an_error_in_words() {
    let folder = Folder::new("refused");
    let error = |path: &Path| start_all(&[spec(path, Compression::None)]).unwrap_err().to_string();
    assert!(error(&folder.0).contains("it is a directory"));
    assert!(error(&folder.path("missing/a.jsonl")).contains("choose a folder that exists"));
}

#[test]
fn what_a_full_device_did_not_take_is_counted_as_not_sent() {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let sink = start(&spec(Path::new("/dev/full"), compression));
        send(&sink, 20, WhenFull::Wait);
        let account = sink.account();
        finish(sink);
        assert_eq!(account.records(), 0, "{compression:?}");
        let not_sent = account.not_sent();
        assert_eq!(not_sent.values().sum::<u64>(), 20, "{compression:?}: {not_sent:?}");
        assert!(account.has_failed() && account.errors() == 1);
        assert!(account.failure().unwrap().to_string().contains("no space left"));
        assert!(!account.was_closed_by_reader());
    }
}

/// Its folder is gone, and nobody makes it again.
#[test]
fn what_was_in_a_file_that_is_gone_is_counted_as_not_sent() {
    let folder = Folder::new("gone");
    fs::create_dir(folder.path("in")).unwrap();
    let sink = start(&spec(&folder.path("in/flows.jsonl"), Compression::None));
    send(&sink, 3, WhenFull::Wait);
    let account = sink.account();
    let start = Instant::now();
    while account.records() < 3 {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing is written");
        thread::yield_now();
    }
    fs::remove_dir_all(folder.path("in")).unwrap();
    finish(sink);
    let not_sent = account.not_sent();
    assert_eq!((account.records(), not_sent.len()), (0, 1), "{not_sent:?}");
    assert_eq!(not_sent.values().sum::<u64>(), 3);
}

/// A named pipe, and one end that keeps it open and reads nothing.
fn pipe(folder: &Folder) -> (PathBuf, File) {
    let path = folder.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success(), "mkfifo failed");
    let hold = File::options().read(true).write(true).open(&path).unwrap();
    (path, hold)
}

#[test]
fn a_blocked_sink_drops_and_counts() {
    let folder = Folder::new("blocked");
    let (path, hold) = pipe(&folder);
    let sink = start(&spec(&path, Compression::None));
    let records = send_too_much(&sink);
    let account = sink.account();
    assert!(account.not_sent()["queue full"] > 0);

    let mut reader = File::open(&path).unwrap();
    drop(hold);
    let read = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text.lines().count() as u64
    });
    finish(sink);
    assert_eq!(account.records(), read.join().unwrap());
    assert_eq!(account.records() + account.not_sent()["queue full"], records);
}

/// Passes more records than the pipe's 64 KiB and the queue hold, without waiting, and
/// however they are batched. Returns how many.
fn send_too_much(sink: &Sink) -> u64 {
    let mut distributor = Distributor::new(std::slice::from_ref(sink), WhenFull::Drop);
    let records = SINK_RECORDS + 10 * BATCH_RECORDS;
    for number in 0..records {
        distributor.ended(tcp_record());
        if number % 7 == 0 {
            distributor.flush();
        }
    }
    records as u64
}

/// However well they are filled: some go on as they are, the records of others are copied.
#[test]
fn all_records_of_whole_batches_are_written() {
    let folder = Folder::new("batches");
    let path = folder.path("flows.jsonl");
    let sink = start(&spec(&path, Compression::None));
    let mut distributor = Distributor::new(std::slice::from_ref(&sink), WhenFull::Wait);
    let mut batch = Vec::with_capacity(128);
    let filled = [128, 1, 95, 96, 97, 0, 128, 64, 127];
    for records in filled {
        batch.extend(std::iter::repeat_n(tcp_record(), records));
        batch = distributor.ended_all(batch);
        assert!(batch.is_empty() && batch.capacity() >= 128, "the lane gets one like it back");
        distributor.ended(tcp_record());
    }
    drop(distributor);
    finish(sink);
    let lines = std::fs::read_to_string(&path).unwrap().lines().count();
    assert_eq!(lines, filled.iter().sum::<usize>() + filled.len());
}

#[test]
fn after_the_last_call_nothing_is_turned_away() {
    let folder = Folder::new("last_call");
    let (path, hold) = pipe(&folder);
    let sink = start(&spec(&path, Compression::None));
    sink.last_call();
    let (records, given) = (3 * SINK_RECORDS, Counter::default());
    let mut distributor = Distributor::new(std::slice::from_ref(&sink), WhenFull::Drop);
    let account = sink.account();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..records {
                distributor.ended(tcp_record());
                given.add(1);
            }
            drop(distributor);
        });
        // Nobody reads until the queue is full.
        while given.get() < SINK_RECORDS as u64 {
            thread::yield_now();
        }
        let mut reader = File::open(&path).unwrap();
        let read = scope.spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text.lines().count()
        });
        while given.get() < records as u64 {
            thread::yield_now();
        }
        finish(sink);
        drop(hold);
        assert_eq!(read.join().unwrap(), records);
    });
    assert_eq!((account.records(), account.not_sent().len()), (records as u64, 0));
}

#[test]
fn a_stuck_sink_is_given_up_at_the_end_and_counted() {
    for compression in [Compression::None, Compression::Gzip] {
        let folder = Folder::new("stuck");
        let (path, hold) = pipe(&folder);
        let sink = start(&spec(&path, compression));
        let records = send_too_much(&sink);
        let account = sink.account();
        let patience =
            Patience { silent: Duration::from_millis(50), in_all: Duration::from_secs(60) };
        let stopped = Instant::now();
        Sink::finish_all(vec![sink], &patience, || Some(stopped));
        let not_sent = account.not_sent();
        assert!(not_sent["stuck"] >= SINK_RECORDS as u64 / 2, "{not_sent:?}");
        let accounted = account.records() + not_sent.values().sum::<u64>();
        assert_eq!(accounted, records, "{not_sent:?}");
        assert!(account.has_failed() && account.failure().is_none());
        assert!(account.loss().unwrap().to_string().contains("its reader takes nothing"));
        // What its thread does from now on changes nothing.
        drop(hold);
        drop(folder);
        assert_eq!(account.records() + account.not_sent().values().sum::<u64>(), records);
    }
}

#[test]
fn a_sink_that_is_not_done_in_time_is_given_up_however_busy() {
    let folder = Folder::new("late");
    let (path, _hold) = pipe(&folder);
    let sink = start(&spec(&path, Compression::None));
    send_too_much(&sink);
    let account = sink.account();
    let patience = Patience { silent: Duration::from_secs(60), in_all: Duration::ZERO };
    let stopped = Instant::now();
    Sink::finish_all(vec![sink], &patience, || Some(stopped));
    assert!(account.loss().unwrap().to_string().contains("is not done after 0 s"));
}

#[test]
fn reopening_is_not_forgotten_when_the_queue_is_full() {
    let folder = Folder::new("reopen");
    let (path, hold) = pipe(&folder);
    let csv = SinkSpec { format: Format::Csv, ..spec(&path, Compression::None) };
    let sink = start(&csv);
    send_too_much(&sink);
    assert!(sink.account().not_sent()["queue full"] > 0);
    // Requests with nothing between them are one.
    sink.reopen();
    sink.reopen();
    let mut reader = File::open(&path).unwrap();
    let read = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text.lines().filter(|line| line.starts_with("kind,")).count()
    });
    finish(sink);
    drop(hold);
    assert_eq!(read.join().unwrap(), 2, "each file begins with the names of the fields");
}

#[test]
fn transactions_that_find_no_room_are_counted() {
    let folder = Folder::new("log");
    let (path, hold) = pipe(&folder);
    let log = SinkSpec { content: Content::Transactions, ..spec(&path, Compression::None) };
    let sink = start(&log);
    let mut take = sink.transactions(WhenFull::Drop);
    let one = || DnsTransaction {
        service: NameService::Dns,
        flow: tcp_record().key,
        client: ([192, 0, 2, 1].into(), 1),
        server: ([192, 0, 2, 2].into(), 53),
        start: None,
        id: 0,
        question: Some(DnsQuestion { name: "x".repeat(255).into(), kind: 1, class: None }),
        question_flags: None,
        repeats: 0,
        reply: None,
        end: TransactionEnd::Unanswered,
    };
    let (batch, batches) = (100, 2 * SINK_RECORDS as u64 / 100);
    let begin = Instant::now();
    (0..batches).for_each(|_| take((0..batch).map(|_| one()).collect()));
    assert!(begin.elapsed() < Duration::from_secs(30), "it waited");
    let not_sent = sink.account().not_sent()["queue full"];
    // Each takes more memory than half a record does.
    assert!(not_sent > batches * batch / 4 && not_sent < batches * batch, "{not_sent}");
    let mut reader = File::open(&path).unwrap();
    let read = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text.lines().count() as u64
    });
    let account = sink.account();
    finish(sink);
    drop(hold);
    assert_eq!(read.join().unwrap(), account.records());
    assert_eq!(account.records() + not_sent, batches * batch);
}

#[test]
fn a_reader_that_went_away_is_told_from_an_error() {
    let folder = Folder::new("reader");
    let (path, hold) = pipe(&folder);
    let sink = start(&spec(&path, Compression::None));
    drop(hold);
    send(&sink, 2, WhenFull::Wait);
    let account = sink.account();
    finish(sink);
    assert!(account.was_closed_by_reader());
    assert_eq!(account.records(), 0);
    assert_eq!(account.not_sent().values().sum::<u64>(), 2);
}

#[test]
fn one_failing_sink_does_not_stop_the_others() {
    let folder = Folder::new("others");
    let path = folder.path("a.csv");
    let good = SinkSpec { format: Format::Csv, ..spec(&path, Compression::None) };
    let sinks = [start(&spec(Path::new("/dev/full"), Compression::None)), start(&good)];
    let mut distributor = Distributor::new(&sinks, WhenFull::Wait);
    (0..1_000).for_each(|_| distributor.ended(tcp_record()));
    drop(distributor);
    let accounts = sinks.each_ref().map(Sink::account);
    sinks.into_iter().for_each(finish);
    assert_eq!(accounts.each_ref().map(|account| account.records()), [0, 1_000]);
    assert_eq!(accounts[0].not_sent().values().sum::<u64>(), 1_000);
    assert_eq!(csv::Reader::from_path(&path).unwrap().records().count(), 1_000);
}

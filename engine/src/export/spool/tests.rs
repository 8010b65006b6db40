//! Entries in, entries out: once, in order, or counted.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const SINK: &str = "ipfix+tcp://collector:4739";

fn options(folder: &Path) -> SpoolOptions {
    SpoolOptions { folder: folder.join("spool"), bytes: SPOOL_BYTES_LEAST }
}

fn open(folder: &Path) -> Spool {
    Spool::open(&options(folder), SINK).unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// An entry that no other is like, of so many bytes.
fn entry(number: u32, len: usize) -> Vec<u8> {
    number.to_le_bytes().into_iter().cycle().take(len).collect()
}

fn append(spool: &mut Spool, numbers: std::ops::Range<u32>, len: usize) {
    for number in numbers {
        spool.append(&entry(number, len), number).unwrap();
    }
}

/// All that is left, done with one after the other: the numbers of its entries.
fn drain(spool: &mut Spool) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(next) = spool.next() {
        let number = next.place.records;
        assert_eq!(next.bytes, entry(number, next.bytes.len()), "entry {number}");
        spool.done(&next.place);
        numbers.push(number);
    }
    assert!(!spool.has_unread());
    numbers
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let folder = options(folder).file_of(SINK).parent().unwrap().to_owned();
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_segment = |name: &PathBuf| name.extension().is_some_and(|it| it == "segment");
    let mut segments: Vec<_> = names.filter(is_segment).collect();
    segments.sort();
    segments
}

#[test]
fn entries_come_back_in_order_and_then_nothing_is_left() {
    let folder = folder();
    let mut spool = open(folder.path());
    append(&mut spool, 0..300, 1_000);
    assert!(segments(folder.path()).len() > 2, "one segment is no test");
    assert!(spool.bytes() > 300_000);
    assert_eq!(drain(&mut spool), (0..300).collect::<Vec<_>>());
    assert!(spool.is_empty() && spool.bytes() == 0);
    assert_eq!(segments(folder.path()), [""; 0].map(PathBuf::from));
    append(&mut spool, 300..310, 1_000);
    assert_eq!(drain(&mut spool), (300..310).collect::<Vec<_>>());
}

/// A process that is killed does nothing at its end: so does this one.
#[test]
fn a_later_run_finds_what_was_not_done_with_and_sends_it_first() {
    let folder = folder();
    let mut spool = open(folder.path());
    append(&mut spool, 0..300, 1_000);
    for _ in 0..170 {
        let next = spool.next().unwrap();
        spool.done(&next.place);
    }
    // On its way when the process was killed.
    assert_eq!(spool.next().unwrap().place.records, 170);
    drop(spool);
    let mut spool = open(folder.path());
    let found = Found { records: (170..300).sum(), damaged_bytes: 0 };
    assert_eq!((spool.found(), spool.former_records()), (found, found.records));
    append(&mut spool, 300..302, 1_000);
    let first = spool.next().unwrap();
    assert!(first.place.is_former && first.place.records == 170);
    spool.done(&first.place);
    assert_eq!(spool.former_records(), found.records - 170);
    assert_eq!(drain(&mut spool), (171..302).collect::<Vec<_>>());
    drop(spool);
    assert_eq!(open(folder.path()).found(), Found::default());
}

/// The bytes of two segments, of entries 1 to 5 and 6 to 7, each of 20 bytes.
fn two_segments() -> [Vec<u8>; 2] {
    let folder = folder();
    let mut spool = open(folder.path());
    append(&mut spool, 1..6, 20);
    spool.sync().unwrap();
    append(&mut spool, 6..8, 20);
    drop(spool);
    let segments = segments(folder.path());
    [0, 1].map(|idx| fs::read(&segments[idx]).unwrap())
}

/// A folder in which a run has left these.
fn left(segments: &[&[u8]]) -> TempDir {
    let folder = folder();
    let path = open(folder.path()).path().to_owned();
    for (number, bytes) in (1..).zip(segments) {
        fs::write(path.join(format!("{number:020}.segment")), bytes).unwrap();
    }
    folder
}

#[test]
fn a_segment_that_is_cut_anywhere_ends_with_its_last_whole_entry() {
    let [first, second] = two_segments();
    let entry_bytes = usize::try_from(Segment::bytes_of(20)).unwrap();
    let header = first.len() - 5 * entry_bytes;
    for len in 0..=first.len() {
        let folder = left(&[&first[..len], &second]);
        let mut spool = open(folder.path());
        let entries = len.saturating_sub(header) / entry_bytes;
        let good = if len < header { 0 } else { header + entries * entry_bytes };
        let records = (1..=entries as u64).sum::<u64>() + 6 + 7;
        let found = Found { records, damaged_bytes: (len - good) as u64 };
        assert_eq!(spool.found(), found, "cut at {len}");
        append(&mut spool, 8..9, 20);
        let whole = 1..=u32::try_from(entries).unwrap();
        assert_eq!(drain(&mut spool), whole.chain(6..9).collect::<Vec<_>>(), "cut at {len}");
        assert!(spool.is_empty() && segments(folder.path()).is_empty(), "cut at {len}");
    }
}

#[test]
fn a_byte_that_is_changed_loses_what_it_is_in_and_is_never_sent() {
    let [first, second] = two_segments();
    // Others are another version's.
    let is_changed = |at: &usize| !(14..16).contains(at);
    for at in (0..first.len()).filter(is_changed) {
        let mut changed = first.clone();
        changed[at] ^= 0x10;
        let folder = left(&[&changed, &second]);
        let mut spool = open(folder.path());
        let found = spool.found();
        let numbers = drain(&mut spool);
        assert!(numbers.ends_with(&[6, 7]), "byte {at}: {numbers:?}");
        assert!(numbers.is_sorted() && numbers.len() < 7, "byte {at}: {numbers:?}");
        let damaged: u64 = spool.take_damaged().iter().map(|lost| lost.records).sum();
        let sent: u64 = numbers.iter().copied().map(u64::from).sum();
        assert_eq!(found.records, sent + damaged, "byte {at}");
        assert!(damaged > 0 || found.damaged_bytes > 0, "byte {at}");
        assert_eq!(spool.former_records(), 0, "byte {at}");
        assert!(segments(folder.path()).is_empty(), "byte {at}");
    }
}

/// After it was opened, when it was found good.
#[test]
fn what_is_damaged_later_is_counted_too() {
    for (at, lost) in [(16 + 44 + 3, 2 + 3 + 4 + 5), (16 + 44 + 24, 2), (16 + 4 * 44 + 43, 5)] {
        let [first, second] = two_segments();
        let folder = left(&[&first, &second]);
        let mut spool = open(folder.path());
        assert_eq!(spool.next().unwrap().place.records, 1);
        let mut changed = first.clone();
        changed[at] ^= 1;
        fs::write(&segments(folder.path())[0], changed).unwrap();
        let numbers = drain(&mut spool);
        let damaged: u64 = spool.take_damaged().iter().map(|lost| lost.records).sum();
        assert_eq!(damaged, lost, "byte {at}");
        let sent: u64 = numbers.iter().copied().map(u64::from).sum();
        assert_eq!(sent + damaged, (2..8).sum::<u64>(), "byte {at}");
    }
}

#[test]
fn what_another_version_has_written_is_refused() {
    let [mut first, _] = two_segments();
    first[14] = b'2';
    let folder = left(&[&first]);
    let error = Spool::open(&options(folder.path()), SINK).unwrap_err().to_string();
    assert!(error.contains("another version") && error.contains("move it away"), "{error}");
}

#[test]
fn the_oldest_segment_makes_room_and_is_counted() {
    let folder = folder();
    let mut spool = open(folder.path());
    let (mut lost, mut most) = (0, 0);
    for number in 0..3_000 {
        while spool.needs_room(1_000) {
            let it = spool.drop_oldest().unwrap();
            assert!(it.records > 0 && !it.is_former);
            lost += it.records;
        }
        spool.append(&entry(number, 1_000), 1).unwrap_or_else(|error| panic!("{error}"));
        most = most.max(spool.bytes());
    }
    assert!(most <= SPOOL_BYTES_LEAST && most > SPOOL_BYTES_LEAST * 9 / 10, "{most} bytes");
    let mut left = Vec::new();
    while let Some(next) = spool.next() {
        left.push(u32::from_le_bytes(next.bytes[..4].try_into().unwrap()));
        spool.done(&next.place);
    }
    assert_eq!(left, (u32::try_from(lost).unwrap()..3_000).collect::<Vec<_>>());
}

#[test]
fn a_folder_is_used_by_one_at_a_time() {
    let folder = folder();
    let spool = open(folder.path());
    let error = Spool::open(&options(folder.path()), SINK).unwrap_err().to_string();
    assert!(error.contains("another flowtap") && error.contains("--spool"), "{error}");
    Spool::open(&options(folder.path()), "ipfix+tcp://other:4739").unwrap();
    drop(spool);
    open(folder.path());
}

#[test]
fn only_the_owner_may_look_into_it() {
    let folder = folder();
    let mut spool = open(folder.path());
    append(&mut spool, 1..2, 20);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(&options(folder.path()).folder), mode(spool.path())], [0o700; 2]);
    for file in fs::read_dir(spool.path()).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

/// Whoever owns the folder may do all this to it before a run of root's uses it for them.
#[test]
fn nobody_may_have_it_lead_elsewhere() {
    use std::os::unix::fs::symlink;
    let elsewhere = folder();
    let secret = elsewhere.path().join("secret");
    fs::write(&secret, "of somebody else").unwrap();
    let sink = |folder: &Path| options(folder).file_of(SINK).parent().unwrap().to_owned();
    type Deed = fn(&Path, &Path);
    let swaps: [(&str, Deed); 5] = [
        ("the folder is a link", |place, elsewhere| {
            fs::rename(place.join("spool"), elsewhere.join("moved")).unwrap();
            symlink(elsewhere.join("moved"), place.join("spool")).unwrap();
        }),
        ("a sink's folder is a link", |place, elsewhere| {
            let folder = options(place).file_of(SINK).parent().unwrap().to_owned();
            fs::remove_dir_all(&folder).unwrap();
            symlink(elsewhere, folder).unwrap();
        }),
        ("a file is a link", |place, elsewhere| {
            fs::remove_file(options(place).file_of(SINK)).unwrap();
            symlink(elsewhere.join("secret"), options(place).file_of(SINK)).unwrap();
        }),
        ("a file has another name", |place, elsewhere| {
            fs::remove_file(options(place).file_of(SINK)).unwrap();
            fs::hard_link(elsewhere.join("secret"), options(place).file_of(SINK)).unwrap();
        }),
        ("a segment has another name", |place, elsewhere| {
            let folder = options(place).file_of(SINK).parent().unwrap().to_owned();
            fs::hard_link(elsewhere.join("secret"), folder.join(format!("{:020}.segment", 7)))
                .unwrap();
        }),
    ];
    for (what, swap) in swaps {
        let place = folder();
        drop(open(place.path()));
        assert!(sink(place.path()).is_dir());
        swap(place.path(), elsewhere.path());
        for path in ["spool", "spool/"] {
            let options = SpoolOptions { folder: place.path().join(path), ..options(place.path()) };
            assert!(Spool::open(&options, SINK).is_err(), "{what}");
        }
        assert_eq!(fs::read_to_string(&secret).unwrap(), "of somebody else", "{what}");
        let names = fs::read_dir(elsewhere.path()).unwrap().count();
        assert!(names <= 2, "{what}: something was made elsewhere");
    }
}

/// What a run gives to the user that it becomes is what it has made, and no more.
#[test]
fn what_was_found_is_not_given_away() {
    let folder = folder();
    let mut spool = open(folder.path());
    assert_eq!(spool.files().count(), 2);
    append(&mut spool, 1..2, 20);
    drop(spool);
    assert_eq!(open(folder.path()).files().count(), 0);
}

#[test]
fn few_files_are_open_however_many_runs_have_left_some() {
    let folder = folder();
    let runs: u32 = 40;
    for number in 1..=runs {
        append(&mut open(folder.path()), number..number + 1, 20);
    }
    assert_eq!(segments(folder.path()).len(), runs as usize);
    let open_files = || {
        let links = fs::read_dir("/proc/self/fd").unwrap();
        let paths = links.filter_map(|link| fs::read_link(link.unwrap().path()).ok());
        paths.filter(|path| path.starts_with(folder.path())).count()
    };
    let mut spool = open(folder.path());
    append(&mut spool, runs + 1..200, 10_000);
    // The folder, its two files, and the segment that is written.
    assert!(open_files() <= 4, "{} files", open_files());
    let mut numbers = Vec::new();
    while let Some(next) = spool.next() {
        numbers.push(next.place.records);
        assert!(open_files() <= 5, "{} files", open_files());
    }
    assert_eq!(numbers, (1..200).collect::<Vec<_>>());
}

/// Nor does one that cannot be opened hold up what comes after it.
#[test]
fn a_segment_that_is_gone_is_counted() {
    for is_link in [false, true] {
        let folder = folder();
        for numbers in [1..4, 4..6] {
            append(&mut open(folder.path()), numbers, 20);
        }
        let mut spool = open(folder.path());
        let first = &segments(folder.path())[0];
        fs::remove_file(first).unwrap();
        if is_link {
            std::os::unix::fs::symlink("elsewhere", first).unwrap();
        }
        assert_eq!(drain(&mut spool), [4, 5], "{is_link}");
        let damaged: u64 = spool.take_damaged().iter().map(|lost| lost.records).sum();
        assert_eq!((damaged, spool.former_records()), (1 + 2 + 3, 0), "{is_link}");
    }
}

#[test]
fn a_folder_that_is_removed_is_noticed_and_one_that_is_back_is_used() {
    let made = folder();
    let mut spool = open(made.path());
    append(&mut spool, 1..4, 20);
    let path = spool.path().to_owned();
    fs::remove_dir_all(&path).unwrap();
    for _ in 0..2 {
        let error = spool.append(&entry(4, 20), 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
    fs::create_dir(&path).unwrap();
    append(&mut spool, 4..6, 20);
    assert_eq!(segments(made.path()).len(), 1);
    // It is still open.
    assert_eq!(drain(&mut spool), [1, 2, 3, 4, 5]);
}

#[test]
fn sinks_have_folders_of_their_own_with_plain_names() {
    let names = ["ipfix+tcp://a:1", "ipfix+tcp://a_1", "ipfix+tls://[::1]:4740", "../../a", "a\0b"];
    let folders: Vec<_> =
        names.iter().map(|name| folder::path_of(Path::new("/spool"), name)).collect();
    for (idx, folder) in folders.iter().enumerate() {
        assert_eq!(folder.parent(), Some(Path::new("/spool")));
        assert!(!folders[..idx].contains(folder));
        let name = folder.file_name().unwrap().to_str().unwrap();
        assert!(name.bytes().all(|it| it.is_ascii_alphanumeric() || b"._+-".contains(&it)));
    }
    let long = folder::path_of(Path::new("/spool"), &"a".repeat(1_000));
    assert!(long.file_name().unwrap().len() < 150);
}

/// What may happen to a spool.
#[derive(Debug, Clone)]
enum Step {
    Append {
        len: usize,
    },
    Read,
    /// The oldest that was read is done with.
    Done,
    DropOldest,
    Skip,
    Sync,
    /// The process is killed, and another comes.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1_usize..40_000).prop_map(|len| Step::Append { len }),
        5 => Just(Step::Read),
        4 => Just(Step::Done),
        1 => Just(Step::DropOldest),
        1 => Just(Step::Skip),
        1 => Just(Step::Sync),
        1 => Just(Step::Reopen),
    ]
}

/// The same in memory: what was not read, and what was read and is not done with.
#[derive(Default)]
struct Twin {
    unread: VecDeque<(u32, usize, Place)>,
    read: VecDeque<(u32, usize, Place)>,
}

impl Twin {
    fn all(&self) -> impl Iterator<Item = &(u32, usize, Place)> {
        self.read.iter().chain(&self.unread)
    }

    fn records(&self, is_wanted: impl Fn(&Place) -> bool) -> u64 {
        let wanted = self.all().filter(|(_, _, place)| is_wanted(place));
        wanted.map(|(_, _, place)| u64::from(place.records)).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_goes_in_comes_out_once_and_in_order_or_is_counted(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let made = folder();
        let (mut spool, mut twin, mut number) = (open(made.path()), Twin::default(), 0);
        for step in steps {
            match step {
                Step::Append { len } => {
                    number += 1;
                    let place = spool.append(&entry(number, len), number % 7).unwrap();
                    twin.unread.push_back((number, len, place));
                }
                Step::Read => match (spool.next(), twin.unread.pop_front()) {
                    (Some(next), Some((number, len, place))) => {
                        prop_assert_eq!(next.bytes, entry(number, len));
                        prop_assert_eq!(next.place, place);
                        twin.read.push_back((number, len, place));
                    }
                    (next, wanted) => prop_assert!(next.is_none() && wanted.is_none()),
                },
                Step::Done => {
                    if let Some((_, _, place)) = twin.read.pop_front() {
                        spool.done(&place);
                    }
                }
                Step::DropOldest => {
                    let lost = spool.drop_oldest();
                    prop_assert_eq!(lost.is_none(), twin.all().next().is_none());
                    if let Some(lost) = lost {
                        let is_of_it = |place: &Place| place.segment == lost.segment;
                        prop_assert_eq!(twin.records(is_of_it), lost.records);
                        twin.read.retain(|(_, _, place)| !is_of_it(place));
                        twin.unread.retain(|(_, _, place)| !is_of_it(place));
                    }
                }
                Step::Skip => {
                    spool.skip_unread();
                    let unread = std::mem::take(&mut twin.unread);
                    twin.read.extend(unread);
                }
                Step::Sync => spool.sync().unwrap(),
                Step::Reopen => {
                    drop(spool);
                    spool = open(made.path());
                    let mut unread = std::mem::take(&mut twin.read);
                    unread.append(&mut twin.unread);
                    unread.iter_mut().for_each(|(_, _, place)| place.is_former = true);
                    twin.unread = unread;
                    let found = Found { records: twin.records(|_| true), damaged_bytes: 0 };
                    prop_assert_eq!(spool.found(), found);
                }
            }
            prop_assert_eq!(spool.has_unread(), !twin.unread.is_empty());
            prop_assert_eq!(spool.former_records(), twin.records(|place| place.is_former));
            prop_assert!(spool.take_damaged().is_empty());
        }
        while let Some((_, _, place)) = twin.read.pop_front() {
            spool.done(&place);
        }
        while let Some((number, len, place)) = twin.unread.pop_front() {
            let next = spool.next().unwrap();
            prop_assert_eq!((next.bytes, next.place), (entry(number, len), place));
            spool.done(&place);
        }
        prop_assert!(spool.is_empty() && segments(made.path()).is_empty());
    }
}

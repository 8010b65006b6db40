//! Messages in, messages out, over connections that come and go.

use proptest::prelude::*;

use super::*;
use crate::export::spool::SpoolOptions;

/// What may happen while records come.
#[derive(Debug, Clone)]
enum Step {
    Push {
        len: usize,
    },
    Send,
    /// The oldest that was sent has arrived.
    Arrive,
    /// What goes next is too long, and so many of its flows are too long alone.
    Split {
        lost: u32,
    },
    /// There is a connection.
    Up,
    /// It has failed.
    Down,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (20_usize..300_000).prop_map(|len| Step::Push { len }),
        4 => Just(Step::Send),
        3 => Just(Step::Arrive),
        3 => (0..=FLOWS).prop_map(|lost| Step::Split { lost }),
        2 => Just(Step::Up),
        1 => Just(Step::Down),
    ]
}

/// With a number in it, for a flow.
fn message(number: u32, len: usize) -> Message {
    let mut bytes = vec![0; len];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    Message { bytes, records: 1, flows: 1, definitions: Vec::new(), kept: Kept::Memory }
}

fn number(message: &Message) -> u32 {
    u32::from_le_bytes([0, 1, 2, 3].map(|at| message.bytes[at]))
}

/// Flows in each message of a run, with numbers in a row.
const FLOWS: u32 = 4;

/// Splits what goes next in one message for each flow, but for some at its end.
fn split(backlog: &mut Backlog, lost: u32, is_oldest: bool) {
    let Some(whole) = backlog.pop() else { return };
    let lost = lost.min(whole.flows);
    let flow = |flow| Message { kept: whole.kept, ..message(number(&whole) + flow, 20) };
    backlog.replace(whole.kept, (0..whole.flows - lost).map(flow).collect(), lost, is_oldest);
}

/// The numbers of its flows.
fn flows(message: &Message) -> std::ops::Range<u32> {
    number(message)..number(message) + message.flows
}

/// One of a run, and its account.
fn begin(folder: &std::path::Path) -> (Backlog, Arc<SinkAccount>) {
    let options = SpoolOptions { folder: folder.join("spool"), bytes: 4_000_000 };
    let spool = Spool::open(&options, "sink").unwrap();
    let account = Arc::new(SinkAccount::new("sink".to_owned()));
    (Backlog::new(Some(spool), Arc::clone(&account), None), account)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn messages_arrive_once_and_in_order_or_are_counted(
        steps in prop::collection::vec(step(), 1..200)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (mut backlog, account) = begin(folder.path());
        let (mut window, mut is_up, mut pushed) = (Window::new(), true, 0);
        let mut arrived = Vec::new();
        for step in steps {
            match step {
                Step::Push { len } => {
                    account.taken(FLOWS.into());
                    backlog.push(Message { flows: FLOWS, ..message(pushed, len) });
                    pushed += FLOWS;
                }
                Step::Send => {
                    let next = if is_up { backlog.pop() } else { None };
                    window.extend(next.map(|message| (0, message)));
                }
                Step::Arrive => {
                    if let Some((_, message)) = window.pop_front() {
                        backlog.arrived(&message);
                        arrived.extend(flows(&message));
                    }
                }
                Step::Split { lost } => {
                    let most = backlog.front().map_or(0, |it| it.flows);
                    // What is before one that is lost whole arrives first, as with datagrams.
                    let is_oldest = window.is_empty();
                    let least = u32::from(!is_oldest && most > 0);
                    split(&mut backlog, lost.min(most - least), is_oldest);
                }
                Step::Up => is_up = true,
                Step::Down => {
                    is_up = false;
                    let left = mem::take(&mut window);
                    backlog.put_back(left.into_iter().map(|(_, message)| message).collect());
                }
            }
            backlog.arrange(&mut window, is_up, false);
            // One entry may be there in part.
            let open = arrived.len() as u64 - account.records();
            prop_assert!(open < FLOWS.into(), "{open}");
            prop_assert!(!backlog.is_full());
            let (in_memory, is_nothing_left) = backlog.left(&window);
            prop_assert!(is_up || in_memory == 0);
            let not_sent: u64 = account.not_sent().values().sum();
            let all = account.records() + account.spooled() + not_sent + in_memory;
            prop_assert_eq!(all, u64::from(pushed));
            prop_assert_eq!(is_nothing_left, account.spooled() + in_memory == 0);
        }
        let left = mem::take(&mut window).into_iter().map(|(_, message)| message).collect();
        backlog.put_back(left);
        prop_assert!(backlog.spill(&mut Window::new()));
        drop(backlog);
        prop_assert!(arrived.is_sorted_by(|one, next| one < next), "{:?}", arrived);
        let (mut backlog, next) = begin(folder.path());
        prop_assert_eq!(next.spool().unwrap().found, account.spooled());
        backlog.arrange(&mut window, true, false);
        let mut later = Vec::new();
        while let Some(message) = backlog.pop() {
            backlog.arrived(&message);
            later.extend(flows(&message));
            backlog.arrange(&mut window, true, false);
        }
        let spool = next.spool().unwrap();
        prop_assert_eq!((spool.sent, spool.left, spool.bytes), (spool.found, 0, 0));
        // What was there in part comes again, whole.
        prop_assert!(later.is_sorted_by(|one, next| one < next), "{:?}", later);
        let not_sent: u64 = account.not_sent().values().sum();
        prop_assert_eq!(account.records() + not_sent + later.len() as u64, u64::from(pushed));
    }
}

/// As with a socket that takes much, over a connection that fails.
#[test]
fn what_is_on_disk_does_not_fill_memory() {
    let folder = tempfile::tempdir().unwrap();
    let options = SpoolOptions { folder: folder.path().join("spool"), bytes: 64_000_000 };
    let spool = Spool::open(&options, "sink").unwrap();
    let account = Arc::new(SinkAccount::new("sink".to_owned()));
    let mut backlog = Backlog::new(Some(spool), Arc::clone(&account), None);
    let mut window = Window::new();
    let len = 300_000;
    let count = u32::try_from(COLLECTOR_SPOOL_BYTES / len + 2).unwrap();
    for number in 0..count {
        account.taken(1);
        backlog.push(message(number, len));
        backlog.arrange(&mut window, true, true);
        window.push_back((0, backlog.pop().unwrap()));
    }
    assert!(backlog.spill(&mut window));
    backlog.put_back(window.drain(..).map(|(_, message)| message).collect());
    assert!(!backlog.is_full());
    let there: Vec<_> = std::iter::from_fn(|| backlog.pop()).map(|it| number(&it)).collect();
    assert_eq!(there, Vec::from_iter(0..count));
}

/// An entry of seven flows on disk, which goes next.
fn spooled(backlog: &mut Backlog, account: &SinkAccount) {
    account.taken(7);
    backlog.push(Message { flows: 7, ..message(0, 900) });
    assert!(backlog.spill(&mut Window::new()));
    backlog.arrange(&mut Window::new(), true, false);
}

/// Of one that was longer than the path takes.
#[test]
fn an_entry_in_pieces_is_done_with_when_all_are_settled() {
    let folder = tempfile::tempdir().unwrap();
    let (mut backlog, account) = begin(folder.path());
    spooled(&mut backlog, &account);
    split(&mut backlog, 2, true);
    let has_spool = |backlog: &Backlog| !backlog.left(&Window::new()).1;
    let mut pieces: Vec<_> = std::iter::from_fn(|| backlog.pop()).collect();
    assert_eq!(pieces.iter().map(number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let last = pieces.pop().unwrap();
    pieces.iter().for_each(|piece| backlog.arrived(piece));
    assert!(has_spool(&backlog));
    assert_eq!((account.records(), account.spooled()), (0, 7));
    // The path has become shorter still.
    backlog.put_back([last].into());
    split(&mut backlog, 1, true);
    assert!(!has_spool(&backlog));
    assert_eq!((account.records(), account.spooled()), (4, 0));
    assert_eq!(account.not_sent().into_iter().collect::<Vec<_>>(), [(TOO_LONG.to_owned(), 3)]);
}

#[test]
fn what_was_split_and_makes_room_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut backlog, account) = begin(folder.path());
    spooled(&mut backlog, &account);
    split(&mut backlog, 2, true);
    let mut window: Window =
        std::iter::from_fn(|| backlog.pop()).take(2).map(|it| (0, it)).collect();
    let (_, first) = window.pop_front().unwrap();
    backlog.arrived(&first);
    let more = 100;
    for number in 0..more {
        account.taken(1);
        backlog.push(message(number, 100_000));
    }
    assert!(backlog.spill(&mut window));
    let (_, second) = window.pop_front().unwrap();
    assert!(matches!(second.kept, Kept::Gone { .. }));
    backlog.arrived(&second);
    let not_sent = account.not_sent();
    assert_eq!((account.records(), not_sent[TOO_LONG]), (2, 2));
    drop(backlog);
    let found = begin(folder.path()).1.spool().unwrap().found;
    assert_eq!(account.spooled(), found);
    assert_eq!(found + not_sent[spool::FULL], 3 + u64::from(more));
}

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
        2 => Just(Step::Up),
        1 => Just(Step::Down),
    ]
}

/// With a number in it, for a flow.
fn message(number: u32, len: usize) -> Message {
    let mut bytes = vec![0; len];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    let (definitions, kept) = (Vec::new(), Kept::Memory);
    Message { bytes, records: 1, flows: 1, definitions, kept, has_more: false }
}

fn number(message: &Message) -> u32 {
    u32::from_le_bytes([0, 1, 2, 3].map(|at| message.bytes[at]))
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
                    pushed += 1;
                    account.taken(1);
                    backlog.push(message(pushed, len));
                }
                Step::Send => {
                    let next = if is_up { backlog.pop() } else { None };
                    window.extend(next.map(|message| (0, message)));
                }
                Step::Arrive => {
                    if let Some((_, message)) = window.pop_front() {
                        backlog.arrived(&message);
                        arrived.push(number(&message));
                    }
                }
                Step::Up => is_up = true,
                Step::Down => {
                    is_up = false;
                    let left = mem::take(&mut window);
                    backlog.put_back(left.into_iter().map(|(_, message)| message).collect());
                }
            }
            backlog.arrange(&mut window, is_up, false);
            prop_assert_eq!(account.records(), arrived.len() as u64);
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
        let (mut backlog, next) = begin(folder.path());
        prop_assert_eq!(next.spool().unwrap().found, account.spooled());
        backlog.arrange(&mut window, true, false);
        while let Some(message) = backlog.pop() {
            backlog.arrived(&message);
            arrived.push(number(&message));
            backlog.arrange(&mut window, true, false);
        }
        let spool = next.spool().unwrap();
        prop_assert_eq!((spool.sent, spool.left, spool.bytes), (spool.found, 0, 0));
        prop_assert!(arrived.is_sorted_by(|one, next| one < next), "{:?}", arrived);
        let not_sent: u64 = account.not_sent().values().sum();
        prop_assert_eq!(arrived.len() as u64 + not_sent, u64::from(pushed));
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

/// Of one that was longer than the path takes.
#[test]
fn an_entry_in_pieces_is_done_with_when_its_last_one_has_arrived() {
    let folder = tempfile::tempdir().unwrap();
    let (mut backlog, account) = begin(folder.path());
    account.taken(7);
    backlog.push(Message { flows: 7, ..message(1, 900) });
    assert!(backlog.spill(&mut Window::new()));
    backlog.arrange(&mut Window::new(), true, false);
    let whole = backlog.pop().unwrap();
    let (kept, flows) = (whole.kept, 0);
    let pieces = vec![
        Message { kept, flows, has_more: true, ..message(1, 400) },
        Message { kept, flows: 5, ..message(2, 400) },
    ];
    backlog.replace(&whole.whole(), pieces, 2, "too long");
    let has_spool = |backlog: &Backlog| !backlog.left(&Window::new()).1;
    assert_eq!((account.records(), account.spooled()), (0, 5));
    let (first, last) = (backlog.pop().unwrap(), backlog.pop().unwrap());
    assert_eq!((number(&first), number(&last)), (1, 2));
    backlog.arrived(&first);
    assert!(has_spool(&backlog) && account.records() == 0);
    backlog.arrived(&last);
    assert!(!has_spool(&backlog));
    assert_eq!((account.records(), account.spooled()), (5, 0));
    assert_eq!(account.not_sent().into_iter().collect::<Vec<_>>(), [("too long".to_owned(), 2)]);
}

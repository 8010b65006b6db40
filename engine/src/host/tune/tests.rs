//! What would be changed on cards that nobody here has, and going back through a fake.

use serde::Deserialize;

use super::*;
use crate::host::facts::{Channels, Rss};

fn text(steps: &[Vec<Setting>]) -> Vec<String> {
    let names = |step: &Vec<Setting>| step.iter().map(Setting::to_string).collect::<Vec<_>>();
    steps.iter().map(|step| names(step).join(" or ")).collect()
}

#[test]
fn what_is_changed_follows_from_what_drivers_answer() {
    #[derive(Deserialize)]
    struct Case {
        name: String,
        interface: Interface,
    }
    let cases: Vec<Case> = serde_json::from_str(include_str!("../judge/drivers.json")).unwrap();
    let symmetric = "rss input symmetric-xor or symmetric rss key";
    let expected: [(&str, &[&str]); 7] = [
        ("ixgbe as it comes", &["rx ring 4096", symmetric, "rx-vlan-hw-parse off", "rx-gro off"]),
        ("ixgbe with LRO", &["rx-lro off"]),
        ("ice, tuned", &["rx-gro off"]),
        ("mlx5", &["rx ring 4096", symmetric, "rx-vlan-hw-parse off", "rx-gro off"]),
        ("virtio_net", &["rx-gro-hw off", "rx-gro off"]),
        // It tells no key, so none can be put back.
        ("ena", &["rx ring 4096", "rss input symmetric-xor", "rx-gro off"]),
        ("a kernel that says nothing", &[]),
    ];
    for (name, steps) in expected {
        let case = cases.iter().find(|case| case.name.starts_with(name)).expect(name);
        assert_eq!(text(&wanted(&case.interface, Tune::default())), steps, "{name}");
    }
    let channels = |combined_max, rx_max, count| {
        let channels = Some(Channels { rx_max, combined_max, ..Channels::default() });
        let facts = Interface { channels, ..Interface::default() };
        text(&wanted(&facts, Tune { channels: Some(count) }))
    };
    assert_eq!(channels(8, 0, 4), ["combined channels 4"]);
    assert_eq!(channels(0, 8, 4), ["rx channels 4"]);
}

#[test]
fn the_flag_takes_a_number_of_queues_or_nothing() {
    assert_eq!("".parse(), Ok(Tune { channels: None }));
    assert_eq!("channels=4".parse(), Ok(Tune { channels: Some(4) }));
    for bad in ["channels=0", "channels=", "channels", "4", "channels=4,5"] {
        assert!(bad.parse::<Tune>().is_err(), "{bad}");
    }
}

/// A card that refuses some settings, and makes no change of others without a word.
#[derive(Default)]
struct Fake {
    facts: Interface,
    refuses: Vec<Setting>,
    ignores: Vec<Setting>,
    /// Refusals of anything until then, as of a queue that a dead process's socket holds.
    busy: u32,
    log: Vec<String>,
}

impl Nic for Fake {
    fn facts(&mut self) -> Result<Interface> {
        Ok(self.facts.clone())
    }

    fn set(&mut self, setting: &Setting) -> io::Result<()> {
        if self.refuses.contains(setting) {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        if let Some(left) = self.busy.checked_sub(1) {
            self.busy = left;
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        self.log.push(setting.to_string());
        if self.ignores.contains(setting) {
            return Ok(());
        }
        let facts = &mut self.facts;
        match setting.clone() {
            Setting::Combined(count) => facts.channels.as_mut().unwrap().combined = count,
            Setting::RxChannels(count) => facts.channels.as_mut().unwrap().rx = count,
            // Rounded, as some drivers do.
            Setting::RxRing(frames) => facts.rx_ring.as_mut().unwrap()[0] = frames / 32 * 32,
            Setting::RssKey(key) => facts.rss.as_mut().unwrap().key = key,
            Setting::RssTransform(name) => facts.rss.as_mut().unwrap().transform = name,
            Setting::Offload(name, true) => facts.offloads.push(name),
            Setting::Offload(name, false) => facts.offloads.retain(|one| *one != name),
        }
        Ok(())
    }
}

fn fake() -> Fake {
    let facts = Interface {
        channels: Some(Channels { combined: 8, combined_max: 16, ..Channels::default() }),
        rx_ring: Some([512, 4090]),
        rss: Some(Rss { key: (0..40).collect(), queues: 8, transform: None }),
        offloads: ["rx-gro", "rx-vlan-hw-parse", "rx-checksum"].map(str::to_owned).to_vec(),
        ..Interface::default()
    };
    Fake { facts, ..Fake::default() }
}

/// What settings there are now, in no order.
fn settings(facts: &Interface) -> Interface {
    let mut facts = facts.clone();
    facts.offloads.sort();
    facts
}

#[test]
fn whatever_is_refused_the_rest_is_made_and_all_comes_back() {
    let input = Setting::RssTransform(Some("symmetric-xor".to_owned()));
    let key: Vec<u8> = SYMMETRIC.into_iter().cycle().take(40).collect();
    let gro = Setting::Offload("rx-gro".to_owned(), false);
    type Case = (Vec<Setting>, Vec<Setting>, usize, &'static [&'static str]);
    let cases: [Case; 4] = [
        (vec![], vec![], 5, &[]),
        (vec![input.clone()], vec![], 5, &[]),
        (
            vec![input, Setting::RssKey(key)],
            vec![],
            4,
            &["rss input symmetric-xor is refused: operation not", "symmetric rss key is refused"],
        ),
        (vec![], vec![gro], 4, &["rx-gro off is refused: it stays rx-gro on"]),
    ];
    for (refuses, ignores, expected, words) in cases {
        let mut nic = Fake { refuses, ignores, ..fake() };
        let before = settings(&nic.facts);
        let steps = wanted(&nic.facts, Tune { channels: Some(4) });
        let was: Vec<_> = steps.iter().flatten().filter_map(|one| one.now(&nic.facts)).collect();
        let (done, refused) = apply(&mut nic, &steps).unwrap();
        assert_eq!(done.len(), expected, "{done:?}");
        assert_eq!(refused.len(), words.len(), "{refused:?}");
        for (said, word) in refused.iter().zip(words) {
            assert!(said.starts_with(word), "{said}");
        }
        assert_ne!(settings(&nic.facts), before);
        nic.log.clear();
        assert_eq!(undo(&mut nic, &was).unwrap(), [""; 0]);
        assert_eq!(settings(&nic.facts), before);
        assert_eq!(nic.log.last().map(String::as_str), Some("combined channels 8"), "last first");
        // Nothing is left to go back.
        nic.log.clear();
        undo(&mut nic, &was).unwrap();
        assert_eq!(nic.log, [""; 0]);
    }
}

#[test]
fn going_back_is_tried_again_for_a_while() {
    let mut nic = fake();
    let was = [Setting::Combined(4)];
    nic.busy = 3;
    undo_patiently(&mut nic, &was).unwrap();
    nic.refuses = vec![Setting::Combined(8)];
    let error = undo_patiently(&mut nic, &[Setting::Combined(8)]).unwrap_err().to_string();
    assert!(error.contains("combined channels 8 is refused: operation not"), "{error}");
    assert!(error.ends_with("`flowtap doctor --restore` tries again"), "{error}");
}

#[test]
fn a_file_is_held_by_one_found_again_and_of_one_interface_only() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Card::find("lo").unwrap().identity;
    let was = vec![Setting::RxRing(512), Setting::Offload("rx-gro".into(), true)];
    let abandoned = || StateFile::abandoned(folder.path()).unwrap();
    assert!(abandoned().is_empty());

    let mut state = StateFile::lock(folder.path(), &identity).unwrap();
    assert_eq!(state.left_behind(&identity), None);
    state.write(&identity, &was).unwrap();
    let error = StateFile::lock(folder.path(), &identity).unwrap_err().to_string();
    assert!(error.starts_with("tune lo: another flowtap holds its settings; "), "{error}");
    assert!(abandoned().is_empty(), "it is held");
    drop(state);

    let mut found = abandoned();
    assert_eq!((found.len(), found[0].interface(), found[0].index()), (1, "lo", Some(1)));
    assert_eq!(found[0].left_behind(&identity), Some(was));
    drop(found);
    let renamed = card::Identity { interface: "lo2".into(), ..identity.clone() };
    assert!(abandoned()[0].left_behind(&renamed).is_some());
    let other = card::Identity { index: 2, ..identity.clone() };
    assert_eq!(abandoned()[0].left_behind(&other), None);
    abandoned().remove(0).remove().unwrap();
    assert!(abandoned().is_empty());

    // Cut short: its writer had changed nothing yet.
    let path = folder.path().join(format!("lo@{}.json", identity.network));
    std::fs::write(path, "{\"identity\":{").unwrap();
    assert_eq!(abandoned()[0].index(), None);
    assert_eq!(StateFile::lock(folder.path(), &identity).unwrap().left_behind(&identity), None);
}

/// One that the loopback interface has no answer to.
fn refused() -> Vec<Setting> {
    vec![Setting::RxRing(512)]
}

#[test]
fn one_interface_that_refuses_does_not_keep_others_from_coming_back() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Card::find("lo").unwrap().identity;
    // All are this one interface, under names that it had.
    for (name, was) in [("a", vec![]), ("b", refused()), ("c", vec![]), ("d", refused())] {
        let identity = card::Identity { interface: name.into(), ..identity.clone() };
        StateFile::lock(folder.path(), &identity).unwrap().write(&identity, &was).unwrap();
    }
    let mut said = Vec::new();
    let error = restore_from(folder.path(), &[], |text| said.push(text)).unwrap_err().to_string();
    assert!(error.starts_with("restore the settings of lo: "), "{error}");
    said.sort();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("a is as it was") && said[1].starts_with("c is as it was"));
    let left = StateFile::abandoned(folder.path()).unwrap();
    let mut left: Vec<_> = left.iter().map(StateFile::interface).collect();
    left.sort_unstable();
    assert_eq!(left, ["b", "d"], "these can be tried again");
}

#[test]
fn another_interface_with_the_number_of_one_that_is_gone_is_left_alone() {
    let files = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
    let mut said = Vec::new();
    // Its name is another's, too; nobody's, so that it may be away; and nothing was changed.
    for (name, was, is_said) in
        [("lo", refused(), false), ("no-such-if", refused(), true), ("no-such-if", vec![], false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let make = || {
            let mut card = Card::find("lo").unwrap();
            card.identity.mac = vec![2, 0, 0, 0, 0, 1];
            card.identity.interface = name.to_owned();
            let mut state = StateFile::lock(folder.path(), &card.identity).unwrap();
            state.write(&card.identity, &was).unwrap();
            Tuned { card, state, was: was.clone() }
        };
        // On the interface that has the number now this would be refused.
        make().undo(|text| said.push(text)).unwrap();
        assert_eq!(files(folder.path()), usize::from(is_said), "{name}: what is not undone stays");
        // Nor does it go back there when others ask for it, for all or by name.
        drop(make());
        for interfaces in [&[][..], &[name.to_owned()]] {
            restore_from(folder.path(), interfaces, |text| said.push(text)).unwrap();
        }
        assert_eq!(files(folder.path()), usize::from(is_said), "{name}");
        assert_eq!(said.len(), if is_said { 3 } else { 0 }, "{said:?}");
        let words = "no-such-if is gone, or in another network namespace";
        assert!(said.drain(..).all(|text| text.starts_with(words) && text.contains("rx ring 512")));
    }
}

#[test]
fn what_was_renamed_is_found_by_both_names() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Card::find("lo").unwrap().identity;
    let then = card::Identity { interface: "before".into(), ..identity };
    let mut said = Vec::new();
    for name in ["before", "lo"] {
        StateFile::lock(folder.path(), &then).unwrap().write(&then, &[]).unwrap();
        restore_from(folder.path(), &["eth9".to_owned()], |text| panic!("{text}")).unwrap();
        restore_from(folder.path(), &[name.to_owned()], |text| said.push(text)).unwrap();
        assert!(said.pop().is_some_and(|text| text.starts_with("before is as it was")));
        assert!(StateFile::abandoned(folder.path()).unwrap().is_empty());
    }
}

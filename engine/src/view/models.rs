//! One thread publishes two views, two others look twice each: every view is whole, and time
//! does not go back.

use loom::thread;

use super::*;
use crate::ledger::Accounts;
use crate::sync::model::explore::Model;
use crate::sync::model::fault::ORDERINGS;

/// The view of moment `number`, which two of its parts say.
fn view(number: u64) -> View {
    let accounts = Accounts::new(Arc::from([]), 0, 0, 0, Vec::new());
    let ledger = Ledger::collect(&accounts, number, false);
    View { ledger, busiest: Vec::new(), progress: Some((number, number)), devices: None }
}

/// The moment of a view; 0 if there is none yet.
fn moment(views: &Views) -> u64 {
    let latest = views.latest();
    let Some(view) = &*latest else { return 0 };
    let number = view.ledger.flows.live;
    assert_eq!(view.progress, Some((number, number)), "a torn view");
    number
}

fn views_are_whole_and_in_order() {
    published_by(|views| (1..=2).for_each(|number| views.publish(view(number))));
}

fn published_by(publish: fn(&Views)) {
    let views = Arc::new(Views::default());
    let publishing = Arc::clone(&views);
    let publishing = thread::spawn(move || publish(&publishing));
    let reading = [(), ()].map(|()| {
        let views = Arc::clone(&views);
        thread::spawn(move || {
            let first = moment(&views);
            assert!(moment(&views) >= first, "time goes back");
        })
    });
    publishing.join().unwrap();
    reading.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(moment(&views), 2);
}

const MODEL: Model = Model { run: views_are_whole_and_in_order, preemptions: Some(3) };

#[test]
fn views_are_whole_and_time_does_not_go_back() {
    MODEL.holds(1_000);
    MODEL.needs(ORDERINGS, "sync/model/snapshot.rs", 2);
}

#[test]
fn a_view_published_in_two_steps_is_not_whole() {
    let in_two_steps = || {
        published_by(|views| {
            for number in 1..=2 {
                views.publish(View { progress: Some((number, number)), ..view(number - 1) });
                views.publish(view(number));
            }
        });
    };
    Model { run: in_two_steps, ..MODEL }.fails("a torn view");
}

//! Names: picked, learned, looked up.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, RwLock};

use divan::Bencher;
use divan::counter::ItemsCount;
use hickory_proto::op::Message;

use crate::again;
use crate::pieces::ITEMS;
use crate::pieces::export::{hosts, records};
use crate::pieces::names::{Label, Learn, Pick, look_ups};

#[divan::bench]
fn ours_pick(bencher: Bencher<'_, '_>) {
    again(bencher, Pick::new());
}

#[divan::bench]
fn ours_learn(bencher: Bencher<'_, '_>) {
    again(bencher, Learn::new());
}

/// It reads every part of a message, and keeps none.
#[divan::bench]
fn hickory_learn(bencher: Bencher<'_, '_>) {
    let look_ups = look_ups();
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        let read = look_ups.iter().filter_map(|(bytes, _)| Message::from_vec(bytes).ok());
        read.map(|message| message.answers.len()).sum::<usize>()
    });
}

#[divan::bench]
fn ours_label(bencher: Bencher<'_, '_>) {
    again(bencher, Label::new());
}

/// What one would write first: the latest name of each client and address behind one lock, whatever
/// the time.
#[divan::bench]
fn rwlock_map_label(bencher: Bencher<'_, '_>) {
    let known = (0..ITEMS).step_by(2).map(|number| {
        let name: Arc<str> = format!("host-{number}.example.net").into();
        (hosts(number).map(Ipv4Addr::from), name)
    });
    let cache: RwLock<HashMap<_, _>> = RwLock::new(known.collect());
    let records = records();
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        let label = |record: &flowtap::flow::FlowRecord| {
            let way = record.initiator();
            let ends = [way, way.opposite()].map(|way| match record.key.source_ip(way) {
                std::net::IpAddr::V4(ip) => ip,
                std::net::IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
            });
            cache.read().expect("not poisoned").get(&ends).cloned()
        };
        records.iter().filter_map(label).count()
    });
}

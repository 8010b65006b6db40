//! Counters in, residuals out.

use super::*;
use crate::export::SinkAccount;
use crate::sync::Arc;

/// Accounts that balance: of 26 packets 3 were passed, 2 lost, 6 filtered, 1 undecodable, 4 in
/// overflow and 10 in flows, of which one record with 6 packets has ended and one with 4 lives.
fn balanced() -> Accounts {
    let accounts = Accounts::new(Arc::from(["eth0".to_owned()]), 2, 2, 1, Vec::new());
    accounts.sources[0].seen.set(26);
    accounts.sources[0].passed.set(3);
    let receives = [&accounts.receives[0][0], &accounts.receives[1][0]];
    receives[0].rx_ring_full.set(1);
    receives[1].oversize.set(1);
    receives[0].filtered.add(2);
    receives[1].filtered.add(4);
    for (receive, frames) in receives.iter().zip([5, 10]) {
        receive.received.add(frames);
        receive.decoded.add(frames);
    }
    receives[1].undecodable[Cause::Arp.idx()].add(1);
    accounts.tables[0].in_flows.add(4);
    accounts.tables[1].in_flows.add(6);
    accounts.tables[1].in_overflow.add(4);
    accounts.globals[0].created.add(3);
    accounts.globals[1].ended.add(1);
    accounts.globals[1].packets_in_flows.add(6);
    accounts.globals[0].ended.add(1);
    accounts.globals[0].packets_in_overflow.add(4);
    accounts
}

/// The residuals of interface, packets and flows after `change`, while the run goes on with
/// one record alive, and at its end with that record ended.
fn check(name: &str, change: impl Fn(&Accounts), running: [u64; 3], complete: [u64; 3]) {
    let residuals = |ledger: &Ledger| {
        let Residuals { interface, packets, flows } = ledger.residuals;
        assert_eq!(ledger.balances(), [interface, packets, flows] == [0; 3]);
        [interface, packets, flows]
    };
    let accounts = balanced();
    change(&accounts);
    assert_eq!(residuals(&Ledger::collect(&accounts, 1, false)), running, "{name}, running");
    accounts.globals[1].ended.add(1);
    accounts.globals[1].packets_in_flows.add(4);
    assert_eq!(residuals(&Ledger::collect(&accounts, 0, true)), complete, "{name}, complete");
}

#[test]
fn each_packet_and_record_that_goes_missing_is_a_residual() {
    check("nothing", |_| {}, [0; 3], [0; 3]);
    check("seen, not delivered", |a| a.sources[0].seen.set(28), [2, 0, 0], [2, 0, 0]);
    check("filtered, not seen", |a| a.sources[0].filtered.set(1), [1, 0, 0], [1, 0, 0]);
    check("sampled out, not seen", |a| a.sources[0].sampled_out.set(1), [1, 0, 0], [1, 0, 0]);
    let home = |a: &Accounts| {
        a.sources[0].seen.set(29);
        a.sources[0].shunted.set(3);
        a.tables[1].brought_home.add(3);
        a.globals[1].packets_in_flows.add(3);
    };
    check("shunted and brought home", home, [0; 3], [0; 3]);
    check("shunted, not seen", |a| a.sources[0].shunted.set(1), [1, 0, 0], [1, 1, 0]);
    let away = |a: &Accounts| {
        a.sources[0].seen.set(29);
        a.sources[0].shunted.set(3);
    };
    // While running they are in the kernel; at the end they are lost.
    check("shunted, not brought home", away, [0; 3], [0, 3, 0]);
    check("brought home twice", |a| a.tables[0].brought_home.add(1), [0; 3], [0, 1, 1]);
    check("delivered, not seen", |a| a.sources[0].seen.set(25), [1, 0, 0], [1, 0, 0]);
    check("in a ring, not delivered", |a| a.receives[0][0].seen.set(2), [2, 0, 0], [2, 0, 0]);
    let dropped = |a: &Accounts| {
        a.receives[0][0].seen.set(2);
        a.receives[0][0].kernel.set(2);
    };
    check("no room in a ring", dropped, [0; 3], [0; 3]);
    check("missed by the NIC", |a| a.sources[0].nic_missed.set(7), [0; 3], [0; 3]);
    check("received, not decoded", |a| a.receives[0][0].received.add(1), [1, 1, 0], [1, 1, 0]);
    check("filtered twice", |a| a.receives[1][0].filtered.add(1), [1, 0, 0], [1, 0, 0]);
    check(
        "filtered and received",
        |a| {
            a.receives[0][0].filtered.add(1);
            a.receives[0][0].received.add(1);
        },
        [2, 1, 0],
        [2, 1, 0],
    );
    // While running it is on its way; at the end it is lost.
    check("decoded, not received", |a| a.receives[0][0].decoded.add(1), [0, 1, 0], [0, 2, 0]);
    check("undecodable twice", |a| a.receives[0][0].undecodable[0].add(1), [0, 1, 0], [0, 1, 0]);
    check("in flows twice", |a| a.tables[0].in_flows.add(1), [0, 1, 0], [0, 1, 1]);
    check("in overflow twice", |a| a.tables[0].in_overflow.add(1), [0, 1, 0], [0, 1, 1]);
    check("created, not ended", |a| a.globals[0].created.add(1), [0, 0, 1], [0, 0, 1]);
    check("ended twice", |a| a.globals[1].ended.add(1), [0, 0, 1], [0, 0, 1]);
    check("lost in merging", |a| a.globals[1].packets_in_flows.add(1), [0, 0, 0], [0, 0, 1]);
    check("lost in overflow", |a| a.globals[1].packets_in_overflow.add(1), [0; 3], [0, 0, 1]);
}

#[test]
fn errors_on_two_interfaces_do_not_make_up_for_each_other() {
    let names = Arc::from(["a".to_owned(), "b".to_owned()]);
    let accounts = Accounts::new(names, 1, 1, 1, Vec::new());
    accounts.sources[0].seen.set(5);
    accounts.receives[0][1].received.add(5);
    accounts.receives[0][1].decoded.add(5);
    accounts.tables[0].in_flows.add(5);
    assert_eq!(Ledger::collect(&accounts, 0, false).residuals.interface, 10);
}

#[test]
fn a_record_that_a_sink_does_not_account_for_is_a_residual() {
    let sinks = vec![Arc::new(SinkAccount::default()), Arc::new(SinkAccount::default())];
    let accounts = Accounts::new(Arc::from([]), 1, 1, 1, sinks);
    accounts.globals[0].created.add(3);
    accounts.globals[0].ended.add(3);
    assert_eq!(Ledger::collect(&accounts, 0, false).residuals.flows, 0, "may be on its way");
    assert_eq!(Ledger::collect(&accounts, 0, true).residuals.flows, 6, "three in each sink");
}

#[test]
fn what_the_nic_has_missed_is_a_loss() {
    let accounts = balanced();
    accounts.sources[0].nic_rx.set(26);
    accounts.sources[0].nic_missed.set(7);
    let ledger = Ledger::collect(&accounts, 1, false);
    let interface = &ledger.interfaces[0];
    assert_eq!((ledger.lost(), interface.dropped["nic_missed"]), (9, 7));
    assert_eq!((interface.nic_rx, interface.seen), (Some(26), 33));
}

#[test]
fn what_no_socket_has_taken_is_counted_once() {
    let accounts = balanced();
    for (seen, unbound) in [(26, 0), (31, 5), (31, 5), (34, 8), (20, 0)] {
        accounts.sources[0].seen.set(seen);
        count_unbound(&accounts, 0);
        let ledger = Ledger::collect(&accounts, 1, false);
        let residual = 26_u64.saturating_sub(seen);
        let found = (ledger.interfaces[0].dropped["unbound"], ledger.residuals.interface);
        assert_eq!(found, (unbound, residual), "{seen} seen");
    }
}

#[test]
fn losses_are_summed_and_named() {
    let ledger = Ledger::collect(&balanced(), 1, false);
    assert_eq!(ledger.lost(), 2);
    assert_eq!(ledger.interfaces[0].dropped["rx_ring_full"], 1);
    assert_eq!(ledger.interfaces[0].dropped["oversize"], 1);
    assert_eq!(ledger.interfaces[0].filtered, 6);
    assert_eq!(ledger.interfaces[0].nic_rx, None);
    assert_eq!(ledger.packets.undecodable, BTreeMap::from([("arp", 1)]));
    assert_eq!((ledger.packets.in_flows, ledger.packets.in_overflow), (10, 4));
}

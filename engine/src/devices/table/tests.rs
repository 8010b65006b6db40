//! What is learned of devices, and which of them records' ends are: tables in, tables out.

use proptest::prelude::*;

use super::*;
use crate::devices::label::{DeviceLabel, devices_of};
use crate::flow::{
    Delta, Direction, EndReason, Endpoint, FlowKey, FlowRecord, Opening, PortKind, SideCounts,
};

const SECOND: i64 = 1_000_000_000;

fn mac(last: u8) -> Mac {
    [0x00, 0x11, 0x22, 0, 0, last]
}

fn place(vlan: u16, address: &str) -> Place {
    Place { vlans: [vlan, 0], address: address.parse().unwrap() }
}

/// What is seen: second, MAC address, address in VLAN or name with its source.
enum Seen {
    Address(i64, u8, u16, &'static str),
    Name(i64, u8, &'static str, HostNameSource),
}

use HostNameSource::{Dhcp, Mdns};
use Seen::{Address, Name};

fn table(max: usize, all: &[Seen]) -> Devices {
    let mut devices = Devices::new(&DevicesSetup::default(), max);
    for seen in all {
        match *seen {
            Address(second, of, vlan, address) => {
                let place = place(vlan, address);
                devices.see_address(mac(of), place, Sighting::Arp, second * SECOND);
            }
            Name(second, of, name, source) => {
                devices.see_name(mac(of), name, source, second * SECOND);
            }
        }
    }
    devices
}

/// A record of packets both ways from one second to another, whose first packet, from the source,
/// had these MAC addresses, and whose sides arrived with so much to live.
fn record(
    (source, destination): (&str, &str),
    vlan: u16,
    seconds: [i64; 2],
    macs: [Option<Mac>; 2],
    ttls: [(u8, u8); 2],
) -> FlowRecord {
    let end = |text: &str, port| {
        let mut address = [0; 16];
        let version = match text.parse().unwrap() {
            IpAddr::V4(v4) => {
                address[..4].copy_from_slice(&v4.octets());
                4
            }
            IpAddr::V6(v6) => {
                address = v6.octets();
                6
            }
        };
        (Endpoint { address, port }, version)
    };
    let ((from, version), (to, _)) = (end(source, 5_000), end(destination, 80));
    let (key, way) = FlowKey::canonical(from, to, version, 6, PortKind::Ports, [vlan, 0]);
    let [first, last] = seconds.map(|second| second * SECOND);
    let opening = Opening {
        flow_start: Some(first),
        ordinal: 0,
        initiator: way,
        macs,
        first_packet: way,
        icmp: None,
        interface: 0,
        encapsulation: None,
    };
    let mut sides = ttls.map(|(ttl_min, ttl_max)| SideCounts {
        packets: 1,
        ttl_min,
        ttl_max,
        ..SideCounts::EMPTY
    });
    if way == Direction::Reverse {
        sides.reverse();
    }
    let end = Some(EndReason::Idle);
    let total = Delta { sides, first, last, opening: Some(opening), end, ..Delta::EMPTY };
    FlowRecord::flow(key, total)
}

/// `9 pc9 dhcp`: the last byte of its MAC address, its name, the source.
fn shown(label: &Option<DeviceLabel>) -> String {
    label.as_ref().map_or_else(String::new, |device| {
        format!("{} {} {}", device.mac[5], device.hostname().unwrap_or("-"), device.source())
    })
}

/// The devices of a flow, of which nothing is known by itself.
fn ask(devices: &Devices, ends: (&str, &str), vlan: u16, seconds: [i64; 2]) -> [String; 2] {
    let record = record(ends, vlan, seconds, [None; 2], [(60, 60); 2]);
    devices_of(&record, devices.view()).each_ref().map(shown)
}

#[test]
fn ends_are_devices_as_of_the_flows_first_packet() {
    let devices = table(
        100,
        &[
            Address(10, 1, 0, "10.0.0.1"),
            Name(20, 1, "one.local", Mdns),
            Name(30, 1, "one", Dhcp),
            // What is said again, and by a source that is not preferred, changes nothing.
            Name(40, 1, "uno.local", Mdns),
            Address(50, 2, 0, "10.0.0.1"),
            Address(60, 3, 7, "10.0.0.1"),
        ],
    );
    for (vlan, seconds, want) in [
        (0, [5, 9], ""),
        // Learned while it went on.
        (0, [5, 10], "1 - arp"),
        (0, [5, 25], "1 one.local mdns"),
        (0, [10, 11], "1 - arp"),
        (0, [25, 60], "1 one.local mdns"),
        (0, [45, 60], "1 one dhcp"),
        // The address has gone to another.
        (0, [50, 60], "2 - arp"),
        // Another network's.
        (7, [60, 61], "3 - arp"),
        (8, [60, 61], ""),
    ] {
        let [source, destination] = ask(&devices, ("10.0.0.1", "192.0.2.1"), vlan, seconds);
        assert_eq!((&*source, &*destination), (want, ""), "{vlan} {seconds:?}");
        let [source, destination] = ask(&devices, ("192.0.2.1", "10.0.0.1"), vlan, seconds);
        assert_eq!((&*source, &*destination), ("", want), "{vlan} {seconds:?}");
    }
}

/// Files may be read in any order.
#[test]
fn what_a_device_was_called_before_is_learned_later() {
    let devices = table(
        100,
        &[
            Address(0, 1, 0, "10.0.0.1"),
            Name(100, 1, "one", Dhcp),
            Name(20, 1, "one", Dhcp),
            Name(10, 1, "uno.local", Mdns),
            Address(0, 2, 0, "10.0.0.2"),
            Name(100, 2, "two.local", Mdns),
            Name(20, 2, "two", Dhcp),
            // In the older file's own order, of which some is as it was known already.
            Address(0, 3, 0, "10.0.0.3"),
            Name(100, 3, "three", Dhcp),
            Name(10, 3, "tre.local", Mdns),
            Name(20, 3, "three", Dhcp),
            Name(30, 3, "drei.local", Mdns),
            // By a source that is not preferred, between two that are.
            Address(0, 4, 0, "10.0.0.4"),
            Name(10, 4, "four", Dhcp),
            Name(100, 4, "quattro", Dhcp),
            Name(50, 4, "four.local", Mdns),
        ],
    );
    for (address, seconds, want) in [
        ("10.0.0.1", [5, 6], "1 - arp"),
        ("10.0.0.1", [15, 16], "1 uno.local mdns"),
        ("10.0.0.1", [25, 26], "1 one dhcp"),
        ("10.0.0.1", [105, 106], "1 one dhcp"),
        ("10.0.0.2", [25, 26], "2 two dhcp"),
        ("10.0.0.2", [105, 106], "2 two dhcp"),
        ("10.0.0.3", [15, 16], "3 tre.local mdns"),
        ("10.0.0.3", [35, 36], "3 three dhcp"),
        ("10.0.0.3", [105, 106], "3 three dhcp"),
        ("10.0.0.4", [55, 56], "4 four dhcp"),
        ("10.0.0.4", [105, 106], "4 quattro dhcp"),
    ] {
        let [source, _] = ask(&devices, (address, "192.0.2.1"), 0, seconds);
        assert_eq!(source, want, "{address} {seconds:?}");
    }
}

/// The rule of whose a MAC address is: a router's is not that of who is behind it.
#[test]
fn a_routed_address_is_not_the_routers() {
    let router = mac(254);
    let devices = table(
        100,
        &[
            Address(0, 254, 0, "10.0.0.254"),
            Name(0, 254, "router", Dhcp),
            Address(0, 9, 0, "10.9.0.9"),
            Name(0, 9, "nine", Dhcp),
        ],
    );
    let check = |ends, macs: [Option<Mac>; 2], ttls, want: [&str; 2]| {
        let record = record(ends, 0, [1, 2], macs, ttls);
        let is = devices_of(&record, devices.view()).each_ref().map(shown);
        assert_eq!(is.each_ref().map(String::as_str), want, "{ends:?} {macs:02x?} {ttls:?}");
    };
    let (own, straight, routed) = (Some(mac(5)), (64, 64), (63, 63));
    let ends = ("10.0.0.5", "10.8.0.8");
    // To somebody behind the router, who answers.
    check(ends, [own, Some(router)], [straight, routed], ["5 - frame", ""]);
    // The same where it comes from: behind the router, that is.
    check(ends, [Some(router), Some(mac(8))], [routed, straight], ["", "8 - frame"]);
    // Packets before and behind the router in one flow.
    check(ends, [own, Some(router)], [(63, 64), routed], ["", ""]);
    // Nothing has come back: the frame was sent to the router.
    check(ends, [own, Some(router)], [straight, (255, 0)], ["5 - frame", ""]);
    // Whose address it is is known from elsewhere.
    let known = ("10.0.0.5", "10.9.0.9");
    check(known, [own, Some(router)], [straight, routed], ["5 - frame", "9 nine dhcp"]);
    // The router itself.
    let to_router = ("10.0.0.5", "10.0.0.254");
    check(to_router, [own, Some(router)], [straight; 2], ["5 - frame", "254 router dhcp"]);
    // A group's address is nobody's, and neither is that of a loopback.
    check(ends, [own, Some([0xff; 6])], [straight; 2], ["5 - frame", ""]);
    check(ends, [Some([0; 6]), None], [straight; 2], ["", ""]);
}

#[test]
fn what_is_in_a_tunnel_is_another_networks() {
    use crate::flow::{Tunnel, TunnelKind};
    let devices = table(100, &[Address(0, 1, 0, "10.0.0.1")]);
    let macs = [Some(mac(1)), Some(mac(2))];
    let mut record = record(("10.0.0.1", "10.0.0.2"), 0, [1, 2], macs, [(64, 64); 2]);
    assert!(devices_of(&record, devices.view()).iter().all(Option::is_some));
    record.key = record.key.in_tunnel(Tunnel { kind: TunnelKind::Vxlan, id: Some(7) });
    assert_eq!(devices_of(&record, devices.view()), [None, None]);
}

#[test]
fn addresses_that_are_not_local_make_no_device() {
    let mut devices = table(
        100,
        &[
            Address(0, 2, 0, "224.0.0.251"),
            Address(0, 3, 0, "0.0.0.0"),
            Address(0, 5, 0, "::1"),
            Address(0, 6, 0, "255.255.255.255"),
        ],
    );
    for sighting in [Sighting::Frame, Sighting::Dhcp, Sighting::Nbns] {
        devices.see_address(mac(1), place(0, "192.0.2.1"), sighting, 0);
        devices.see_address(mac(4), place(0, "2001:db8::1"), sighting, 0);
    }
    assert_eq!(devices.view().len(), 0);
}

/// Whatever it is, as of when it was seen there: by what was said to all of the link.
#[test]
fn an_address_that_is_used_on_the_link_is_local() {
    let public = "2001:db8::1";
    let mut devices = table(
        100,
        &[Address(10, 1, 0, public), Name(20, 1, "one", Dhcp), Address(50, 2, 0, public)],
    );
    // Nothing else counts of it.
    devices.see_address(mac(3), place(0, public), Sighting::Frame, 60 * SECOND);
    let far = "2001:db8:9::9";
    let check = |devices: &Devices, vlan, seconds: [i64; 2], want: &str| {
        let [source, destination] = ask(devices, (public, far), vlan, seconds);
        assert_eq!((&*source, &*destination), (want, ""), "{vlan} {seconds:?}");
        assert_eq!(ask(devices, (far, public), vlan, seconds)[1], want, "{vlan} {seconds:?}");
    };
    for (vlan, seconds, want) in [
        (0, [5, 9], ""),
        // It was learned while the flow went on.
        (0, [5, 15], "1 - arp"),
        (0, [30, 31], "1 one dhcp"),
        (0, [60, 61], "2 - arp"),
        (7, [60, 61], ""),
    ] {
        check(&devices, vlan, seconds, want);
    }
    // Its own frames say the same of it, once it is local.
    let own = |seconds| {
        let macs = [Some(mac(1)), Some(mac(254))];
        let record = record((public, far), 0, seconds, macs, [(64, 64), (50, 50)]);
        devices_of(&record, devices.view()).each_ref().map(shown)
    };
    assert_eq!(own([5, 9]), ["", ""]);
    assert_eq!(own([30, 31]), ["1 one dhcp", ""]);
    // It is known in the next run, unless it was local by a prefix that is not named any more.
    let mut known: Vec<_> =
        devices.view().all().iter().map(|device| Device::clone(device)).collect();
    let again = |known: &[Device]| {
        Devices::new(&DevicesSetup { known: known.into(), ..DevicesSetup::default() }, 100)
    };
    check(&again(&known), 0, [60, 61], "2 - arp");
    for address in known.iter_mut().flat_map(|device| &mut device.addresses) {
        address.sighting = Sighting::Frame;
    }
    check(&again(&known), 0, [60, 61], "");
}

#[test]
fn the_number_of_devices_is_bounded_and_those_go_that_were_not_seen_for_longest() {
    let mut devices = Devices::new(&DevicesSetup::default(), 160);
    let at = |n: u16| {
        let [high, low] = n.to_be_bytes();
        let place = Place { vlans: [0; 2], address: [10, 0, high, low].into() };
        ([0, 0, 0, 1, high, low], place)
    };
    let (kept, kept_place) = at(0);
    for n in 0..10_000 {
        let (mac, place) = at(n);
        devices.see_address(mac, place, Sighting::Frame, i64::from(n) * SECOND);
        devices.see_address(kept, kept_place, Sighting::Frame, i64::from(n) * SECOND);
        assert!(devices.view().len() <= 160, "{n}");
    }
    let evicted = devices.take_evicted();
    assert_eq!(evicted + devices.view().len() as u64, 10_000);
    let ends = |n| {
        let (_, place) = at(n);
        ask(&devices, (&place.address.to_string(), "192.0.2.1"), 0, [20_000, 20_001])[0].clone()
    };
    assert_eq!(
        (ends(0), ends(9_999), ends(9)),
        ("0 - frame".into(), "15 - frame".into(), "".into())
    );
}

#[test]
fn what_one_device_may_have_is_bounded() {
    use crate::limits::{DEVICE_ADDRESSES, DEVICE_NAMES};
    let mut devices = Devices::new(&DevicesSetup::default(), 10);
    for n in 0..1_000_u16 {
        let [high, low] = n.to_be_bytes();
        let time = i64::from(n) * SECOND;
        let place = |last| Place { vlans: [0; 2], address: [10, last, high, low].into() };
        devices.see_address(mac(1), place(0), Sighting::Arp, time);
        devices.see_name(mac(1), &format!("{n}{}", "x".repeat(1_000)), Dhcp, time);
        // One address that many claim.
        devices.see_address([0, 0, 0, 9, high, low], place(0), Sighting::Arp, time);
    }
    let view = devices.view();
    assert!(
        view.len() <= 10 && view.owners.len() <= 10 * DEVICE_ADDRESSES + devices.past.len(),
        "{}",
        view.owners.len()
    );
    for device in view.all() {
        assert!(device.addresses.len() <= DEVICE_ADDRESSES && device.names.len() <= DEVICE_NAMES);
        assert!(device.names.iter().all(|name| name.name.len() <= crate::limits::NAME_BYTES));
    }
    for (_, owners) in view.owners.iter() {
        assert!((1..=ADDRESS_OWNERS).contains(&owners.len()));
    }
}

#[test]
fn what_was_known_before_is_known_again() {
    let before = table(
        100,
        &[
            Address(10, 1, 0, "10.0.0.1"),
            Name(20, 1, "one.local", Mdns),
            Name(30, 1, "one", Dhcp),
            Address(15, 2, 0, "10.0.0.2"),
            Address(40, 2, 0, "10.0.0.1"),
            Address(50, 1, 0, "10.0.0.1"),
            Address(10, 4, 0, "10.0.0.3"),
            Address(20, 3, 0, "10.0.0.3"),
            Address(30, 4, 0, "10.0.0.3"),
            Address(50, 3, 0, "10.0.0.3"),
        ],
    );
    let known = before.view().all().iter().map(|device| Device::clone(device)).collect();
    let setup = DevicesSetup { known, ..DevicesSetup::default() };
    let again = Devices::new(&setup, 100);
    for seconds in [[15, 16], [25, 26], [35, 36], [45, 46], [55, 56]] {
        for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
            let ends = (address, "192.0.2.1");
            assert_eq!(ask(&again, ends, 0, seconds), ask(&before, ends, 0, seconds));
        }
    }
    let few = Devices::new(&setup, 1);
    assert_eq!(few.view().len(), 1);
}

/// Messages that come in any order of time, as a file may have them: what is not kept is nobody's.
#[test]
fn an_address_that_is_not_kept_has_no_owner() {
    use crate::limits::DEVICE_ADDRESSES;
    let mut devices = Devices::new(&DevicesSetup::default(), 10);
    for n in 0..1_000_u16 {
        let [high, low] = n.to_be_bytes();
        let place = Place { vlans: [0; 2], address: [10, 0, high, low].into() };
        devices.see_address(mac(1), place, Sighting::Arp, -i64::from(n) * SECOND);
    }
    assert_eq!(devices.view().owners.len(), DEVICE_ADDRESSES);
}

/// Whoever labels the flow late sees what he had seen at once, until that is long ago.
#[test]
fn whose_an_address_was_is_known_for_a_while_after_it_is_not_kept() {
    use crate::limits::{DEVICE_ADDRESSES, PAST_OWNERS};
    let mut devices = Devices::new(&DevicesSetup::default(), 10);
    let at = |n: usize| {
        let [_, b, c, d] = u32::try_from(n).unwrap().to_be_bytes();
        Place { vlans: [0; 2], address: [10, b, c, d].into() }
    };
    let see = |devices: &mut Devices, n: usize| {
        devices.see_address(mac(1), at(n), Sighting::Arp, n as i64 * SECOND);
    };
    let first = |devices: &Devices, begins: i64| {
        ask(devices, ("10.0.0.0", "192.0.2.1"), 0, [begins, begins + 5])[0].clone()
    };
    for n in 0..DEVICE_ADDRESSES {
        see(&mut devices, n);
    }
    let asked_at_once = [0, 9, 15].map(|begins| first(&devices, begins));
    assert_eq!(asked_at_once, ["1 - arp"; 3]);
    // It goes when there is one more.
    see(&mut devices, DEVICE_ADDRESSES);
    assert_eq!([0, 9, 15].map(|begins| first(&devices, begins)), asked_at_once);
    assert_eq!([16, 17].map(|begins| first(&devices, begins)), [""; 2]);
    // It comes back.
    devices.see_address(mac(1), at(0), Sighting::Arp, 20 * SECOND);
    assert_eq!([15, 19, 20].map(|begins| first(&devices, begins)), ["1 - arp", "", "1 - arp"]);
    for n in 21..PAST_OWNERS + 100 {
        see(&mut devices, n);
    }
    assert_eq!(first(&devices, 15), "");
    assert_eq!(devices.view().owners.len(), PAST_OWNERS + DEVICE_ADDRESSES);
}

/// A flow of the device with the address 10.0.0.n, from one second to another.
type Flow = (u8, [i64; 2]);

fn local(last: u8) -> Place {
    Place { vlans: [0; 2], address: [10, 0, 0, last].into() }
}

/// Those that were seen last, each with when, of what was seen when.
fn latest(seen: impl Iterator<Item = (u8, i64)>) -> Vec<(Place, Timestamp)> {
    let mut last = std::collections::HashMap::new();
    for (address, second) in seen {
        let last = last.entry(local(address)).or_insert(Timestamp::MIN);
        *last = (second * SECOND).max(*last);
    }
    let mut all: Vec<_> = last.into_iter().collect();
    all.sort_unstable_by_key(|(place, time)| std::cmp::Reverse((*time, *place)));
    all.truncate(crate::limits::DEVICE_ADDRESSES);
    all.sort_unstable();
    all
}

proptest! {
    /// More addresses than are kept: which they are, and until when each was seen, does not depend
    /// on who labels which records when.
    #[test]
    fn the_latest_addresses_are_kept_in_whatever_order_flows_are_seen(
        // Many end at the same time.
        flows in prop::collection::vec((1..60_u8, (0..60_i64, 0..9_i64)), 40..80).prop_shuffle(),
        said in prop::collection::vec((40..90_u8, 0..70_i64), 0..30),
        at_once in 1..30_usize,
    ) {
        let flows: Vec<Flow> =
            flows.into_iter().map(|(of, (start, more))| (of, [start, start + more])).collect();
        let mut devices = Devices::new(&DevicesSetup::default(), 10);
        for chunk in flows.chunks(at_once) {
            let mut sightings = Sightings::default();
            for (address, seconds) in chunk {
                let ends = (&*format!("10.0.0.{address}"), "192.0.2.1");
                let flow = record(ends, 0, *seconds, [Some(mac(1)), None], [(64, 64); 2]);
                prop_assert_eq!(sightings.note(&flow, devices.view().networks()), 0);
            }
            devices.see_flows(sightings);
        }
        // What is read has its own order.
        for (address, second) in &said {
            devices.see_address(mac(1), local(*address), Sighting::Arp, second * SECOND);
        }
        let all = devices.view().all();
        let mut kept: Vec<_> =
            all[0].all_addresses().iter().map(|one| (one.place, one.seen[1])).collect();
        kept.sort_unstable();
        let ends = flows.iter().map(|(address, [_, last])| (*address, *last));
        prop_assert_eq!(kept, latest(ends.chain(said)));
    }
}

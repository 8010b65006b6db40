//! Which interfaces packets to anywhere leave by: default routes of both families, in all tables,
//! by all of their next hops. Parses what the kernel says; `netlink` asks.

use std::collections::{BTreeMap, BTreeSet};

use netlink_bindings::rt_route::{IterableRouteAttrs, Rtmsg};

/// `RTN_BLACKHOLE` to `RTN_THROW` of linux/rtnetlink.h: routes by which nothing leaves.
const LEADS_NOWHERE: std::ops::RangeInclusive<u8> = 6..=9;

/// Interfaces that carry default routes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DefaultRoutes {
    interfaces: BTreeSet<u32>,
    /// Numbers of next hop objects of which the interface is not known.
    objects: BTreeSet<u32>,
}

impl DefaultRoutes {
    /// Takes in a route, if it is one of them.
    pub(super) fn add(&mut self, header: &Rtmsg, route: &IterableRouteAttrs<'_>) {
        if header.rtm_dst_len != 0 || LEADS_NOWHERE.contains(&header.rtm_type) {
            return;
        }
        let mut interfaces = interfaces_of(route.get_multipath().unwrap_or_default());
        interfaces.extend(route.get_oif());
        // With `net.ipv4.nexthop_compat_mode=0` it is all that is said.
        self.objects.extend(route.get_nh_id().ok().filter(|_| interfaces.is_empty()));
        self.interfaces.extend(interfaces);
    }

    /// Whether next hop objects matter.
    pub(super) fn has_objects(&self) -> bool {
        !self.objects.is_empty()
    }

    /// Follows next hop objects to their interfaces.
    pub(super) fn resolve(&mut self, all: &BTreeMap<u32, Object>) {
        // A group has no groups in it.
        for number in std::mem::take(&mut self.objects) {
            let members = all.get(&number).map_or(&[][..], |object| &object.members);
            for number in members.iter().chain(members.is_empty().then_some(&number)) {
                match all.get(number) {
                    Some(Object { interface: Some(interface), .. }) => {
                        self.interfaces.insert(*interface);
                    }
                    Some(Object { is_blackhole: true, .. }) => {}
                    _ => _ = self.objects.insert(*number),
                }
            }
        }
    }

    /// Whether one leaves by this interface; `None` if that is not known.
    pub(super) fn leave_by(&self, interface: u32) -> Option<bool> {
        let is_known = self.interfaces.contains(&interface);
        (is_known || self.objects.is_empty()).then_some(is_known)
    }
}

/// Those of `struct rtnexthop`s, each with attributes behind it.
fn interfaces_of(mut hops: &[u8]) -> Vec<u32> {
    let mut interfaces = Vec::new();
    while let Some((header, _)) = hops.split_first_chunk::<8>() {
        let [len_low, len_high, _, _, index @ ..] = *header;
        interfaces.push(u32::from_ne_bytes(index));
        let len = usize::from(u16::from_ne_bytes([len_low, len_high]));
        if len < header.len() {
            break;
        }
        hops = hops.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    interfaces
}

/// A next hop that routes name by its number.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Object {
    interface: Option<u32>,
    is_blackhole: bool,
    /// Of a group, the numbers of those in it.
    members: Vec<u32>,
}

impl Object {
    /// The number and the object of an answer: `struct nhmsg` and attributes
    /// (linux/nexthop.h).
    pub(super) fn parse(answer: &[u8]) -> Option<(u32, Self)> {
        const NUMBER: u16 = 1;
        const GROUP: u16 = 2;
        const BLACKHOLE: u16 = 4;
        const INTERFACE: u16 = 5;
        let (mut number, mut object) = (None, Self::default());
        for (kind, value) in attributes(answer.get(8..)?) {
            match kind {
                NUMBER => number = Some(word(value)?),
                // `struct nexthop_grp`, a number and weights.
                GROUP => object.members = value.chunks_exact(8).filter_map(word).collect(),
                BLACKHOLE => object.is_blackhole = true,
                INTERFACE => object.interface = Some(word(value)?),
                _ => {}
            }
        }
        Some((number?, object))
    }
}

/// Kinds and values of `struct rtattr`s, as far as they are whole.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [len_low, len_high, kind_low, kind_high] = *bytes.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([len_low, len_high]));
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([kind_low, kind_high]) & 0x3fff, value))
    })
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
pub(super) mod tests {
    use netlink_bindings::rt_route::OpGetrouteDump;
    use netlink_bindings::traits::NetlinkRequest;

    use super::*;

    pub(in crate::host) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(4 + value.len()).unwrap();
        let padding = value.len().next_multiple_of(4) - value.len();
        let header = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        [&header[..], value, &vec![0; padding]].concat()
    }

    /// As the kernel answers: `struct rtmsg` and attributes.
    fn route(bits: u8, table: u8, kind: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        let header = [2, bits, 0, 0, table, 3, 0, kind, 0, 0, 0, 0];
        [&header[..], &attributes.concat()].concat()
    }

    fn hop(interface: u32) -> Vec<u8> {
        let gateway = attribute(5, &[192, 0, 2, 1]);
        let len = u16::try_from(8 + gateway.len()).unwrap().to_ne_bytes();
        [&len[..], &[0, 0], &interface.to_ne_bytes(), &gateway].concat()
    }

    fn found(routes: &[Vec<u8>], objects: &[Vec<u8>]) -> DefaultRoutes {
        let mut found = DefaultRoutes::default();
        for answer in routes {
            let (header, route) = OpGetrouteDump::decode_reply(answer);
            found.add(&header, &route);
        }
        found.resolve(&objects.iter().filter_map(|answer| Object::parse(answer)).collect());
        found
    }

    #[test]
    fn every_next_hop_of_every_table_counts() {
        let by = |index: u32| attribute(4, &index.to_ne_bytes());
        let several = || attribute(9, &[hop(7), hop(8)].concat());
        let object = || attribute(30, &5_u32.to_ne_bytes());
        for (name, answer, expected) in [
            ("main table", route(0, 254, 1, &[by(7)]), vec![7]),
            ("another table", route(0, 100, 1, &[by(7)]), vec![7]),
            ("several", route(0, 254, 1, &[several()]), vec![7, 8]),
            ("object, resolved by the kernel", route(0, 254, 1, &[object(), by(7)]), vec![7]),
            ("group, resolved by the kernel", route(0, 254, 1, &[object(), several()]), vec![7, 8]),
            ("to somewhere", route(24, 254, 1, &[by(7)]), vec![]),
            ("unreachable", route(0, 254, 7, &[by(7)]), vec![]),
            ("by none", route(0, 254, 1, &[]), vec![]),
            ("damaged", route(0, 254, 1, &[attribute(9, &[3, 0, 0, 0, 9, 0, 0, 0])]), vec![9]),
        ] {
            let found = found(&[answer], &[]);
            assert!(!found.has_objects(), "{name}");
            let interfaces: Vec<u32> = found.interfaces.into_iter().collect();
            assert_eq!(interfaces, expected, "{name}");
        }
    }

    #[test]
    fn next_hop_objects_are_followed() {
        let word = |kind, value: u32| attribute(kind, &value.to_ne_bytes());
        let object = |attributes: &[Vec<u8>]| [&[0; 8][..], &attributes.concat()].concat();
        let single = object(&[word(1, 5), word(5, 7)]);
        let member = |number: u32| [&number.to_ne_bytes()[..], &[0; 4]].concat();
        let group = object(&[word(1, 6), attribute(2, &[member(5), member(9)].concat())]);
        let blackhole = object(&[word(1, 9), attribute(4, &[])]);
        for (number, objects, by_7, by_8) in [
            (5, vec![single.clone()], Some(true), Some(false)),
            (6, vec![group.clone(), single.clone(), blackhole.clone()], Some(true), Some(false)),
            (6, vec![group, single.clone()], Some(true), None),
            (9, vec![blackhole], Some(false), Some(false)),
            // It was made after all were asked for.
            (6, vec![single], None, None),
            (5, vec![vec![0; 3], object(&[vec![9, 0, 1, 0]])], None, None),
        ] {
            let answer = route(0, 254, 1, &[word(30, number)]);
            let found = found(&[answer], &objects);
            let leave = (found.leave_by(7), found.leave_by(8));
            assert_eq!(leave, (by_7, by_8), "{number} of {objects:?}");
        }
    }
}

//! What an interface stands on: the ports of a bridge or a bond, the device of a VLAN, what those
//! stand on, and so on. Offloads there have merged its packets before it gets them. Asked by
//! [`super::examine`].

use crate::host::netlink::Link;

/// All below `link`, the nearest first.
pub(super) fn below<'a>(links: &'a [Link], link: &Link) -> Vec<&'a Link> {
    let mut all: Vec<&Link> = Vec::new();
    let mut next = 0;
    let mut upper = link;
    loop {
        let is_lower =
            |lower: &&Link| lower.master == Some(upper.index) || upper.lower == Some(lower.index);
        for lower in links.iter().filter(is_lower) {
            // Two ends of a pair name each other.
            let is_pair = lower.lower == Some(upper.index);
            if !is_pair && lower.index != link.index && !all.contains(&lower) {
                all.push(lower);
            }
        }
        let Some(&found) = all.get(next) else { return all };
        (upper, next) = (found, next + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interface_stands_on_is_found_through_bridges_and_vlans() {
        let link = |index, master, lower| Link { index, master, lower, ..Link::default() };
        let links = [
            link(1, Some(3), None),
            link(2, Some(3), None),
            link(3, None, None),
            link(4, None, Some(3)),
            // A veth pair in one network namespace.
            link(5, None, Some(6)),
            link(6, None, Some(5)),
            // A VLAN of a port of a bridge above that VLAN.
            link(7, Some(8), None),
            link(8, None, Some(7)),
        ];
        let below = |idx: usize| -> Vec<u32> {
            below(&links, &links[idx]).iter().map(|link| link.index).collect()
        };
        assert_eq!(below(0), [0; 0]);
        assert_eq!(below(2), [1, 2]);
        assert_eq!(below(3), [3, 1, 2]);
        assert_eq!(below(4), [0; 0]);
        assert_eq!(below(7), [7]);
    }
}

//! Link-layer addresses that an interface takes packets for besides its own: something stands on it
//! that has them, maybe in another network namespace (macvlan). Parses what the kernel says;
//! `netlink` asks.

use crate::host::routes::attributes;

/// The interface and the unicast address of an answer, if it is one that it takes packets for by
/// itself, for good. What a bridge or a tunnel has learned or been told of others is none.
pub(super) fn parse(answer: &[u8]) -> Option<(u32, Vec<u8>)> {
    const PERMANENT: u16 = 1 << 7;
    const ITS_OWN: u8 = 1 << 1;
    const FAR_END: u16 = 1;
    const ADDRESS: u16 = 2;
    const OF_BRIDGE: u16 = 9;
    let (header, rest) = answer.split_first_chunk::<12>()?;
    let [_, _, _, _, index @ .., state_low, state_high, flags, _] = *header;
    let is_its_own = u16::from_ne_bytes([state_low, state_high]) & PERMANENT != 0
        && flags & ITS_OWN != 0
        && attributes(rest).all(|(kind, _)| ![FAR_END, OF_BRIDGE].contains(&kind));
    let (_, address) = attributes(rest).find(|(kind, _)| *kind == ADDRESS)?;
    let is_unicast = address.first()? & 1 == 0 && address.iter().any(|&byte| byte != 0);
    (is_its_own && is_unicast).then(|| (u32::from_ne_bytes(index), address.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::routes::tests::attribute;

    #[test]
    fn only_what_an_interface_takes_by_itself_counts() {
        let answer = |state: u16, flags: u8, attributes: &[Vec<u8>]| {
            let mut header = vec![7, 0, 0, 0];
            header.extend(5_u32.to_ne_bytes());
            header.extend(state.to_ne_bytes());
            header.extend([flags, 0]);
            header.extend(attributes.concat());
            header
        };
        let mac = [0x02, 0, 0, 0, 0, 9];
        let address = || attribute(2, &mac);
        let found = Some((5, mac.to_vec()));
        for (name, answer, expected) in [
            ("a macvlan's", answer(0x80, 2, &[address()]), found),
            ("multicast", answer(0x80, 2, &[attribute(2, &[0x33, 0x33, 0, 0, 0, 1])]), None),
            ("learned", answer(0x02, 2, &[address()]), None),
            ("a bridge's", answer(0x80, 4, &[address(), attribute(9, &[3, 0, 0, 0])]), None),
            ("a bridge's own", answer(0x80, 2, &[address(), attribute(9, &[3, 0, 0, 0])]), None),
            ("a tunnel's end", answer(0x80, 2, &[address(), attribute(1, &[192, 0, 2, 1])]), None),
            ("no address", answer(0x80, 2, &[attribute(2, &[0; 6])]), None),
            ("none", answer(0x80, 2, &[]), None),
            ("damaged", answer(0x80, 2, &[vec![9, 0, 2, 0]]), None),
            ("short", vec![7; 11], None),
        ] {
            assert_eq!(parse(&answer), expected, "{name}");
        }
    }
}

//! `conn_state` and `history`, as far as counts and or-ed flags say what they say.
//!
//! Zeek follows each packet; a record knows what each side has sent, and not in which order. So
//! letters stand in a fixed order, those of each event once, and those that count (`t`, `w`) for
//! the 1st, 10th, 100th … time, as Zeek has them. What no count of ours tells is left out: `a` (a
//! bare acknowledgement), `c`, `g`, `i`, `q`, `u`, `x`, `^`. Where both sides have sent a RST, the
//! responder's decides.

use crate::export::picked::{Picked, PickedSide};
use crate::flow::protocol;
use crate::flow::record::tcp_flags::{ACK, FIN, RST, SYN};

/// What became of the connection; of a part of a flow, what this part shows.
pub(super) fn conn_state(record: &Picked) -> Option<&'static str> {
    let (orig, resp) = (&record.src, &record.dst);
    let has_sent = |side: &PickedSide| side.packets.map(|packets| packets > 0);
    match record.protocol {
        _ if record.is_overflow() => Some("OTH"),
        Some(number) if number == u64::from(protocol::TCP) => {
            Some(of_tcp(orig.tcp_flags?, resp.tcp_flags?, record.tcp_state.get()))
        }
        Some(number) if number == u64::from(protocol::UDP) => {
            Some(match (has_sent(orig)?, has_sent(resp)?) {
                (true, true) => "SF",
                (true, false) => "S0",
                (false, true) => "SHR",
                (false, false) => "OTH",
            })
        }
        _ => Some("OTH"),
    }
}

fn of_tcp(orig: u64, resp: u64, state: Option<&str>) -> &'static str {
    let has = |flags: u64, flag: u8| flags & u64::from(flag) != 0;
    let [orig_syn, resp_syn] = [orig, resp].map(|flags| has(flags, SYN));
    if has(resp, RST) {
        return match (orig_syn, resp_syn) {
            (true, false) => "REJ",
            (true, true) => "RSTR",
            (false, _) => "RSTRH",
        };
    }
    if has(orig, RST) {
        return if resp_syn { "RSTO" } else { "RSTOS0" };
    }
    match (has(orig, FIN), has(resp, FIN)) {
        (true, true) => "SF",
        (true, false) => {
            if resp_syn {
                "S2"
            } else {
                "SH"
            }
        }
        (false, true) => {
            if orig_syn {
                "S3"
            } else {
                "SHR"
            }
        }
        (false, false) if orig_syn && resp == 0 => "S0",
        (false, false) if orig_syn && resp_syn && state == Some("established") => "S1",
        (false, false) => "OTH",
    }
}

/// What each side has done: the originator in capitals.
pub(super) fn history(record: &Picked) -> Option<String> {
    let mut letters = String::new();
    let sides = [(&record.src, true), (&record.dst, false)];
    let mut add = |letter: char, is_orig: bool, times: usize| {
        let letter = if is_orig { letter.to_ascii_uppercase() } else { letter };
        letters.extend(std::iter::repeat_n(letter, times));
    };
    let flags = |side: &PickedSide| side.tcp_flags.unwrap_or(0);
    let has = |side: &PickedSide, flag: u8| flags(side) & u64::from(flag) != 0;
    for (side, is_orig) in sides.into_iter().filter(|(side, _)| has(side, SYN)) {
        // An initiator begins with a bare SYN; it may acknowledge later.
        add(if !is_orig && has(side, ACK) { 'h' } else { 's' }, is_orig, 1);
    }
    for (side, is_orig) in sides {
        add('d', is_orig, usize::from(side.payload_bytes.unwrap_or(0) > 0));
        add('t', is_orig, powers_of_ten(side.retransmits));
        add('w', is_orig, powers_of_ten(side.zero_windows));
    }
    for (letter, flag) in [('f', FIN), ('r', RST)] {
        for (side, is_orig) in sides {
            add(letter, is_orig, usize::from(has(side, flag)));
        }
    }
    (!letters.is_empty()).then_some(letters)
}

/// How many of 1, 10, 100 and so on the count has reached.
fn powers_of_ten(count: Option<u64>) -> usize {
    count.and_then(u64::checked_ilog10).map_or(0, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_say_what_became_of_a_connection() {
        let established = Some("established");
        for (orig, resp, state, want) in [
            (SYN, 0, Some("half_open"), "S0"),
            (SYN | ACK, SYN | ACK, established, "S1"),
            (SYN, SYN | ACK, Some("half_open"), "OTH"),
            (SYN | ACK | FIN, SYN | ACK | FIN, Some("closed"), "SF"),
            (SYN | ACK | FIN, SYN | ACK, established, "S2"),
            (SYN | ACK, SYN | ACK | FIN, established, "S3"),
            (SYN, RST | ACK, Some("reset"), "REJ"),
            (SYN | ACK | RST, SYN | ACK, Some("reset"), "RSTO"),
            (SYN | ACK, SYN | ACK | RST, Some("reset"), "RSTR"),
            (SYN | RST, 0, Some("reset"), "RSTOS0"),
            (0, SYN | ACK | RST, Some("reset"), "RSTRH"),
            (SYN | FIN, 0, Some("half_open"), "SH"),
            (0, SYN | ACK | FIN, Some("half_open"), "SHR"),
            (ACK, ACK, Some("midstream"), "OTH"),
        ] {
            assert_eq!(of_tcp(orig.into(), resp.into(), state), want, "{orig:02x} {resp:02x}");
        }
    }

    #[test]
    fn letters_of_a_count_stand_for_powers_of_ten() {
        let counts = [None, Some(0), Some(1), Some(9), Some(10), Some(100), Some(u64::MAX)];
        assert_eq!(counts.map(powers_of_ten), [0, 0, 1, 1, 2, 3, 20]);
    }
}

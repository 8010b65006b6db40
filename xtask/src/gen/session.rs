//! TLS sessions over TCP, of an exact number of packets: handshake, a ClientHello with the
//! server's name (some longer than a segment), a ServerHello, records with data, FIN both ways.
//! TLS 1.2 sessions are taken up again by a ticket, which needs no certificate: in 1.2 it would
//! be there to read, and would have to be one. Called by [`super::mix`].

use super::flow::{Ends, Packet};
use super::host::Host;
use super::rng::Rng;
use super::tcp::Talk;
use super::tls::{self, Style};

/// A handshake of three; a hello in two segments; an answer in at most six and two
/// acknowledgements; Finished; a request; an answer; four to close.
pub(crate) const MIN_PACKETS: u64 = 20;
/// FIN both ways.
const CLOSE_PACKETS: u64 = 4;
/// The tag of an AEAD cipher and the type of the content, which a record has beside its data.
const OVERHEAD: u16 = 17;
/// So many full segments are less than the 16 KiB a record may have.
const RECORD_SEGMENTS: u64 = 11;
const MILLISECOND: u64 = 1_000_000;

/// The name that is asked for.
pub(crate) fn name(server: Host) -> String {
    server.names().swap_remove(0)
}

/// The packets of one session: `count` of them, at least [`MIN_PACKETS`].
pub(crate) fn packets(ends: &Ends, count: u64, rng: &mut Rng) -> Vec<Packet> {
    let style = Style::draw(rng);
    let session_id = tls::bytes(32, rng).try_into().expect("32 bytes");
    let hello = tls::client_hello(style, &name(ends.server), session_id, rng);
    let answer = tls::server_hello(style, session_id, rng);
    let mut talk = Talk::new(ends, count, rng);
    talk.shake_hands();
    talk.wait_between(50, 3_000, 1_000);
    talk.stream(true, &hello, hello.len());
    talk.wait(talk.server_trip_ns);
    talk.agree(style, answer);
    talk.exchange_records(style);
    talk.close();
    talk.packets
}

impl Talk<'_> {
    /// All that comes before the first record of data.
    fn agree(&mut self, style: Style, mut answer: Vec<u8>) {
        // Certificate and its proof; a session that is taken up again has only Finished.
        let hidden = if style.is_13 { self.rng.length(1_900, 4_200) } else { 40 };
        answer.extend(tls::encrypted(style, true, hidden));
        let len = answer.len() + usize::from(hidden);
        self.stream(false, &answer, len);
        self.wait(self.client_trip_ns);
        let hidden = if style.is_13 { 36 + OVERHEAD } else { 40 };
        let mut finished = tls::change_cipher_spec().to_vec();
        finished.extend(tls::encrypted(style, true, hidden));
        self.stream(true, &finished, finished.len() + usize::from(hidden));
    }

    /// Requests and answers, each some records, until there is just room to close.
    fn exchange_records(&mut self, style: Style) {
        while self.left() > CLOSE_PACKETS {
            let len = self.rng.length(OVERHEAD + 40, 900);
            self.wait_between(50, 3_000, 1_000);
            self.record(style, true, len);
            self.wait(self.server_trip_ns);
            let mut segments = (self.rng.weight() * self.rng.between(1, 6)).min(4_096);
            while segments > 0 && self.left() > CLOSE_PACKETS {
                // So many fit with an acknowledgement between every two.
                let fit = (2 * (self.left() - CLOSE_PACKETS)).div_ceil(3);
                let now = segments.min(fit).min(RECORD_SEGMENTS);
                let full = (now - 1) * u64::from(self.max_payload);
                let full = u16::try_from(full).expect("a record has less than 16 KiB");
                let last = self.rng.length(5 + OVERHEAD + 1, self.max_payload);
                self.record(style, false, full + last - 5);
                segments -= now;
            }
            if self.rng.percent(20) {
                self.wait_between(5, 200, MILLISECOND);
            }
        }
    }

    /// A record of encrypted data, in as many segments as it takes.
    fn record(&mut self, style: Style, from_client: bool, len: u16) {
        self.stream(from_client, &tls::encrypted(style, false, len), 5 + usize::from(len));
    }
}

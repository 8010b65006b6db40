//! Sends traffic instead of writing it: simple mixes by live frames of templates, all from
//! clients to servers, others frame by frame as they would be in the file. Called by
//! [`super::run`], and [`Feed`] by whoever wants frames in numbers.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use super::flow::{Body, Ends, Options, Packet, Segment, TCP, Tags, UDP, flags};
use super::frame::Framer;
use super::host::{Host, Side};
use super::mix::EPOCH_NS;
use super::plan::{Plan, Traffic};
use super::stream::{CLIENTS, FIRST_CLIENT, FIRST_PORT, FIRST_SERVER, PORTS, Sizes, Wishes};
use super::truth::Truth;
use super::{number, scan};
use crate::live::feed::{self, Job, Sent, Way};
use crate::live::link::Target;
use crate::live::orders::{MAX_TEMPLATES, Spread, Template};
use crate::live::pace::Rate;
use crate::live::socket::Socket;

/// Being late by more than this is not made up for: the rate is a bound, for receivers' sake.
const FORGIVEN: Duration = Duration::from_millis(10);

/// Frames of one kind, and the ends they are spread over.
pub(crate) struct Feed {
    /// Of UDP; else SYNs of TCP, which have none.
    sizes: Option<Sizes>,
    spread: Spread,
    way: Way,
}

/// How live frames do for this mix, if they do.
pub(super) fn feed(traffic: &Traffic, wishes: &Wishes) -> Option<Feed> {
    let plain = Wishes { sizes: None, bits_per_second: None, ..wishes.clone() };
    match traffic {
        _ if plain != Wishes::default() => None,
        Traffic::Stream(shape) if shape.is_alike() => {
            Some(Feed::udp(wishes.sizes.clone().unwrap_or_else(|| shape.client_sizes())))
        }
        Traffic::Stream(shape) if shape.is_flood() && wishes.sizes.is_none() => Some(Feed::syns()),
        Traffic::Scan => Some(Feed::scan()),
        _ => None,
    }
}

/// Clients that send to one server, as in the streamed mixes.
fn clients() -> Spread {
    let short = number::low16;
    Spread {
        to: (short(FIRST_SERVER), 1),
        from: (short(FIRST_CLIENT), number::low32(CLIENTS)),
        ports: (short(FIRST_PORT), number::low32(PORTS)),
    }
}

/// The MAC and the IPv4 address that these frames are sent to.
pub(crate) fn receiver() -> (String, Ipv4Addr) {
    let server = Host { side: Side::B, number: number::low16(FIRST_SERVER) };
    (server.mac().map(|byte| format!("{byte:02x}")).join(":"), server.ipv4())
}

impl Feed {
    /// UDP frames of these lengths.
    pub(crate) fn udp(sizes: Sizes) -> Self {
        Self { sizes: Some(sizes), spread: clients(), way: Way::Out }
    }

    /// SYNs of TCP from clients to a server.
    pub(crate) fn syns() -> Self {
        Self { sizes: None, spread: clients(), way: Way::Out }
    }

    /// SYNs of TCP to many servers.
    pub(crate) fn scan() -> Self {
        Self { sizes: None, spread: scan::spread(), way: Way::Out }
    }

    /// The same, another way.
    pub(crate) fn by(self, way: Way) -> Self {
        Self { way, ..self }
    }

    /// Sends so many frames of so many flows, as fast as it goes or at a rate, by live frames.
    /// Each flow has one direction; the truth has no flows but their number.
    ///
    /// # Errors
    /// If there are more flows than frames, or the target takes no live frames.
    pub(crate) fn send(
        self,
        target: &Target,
        packets: u64,
        flows: u64,
        seed: u64,
        rate: Option<Rate>,
    ) -> Result<(Truth, Sent), String> {
        let (job, ip_lens) = self.job(packets, flows, seed, rate)?;
        let sent = feed::send(target, &job)?;
        let mut truth =
            Truth { frames: sent.frames, frame_bytes: sent.frame_bytes, ..Truth::default() };
        truth.totals.flows = flows;
        truth.totals.packets = sent.frames;
        truth.totals.bytes = sent.by_template.iter().zip(ip_lens).map(|(n, len)| n * len).sum();
        Ok((truth, sent))
    }

    /// What to order, and the lengths of the templates' IP packets.
    pub(crate) fn job(
        self,
        packets: u64,
        flows: u64,
        seed: u64,
        rate: Option<Rate>,
    ) -> Result<(Job, Vec<u64>), String> {
        let room = self.spread.room();
        if packets < flows || flows > room {
            return Err(format!(
                "{packets} packets in {flows} flows: ask for a packet for each flow, and {room} \
                 flows at most"
            ));
        }
        if self.sizes.as_ref().is_some_and(|sizes| sizes.0.len() > MAX_TEMPLATES) {
            return Err(format!(
                "live frames have {MAX_TEMPLATES} lengths at most; --frame-by-frame takes more"
            ));
        }
        let (templates, ip_lens): (Vec<_>, Vec<_>) = self.templates(seed).into_iter().unzip();
        let job = Job {
            templates,
            spread: self.spread,
            frames: packets,
            flows: u32::try_from(flows).map_err(|_| format!("{flows} flows: too many"))?,
            seed,
            rate,
            way: self.way,
        };
        Ok((job, ip_lens))
    }

    /// Templates, and how long their IP packets are.
    fn templates(&self, seed: u64) -> Vec<(Template, u64)> {
        let framer = Framer::new(seed);
        let host = |side, number| Host { side, number };
        let is_udp = self.sizes.is_some();
        let ends = Ends {
            client: host(Side::A, self.spread.from.0),
            server: host(Side::B, self.spread.to.0),
            ipv6: false,
            protocol: if is_udp { UDP } else { TCP },
            client_port: self.spread.ports.0,
            server_port: if is_udp { 9_000 } else { 443 },
            tags: Tags::None,
        };
        let make = |body, weight| {
            let mut frame = vec![];
            let packet = Packet { at_ns: 0, from_client: true, body };
            let facts = framer.write(&mut frame, &ends, &packet, 0);
            (Template { frame, weight }, facts.ip_bytes)
        };
        match &self.sizes {
            Some(Sizes(sizes)) => {
                let headers = 14 + 20 + 8;
                let udp = |len: u16| Body::Udp { len: len.saturating_sub(headers) };
                sizes.iter().map(|&(len, weight)| make(udp(len), weight)).collect()
            }
            None => {
                let segment = Segment {
                    flags: flags::SYN,
                    sequence: 0,
                    acknowledged: 0,
                    window: 64_240,
                    len: 0,
                    options: Options::None,
                };
                vec![make(Body::Tcp(segment), 1)]
            }
        }
    }
}

/// Sends a mix frame by frame, at the times of its capture if `is_timed`.
pub(super) fn send_frames(
    target: &Target,
    plan: &Plan,
    keep_flows: bool,
    is_timed: bool,
) -> Result<(Truth, Sent), String> {
    target.inside(|| {
        let mut socket = Socket::open(&target.interface)?;
        let before = target.sent_packets()?;
        let start = Instant::now();
        let mut began = start;
        let truth = plan.play(keep_flows, |at_ns, frame| {
            if is_timed {
                let due = began + Duration::from_nanos(at_ns - EPOCH_NS);
                let now = Instant::now();
                if let Some(early) = due.checked_duration_since(now) {
                    socket.flush()?;
                    thread::sleep(early);
                } else if now - due > FORGIVEN {
                    began += now - due;
                }
            }
            socket.send(frame)
        })?;
        socket.flush()?;
        let elapsed = start.elapsed();
        let sent = Sent {
            frames: socket.sent_frames,
            frame_bytes: socket.sent_bytes,
            elapsed,
            counted: target.sent_since(before, socket.sent_frames)?,
            by_template: vec![],
        };
        Ok((truth, sent))
    })
}

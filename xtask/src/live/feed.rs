//! Sending by live frames: the kernel makes frames of templates by itself and runs a small
//! program (`ebpf/src/feed.rs`) on each, which gives it an end of its own and redirects it to the
//! interface. Some two million a second over a veth, four times what a socket sends.
//! Or it hands each to the XDP program of the interface, or to the host if there is none, as if the
//! interface had received it: several times as many, as there is no link between. Refuses IPv6,
//! VLAN tags and IP options, which the program does not know.
//! <https://docs.kernel.org/bpf/bpf_prog_run.html>

use std::io;
use std::time::{Duration, Instant};

use aya::maps::{Array, MapData, MapError, ProgramArray};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, loaded_programs};
use aya::{Ebpf, Pod};

use super::link::Target;
use super::orders::{Kind, Orders, Spread, State, Template, kinds, orders, state};
use super::pace::{Pace, Rate};

#[cfg(test)]
mod tests;

/// As `cargo xtask ebpf` built it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/feed.bpf.o");

/// Frames that the kernel makes before it sends them, at most.
const BATCH_FRAMES: u32 = 64;
/// For so long the kernel may be busy with a batch and nothing else on its processor.
const BATCHES_A_SECOND: u32 = 5_000;
/// Frames of one run, which takes 25 ms to begin and end.
const RUN_FRAMES: u64 = 1 << 22;
/// Below this rate frames go one by one, as a run of one costs little; above it the program
/// waits between frames.
const SLOW_NS: u64 = 100_000;

/// What to send.
pub(crate) struct Job {
    /// From one to [`super::orders::MAX_TEMPLATES`], each the beginning of the longest.
    pub(crate) templates: Vec<Template>,
    pub(crate) spread: Spread,
    /// Exactly so many.
    pub(crate) frames: u64,
    /// Exactly so many, at most as many as frames. Each is there once before any comes again.
    pub(crate) flows: u32,
    pub(crate) seed: u64,
    /// As fast as it goes, if none.
    pub(crate) rate: Option<Rate>,
    pub(crate) way: Way,
}

/// Which way frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Out on the interface.
    Out,
    /// Into its XDP program, or the host if it has none, as if they came in on its first queue.
    In,
}

/// What was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) frames: u64,
    pub(crate) frame_bytes: u64,
    pub(crate) elapsed: Duration,
    /// Frames that the interface counted meanwhile; a veth does when its other end takes them.
    pub(crate) counted: u64,
    /// How many of each template.
    pub(crate) by_template: Vec<u64>,
}

/// Sends, and returns when the interface has counted what was sent.
///
/// # Errors
/// If the interface is not one to send on or takes nothing, or the kernel does not do it.
pub(crate) fn send(target: &Target, job: &Job) -> Result<Sent, String> {
    let room = job.spread.room();
    assert!(u64::from(job.flows) <= room.min(job.frames), "every flow has ends and a frame");
    target.inside(|| {
        let feed = Feed::load(target, job)?;
        let before = target.sent_packets()?;
        let mut sent = feed.run(job)?;
        if job.way == Way::In {
            // Whoever receives has had each; no interface counts them.
            return Ok(Sent { counted: sent.frames, ..sent });
        }
        sent.counted = target.sent_since(before, sent.frames)?;
        if sent.counted == 0 {
            return Err(format!(
                "send live frames on {}: none got there; the other end of a veth takes them only \
                 if it is up and has an XDP program (flowtap capture --mode tap) or GRO (ethtool \
                 -K PEER gro on)",
                target.interface
            ));
        }
        Ok(sent)
    })
}

/// The program, loaded.
struct Feed<'a> {
    interface: &'a str,
    object: Ebpf,
    /// The longest template.
    whole: Vec<u8>,
    /// `struct xdp_md` of the frames (linux/bpf.h), where the kernel is not to choose it.
    context: Option<[u8; 24]>,
    is_slow: bool,
    batch: u32,
}

impl<'a> Feed<'a> {
    fn load(target: &'a Target, job: &Job) -> Result<Self, String> {
        let interface = &target.interface;
        let index = target.index()?;
        let frames = job.templates.iter().map(|template| &template.frame);
        let whole = frames.max_by_key(|frame| frame.len()).expect("there is one").clone();
        let max_len = target.max_frame_len()?;
        if whole.len() > max_len {
            return Err(format!(
                "send live frames of {} bytes on {interface}: its MTU allows {max_len}; `ip link \
                 set mtu` changes that",
                whole.len()
            ));
        }
        let (program_id, context) = match job.way {
            Way::Out => (None, None),
            Way::In => (target.xdp_program()?, Some(context(index, whole.len()))),
        };
        let interval_ns = job.rate.map_or(0, |rate| rate.interval_ns(whole.len() as u64));
        let is_slow = interval_ns > SLOW_NS;
        let load = || {
            let mut object = Ebpf::load(OBJECT)?;
            let program: &mut Xdp = object.program_mut("feed").expect("it is there").try_into()?;
            program.load()?;
            let mut state: State = [0; state::COUNT];
            (state[state::MADE], state[state::RANDOM], state[state::DUE_NS]) = (0, job.seed, 0);
            array::<State>(&mut object, "STATE")?.set(0, state, 0)?;
            if let Some(id) = program_id {
                receive(&mut object, id)?;
            } else if job.way == Way::In {
                eprintln!(
                    "gen: the host receives the frames: no XDP program is attached to {interface}"
                );
            }
            let orders = orders(index, job.flows, &job.spread, &whole, job.way);
            array::<Orders>(&mut object, "ORDERS")?.set(0, orders, 0)?;
            let rate = job.rate.filter(|_| !is_slow);
            let mut places = array::<Kind>(&mut object, "KIND")?;
            for (place, kind) in (0..).zip(kinds(&job.templates, &whole, rate)) {
                places.set(place, kind, 0)?;
            }
            Ok::<_, aya::EbpfError>(object)
        };
        let object = load().map_err(|error| failed("load the program for", interface, &error))?;
        let a_second = 1_000_000_000_u64.checked_div(interval_ns).unwrap_or(u64::MAX);
        let batch = u32::try_from(a_second).unwrap_or(u32::MAX) / BATCHES_A_SECOND;
        Ok(Self { interface, object, whole, context, is_slow, batch: batch.clamp(1, BATCH_FRAMES) })
    }

    fn run(&self, job: &Job) -> Result<Sent, String> {
        let mut pace = job.rate.filter(|_| self.is_slow).map(Pace::new);
        let mut made = self.made(job)?;
        let began = Instant::now();
        let mut done = 0;
        while done < job.frames {
            let count = if self.is_slow { 1 } else { RUN_FRAMES.min(job.frames - done) };
            if let Some(pace) = &mut pace {
                let now = self.made(job)?;
                pace.wait(1, now.frame_bytes - made.frame_bytes);
                made = now;
            }
            self.make(count)?;
            done += count;
        }
        let sent = Sent { elapsed: began.elapsed(), ..self.made(job)? };
        if sent.frames != job.frames {
            return Err(format!(
                "send live frames on {}: the kernel made {} of {}; try again",
                self.interface, sent.frames, job.frames
            ));
        }
        Ok(sent)
    }

    /// Has so many frames made and sent.
    fn make(&self, count: u64) -> Result<(), String> {
        let program = self.object.program("feed").expect("it is there");
        let options = TestRunOptions {
            data_in: Some(&self.whole),
            ctx_in: self.context.as_ref().map(<[u8; 24]>::as_slice),
            repeat: u32::try_from(count).expect("a run"),
            attrs: TestRunAttrs::new().xdp_live_frames(self.batch),
            ..TestRunOptions::default()
        };
        <&Xdp>::try_from(program)
            .and_then(|program| program.test_run(options))
            .map(drop)
            .map_err(|error| failed("send", self.interface, &error.into()))
    }

    /// What the program has counted.
    fn made(&self, job: &Job) -> Result<Sent, String> {
        let map = self.object.map("SENT").expect("it is there");
        let count = || {
            let map = Array::<&MapData, u64>::try_from(map)?;
            let counts = (0..).zip(&job.templates).map(|(place, _)| map.get(&place, 0));
            counts.collect::<Result<Vec<u64>, MapError>>()
        };
        let by_template =
            count().map_err(|error| failed("count", self.interface, &error.into()))?;
        let lengths = job.templates.iter().map(|template| template.frame.len() as u64);
        Ok(Sent {
            frames: by_template.iter().sum(),
            frame_bytes: by_template.iter().zip(lengths).map(|(count, len)| count * len).sum(),
            elapsed: Duration::ZERO,
            counted: 0,
            by_template,
        })
    }
}

/// Says that the frames come in on the first queue of an interface.
fn context(interface: u32, frame_len: usize) -> [u8; 24] {
    let end = u32::try_from(frame_len).expect("frames are short");
    // data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
    let words = [0, end, 0, interface, 0, 0].map(u32::to_ne_bytes);
    *words.as_flattened().first_chunk().expect("six words")
}

/// Has a program get the frames.
fn receive(object: &mut Ebpf, program_id: u32) -> Result<(), aya::EbpfError> {
    let mut receiver = ProgramArray::try_from(object.map_mut("RECEIVER").expect("it is there"))?;
    for program in loaded_programs() {
        let program = program?;
        if program.id() == program_id {
            receiver.set(0, &program.fd()?, 0)?;
        }
    }
    Ok(())
}

/// A map of the program, which is there.
fn array<'o, T: Pod>(
    object: &'o mut Ebpf,
    name: &str,
) -> Result<Array<&'o mut MapData, T>, MapError> {
    Array::try_from(object.map_mut(name).expect("it is there"))
}

/// One line: operation, interface, cause, and what to do about it.
fn failed(operation: &str, interface: &str, error: &aya::EbpfError) -> String {
    let mut cause = error.to_string();
    let mut advice = "";
    let mut source = Some(error as &dyn std::error::Error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            cause = error.to_string();
            advice = match error.kind() {
                io::ErrorKind::PermissionDenied => "; run it as root",
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => {
                    "; live frames need Linux 5.18, and --frame-by-frame does without"
                }
                _ => "",
            };
        }
        source = error.source();
    }
    let cause = cause.lines().next().unwrap_or_default().to_lowercase();
    format!("{operation} live frames on {interface}: {cause}{advice}")
}

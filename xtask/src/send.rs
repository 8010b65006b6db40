//! `cargo xtask send`: replays a capture on an interface, frame by frame as recorded, with a
//! steady rate. Refuses interfaces that are not veth, so that nobody replays onto a real network
//! by accident.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::r#gen::pcap;
use crate::live::link::Target;
use crate::live::pace::{Pace, Rate};
use crate::live::socket::Socket;

/// What to send, where, how fast.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A capture (classic pcap, Ethernet)
    file: PathBuf,
    #[command(flatten)]
    target: Target,
    /// Packets per second, at most
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// How many times to send the file
    #[arg(long, default_value_t = 1)]
    loops: u64,
}

/// Sends the file and says on standard error what was sent.
///
/// # Errors
/// If the interface is missing, real, or down, or the file is not one we can send.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    args.target.inside(|| {
        let mut socket = Socket::open(&args.target.interface)?;
        let mut pace = Pace::new(Rate::Packets(args.rate));
        let began = Instant::now();
        for _ in 0..args.loops {
            send_file(&args.file, &mut socket, &mut pace)?;
        }
        let (frames, bytes) = (socket.sent_frames, socket.sent_bytes);
        let seconds = began.elapsed().as_secs_f64();
        let interface = &args.target.interface;
        eprintln!("send: {frames} frames, {bytes} bytes on {interface} in {seconds:.2} s");
        Ok(())
    })
}

fn send_file(path: &Path, socket: &mut Socket, pace: &mut Pace) -> Result<(), String> {
    let failed = |cause: String| format!("send {}: {cause}", path.display());
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut input = BufReader::with_capacity(1 << 20, file);
    let mut frame = vec![];
    pcap::read_header(&mut input).map_err(failed)?;
    while pcap::read_frame(&mut input, &mut frame).map_err(failed)? {
        pace.wait(1, frame.len() as u64);
        socket.send(&frame)?;
        // At this rate frames go one by one.
        socket.flush()?;
    }
    Ok(())
}

//! A bare AF_XDP receiver: the program, the sockets and the waiting of `capture`, and nothing
//! behind them but counting. It is the ceiling that `cargo xtask bench live` holds meters
//! against.
//!
//! `cargo bench --bench receive -- IF` counts what comes on a veth until it gets TERM, and says
//! how much that was, as JSON; with `packet` behind it, each has a time stamp; with `drop`, the XDP
//! program drops all of them by its filter and counts, and nothing comes up. The tests have no
//! interface for it, and it says so.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flowtap::limits::BATCH_PACKETS;
use flowtap::source::afxdp::{Tap, TapConfig, TapQueue, Timestamps};
use flowtap::xdp::filter::{Action, KernelFilter};

/// How long a queue waits for frames before it looks whether to stop.
const WAIT: Duration = Duration::from_millis(20);

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let Some(interface) = words.next() else {
        println!("receive: not run: it needs an interface (cargo bench --bench receive -- IF)");
        return Ok(());
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mode = words.next().unwrap_or_default();
    let timestamps = if mode == "packet" { Timestamps::Packet } else { Timestamps::Batch };
    let nothing = KernelFilter { action: Action::Reject, ..KernelFilter::default() };
    let filter = (mode == "drop").then_some(nothing);
    // To the host's own addresses, too: the link is made for this.
    let config = TapConfig { timestamps, filter, force: true, ..TapConfig::new(interface) };
    let (mut tap, queues) = Tap::open(&config)?;
    queues.iter().try_for_each(|queue| tap.begin(queue))?;
    eprintln!("receiving on {}: {}", tap.interface(), tap.description());
    let (mut received, mut dropped, mut bytes) = (0, 0, 0);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            queues.into_iter().map(|queue| scope.spawn(|| count(queue, &stop))).collect();
        for thread in threads {
            let (frames, frame_bytes, drops) = thread.join().expect("it does not panic");
            received += frames;
            bytes += frame_bytes;
            dropped += drops;
        }
    });
    let counters = tap.counters()?;
    let (seen, filtered) = (counters.seen, counters.filtered);
    tap.detach()?;
    println!(
        "{{\"seen\":{seen},\"filtered\":{filtered},\"received\":{received},\"dropped\":{dropped},\"bytes\":{bytes}}}"
    );
    Ok(())
}

/// Frames, their bytes by what their IPv4 headers say, and drops of one queue.
fn count(mut queue: TapQueue, stop: &AtomicBool) -> (u64, u64, u64) {
    let (mut frames, mut bytes, mut newest) = (0, 0, None);
    loop {
        let came = queue.receive(BATCH_PACKETS, |frame, _, time| {
            // Looks at each frame, as whoever receives for some purpose does.
            newest = newest.max(time);
            bytes += frame.get(16..18).map_or(0, |len| u64::from(len[0]) << 8 | u64::from(len[1]));
        });
        frames += came as u64;
        if came == 0 {
            // Relaxed: a request is about itself only.
            if stop.load(Ordering::Relaxed) || queue.wait(WAIT, None).is_err() {
                break;
            }
        }
    }
    std::hint::black_box(newest);
    let drops = queue.drops().unwrap_or_default();
    let dropped = drops.rx_ring_full + drops.fill_ring_empty + drops.oversize + drops.invalid;
    (frames, bytes, dropped)
}

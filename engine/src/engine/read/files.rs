//! One file after the other, frame by frame, to where packets go.

use std::path::PathBuf;

use super::Shared;
use super::packets::PacketSink;
use crate::decode::Decoder;
use crate::engine::Settings;
use crate::engine::stage::{admit, decode, note};
use crate::error::{Error, Result};
use crate::export::intervals::IntervalsPlan;
use crate::filter::AnyLinkFilter;
use crate::flow::KeyHasher;
use crate::ledger::Accounts;
use crate::source::pcap::CaptureFile;
use crate::sync::Ordering;
use crate::time::Tick;

/// Packets between two looks at whether to stop.
const STOP_EVERY: u64 = 1_024;

/// The thread that owns the files.
pub(super) struct Reader<'a> {
    pub(super) settings: &'a Settings,
    pub(super) accounts: &'a Accounts,
    pub(super) shared: &'a Shared,
    pub(super) files: &'a [PathBuf],
    pub(super) hasher: KeyHasher,
    /// If statistics of them are wanted.
    pub(super) intervals: Option<&'a IntervalsPlan>,
}

/// What the reader takes from file to file.
struct State<'a> {
    filter: Option<AnyLinkFilter<'a>>,
    decoder: Decoder,
    /// Packets that may still be read.
    left: u64,
    /// Bytes of the files before this one.
    bytes_before: u64,
}

impl Reader<'_> {
    /// Reads all files to their end. Returns what failed, and the packet clock at the end.
    pub(super) fn run(
        &self,
        first: CaptureFile,
        packets: &mut impl PacketSink,
    ) -> (Vec<Error>, Tick) {
        let mut decoder = Decoder::new(self.hasher.clone())
            .with_tunnels(self.settings.tunnels)
            .with_encapsulations(&self.shared.encapsulations);
        if let Some(plan) = self.intervals {
            decoder = decoder.with_aligned_clock(plan.every_ns, &plan.calendar);
        }
        let mut state = State {
            filter: self.settings.filter.as_deref().map(AnyLinkFilter::new),
            decoder,
            left: self.settings.count.unwrap_or(u64::MAX),
            bytes_before: 0,
        };
        let mut errors = Vec::new();
        let mut opened = Some(first);
        for (idx, path) in self.files.iter().enumerate() {
            let file = opened.take().map_or_else(
                || {
                    // A pipe may let us wait.
                    packets.pause();
                    CaptureFile::open(path, &self.shared.stop)
                },
                Ok,
            );
            let result = file.and_then(|mut file| {
                let result = self.run_file(idx, &mut file, &mut state, packets);
                self.accounts.sources[idx].untimed.set(file.untimed_frames());
                state.bytes_before += file.progress().0;
                result
            });
            // A pipe that was left at a stop may have ended inside a packet.
            if let Err(error) = result
                && !self.shared.stop.is_made()
            {
                self.accounts.sources[idx].file_errors.add(1);
                errors.push(error);
            }
            if state.left == 0 || self.shared.stop.is_made() {
                break;
            }
        }
        let end = state.decoder.tick();
        (errors, end)
    }

    fn run_file(
        &self,
        idx: usize,
        file: &mut CaptureFile,
        state: &mut State<'_>,
        packets: &mut impl PacketSink,
    ) -> Result<()> {
        let State { filter, decoder, left, bytes_before } = state;
        decoder.set_interface(u16::try_from(idx).unwrap_or(u16::MAX));
        let (source, counters) = (&self.accounts.sources[idx], &self.accounts.receives[0][idx]);
        let (mut seen, mut looked) = (0, 0);
        while *left > 0 {
            if seen >= looked {
                looked = seen + STOP_EVERY;
                if self.shared.stop.is_made() {
                    break;
                }
                // Relaxed: for show.
                let taken = *bytes_before + file.progress().0;
                self.shared.taken_bytes.store(taken, Ordering::Relaxed);
            }
            if !file.is_next_here() {
                packets.pause();
            }
            let Some(frames) = file.frames()? else { break };
            for frame in frames {
                let accepts = match filter {
                    // A frame that it does not suit ends the file, as damage does. It is lent a
                    // copy, here as below: so the frame itself stays in registers.
                    Some(filter) => filter.accepts(&{ frame }, &self.accounts.names[idx])?,
                    None => true,
                };
                seen += 1;
                source.seen.set(seen);
                *left -= 1;
                if !admit(accepts, counters) {
                    continue;
                }
                match decode(decoder, &frame, counters, packets.next()) {
                    Ok(payload) => {
                        packets.hand_over(&frame, payload);
                        packets.keep();
                    }
                    Err(cause) => {
                        packets.hand_over_announcement(&{ frame }, cause, decoder.tick());
                    }
                }
                // What is not taken comes again.
                if *left == 0 || seen >= looked {
                    break;
                }
            }
        }
        note(decoder, counters);
        Ok(())
    }
}

//! Fifty-six expressions on all captures: what tcpdump accepts, we accept.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use flowtap::filter::Filter;
use flowtap::source::pcap::CaptureFile;
use flowtap::source::{Frame, LinkType};
use flowtap::sync::StopRequest;
use libtest_mimic::Failed;

use super::expressions::EXPRESSIONS;
use crate::program::folder;
use crate::{Outcome, captures, ensure};

/// The frames of all captures that have a link type: where they are from, their length on the
/// wire and their bytes.
type Captured = Vec<(String, u32, Vec<u8>)>;

/// All frames of all captures, by link type, as far as they can be read.
fn captured() -> Result<BTreeMap<u16, Captured>, Failed> {
    let mut links: BTreeMap<u16, Captured> = BTreeMap::new();
    for path in captures::files() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut file = CaptureFile::open(&path, &StopRequest::default())?;
        while let Ok(Some(frame)) = file.next_frame() {
            let frames = links.entry(frame.link.0).or_default();
            let from = format!("{name}, frame {} of its link type", frames.len());
            frames.push((from, frame.wire_len, frame.bytes.to_vec()));
        }
    }
    Ok(links)
}

/// They as one capture file, in which the time of each is its number.
fn as_file(link: u16, frames: &Captured) -> Vec<u8> {
    let header = [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 262_144, u32::from(link)];
    let mut file: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (number, (_, wire_len, bytes)) in (0..).zip(frames) {
        let captured = u32::try_from(bytes.len()).expect("a frame is short");
        let record = [number, 0_u32, captured, *wire_len];
        file.extend(record.iter().flat_map(|word| word.to_le_bytes()));
        file.extend(bytes);
    }
    file
}

/// The numbers of the frames that tcpdump accepts, or what it says of the expression.
fn tcpdump(file: &Path, expression: &str) -> Result<Vec<usize>, String> {
    // It would read as somebody who may read less.
    let mut command = Command::new("tcpdump");
    command.args(["-Z", "root", "-s", "0", "-w", "-", "-r"]).arg(file).arg(expression);
    let output = command.output().unwrap_or_else(|e| panic!("tcpdump: {e}"));
    let Some((_, mut rest)) = output.stdout.split_at_checked(24) else {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    };
    let mut numbers = Vec::new();
    while let Some((header, behind)) = rest.split_first_chunk::<16>() {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
        numbers.push(word(0) as usize);
        rest = &behind[word(8) as usize..];
    }
    Ok(numbers)
}

/// The numbers of the frames that our filter accepts, or what it says.
fn ours(link: u16, frames: &Captured, expression: &str) -> Result<Vec<usize>, String> {
    let filter = Filter::new(expression).map_err(|e| e.to_string())?;
    let link = LinkType(link);
    let filter = filter.for_link(link, "it").map_err(|e| e.to_string())?;
    let accepts = |(_, wire_len, bytes): &(_, u32, Vec<u8>)| {
        filter.accepts(&Frame { bytes, wire_len: *wire_len, timestamp: None, link })
    };
    let numbered = frames.iter().enumerate();
    Ok(numbered.filter(|(_, frame)| accepts(frame)).map(|(number, _)| number).collect())
}

/// Both accept the same frames of all captures, or refuse the expression. Each accepts some and
/// rejects some.
pub(super) fn same() -> Outcome {
    let (folder, links) = (folder(), captured()?);
    let mut accepted = [0; EXPRESSIONS.len()];
    for (&link, frames) in &links {
        let file = folder.path().join("all.pcap");
        fs::write(&file, as_file(link, frames))?;
        for (expression, accepted) in EXPRESSIONS.iter().zip(&mut accepted) {
            match (tcpdump(&file, expression), ours(link, frames, expression)) {
                (Ok(theirs), Ok(ours)) => {
                    let differs = theirs.iter().zip(&ours).find(|(a, b)| a != b);
                    let first = differs.map(|(a, b)| &frames[*a.min(b)].0);
                    let counts = format!("{} of tcpdump's, {} of ours", theirs.len(), ours.len());
                    let text = format!("'{expression}', link type {link}: {counts}; {first:?}");
                    ensure(theirs == ours, text)?;
                    *accepted += ours.len();
                }
                (Err(theirs), Err(ours)) => {
                    let said = theirs.trim().rsplit(": ").next().unwrap_or_default();
                    let text = format!("'{expression}': tcpdump says {said}, we say {ours}");
                    ensure(ours.contains(said), text)?;
                }
                (theirs, ours) => {
                    let [theirs, ours] = [theirs.err(), ours.err()];
                    let text = format!("'{expression}' is refused by one: {theirs:?}, {ours:?}");
                    return Err(text.into());
                }
            }
        }
    }
    let all = links.values().map(Vec::len).sum();
    let idle = EXPRESSIONS.iter().zip(accepted).filter(|(_, count)| [0, all].contains(count));
    let idle: Vec<_> = idle.map(|(expression, _)| expression).collect();
    ensure(idle.is_empty(), format!("accepted by no frame or all of {all}: {idle:?}"))
}

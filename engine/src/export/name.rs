//! Names of files by pattern: `flows-{iface}-{start:%Y%m%dT%H%M%S}.parquet`.
//!
//! `{iface}` is the interface, or the interfaces with a `+` between them; `{start:…}` the moment
//! at which the file was begun, in UTC, as strftime(3) writes it. Folders in a pattern are made as
//! they are needed, below the last one without a brace.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{Gid, Uid};

use crate::error::{Error, Result};
use crate::export::folders;
use crate::limits::FILE_NAME_BYTES;

/// What a pattern consists of.
enum Piece<'a> {
    Text(&'a str),
    Interface,
    Start(&'a str),
}

/// Whether it is a pattern, and not the name of one file.
pub(super) fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains(['{', '}']))
}

/// Sees that a pattern makes names.
///
/// # Errors
/// If a brace stands alone, or what it holds is unknown.
pub(super) fn check(path: &Path) -> Result<()> {
    name(path, &[], Timestamp::UNIX_EPOCH).map(drop).map_err(|cause| {
        Error::new(format!("output {}", path.display()), cause)
            .advise("write {iface} and {start:%Y%m%dT%H%M%S}, or leave braces out")
    })
}

/// The name of a file that is begun at `start`.
///
/// # Errors
/// As [`check`], in words.
pub(super) fn name(
    path: &Path,
    interfaces: &[String],
    start: Timestamp,
) -> std::result::Result<PathBuf, String> {
    // What is not text has no braces.
    let Some(text) = path.to_str() else { return Ok(path.to_owned()) };
    let mut name = String::new();
    for piece in pieces(text)? {
        match piece {
            Piece::Text(text) => name.push_str(text),
            // Files that are read may be anywhere, and be many.
            Piece::Interface => name.push_str(&shown(interfaces)),
            Piece::Start(format) => {
                let time = jiff::fmt::strtime::format(format, start);
                name.push_str(&time.map_err(|error| error.to_string())?);
            }
        }
    }
    Ok(name.into())
}

/// Interfaces as they stand in names.
fn shown(interfaces: &[String]) -> String {
    let all = interfaces.join("+").replace('/', "_");
    let within_bounds = all.chars().scan(0, |bytes, letter| {
        *bytes += letter.len_utf8();
        (*bytes <= FILE_NAME_BYTES).then_some(letter)
    });
    within_bounds.collect()
}

/// What reads the start out of a name that a pattern has made, as strptime(3) takes it. `None` of
/// what is no pattern with a start.
pub(super) fn time_format(path: &Path, interfaces: &[String]) -> Option<String> {
    let pieces = pieces(path.to_str()?).ok()?;
    let has_start = pieces.iter().any(|piece| matches!(piece, Piece::Start(_)));
    let formats = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => text.replace('%', "%%"),
        Piece::Interface => shown(interfaces).replace('%', "%%"),
        Piece::Start(format) => (*format).to_owned(),
    });
    has_start.then(|| formats.collect())
}

fn pieces(mut text: &str) -> std::result::Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    while let Some(brace) = text.find(['{', '}']) {
        let (before, rest) = text.split_at(brace);
        pieces.push(Piece::Text(before));
        let inner = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let Some((inner, after)) = inner else { return Err("a brace stands alone".to_owned()) };
        pieces.push(match inner.split_once(':') {
            None if inner == "iface" => Piece::Interface,
            Some(("start", format)) => Piece::Start(format),
            _ => return Err(format!("unknown {{{inner}}}")),
        });
        text = after;
    }
    pieces.push(Piece::Text(text));
    Ok(pieces)
}

/// A path in the folder that has to be there: the one itself, if it is no pattern.
pub(super) fn fixed(path: &Path) -> PathBuf {
    if !is_pattern(path) {
        return path.to_owned();
    }
    let folders = path
        .components()
        .take_while(|part| part.as_os_str().to_str().is_none_or(|part| !part.contains(['{', '}'])));
    // Any name of a file in it; a pattern may be all in the last.
    folders.collect::<PathBuf>().join("flows")
}

/// The folder of a pattern that has to be there.
pub(super) fn root(pattern: &Path) -> PathBuf {
    match fixed(pattern).parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The folder that a name is in.
pub(super) fn folder_of(name: &Path) -> &Path {
    let folder = name.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// The folder of a name that a pattern has made. Those below `root` are made, each its parent's
/// owner's: what runs as another user later goes on to write there. None may be a link, as whoever
/// may write there would lead us elsewhere.
pub(super) fn make_folders(root: &Path, name: &Path) -> io::Result<OwnedFd> {
    let below = folder_of(name);
    let below = below.strip_prefix(root).unwrap_or(below);
    let mut folder = folders::at(root)?;
    for part in below {
        folder = match folders::enter(&folder, part.as_ref()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&folder, part.as_ref())?,
            entered => entered?,
        };
    }
    Ok(folder)
}

fn make(parent: &OwnedFd, name: &Path) -> io::Result<OwnedFd> {
    let (made, is_new) = folders::make_at(parent, name, Mode::from_bits_truncate(0o777))?;
    if is_new && let Ok(parent) = fstat(parent) {
        // Who may not give it away owns it, as they do the parent.
        let (uid, gid) = (Uid::from_raw(parent.st_uid), Gid::from_raw(parent.st_gid));
        let _ = folders::give(&made, uid, gid);
    }
    folders::sync(parent);
    Ok(made.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_make_names() {
        let start = "2026-03-01T04:05:06.5Z".parse().unwrap();
        let interfaces = ["eth0".to_owned(), "a/b".to_owned()];
        for (pattern, made, folder) in [
            ("flows.csv", "flows.csv", "flows.csv"),
            ("d/f-{iface}.csv", "d/f-eth0+a_b.csv", "d/flows"),
            ("{start:%Y%m%dT%H%M%S}.csv", "20260301T040506.csv", "flows"),
            ("/d/{start:%Y/%m/%d}/{iface}.csv", "/d/2026/03/01/eth0+a_b.csv", "/d/flows"),
        ] {
            let pattern = Path::new(pattern);
            assert_eq!(name(pattern, &interfaces, start), Ok(made.into()));
            assert_eq!(fixed(pattern), Path::new(folder));
            assert!(check(pattern).is_ok());
        }
        for wrong in ["{", "}", "a}b{c.csv", "{}.csv", "{end:%Y}.csv", "{start}.csv", "{start:%!}"]
        {
            assert!(check(Path::new(wrong)).is_err(), "{wrong}");
        }
    }
}

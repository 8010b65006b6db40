//! What is not a capture, and how a live pipe is read.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use super::super::CaptureFile;
use super::build::{Classic, End, Ng};
use super::{check, next, packet};
use crate::sync::StopRequest;

const GIVE: &str = "give a capture made by tcpdump, Wireshark or dumpcap";

#[test]
fn files_that_are_no_captures() {
    let not = |start: &str| format!("not a pcap or pcapng file (it starts with {start})");
    let damaged = "the pcapng section header at its start is damaged".to_owned();
    let unpack = "unpack it first: of compressed files gzip and zstd are read";
    let mut section = Ng::new(End::Little).file;
    section[8] = 0;
    let cases: &[(&[u8], String, &str)] = &[
        (b"", "it is empty".into(), GIVE),
        (b"hello", not("68 65 6c 6c"), GIVE),
        (b"he", not("68 65"), GIVE),
        (&[0xd4, 0xc3, 0xb2], not("d4 c3 b2"), GIVE),
        (b"\x0a\x0d\x0d\x0a", damaged.clone(), GIVE),
        (&section, damaged, GIVE),
        (b"BZh91AY", not("42 5a 68 39"), unpack),
        (b"\xfd7zXZ\0", not("fd 37 7a 58"), unpack),
        (b"\x04\x22\x4d\x18", not("04 22 4d 18"), unpack),
        (b"snoop\0\0\0", not("73 6e 6f 6f"), "convert it with `editcap -F pcapng`"),
    ];
    for (file, cause, advice) in cases {
        check(cause, file, &[], Some(&format!("open x.pcap: {cause}; {advice}")));
    }
}

/// A folder of its own for a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("flowtap-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_are_opened_by_their_path() {
    let folder = Folder::new("open");
    let open = |path: &Path| {
        CaptureFile::open(path, &StopRequest::default()).map_err(|e| e.to_string()).err()
    };
    let shown = folder.0.display().to_string();
    let missing = folder.0.join("none.pcap");
    assert_eq!(
        open(&missing),
        Some(format!("open {shown}/none.pcap: no such file or directory; check the name"))
    );
    assert_eq!(
        open(&folder.0),
        Some(format!("open {shown}: it is a directory; give the capture files in it"))
    );
    let path = folder.0.join("a b.txt");
    let file = Classic::plain().packet(1, b"abc").file;
    std::fs::write(&path, &file).unwrap();
    let mut capture = CaptureFile::open(&path, &StopRequest::default()).unwrap();
    assert_eq!(next(&mut capture), Ok(Some(packet(b"abc", 1_000_000_000))));
    assert_eq!(next(&mut capture), Ok(None));
    assert_eq!(capture.progress(), (43, Some(43)));
}

/// A pipe that holds what was sent so far; waiting for more is an error.
struct Pipe(Receiver<Vec<u8>>);

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let piece = self.0.try_recv().map_err(|_| io::Error::other("it would wait for ever"))?;
        into[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

#[test]
fn a_pipe_delivers_each_packet_as_soon_as_it_is_there() {
    let classic = |packet: &[u8]| Classic::plain().packet(1, packet).file.split_off(24);
    let ng = |packet: &[u8]| {
        Ng::new(End::Big).interface(1, 0, &[]).packet(0, 1_000_000, 3, packet).file.split_off(48)
    };
    let header = Ng::new(End::Big).interface(1, 0, &[]).file;
    for (header, packets) in [
        (Classic::plain().file, [classic(b"abc"), classic(b"def")]),
        (header, [ng(b"abc"), ng(b"def")]),
    ] {
        let (send, pipe) = channel();
        // The magic number is read by itself.
        send.send(header[..4].to_vec()).unwrap();
        send.send(header[4..].to_vec()).unwrap();
        let read = Box::new(Pipe(pipe));
        let mut capture = CaptureFile::from_read("stdin".into(), read, None).unwrap();
        for (piece, bytes) in packets.iter().zip([b"abc", b"def"]) {
            send.send(piece.clone()).unwrap();
            assert_eq!(next(&mut capture), Ok(Some(packet(bytes, 1_000_000_000))));
        }
        let at = header.len() + 2 * packets[0].len();
        let error = format!(
            "read stdin: reading fails at byte {at}: it would wait for ever; \
             the packets before it were counted"
        );
        assert_eq!(next(&mut capture), Err(error));
        assert_eq!(next(&mut capture), Ok(None));
    }
}

#[test]
fn a_pipe_says_whether_the_next_packet_is_there() {
    let classic = Classic::plain().packet(1, b"abc").packet(1, b"def").file;
    let header = Ng::new(End::Big).interface(1, 0, &[]);
    let ng = header.packet(0, 1_000_000, 3, b"abc").packet(0, 1_000_000, 3, b"def").file;
    for (file, packet_bytes) in [(classic, 19), (ng, 36)] {
        for (rest_bytes, is_there) in [(0, true), (1, false), (packet_bytes - 3, false)] {
            let (send, pipe) = channel();
            let (start, rest) = file.split_at(file.len() - rest_bytes);
            send.send(start[..4].to_vec()).unwrap();
            send.send(start[4..].to_vec()).unwrap();
            let read = Box::new(Pipe(pipe));
            let mut capture = CaptureFile::from_read("stdin".into(), read, None).unwrap();
            assert_eq!(next(&mut capture), Ok(Some(packet(b"abc", 1_000_000_000))));
            assert_eq!(capture.is_next_here(), is_there, "{rest_bytes} of {packet_bytes} missing");
            send.send(rest.to_vec()).unwrap();
            assert_eq!(next(&mut capture), Ok(Some(packet(b"def", 1_000_000_000))));
            assert!(!capture.is_next_here(), "nothing is left");
        }
    }
}

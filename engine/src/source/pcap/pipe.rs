//! A pipe that nobody may write to for a long time: reading it ends when the run stops.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sync::StopRequest;

/// How often to look whether to stop, in ms.
const LOOK_MS: u8 = 50;

/// Reads a pipe, a terminal or a socket; a stop request is its end.
pub(super) struct Pipe {
    pub(super) file: File,
    pub(super) stop: StopRequest,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.stop.is_made() {
            let mut wanted = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wanted, PollTimeout::from(LOOK_MS)) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return self.file.read(into),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(0)
    }
}

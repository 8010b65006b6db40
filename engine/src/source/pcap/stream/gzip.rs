//! What gzip members hold, one after the other (RFC 1952 section 2.2). Zeros may stand behind the
//! last one, as tapes and block devices leave them; anything else there is an error.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The first byte of a member.
const MAGIC: u8 = 0x1f;

/// The members of a stored file.
pub(crate) struct Members<R> {
    /// The one that is read; there is one, but for the moment in which the next takes its place.
    member: Option<GzDecoder<R>>,
    /// Whether it was wrong: nothing is read behind it.
    has_failed: bool,
}

impl<R: BufRead> Members<R> {
    /// Those that are to be read from `stored`, which begins with one.
    pub(super) fn new(stored: R) -> Self {
        Self { member: Some(GzDecoder::new(stored)), has_failed: false }
    }

    pub(super) fn get_ref(&self) -> Option<&R> {
        self.member.as_ref().map(GzDecoder::get_ref)
    }

    /// Begins the next member behind one that was read whole. False if there is none.
    fn begin_next(&mut self) -> io::Result<bool> {
        let Some(member) = &mut self.member else { return Ok(false) };
        match member.get_mut().fill_buf()?.first() {
            None => return Ok(false),
            Some(&MAGIC) => {}
            Some(_) => {
                skip_zeros(member.get_mut())?;
                return Ok(false);
            }
        }
        self.member = self.member.take().map(|member| GzDecoder::new(member.into_inner()));
        Ok(true)
    }

    fn read_on(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(member) = &mut self.member else { return Ok(0) };
            let count = member.read(into)?;
            if count > 0 || !self.begin_next()? {
                return Ok(count);
            }
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() || self.has_failed {
            return Ok(0);
        }
        let read = self.read_on(into);
        self.has_failed = read.is_err();
        read
    }
}

/// Reads zeros up to the end.
fn skip_zeros(stored: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = stored.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.iter().any(|&byte| byte != 0) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "something else follows it"));
        }
        let count = bytes.len();
        stored.consume(count);
    }
}

//! Compression of what a sink writes, in memory and in frames: what was written up to the end of
//! one can be read though nothing follows it. Readers take frames after each other as one stream
//! (RFC 1952 section 2.2, RFC 8878 section 3).

use std::io::{self, Write as _};

use flate2::write::GzEncoder;

use crate::export::Compression;

/// zstd's own default: about the speed of the encoder before it.
const ZSTD_LEVEL: i32 = 3;

/// Why no call fails once a frame has begun.
const SURE: &str = "a vector takes anything, and the level is one that there is";

type Zstd = zstd::Encoder<'static, Vec<u8>>;

/// Makes frames, or passes bytes on as they are.
pub(super) struct Compressor {
    kind: Kind,
    /// Whether something is in the frame.
    has_begun: bool,
    /// Whether a frame has ended.
    has_ended: bool,
}

enum Kind {
    None,
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(Zstd),
}

impl Compressor {
    /// # Errors
    /// If there is no memory for it.
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        let kind = match compression {
            Compression::None => Kind::None,
            Compression::Gzip => Kind::Gzip(gzip()),
            Compression::Zstd => Kind::Zstd(zstd()?),
        };
        Ok(Self { kind, has_begun: false, has_ended: false })
    }

    /// Takes bytes, and gives what has become ready.
    pub(super) fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.has_begun |= !bytes.is_empty();
        match &mut self.kind {
            Kind::None => out.extend_from_slice(bytes),
            Kind::Gzip(gzip) => {
                gzip.write_all(bytes).expect(SURE);
                out.append(gzip.get_mut());
            }
            Kind::Zstd(zstd) => {
                zstd.write_all(bytes).expect(SURE);
                out.append(zstd.get_mut());
            }
        }
    }

    /// Ends the frame, if it has begun.
    pub(super) fn end_frame(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.has_begun) {
            self.end(out);
        }
    }

    /// Ends the file: an empty one has an empty frame.
    pub(super) fn end_file(&mut self, out: &mut Vec<u8>) {
        self.has_begun |= !self.has_ended;
        self.end_frame(out);
    }

    /// Whether something that was taken has not been given.
    pub(super) fn holds_back(&self) -> bool {
        self.has_begun && !matches!(self.kind, Kind::None)
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.has_ended = true;
        match &mut self.kind {
            Kind::None => {}
            Kind::Gzip(encoder) => {
                let ended = std::mem::replace(encoder, gzip());
                out.append(&mut ended.finish().expect(SURE));
            }
            Kind::Zstd(encoder) => {
                let ended = std::mem::replace(encoder, zstd().expect(SURE));
                out.append(&mut ended.finish().expect(SURE));
            }
        }
    }
}

fn gzip() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), flate2::Compression::default())
}

fn zstd() -> io::Result<Zstd> {
    zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn frames_are_one_stream_to_readers_and_each_is_whole() {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let (mut out, mut ends) = (Vec::new(), vec![]);
            let mut compressor = Compressor::new(compression).unwrap();
            for number in 0..3_u8 {
                compressor.take(&[number; 1_000], &mut out);
                assert_eq!(compressor.holds_back(), compression != Compression::None);
                compressor.end_frame(&mut out);
                compressor.end_frame(&mut out);
                ends.push(out.len());
            }
            compressor.end_file(&mut out);
            assert_eq!(out.len(), ends[2], "a frame of nothing");
            for (number, end) in ends.into_iter().enumerate() {
                let mut read = Vec::new();
                match compression {
                    Compression::None => read.extend_from_slice(&out[..end]),
                    Compression::Gzip => {
                        let mut gzip = flate2::read::MultiGzDecoder::new(&out[..end]);
                        gzip.read_to_end(&mut read).unwrap();
                    }
                    Compression::Zstd => read = zstd::decode_all(&out[..end]).unwrap(),
                }
                assert_eq!(read.len(), 1_000 * (number + 1));
            }
        }
    }

    #[test]
    fn a_file_of_nothing_has_a_frame() {
        for (compression, bytes) in [(Compression::None, 0), (Compression::Gzip, 20)] {
            let mut out = Vec::new();
            let mut compressor = Compressor::new(compression).unwrap();
            compressor.end_frame(&mut out);
            assert!(out.is_empty());
            compressor.end_file(&mut out);
            assert_eq!(out.len(), bytes);
        }
    }
}

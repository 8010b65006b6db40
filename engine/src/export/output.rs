//! A file while it is written: `NAME.part`, compressed if asked, renamed to `NAME` when it
//! is complete. What failed stays as `NAME.part`.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::error::{Error, Result};
use crate::export::completed::Completed;
use crate::export::queue::Progress;
use crate::export::{Compression, SinkSpec, Target, name};
use crate::sync::Arc;

/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 1 << 16;

/// zstd's own default: about the speed of the encoder before it.
const ZSTD_LEVEL: i32 = 3;

/// Bytes written at once to what is not a file. A pipe takes all of a write before that
/// returns, so a larger one would hide for long that a slow reader does read.
const PIPE_BYTES: usize = 1 << 14;

/// Counts what it passes on, and says when it does.
struct Counted {
    file: File,
    /// The most bytes of one write.
    most: usize,
    bytes: u64,
    progress: Arc<Progress>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(&bytes[..bytes.len().min(self.most)])?;
        self.bytes += written as u64;
        self.progress.note();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

type Buffered = BufWriter<Counted>;

enum Writer {
    Plain(Buffered),
    Gzip(GzEncoder<Buffered>),
    Zstd(zstd::Encoder<'static, Buffered>),
}

/// An open output.
pub(crate) struct Output {
    writer: Writer,
    /// Where it is now and where it goes when complete; `None` if it is written in place.
    rename: Option<(PathBuf, PathBuf)>,
}

impl Output {
    /// Opens the sink's target for writing, or a file of `interfaces` by its pattern; `progress` is
    /// told whenever that takes something.
    ///
    /// # Errors
    /// If the target cannot be created, or is a folder.
    pub(crate) fn open(
        spec: &SinkSpec,
        interfaces: &[String],
        progress: &Arc<Progress>,
    ) -> Result<Self> {
        let (file, rename) = match &spec.target {
            Target::Stdout => (open_stdout()?, None),
            Target::File(path) if name::is_pattern(path) => open_named(path, interfaces)?,
            Target::File(path) => open_file(path)?,
            Target::Collector(_) => unreachable!("it has a thread of its own kind"),
        };
        let most = if rename.is_some() { usize::MAX } else { PIPE_BYTES };
        let counted = Counted { file, most, bytes: 0, progress: Arc::clone(progress) };
        let buffered = BufWriter::with_capacity(BUFFER_BYTES, counted);
        let writer = match spec.compression {
            Compression::None => Writer::Plain(buffered),
            Compression::Gzip => {
                Writer::Gzip(GzEncoder::new(buffered, flate2::Compression::default()))
            }
            Compression::Zstd => Writer::Zstd(
                zstd::Encoder::new(buffered, ZSTD_LEVEL)
                    .map_err(|e| Error::new(format!("compress {}", spec.name()), e))?,
            ),
        };
        Ok(Self { writer, rename })
    }

    /// The name that bytes are written under now.
    pub(crate) fn current_name(&self) -> Option<&Path> {
        self.rename.as_ref().map(|(part, _)| part.as_path())
    }

    /// The file that has that name.
    pub(crate) fn part_file(&self) -> Option<BorrowedFd<'_>> {
        self.rename.as_ref()?;
        let counted = match &self.writer {
            Writer::Plain(writer) => writer.get_ref(),
            Writer::Gzip(writer) => writer.get_ref().get_ref(),
            Writer::Zstd(writer) => writer.get_ref().get_ref(),
        };
        Some(counted.file.as_fd())
    }

    /// Writes out what is buffered. Returns whether everything written before is now with
    /// the system: a compressor keeps some until the end.
    pub(crate) fn flush_batch(&mut self) -> io::Result<bool> {
        match &mut self.writer {
            Writer::Plain(writer) => writer.flush().map(|()| true),
            Writer::Gzip(_) | Writer::Zstd(_) => Ok(false),
        }
    }

    /// Bytes that have left for the target so far, compressed.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.writer {
            Writer::Plain(writer) => writer.get_ref().bytes,
            Writer::Gzip(writer) => writer.get_ref().get_ref().bytes,
            Writer::Zstd(writer) => writer.get_ref().get_ref().bytes,
        }
    }

    /// Gives the file up before anything was exported: as if it had not been opened.
    pub(crate) fn discard(self) {
        if let Some((part, _)) = self.rename {
            // A leftover `.part` is no harm.
            let _ = fs::remove_file(part);
        }
    }

    /// Completes the file and gives it its final name. Returns its length in bytes.
    ///
    /// `completed` are files that this run has completed before: they are not replaced, and
    /// this one gets a number into its name instead. If it took so long that it no longer
    /// `is_wanted`, it keeps the name it has.
    pub(crate) fn finish(
        self,
        completed: &mut Completed,
        is_wanted: impl FnOnce() -> bool,
    ) -> io::Result<u64> {
        let mut buffered = match self.writer {
            Writer::Plain(writer) => writer,
            Writer::Gzip(writer) => writer.finish()?,
            Writer::Zstd(writer) => writer.finish()?,
        };
        buffered.flush()?;
        let counted = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
        if let Some((part, name)) = &self.rename {
            // On the disk before it has its name: a crash leaves no half file under it.
            counted.progress.set_syncing(true);
            let synced = counted.file.sync_all();
            counted.progress.set_syncing(false);
            synced?;
            if is_wanted() {
                fs::rename(part, completed.choose(name, Path::exists))?;
            }
        }
        Ok(counted.bytes)
    }
}

/// What a file is called while it is written.
pub(crate) fn part_of(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

/// Creates a file that is not there, or anew: never through a link that somebody who may write
/// to the folder has put there for us to follow.
pub(crate) fn create_anew(part: &Path) -> io::Result<File> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::options().write(true).create_new(true).open(part),
    }
}

/// Opens a pipe or a device, without waiting for a reader that may never come.
fn open_special(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    // From here on a slow reader may make us wait.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(file)
}

/// Moves what an earlier run left unfinished out of the way: it may be all that is left of
/// its records.
fn keep_older(part: &Path) -> io::Result<()> {
    if !fs::metadata(part).is_ok_and(|there| there.is_file() && there.len() > 0) {
        return Ok(());
    }
    let numbered = (1..).map(|number| {
        let mut name = part.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    });
    let free = numbered.into_iter().find(|name| !name.exists());
    fs::rename(part, free.expect("there is always a higher number"))
}

/// Standard output as a file of our own: the one of the standard library keeps some bytes
/// back, and would wait for a stuck reader once more when the program ends.
fn open_stdout() -> Result<File> {
    let ours = io::stdout().as_fd().try_clone_to_owned();
    ours.map(File::from).map_err(|e| Error::new("open standard output", e))
}

/// A file that is begun now, by a pattern.
fn open_named(pattern: &Path, interfaces: &[String]) -> Result<(File, Option<(PathBuf, PathBuf)>)> {
    let fail = |cause: String| Error::new(format!("create {}", pattern.display()), cause);
    let path = name::name(pattern, interfaces, jiff::Timestamp::now()).map_err(fail)?;
    name::make_folders(&path).map_err(|error| {
        Error::new(format!("create the folders of {}", path.display()), error)
            .advise("choose a folder that exists and that you may write to")
    })?;
    open_file(&path)
}

fn open_file(path: &Path) -> Result<(File, Option<(PathBuf, PathBuf)>)> {
    let fail = |shown: &Path, cause: io::Error| {
        Error::new(format!("create {}", shown.display()), cause)
            .advise("choose a folder that exists and that you may write to")
    };
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => {
            return Err(Error::new(format!("create {}", path.display()), "it is a directory")
                .advise("give the name of a file"));
        }
        // A pipe or a device is written to, not replaced.
        Ok(there) if !there.is_file() => {
            let file = open_special(path).map_err(|e| match Errno::try_from(e) {
                Ok(Errno::ENXIO) => {
                    Error::new(format!("open {}", path.display()), "nobody reads it")
                        .advise("start the reader first")
                }
                Ok(errno) => fail(path, errno.into()),
                Err(other) => fail(path, other),
            })?;
            return Ok((file, None));
        }
        _ => {}
    }
    let part = part_of(path);
    keep_older(&part).map_err(|e| fail(&part, e))?;
    let file = create_anew(&part).map_err(|e| fail(&part, e))?;
    Ok((file, Some((part, path.to_owned()))))
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Writer::Plain(writer) => writer.write(bytes),
            Writer::Gzip(writer) => writer.write(bytes),
            Writer::Zstd(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_batch().map(drop)
    }
}

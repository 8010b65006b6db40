//! Which frames count: pcap-filter expressions, with the verdicts of tcpdump.
//!
//! A [`Filter`] is an expression; libpcap compiles it ([`libpcap`]) for each link type that it
//! meets to a [`LinkFilter`], which our own checked interpreter runs ([`cbpf`]); of a tap's
//! packets the kernel leaves out beforehand what addresses, ports and protocols decide for sure
//! (`in_kernel`). Both are
//! immutable and may be shared. It looks at a frame as it was captured, before anything is
//! decoded, and counts nothing: what asks it (`engine`) does.
//!
//! Expressions: <https://www.tcpdump.org/manpages/pcap-filter.7.html>.

pub mod cbpf;
mod in_kernel;
mod libpcap;
#[cfg(test)]
mod tests;

use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use self::cbpf::Program;
use self::libpcap::{Libpcap, Refusal};
use crate::error::{Error, Result};
use crate::limits::FILTER_BYTES;
use crate::source::{Frame, LinkType};
use crate::xdp::filter::KernelFilter;

/// For these link types an expression is tried before any frame is there: if none of them has
/// what it asks for, it is wrong. Others have less.
const COMMON_LINKS: [LinkType; 4] =
    [LinkType::ETHERNET, LinkType::LINUX_SLL, LinkType::RAW, IEEE_802_11];

const IEEE_802_11: LinkType = LinkType(105);

/// An expression that libpcap can compile.
pub struct Filter {
    expression: CString,
    /// Which option it is from, in words.
    subject: String,
    libpcap: Libpcap,
}

impl Filter {
    /// Loads libpcap, and checks the expression.
    ///
    /// # Errors
    /// If there is no libpcap, or what it says of an expression that it cannot compile for any
    /// common link type.
    pub fn new(expression: &str) -> Result<Self> {
        Self::of(expression, format!("--filter '{}'", shown(expression)))
    }

    fn of(expression: &str, subject: String) -> Result<Self> {
        let Ok(text) = CString::new(expression) else {
            return Err(Error::new(subject, "it has a byte of 0 in it"));
        };
        let filter = Self { expression: text, subject, libpcap: Libpcap::load(&libpcap::NAMES)? };
        let [first, others @ ..] = COMMON_LINKS;
        match filter.program(first, false) {
            Err(cause) if others.iter().all(|&link| filter.program(link, false).is_err()) => {
                Err(Error::new(filter.subject, cause.message).advise("see pcap-filter(7)"))
            }
            _ => Ok(filter),
        }
    }

    /// The same of the expression that is all of a file.
    ///
    /// # Errors
    /// Likewise; or if it is no file that can be read again, is empty, as one that is about to be
    /// written, or is no text of at most [`FILTER_BYTES`].
    pub fn read(file: &Path) -> Result<Self> {
        Self::read_another(file, None).map(|filter| filter.expect("any is another"))
    }

    /// The same, if the expression is another than the one that is `known`.
    ///
    /// # Errors
    /// Likewise.
    pub fn read_another(file: &Path, known: Option<&str>) -> Result<Option<Self>> {
        let subject = format!("--filter-file {}", file.display());
        let refuse = |cause: &str, advice: &str| {
            Err(Error::new(subject.as_str(), cause.to_owned()).advise(advice))
        };
        let mut text = String::new();
        let most = FILTER_BYTES + 1;
        let mut read = || {
            // A pipe would be waited for, and could not be read again.
            let is_file = file.metadata()?.is_file();
            if is_file {
                File::open(file)?.take(most).read_to_string(&mut text)?;
            }
            Ok::<_, std::io::Error>(is_file)
        };
        match read() {
            Err(error) => refuse(&error.to_string(), "give a file with an expression in it"),
            Ok(false) => refuse("it is no regular file", "give the expression to --filter"),
            Ok(true) if text.len() as u64 == most => {
                let cause = format!("an expression of more than {FILTER_BYTES} bytes");
                refuse(&cause, "networks take fewer than addresses")
            }
            Ok(true) if text.trim().is_empty() => {
                refuse("it is empty", "'greater 0' accepts every packet")
            }
            Ok(true) if known == Some(text.trim()) => Ok(None),
            Ok(true) => Self::of(text.trim(), subject).map(Some),
        }
    }

    /// As it was given.
    #[must_use]
    pub fn expression(&self) -> &str {
        self.expression.to_str().expect("it was made from a string")
    }

    /// As it can be said in a line.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(self.expression())
    }

    /// What the kernel can leave out beforehand of Ethernet frames, if there is anything: it
    /// keeps all that the expression accepts, and more.
    #[must_use]
    pub fn in_kernel(&self) -> Option<KernelFilter> {
        in_kernel::of(self.expression())
    }

    /// The expression for frames of this link type, which come from `subject`.
    ///
    /// # Errors
    /// If the link type has not got what the expression asks for.
    pub fn for_link(&self, link: LinkType, subject: &str) -> Result<LinkFilter> {
        let failed = |Refusal { message, link: name }| {
            let operation = format!("{} on {subject}", self.subject);
            Error::new(operation, format!("link type {} ({name}): {message}", link.0))
                .advise("ask for what this link type has, or read other files by themselves")
        };
        let swapped = (link == LinkType::NULL).then(|| self.program(link, true)).transpose();
        let own = self.program(link, false).map_err(failed)?;
        Ok(LinkFilter { own, swapped: swapped.map_err(failed)? })
    }

    fn program(&self, link: LinkType, is_swapped: bool) -> std::result::Result<Program, Refusal> {
        let instructions = self.libpcap.compile(&self.expression, link, is_swapped)?;
        Program::verify(instructions).map_err(|cause| Refusal {
            message: format!("libpcap made a program that cannot be run: {cause}"),
            link: "no matter which".to_owned(),
        })
    }

    /// Whether libpcap's own interpreter accepts a frame: what ours is held against.
    #[must_use]
    pub fn accepts_by_libpcap(&self, filter: &LinkFilter, frame: &Frame<'_>) -> bool {
        self.libpcap.accepts(filter.program_for(frame.bytes), frame)
    }
}

/// An expression in one line that a terminal shows.
fn shown(expression: &str) -> String {
    const MOST: usize = 200;
    let words: Vec<_> = expression.split_whitespace().collect();
    let mut line: String = words.join(" ").escape_debug().take(MOST + 1).collect();
    if line.chars().count() > MOST {
        line.pop();
        line.push('…');
    }
    line
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.expression).finish()
    }
}

/// An expression, compiled for frames of one link type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFilter {
    own: Program,
    /// For frames from machines of the other byte order, where the link type depends on it.
    swapped: Option<Program>,
}

impl LinkFilter {
    /// Whether it accepts a frame.
    #[inline]
    #[must_use]
    pub fn accepts(&self, frame: &Frame<'_>) -> bool {
        self.program_for(frame.bytes).accepts(frame.bytes, frame.wire_len)
    }

    #[inline]
    fn program_for(&self, captured: &[u8]) -> &Program {
        match (&self.swapped, captured.first_chunk()) {
            // An address family is a small number in its own byte order.
            (Some(swapped), Some(&family)) if u32::from_ne_bytes(family) > 0xffff => swapped,
            _ => &self.own,
        }
    }
}

/// An expression for the frames of one source after the other: of whatever link types they are,
/// it is compiled for each once.
#[derive(Debug)]
pub struct AnyLinkFilter<'a> {
    filter: &'a Filter,
    /// As many as libpcap knows link types, at most.
    links: Vec<(LinkType, LinkFilter)>,
}

impl<'a> AnyLinkFilter<'a> {
    /// Compiled for nothing yet.
    #[must_use]
    pub fn new(filter: &'a Filter) -> Self {
        Self { filter, links: Vec::new() }
    }

    /// Whether it accepts a frame that comes from `subject`.
    ///
    /// # Errors
    /// As [`Filter::for_link`].
    #[inline]
    pub fn accepts(&mut self, frame: &Frame<'_>, subject: &str) -> Result<bool> {
        match self.links.iter().find(|(link, _)| *link == frame.link) {
            Some((_, filter)) => Ok(filter.accepts(frame)),
            None => self.add(frame.link, subject).map(|filter| filter.accepts(frame)),
        }
    }

    #[cold]
    fn add(&mut self, link: LinkType, subject: &str) -> Result<&LinkFilter> {
        let (_, filter) = self.links.push_mut((link, self.filter.for_link(link, subject)?));
        Ok(filter)
    }
}

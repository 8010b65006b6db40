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

use self::cbpf::Program;
use self::libpcap::{Libpcap, Refusal};
use crate::error::{Error, Result};
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
    libpcap: Libpcap,
}

impl Filter {
    /// Loads libpcap, and checks the expression.
    ///
    /// # Errors
    /// If there is no libpcap, or what it says of an expression that it cannot compile for any
    /// common link type.
    pub fn new(expression: &str) -> Result<Self> {
        let text = CString::new(expression)
            .map_err(|_| Error::new("--filter", "it has a byte of 0 in it"))?;
        let filter = Self { expression: text, libpcap: Libpcap::load(&libpcap::NAMES)? };
        let [first, others @ ..] = COMMON_LINKS;
        match filter.program(first, false) {
            Err(cause) if others.iter().all(|&link| filter.program(link, false).is_err()) => {
                Err(Error::new(format!("--filter '{expression}'"), cause.message)
                    .advise("see pcap-filter(7)"))
            }
            _ => Ok(filter),
        }
    }

    /// What the kernel can leave out beforehand of Ethernet frames, if there is anything: it
    /// keeps all that the expression accepts, and more.
    #[must_use]
    pub fn in_kernel(&self) -> Option<KernelFilter> {
        in_kernel::of(self.expression.to_str().ok()?)
    }

    /// The expression for frames of this link type, which come from `subject`.
    ///
    /// # Errors
    /// If the link type has not got what the expression asks for.
    pub fn for_link(&self, link: LinkType, subject: &str) -> Result<LinkFilter> {
        let failed = |Refusal { message, link: name }| {
            let expression = self.expression.to_string_lossy();
            let operation = format!("--filter '{expression}' on {subject}");
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

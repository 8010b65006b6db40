//! libpcap, loaded at run time: compiles expressions, so that they mean what they mean to
//! tcpdump. Nothing links to it, and who does not filter need not have it.
//!
//! An expression is compiled for a capture file (of which libpcap is shown the header only), as
//! `tcpdump -r` does it: so it is libpcap that knows what a file's link type is, and it refuses
//! what only the kernel could tell of a packet (`inbound`, `ifindex`). What comes out is copied,
//! and checked in [`super::cbpf`]. Functions: <https://www.tcpdump.org/manpages/pcap.3pcap.html>.

#![expect(unsafe_code, reason = "loads a library, and calls its functions")]

use std::error::Error as _;
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::ptr::{self, NonNull};
use std::sync::Mutex;

use libloading::Library;

use super::cbpf::{Instruction, Program};
use crate::error::{Error, Result};
use crate::limits::FILTER_INSTRUCTIONS;
use crate::source::{Frame, LinkType};

/// By which names it is there: Debian's, and everybody else's.
pub(super) const NAMES: [&str; 2] = ["libpcap.so.0.8", "libpcap.so.1"];

/// `PCAP_ERRBUF_SIZE`
const ERROR_BYTES: usize = 256;

/// `PCAP_NETMASK_UNKNOWN`: as in a file.
const NO_NETMASK: u32 = u32::MAX;

/// The expression compiler was made safe for several threads in libpcap 1.8 only.
static COMPILER: Mutex<()> = Mutex::new(());

/// `pcap_t`, which nobody looks into.
#[repr(C)]
struct Pcap([u8; 0]);

/// `struct bpf_program`
#[repr(C)]
struct Code {
    len: c_uint,
    instructions: *mut Instruction,
}

/// `struct pcap_pkthdr`
#[repr(C)]
struct Header {
    time: [libc::time_t; 2],
    captured: u32,
    wire_len: u32,
}

/// Why an expression was not compiled.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What libpcap says.
    pub(super) message: String,
    /// What it calls the link type, such as `RAW`.
    pub(super) link: String,
}

/// The functions of a loaded libpcap.
pub(super) struct Libpcap {
    fopen_offline: unsafe extern "C" fn(*mut libc::FILE, *mut c_char) -> *mut Pcap,
    compile: unsafe extern "C" fn(*mut Pcap, *mut Code, *const c_char, c_int, u32) -> c_int,
    geterr: unsafe extern "C" fn(*mut Pcap) -> *const c_char,
    datalink: unsafe extern "C" fn(*mut Pcap) -> c_int,
    datalink_val_to_name: unsafe extern "C" fn(c_int) -> *const c_char,
    offline_filter: unsafe extern "C" fn(*const Code, *const Header, *const u8) -> c_int,
    freecode: unsafe extern "C" fn(*mut Code),
    close: unsafe extern "C" fn(*mut Pcap),
    /// Last: the functions are there as long as it is.
    _library: Library,
}

impl Libpcap {
    /// Loads it by the first of these names that is there.
    pub(super) fn load(names: &[&str]) -> Result<Self> {
        let failed = |cause: String| {
            Error::new("load libpcap for --filter", cause).advise(
                "install it (package libpcap0.8t64, before Debian 13 libpcap0.8), or leave out \
                 --filter",
            )
        };
        // What the loader says is behind what libloading says.
        let cause = |error: libloading::Error| match error.source() {
            Some(cause) => cause.to_string(),
            None => error.to_string(),
        };
        let mut causes = Vec::new();
        for &name in names {
            // SAFETY: nothing is asked of who loads libpcap; its initialisers touch nothing of
            // ours.
            match unsafe { Library::new(name) } {
                Ok(library) => return Self::of(library).map_err(|error| failed(cause(error))),
                Err(error) => causes.push(cause(error)),
            }
        }
        Err(failed(causes.join(", ")))
    }

    fn of(library: Library) -> std::result::Result<Self, libloading::Error> {
        /// The function of this name.
        ///
        /// # Safety
        /// It must be one of type `F`, and not be called when the library is gone.
        unsafe fn find<F: Copy>(
            library: &Library,
            name: &CStr,
        ) -> std::result::Result<F, libloading::Error> {
            // SAFETY: as the caller promises.
            unsafe { library.get::<F>(name) }.map(|function| *function)
        }
        Ok(Self {
            // SAFETY: pcap/pcap.h declares them so, in every version there was; and all go with
            // the library, which goes after them.
            fopen_offline: unsafe { find(&library, c"pcap_fopen_offline")? },
            // SAFETY: as above; `bpf_u_int32` is `u32`.
            compile: unsafe { find(&library, c"pcap_compile")? },
            // SAFETY: as above; it is `char *`, which we do not write to.
            geterr: unsafe { find(&library, c"pcap_geterr")? },
            // SAFETY: as above.
            datalink: unsafe { find(&library, c"pcap_datalink")? },
            // SAFETY: as above.
            datalink_val_to_name: unsafe { find(&library, c"pcap_datalink_val_to_name")? },
            // SAFETY: as above.
            offline_filter: unsafe { find(&library, c"pcap_offline_filter")? },
            // SAFETY: as above.
            freecode: unsafe { find(&library, c"pcap_freecode")? },
            // SAFETY: as above.
            close: unsafe { find(&library, c"pcap_close")? },
            _library: library,
        })
    }

    /// Compiles an expression for frames of this link type, in a file from a machine of the other
    /// byte order if it `is_swapped`.
    pub(super) fn compile(
        &self,
        expression: &CStr,
        link: LinkType,
        is_swapped: bool,
    ) -> std::result::Result<Vec<Instruction>, Refusal> {
        let _one = COMPILER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let file = Offline::open(self, link, is_swapped)
            .map_err(|message| Refusal { message, link: "unknown".to_owned() })?;
        let mut code = Code { len: 0, instructions: ptr::null_mut() };
        let (pcap, text) = (file.pcap.as_ptr(), expression.as_ptr());
        // SAFETY: an open handle, room for a program, and a text that ends.
        let result = unsafe { (self.compile)(pcap, &raw mut code, text, 1, NO_NETMASK) };
        if result != 0 {
            return Err(file.refusal());
        }
        let instructions = match (NonNull::new(code.instructions), code.len as usize) {
            (Some(instructions), len @ 1..=FILTER_INSTRUCTIONS) => {
                // SAFETY: libpcap has made `len` instructions there, which are integers.
                Ok(unsafe { std::slice::from_raw_parts(instructions.as_ptr(), len) }.to_vec())
            }
            (_, len) => {
                let message =
                    format!("too long: {len} instructions; at most {FILTER_INSTRUCTIONS}");
                Err(Refusal { message, ..file.refusal() })
            }
        };
        // SAFETY: `pcap_compile` has filled it, and nothing of it is used any more.
        unsafe { (self.freecode)(&raw mut code) };
        instructions
    }

    /// Whether libpcap's own interpreter accepts a frame.
    pub(super) fn accepts(&self, program: &Program, frame: &Frame<'_>) -> bool {
        let instructions = program.instructions();
        let len = c_uint::try_from(instructions.len()).expect("a program is bounded");
        let code = Code { len, instructions: instructions.as_ptr().cast_mut() };
        let captured = u32::try_from(frame.bytes.len()).expect("a frame is bounded");
        let header = Header { time: [0; 2], captured, wire_len: frame.wire_len };
        // SAFETY: a program that was checked, all of which is there, and a frame with as many
        // bytes as its header says; it reads them only.
        unsafe {
            (self.offline_filter)(&raw const code, &raw const header, frame.bytes.as_ptr()) != 0
        }
    }
}

/// A handle of libpcap's on a capture file that is nothing but its header.
struct Offline<'a> {
    libpcap: &'a Libpcap,
    pcap: NonNull<Pcap>,
    /// What libpcap reads, as long as the handle is open.
    _header: Box<[u8; 24]>,
}

impl<'a> Offline<'a> {
    /// Opens it. The header is of
    /// <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html>, section 4.
    fn open(
        libpcap: &'a Libpcap,
        link: LinkType,
        is_swapped: bool,
    ) -> std::result::Result<Self, String> {
        // Magic number, version 2.4 (two fields of 16 bits), two unused, snap length, link type.
        let version = if cfg!(target_endian = "little") { 4 << 16 | 2 } else { 2 << 16 | 4 };
        let words = [0xa1b2_c3d4, version, 0, 0, 262_144, link.0.into()];
        let mut header = Box::new([0; 24]);
        for (idx, (to, word)) in header.as_chunks_mut::<4>().0.iter_mut().zip(words).enumerate() {
            *to = u32::to_ne_bytes(word);
            match (is_swapped, idx) {
                (false, _) => {}
                (true, 1) => to.as_chunks_mut::<2>().0.iter_mut().for_each(|half| half.reverse()),
                (true, _) => to.reverse(),
            }
        }
        let (start, len) = (header.as_mut_ptr().cast(), header.len());
        // SAFETY: `len` bytes on the heap, which stay there until the file is closed.
        let file = unsafe { libc::fmemopen(start, len, c"r".as_ptr()) };
        if file.is_null() {
            return Err(std::io::Error::last_os_error().to_string());
        }
        let mut error = [0; ERROR_BYTES];
        // SAFETY: an open file, which is libpcap's from here on, and room for its message.
        let pcap = unsafe { (libpcap.fopen_offline)(file, error.as_mut_ptr()) };
        match NonNull::new(pcap) {
            Some(pcap) => Ok(Self { libpcap, pcap, _header: header }),
            None => {
                // SAFETY: libpcap did not take it, and it is not used any more.
                unsafe { libc::fclose(file) };
                // SAFETY: libpcap has written a text that ends within, or nothing: zeros.
                Err(unsafe { text(error.as_ptr()) })
            }
        }
    }

    /// What libpcap has to say of the last call, and of the link type.
    fn refusal(&self) -> Refusal {
        // SAFETY: an open handle.
        let message = unsafe { (self.libpcap.geterr)(self.pcap.as_ptr()) };
        // SAFETY: an open handle.
        let link = unsafe { (self.libpcap.datalink)(self.pcap.as_ptr()) };
        // SAFETY: any number.
        let link = unsafe { (self.libpcap.datalink_val_to_name)(link) };
        // SAFETY: the message is in the handle; the name is a constant, or null.
        let [message, link] = [message, link].map(|pointer| unsafe { text(pointer) });
        Refusal { message, link }
    }
}

impl Drop for Offline<'_> {
    fn drop(&mut self) {
        // SAFETY: it is open, and not used after this; the file and then the header go after it.
        unsafe { (self.libpcap.close)(self.pcap.as_ptr()) };
    }
}

/// A text of libpcap's; "unknown" for none.
///
/// # Safety
/// It must be null or end.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return "unknown".to_owned();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

//! The program `flowtap`: everything it does is in the library.

use std::process::ExitCode;

/// Records are allocated on one thread and freed on another all the time: mimalloc's case.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    flowtap::cli::run(std::env::args_os())
}

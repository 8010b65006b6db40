//! The project's own tools: `cargo xtask COMMAND`.

mod ebpf;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", about)]
enum Command {
    /// Builds the XDP program and writes the object that the engine embeds.
    Ebpf(ebpf::Options),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Ebpf(options) => ebpf::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

//! The project's own tools, `cargo xtask`: each subcommand is a module of its own.

mod bench;
mod ebpf;
mod r#gen;
mod golden;
mod live;
mod net;
mod send;

use std::process::ExitCode;

use clap::Parser;

/// The project's own tools
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Command {
    /// Build the XDP programs and write the objects that others embed
    Ebpf(ebpf::Options),
    /// Write a capture of made-up traffic and the truth about it, or send it
    Gen(r#gen::Args),
    /// Write small files of every format into tests/golden, or compare them
    Golden(golden::Args),
    /// Measure flowtap beside its peers
    #[command(subcommand)]
    Bench(bench::Args),
    /// Replay a capture on an interface
    Send(send::Args),
    /// Make or remove two network namespaces with a link between them
    Net(net::Args),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Ebpf(options) => ebpf::run(&options),
        Command::Gen(args) => r#gen::run(&args),
        Command::Golden(args) => golden::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Net(args) => net::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(2)
        }
    }
}

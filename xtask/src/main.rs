//! The project's own tools, `cargo xtask`: each subcommand is a module of its own.

mod net;

use std::process::ExitCode;

use clap::Parser;

/// The project's own tools
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Command {
    /// Make or remove two network namespaces with a link between them
    Net(net::Args),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
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

//! The chat client for terminals and scripts: a thin shell over `chat_core::client`.

mod agent;
mod args;
mod commands;
mod failure;
mod interactive;
mod output;
mod profile;
mod secrets;
mod session;
mod spool;

use std::process::ExitCode;

use clap::Parser as _;

use args::Args;
use output::Output;

fn main() -> ExitCode {
    let args = Args::parse();
    let mut output = Output::new(args.global.json);
    match run(args, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// One thread is enough for one person, and leaves the others to the server beside it.
fn run(args: Args, output: &mut Output) -> Result<(), failure::Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(commands::run(args, output));
    // A thread may be waiting for a line that never comes.
    runtime.shutdown_background();
    result
}

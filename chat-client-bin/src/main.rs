//! The chat client for terminals and scripts: a thin shell over `chat_core::client`.

mod agent;
mod args;
mod commands;
mod failure;
mod interactive;
mod lines;
mod output;
mod profile;
mod secrets;
mod session;
mod spool;

use std::process::ExitCode;

use clap::Parser as _;

use args::Args;
use failure::Failure;
use output::Output;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let mut output = Output::new(args::wants_json(&words));
    let done = match Args::try_parse_from(words) {
        Ok(args) => run(args, &mut output).map(|()| ExitCode::SUCCESS),
        Err(error) => output.not_understood(&error),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// One thread is enough for one person, and leaves the others to the server beside it.
fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(commands::run(args, output));
    // A thread may be waiting for a line that never comes.
    runtime.shutdown_background();
    result
}

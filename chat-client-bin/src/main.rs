//! `chat-client`: a client for terminals and scripts, on top of `chat_core::client`.

// These macros panic if the output cannot be written; the module `output` reports or ignores that.
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod agent;
mod agent_servers;
mod agent_socket;
mod args;
mod authorities;
mod command_client;
mod commands;
mod emoji;
mod failure;
mod interactive;
mod leaving;
mod lines;
mod login;
mod missing;
mod outbox;
mod output;
mod profile;
mod secrets;
mod servers;
mod session;
mod signals;
mod spool;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use args::Args;
use failure::Failure;
use output::Output;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let parsed = Args::try_parse_from(&words);
    let wants_json = match &parsed {
        Ok(args) => args.global.json,
        Err(_) => args::wants_json(&words),
    };
    let mut output = Output::new(wants_json);
    let result = match parsed {
        Ok(args) => run(args, &mut output).map(|()| ExitCode::SUCCESS),
        Err(error) => output.invalid_command_line(&error),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Runs the command on a single-threaded runtime, which is enough for one user.
fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(commands::run(args, output));
    // Does not wait for a thread that is blocked reading a line.
    runtime.shutdown_background();
    result
}

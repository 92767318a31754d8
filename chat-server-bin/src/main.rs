//! `chat-server`: the chat server, which composes `chat-core` and its backends as configured.

// `print!` and `eprint!` panic if the output cannot be written. The functions of the module
// `output` report or ignore that.
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod admin;
mod admin_socket;
mod args;
mod compose;
mod config;
mod failure;
mod files;
mod hardening;
mod limits;
mod next_steps;
mod operator;
mod output;
mod run;
mod signals;
mod telemetry;

use std::process::ExitCode;

use clap::{CommandFactory, Parser as _};

use crate::args::{Cli, Command, ConfigCommand};
use crate::config::CheckedConfig;
use crate::failure::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hardening::disable_core_dumps();
    let cli = Cli::parse();
    // Sets the crypto provider for TLS connections that do not choose one. Fails only if a default
    // is already set.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match perform(&cli) {
        Ok(code) => code,
        Err(failure) => {
            if !matches!(failure, Failure::ReaderGone) {
                output::print_error(&format!("chat-server: {failure}"));
            }
            failure.code()
        }
    }
}

fn perform(cli: &Cli) -> Result<ExitCode, Failure> {
    match cli.command() {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(
                shell,
                &mut <Cli as CommandFactory>::command(),
                "chat-server",
                &mut script,
            );
            return print(&script);
        }
        Command::Man => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(<Cli as CommandFactory>::command()).render(&mut page);
            rendered.map_err(|error| Failure::Failed(format!("cannot render the manual page: {error}")))?;
            return print(&page);
        }
        Command::Config(ConfigCommand::Default) => return print(config::EXAMPLE.as_bytes()),
        _ => {}
    }
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect();
    let loaded = config::load(cli.options.sources(environment));
    if let Command::Config(ConfigCommand::Show) = cli.command() {
        let settings = loaded.into_settings().map_err(Failure::Config)?;
        return print(config::show(&settings).as_bytes());
    }
    let config = CheckedConfig::new(loaded).map_err(Failure::Config)?;
    match cli.command() {
        Command::CheckConfig => match compose::preflight::problems(&config) {
            problems if problems.is_empty() => print(b"the configuration is valid\n"),
            problems => Err(Failure::Config(problems)),
        },
        Command::Keygen(arguments) => admin::keygen(&config, &arguments).map(|()| ExitCode::SUCCESS),
        command => run_on_runtime(config, command),
    }
}

/// Starts logging and the tokio runtime, and runs a command that needs them.
fn run_on_runtime(config: CheckedConfig, command: Command) -> Result<ExitCode, Failure> {
    let telemetry = telemetry::start(&config.settings).map_err(Failure::Failed)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start the tokio runtime: {error}")))?;
    runtime.block_on(async {
        match command {
            Command::Migrate => admin::migrate(&config).await.map(|()| ExitCode::SUCCESS),
            Command::NewEpoch => admin::new_epoch(&config).await.map(|()| ExitCode::SUCCESS),
            Command::Backup { file } => admin::backup(&config, &file).await.map(|()| ExitCode::SUCCESS),
            Command::Restore { file } => admin::restore(&config, &file).await.map(|()| ExitCode::SUCCESS),
            Command::User(args) => operator::user(&config, args).await.map(|()| ExitCode::SUCCESS),
            Command::Group(args) => operator::group(&config, args).await.map(|()| ExitCode::SUCCESS),
            Command::Session(args) => operator::session(&config, args).await.map(|()| ExitCode::SUCCESS),
            Command::Audit(args) => operator::audit(&config, args).await.map(|()| ExitCode::SUCCESS),
            Command::Stats(args) => operator::stats(&config, args).await.map(|()| ExitCode::SUCCESS),
            _ => run::run(config, &telemetry).await,
        }
    })
}

fn print(bytes: &[u8]) -> Result<ExitCode, Failure> {
    output::print(bytes).map(|()| ExitCode::SUCCESS)
}

//! The command line. Scripts depend on it, so a release may add options, but neither rename nor
//! remove them.

mod operator;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use operator::{
    AuditArgs, GroupCommand, OperatorArgs, OperatorCommand, PasswordArgs, SessionCommand, StatsArgs, UserCommand,
};

use crate::config::{LogFormat, Setting, Sources};

/// Runs a chat server. By default the server keeps an embedded store in ./chat-data and accepts
/// encrypted connections on 127.0.0.1:7400.
#[derive(Debug, Parser)]
#[command(name = "chat-server", version, max_term_width = 100, after_long_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    command: Option<Command>,
    /// Checks the configuration and exits, like `check-config`
    #[arg(long, hide = true)]
    check_config: bool,
}

const EXAMPLES: &str = "\
Examples:
  chat-server                                    starts with the defaults
  chat-server -c /etc/chat-server/chat-server.toml
  chat-server --listen sc1://0.0.0.0:7400 --data-dir /var/lib/chat
  chat-server check-config -c chat-server.toml   prints its problems
  chat-server backup /backup/chat.db             works while the server runs

Every key of the configuration can be set by an environment variable CHAT_SECTION__KEY, such as
CHAT_SERVER__LISTEN=sc1://0.0.0.0:7400,tls://0.0.0.0:7401. Flags override the environment, and the
environment overrides the file.

Exit codes: 0 success, 1 failure, 2 invalid command line, 69 the store, a file or an
address is unavailable, 78 invalid configuration, 130 or 143 ended by SIGINT or SIGTERM
before the command was complete or the server had drained.

The commands of operators (user, group, session, audit, stats) work through the server that runs on
the data directory, or directly on the store if none runs. They do not create a store: before the
first start of the server, create it with `chat-server migrate`.";

/// Options that every subcommand accepts.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Configuration file [default: the first that exists of ./chat-server.toml and
    /// /etc/chat-server/chat-server.toml]
    #[arg(short, long, value_name = "FILE", env = "CHAT_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Directory of the store and the identity key [default: ./chat-data] [env:
    /// CHAT_SERVER__DATA_DIR]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Address to listen on: sc1://HOST:PORT, tls://HOST:PORT or plain://HOST:PORT; may be
    /// repeated; port 0 selects a free port [default: sc1://127.0.0.1:7400] [env:
    /// CHAT_SERVER__LISTEN]
    #[arg(long, value_name = "URL", global = true)]
    listen: Vec<String>,
    /// Allows plain:// (no encryption) on addresses other than loopback
    /// [env: CHAT_SERVER__ALLOW_PLAIN]
    #[arg(long, global = true)]
    allow_plain: bool,
    /// Accepts a database whose settings may lose acknowledged messages
    /// [env: CHAT_STORE__ALLOW_UNSAFE_DURABILITY]
    #[arg(long, global = true)]
    allow_unsafe_durability: bool,
    /// Log level (error, warn, info, debug, trace) or a filter such as
    /// info,chat_core::server=debug [default: info] [env: CHAT_LOG__LEVEL]
    #[arg(long, value_name = "FILTER", global = true)]
    log_level: Option<String>,
    /// Format of log lines [default: auto] [env: CHAT_LOG__FORMAT]
    #[arg(long, value_name = "FORMAT", global = true)]
    log_format: Option<LogFormat>,
}

impl Options {
    /// Returns the sources of the configuration: the file, `environment` and the given flags.
    pub(crate) fn sources(&self, environment: Vec<(String, String)>) -> Sources {
        let mut flags = Vec::new();
        if let Some(directory) = &self.data_dir {
            flags.push(Setting::flag(
                "--data-dir",
                "server",
                "data_dir",
                directory.to_string_lossy().as_ref(),
            ));
        }
        if !self.listen.is_empty() {
            flags.push(Setting::flag("--listen", "server", "listen", self.listen.clone()));
        }
        if self.allow_plain {
            flags.push(Setting::flag("--allow-plain", "server", "allow_plain", true));
        }
        if self.allow_unsafe_durability {
            let flag = "--allow-unsafe-durability";
            flags.push(Setting::flag(flag, "store", "allow_unsafe_durability", true));
        }
        if let Some(level) = &self.log_level {
            flags.push(Setting::flag("--log-level", "log", "level", level.as_str()));
        }
        if let Some(format) = self.log_format {
            flags.push(Setting::flag("--log-format", "log", "format", format.to_string()));
        }
        Sources {
            file: self.config.clone(),
            environment,
            flags,
        }
    }
}

/// Subcommands of `chat-server`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Runs the server (the default)
    Run,
    /// Prints the problems of the configuration; exit code 78 if there is one
    CheckConfig,
    /// Prints the default configuration, or the configuration in force
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Creates the server's identity key and prints its fingerprint; never overwrites a key
    Keygen(KeygenArgs),
    /// Creates the store, or migrates it to this version's schema, without starting the server
    Migrate,
    /// Copies the embedded store to a new file; works while the server runs
    Backup {
        /// File to create; it must not exist
        file: PathBuf,
    },
    /// Replaces the embedded store by a backup that `backup` made; the server must not run
    Restore {
        /// Backup to restore; it is not changed
        file: PathBuf,
    },
    /// Gives the store a new epoch, so that clients read the whole history again: run it after
    /// restoring an older copy of the store without `restore`, before the servers start
    NewEpoch,
    /// Manages accounts, also while the server runs
    User(OperatorCommand<UserCommand>),
    /// Manages groups, also while the server runs
    Group(OperatorCommand<GroupCommand>),
    /// Lists and ends sessions, also while the server runs
    Session(OperatorCommand<SessionCommand>),
    /// Prints the latest actions of operators, newest first
    Audit(AuditArgs),
    /// Prints the numbers of rows in the store, and the load and the state of the server that runs
    /// on the data directory
    Stats(StatsArgs),
    /// Prints a completion script for a shell
    Completions {
        /// Shell to print the script for
        shell: clap_complete::Shell,
    },
    /// Prints the manual page
    Man,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Prints every key with its default and meaning
    Default,
    /// Prints the configuration in force (defaults, file, environment and flags merged), with
    /// secrets masked
    Show,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct KeygenArgs {
    /// File to write the key to [default: identity.key_file of the configuration]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Size of the RSA key in bits
    #[arg(long, default_value_t = 3072, value_parser = clap::value_parser!(u32).range(2048..=4096))]
    pub(crate) bits: u32,
}

impl Cli {
    /// Returns the subcommand, which is [`Command::Run`] if none is given. The flag
    /// `--check-config` turns [`Command::Run`] into [`Command::CheckConfig`], and has no effect on
    /// other subcommands.
    pub(crate) fn command(&self) -> Command {
        match self.command.clone().unwrap_or(Command::Run) {
            Command::Run if self.check_config => Command::CheckConfig,
            command => command,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn run_is_the_default_command_and_options_may_precede_or_follow_it() {
        for line in [
            &["chat-server", "--data-dir", "x"][..],
            &["chat-server", "run", "--data-dir", "x"],
            &["chat-server", "--data-dir", "x", "run"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert!(matches!(cli.command(), Command::Run));
            assert_eq!(cli.options.data_dir, Some(PathBuf::from("x")));
        }
        for line in [
            &["chat-server", "--check-config"][..],
            &["chat-server", "--check-config", "run"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert!(matches!(cli.command(), Command::CheckConfig), "{line:?}");
        }
    }
}

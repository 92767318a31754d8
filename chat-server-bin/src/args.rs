//! The command line. Others script it: what is here stays.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Leaf, LogFormat, Sources};

/// Runs a chat server. Without arguments: an embedded store in ./chat-data, encrypted connections on 127.0.0.1:7400.
#[derive(Debug, Parser)]
#[command(name = "chat-server", version, max_term_width = 100, after_long_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    command: Option<Command>,
    /// Checks the configuration and exits, like the subcommand
    #[arg(long, hide = true)]
    check_config: bool,
}

const EXAMPLES: &str = "\
Examples:
  chat-server                                    try it out
  chat-server -c /etc/chat-server/chat-server.toml
  chat-server --listen sc1://0.0.0.0:7400 --data-dir /var/lib/chat
  chat-server check-config -c chat-server.toml   prints every problem
  chat-server backup /backup/chat.db             works while the server runs

Every key of the configuration can be set by an environment variable CHAT_SECTION__KEY, such as
CHAT_SERVER__LISTEN=sc1://0.0.0.0:7400,tls://0.0.0.0:7401. Flags win over the environment, the environment over the file.

Exit codes: 0 done, 1 failed, 2 wrong usage, 69 the store or an address is not available, 78 wrong configuration.";

/// What every subcommand takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Configuration file [default: ./chat-server.toml, then /etc/chat-server/chat-server.toml, if there]
    #[arg(short, long, value_name = "FILE", env = "CHAT_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Directory of the store and the identity key [default: ./chat-data] [env: CHAT_SERVER__DATA_DIR]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Where to listen: sc1://HOST:PORT, tls://HOST:PORT or plain://HOST:PORT; repeat for more, port 0 takes a free one
    /// [default: sc1://127.0.0.1:7400] [env: CHAT_SERVER__LISTEN]
    #[arg(long, value_name = "URL", global = true)]
    listen: Vec<String>,
    /// Lets plain:// listen on other addresses than loopback, without any encryption [env: CHAT_SERVER__ALLOW_PLAIN]
    #[arg(long, global = true)]
    allow_plain: bool,
    /// Serves from a database that may lose what it acknowledged [env: CHAT_STORE__ALLOW_UNSAFE_DURABILITY]
    #[arg(long, global = true)]
    allow_unsafe_durability: bool,
    /// What is logged: error, warn, info, debug, trace, or a filter such as info,chat_core::server=debug
    /// [default: info] [env: CHAT_LOG__LEVEL]
    #[arg(long, value_name = "FILTER", global = true)]
    log_level: Option<String>,
    /// How log lines look [default: auto] [env: CHAT_LOG__FORMAT]
    #[arg(long, value_name = "FORMAT", global = true)]
    log_format: Option<LogFormat>,
}

impl Options {
    /// Where the configuration comes from.
    pub(crate) fn sources(&self, environment: Vec<(String, String)>) -> Sources {
        let mut flags = Vec::new();
        if let Some(directory) = &self.data_dir {
            flags.push(Leaf::flag(
                "--data-dir",
                "server",
                "data_dir",
                directory.to_string_lossy().as_ref(),
            ));
        }
        if !self.listen.is_empty() {
            flags.push(Leaf::flag("--listen", "server", "listen", self.listen.clone()));
        }
        if self.allow_plain {
            flags.push(Leaf::flag("--allow-plain", "server", "allow_plain", true));
        }
        if self.allow_unsafe_durability {
            let flag = "--allow-unsafe-durability";
            flags.push(Leaf::flag(flag, "store", "allow_unsafe_durability", true));
        }
        if let Some(level) = &self.log_level {
            flags.push(Leaf::flag("--log-level", "log", "level", level.as_str()));
        }
        if let Some(format) = self.log_format {
            flags.push(Leaf::flag("--log-format", "log", "format", format.to_string()));
        }
        Sources {
            file: self.config.clone(),
            environment,
            flags,
        }
    }
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Runs the server (the default)
    Run,
    /// Prints every problem of the configuration; exit code 78 if there is one
    CheckConfig,
    /// Prints a configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Makes the server's identity key and prints its fingerprint; an existing key is never overwritten
    Keygen(KeygenArgs),
    /// Brings the store to this version's layout without starting the server
    Migrate,
    /// Copies the store to a new file; works while the server runs
    Backup {
        /// The file to make; it must not exist
        file: PathBuf,
    },
    /// Tells clients to drop what they know of the history: after an older copy of the store was restored, before the servers start
    NewEpoch,
    /// Manages accounts; stop the server first
    #[command(subcommand)]
    User(UserCommand),
    /// Prints a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page
    Man,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Every key with its default and its meaning
    Default,
    /// What is in force: defaults, file, environment and flags together, secrets masked
    Show,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct KeygenArgs {
    /// Where to write the key [default: the configured place]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Size of the RSA key in bits
    #[arg(long, default_value_t = 3072, value_parser = clap::value_parser!(u32).range(2048..=4096))]
    pub(crate) bits: u32,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum UserCommand {
    /// Makes an account
    Add {
        /// Its name
        name: String,
        #[command(flatten)]
        password: PasswordArgs,
        /// What people see beside the name
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
    },
    /// Sets a new password and ends the user's sessions
    Passwd {
        /// Whose
        name: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Refuses logins and ends the user's sessions
    Disable {
        /// Whose
        name: String,
    },
    /// Allows logins again
    Enable {
        /// Whose
        name: String,
    },
}

/// Where a password comes from; never from the command line itself, which others on the machine can read.
#[derive(Debug, Clone, Args)]
pub(crate) struct PasswordArgs {
    /// Reads the password from the first line of FILE instead of CHAT_PASSWORD or a prompt
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

impl Cli {
    /// What to do.
    pub(crate) fn command(&self) -> Command {
        match &self.command {
            Some(command) => command.clone(),
            None if self.check_config => Command::CheckConfig,
            None => Command::Run,
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
    fn run_is_the_default_and_options_stand_anywhere() {
        for line in [
            &["chat-server", "--data-dir", "x"][..],
            &["chat-server", "run", "--data-dir", "x"],
            &["chat-server", "--data-dir", "x", "run"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert!(matches!(cli.command(), Command::Run));
            assert_eq!(cli.options.data_dir, Some(PathBuf::from("x")));
        }
        let cli = Cli::try_parse_from(["chat-server", "--check-config"]).unwrap();
        assert!(matches!(cli.command(), Command::CheckConfig));
    }
}

//! The command line. Scripts depend on it, so a release may add options, but neither rename nor
//! remove them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{LogFormat, Setting, Sources};

/// Runs a chat server. Without arguments the server keeps an embedded store in ./chat-data and
/// accepts encrypted connections on 127.0.0.1:7400.
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
  chat-server check-config -c chat-server.toml   prints every problem
  chat-server backup /backup/chat.db             works while the server runs

Every key of the configuration can be set by an environment variable CHAT_SECTION__KEY, such as
CHAT_SERVER__LISTEN=sc1://0.0.0.0:7400,tls://0.0.0.0:7401. Flags override the environment, and the
environment overrides the file.

Exit codes: 0 success, 1 failure, 2 invalid command line, 69 the store, a file or an
address is unavailable, 78 invalid configuration, 130 or 143 ended by SIGINT or SIGTERM
before the drain or the backup was complete.

The commands of operators (user, group, session, audit) do not create a store. Before the first
start of the server, create it with `chat-server migrate`.";

/// Options that every subcommand accepts.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Configuration file [default: ./chat-server.toml, then
    ///
    /// /etc/chat-server/chat-server.toml, if it exists]
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
    /// Prints every problem of the configuration; exit code 78 if there is one
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
    /// Manages accounts; with the embedded store, stop the server first
    User(OperatorCommand<UserCommand>),
    /// Manages groups; with the embedded store, stop the server first
    Group(OperatorCommand<GroupCommand>),
    /// Ends sessions; with the embedded store, stop the server first
    Session(OperatorCommand<SessionCommand>),
    /// Prints the latest actions of operators, newest first; with the embedded store, stop the
    /// server first
    Audit(AuditArgs),
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

/// A command of an operator with the options that all these commands have.
#[derive(Debug, Clone, Args)]
pub(crate) struct OperatorCommand<C: Subcommand> {
    #[command(subcommand)]
    pub(crate) command: C,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

/// Options of every command of an operator.
#[derive(Debug, Clone, Args)]
pub(crate) struct OperatorArgs {
    /// Prints one JSON object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Name of the operator for the audit log, which also records the login name of the user who
    /// runs the command [default: that login name]
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) operator: Option<String>,
}

/// Commands about accounts. An account is given by name, or by `#` and its id.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum UserCommand {
    /// Creates an account
    Add {
        /// Name of the account; reserved names are allowed
        name: String,
        #[command(flatten)]
        password: PasswordArgs,
        /// Creates the account without a password
        #[arg(long, conflicts_with = "password_file")]
        no_password: bool,
        /// Display name that other users see beside the user name
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
    },
    /// Lists accounts, including disabled and deleted accounts
    List {
        /// Lists only accounts whose names begin with this text; case does not matter
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Shows an account and its devices
    Show {
        /// Name, or # and id
        user: String,
    },
    /// Renames an account
    Rename {
        /// Name, or # and id
        user: String,
        /// New name; reserved names are allowed
        name: String,
    },
    /// Sets a new password and ends the user's sessions
    Passwd {
        /// Name, or # and id
        user: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Disables an account: refuses its logins and ends its sessions
    Disable {
        /// Name, or # and id
        user: String,
    },
    /// Enables a disabled account, which can then log in again
    Enable {
        /// Name, or # and id
        user: String,
    },
    /// Deletes an account and its personal data permanently
    Delete {
        /// Name, or # and id
        user: String,
        /// Also erases the texts of the user's messages and edits; reactions, and the names and
        /// descriptions of groups, stay
        #[arg(long)]
        erase_texts: bool,
        /// Makes the name available to other users
        #[arg(long)]
        free_name: bool,
        /// Lets the user's subject (the identifier by which the application knows the user) get a
        /// new account at its next login; otherwise such logins fail
        #[arg(long)]
        free_subject: bool,
        /// Confirms the deletion, which cannot be undone
        #[arg(long)]
        yes: bool,
    },
    /// Lets the subject of a deleted account get a new account at its next login
    FreeSubject {
        /// Identifier by which the application knows the user
        subject: String,
    },
    /// Prints the account, its devices and contacts, what the user wrote, and the user's inbox, as
    /// JSON
    Export {
        /// Name, or # and id
        user: String,
    },
}

/// Commands about groups. A group is given by name, or by `#` and its id.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum GroupCommand {
    /// Lists groups, including deleted groups
    List {
        /// Lists only existing groups without an owner who can log in
        #[arg(long)]
        orphaned: bool,
    },
    /// Shows a group and its members
    Show {
        /// Name, or # and id; a deleted group has only an id
        group: String,
    },
    /// Makes a member the owner of a group
    Transfer {
        /// Name, or # and id
        group: String,
        /// Name of the new owner, or # and id
        user: String,
    },
    /// Deletes a group for all its members; they keep its history
    #[command(visible_alias = "close")]
    Delete {
        /// Name, or # and id
        group: String,
    },
}

/// Commands about sessions.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum SessionCommand {
    /// Ends all sessions of a user, whose devices have to log in again
    End {
        /// Name, or # and id
        user: String,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// Maximum number of records
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: u32,
    /// Prints only records that are older than the record with this id
    #[arg(long, value_name = "ID")]
    pub(crate) before: Option<u64>,
}

/// Source of a password. A password is never an argument, because other users of the machine can
/// read command lines.
#[derive(Debug, Clone, Args)]
pub(crate) struct PasswordArgs {
    /// Reads the password from the first line of FILE instead of CHAT_PASSWORD or a prompt
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

impl Cli {
    /// Returns the subcommand; [`Command::Run`] if none is given.
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
        let cli = Cli::try_parse_from(["chat-server", "--check-config"]).unwrap();
        assert!(matches!(cli.command(), Command::CheckConfig));
    }
}

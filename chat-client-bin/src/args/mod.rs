//! Definition of the command line.

mod friends;
mod groups;
mod messages;
#[cfg(test)]
mod tests;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use chat_core::secure::Fingerprint;
use clap::{Parser, Subcommand};

pub(crate) use friends::FriendCommand;
pub(crate) use groups::{Group, GroupCommand, GroupUser, duration_ms, duration_text};
pub(crate) use messages::{History, Listen, Modify, Read, Send, group_ref, seq, user_ref};

/// Chat client for terminals and scripts.
///
/// Without a command it is interactive; type /help there.
#[derive(Debug, Parser)]
#[command(name = "chat-client", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const AFTER_HELP: &str = "\
First steps: `chat-client --server HOST:PORT --user NAME register` creates an account, and `chat-client`
then opens the interactive client.
The password comes from --password-file, from the environment variable CHAT_PASSWORD, or from a prompt;
never from the command line.
Exit codes: 0 success, 1 refused or failed, 2 invalid command line, 69 no server reachable,
74 profile or output unusable, 75 try again later (the error says whether the message is in the
outbox; the next run sends what is there), 76 wrong server key or violated
protocol, 77 not logged in or wrong password.";

/// Returns `true` if `--json` is among the words of an invalid command line, before any `--`. The
/// first word is the name of the program.
pub(crate) fn wants_json(words: &[OsString]) -> bool {
    let options = words.iter().skip(1).take_while(|word| *word != "--");
    options.into_iter().any(|word| word == "--json")
}

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Address of a server; repeat it for other nodes of the same service [default: the
    /// servers used last, or 127.0.0.1:7400]
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        env = "CHAT_SERVER",
        value_delimiter = ','
    )]
    pub(crate) server: Vec<String>,
    /// Directory of devices, sessions, known servers and outboxes [default:
    /// $XDG_DATA_HOME/chat-client, or ~/.local/share/chat-client without that variable]
    #[arg(long, global = true, value_name = "DIR", env = "CHAT_PROFILE")]
    pub(crate) profile: Option<PathBuf>,
    /// User name or id to log in as [default: the last user of this profile]
    #[arg(long, global = true, value_name = "NAME", env = "CHAT_USER")]
    pub(crate) user: Option<String>,
    /// Print one JSON object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Ask the server for the nodes of its service, and use the least loaded node
    #[arg(long, global = true)]
    pub(crate) discover: bool,
    /// Accept only a server with this key (sha256:…); may be repeated
    #[arg(long, global = true, value_name = "FINGERPRINT")]
    pub(crate) pin: Vec<Fingerprint>,
    /// Connect with plain:// (no encryption)
    #[arg(long, global = true, conflicts_with = "tls")]
    pub(crate) plain: bool,
    /// Allow plain:// to other machines than this one; never to a server whose key is pinned
    #[arg(long, global = true)]
    pub(crate) allow_plain: bool,
    /// Connect with tls://
    #[arg(long, global = true)]
    pub(crate) tls: bool,
    /// Certificates (PEM) of the authorities that may vouch for tls:// servers [default: those of
    /// the platform, or of SSL_CERT_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// File whose first line is the password
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Seconds after which a command fails [default: 30]; send, edit, recall and react then leave
    /// the message in the outbox [default: 10]; listen ends [default: never]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = messages::seconds)]
    pub(crate) timeout: Option<f64>,
}

impl Global {
    /// Returns the time limit of the command: `--timeout`, or `default` if it was not given. The
    /// time that the user takes to type a password does not count.
    pub(crate) fn timeout_or(&self, default: Duration) -> Duration {
        self.timeout.map_or(default, Duration::from_secs_f64)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create an account and log in
    Register {
        /// Display name that other users see beside the user name
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
    },
    /// Log in; later commands need no password
    Login,
    /// Log out of this device
    Logout,
    /// Print the logged-in user
    Whoami,
    /// Change the password and log out all other devices
    Passwd {
        /// File whose first line is the new password; else CHAT_NEW_PASSWORD, or a prompt
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// Change the display name, or who may send you direct messages
    Account {
        /// Display name that other users see beside the user name
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// Users who may send you direct messages
        #[arg(long, value_name = "WHO")]
        direct: Option<messages::DirectArg>,
    },
    /// Send a message and print its number in the conversation
    Send(Send),
    /// Print events as they arrive, starting with those that this device has not seen
    Listen(Listen),
    /// Print past events of a conversation
    History(History),
    /// Print requests, invitations and notices
    Inbox {
        /// Maximum number of entries; the newest are printed
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = messages::count)]
        limit: u64,
    },
    /// List conversations with unread counts
    Conversations,
    /// Mark a conversation as read
    Read(Read),
    /// Manage friends and blocked users
    #[command(subcommand)]
    Friend(FriendCommand),
    /// Manage groups
    #[command(subcommand)]
    Group(GroupCommand),
    /// Find users or groups
    #[command(subcommand)]
    Search(SearchCommand),
    /// List devices, or revoke a device
    Devices {
        #[command(subcommand)]
        command: Option<DeviceCommand>,
    },
    /// Change the text of your message: edit (USER | --group NAME) SEQ TEXT
    Edit(Modify),
    /// Recall your message, or as admin or owner one of others: recall (USER | --group NAME) SEQ
    Recall(Modify),
    /// React to a message: react (USER | --group NAME) SEQ EMOJI
    React {
        #[command(flatten)]
        message: Modify,
        /// Remove the reaction
        #[arg(long)]
        remove: bool,
    },
    /// Print a completion script for a shell
    Completions {
        /// Shell to print the script for
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SearchCommand {
    /// Find users by id or by the beginning of the name
    Users(SearchText),
    /// Find groups by id or by the beginning of the name
    Groups(SearchText),
}

#[derive(Debug, clap::Args)]
pub(crate) struct SearchText {
    /// Id or beginning of a name
    pub(crate) text: String,
    /// Maximum number of results
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// End a device's session and forget the device
    Revoke {
        /// Id of the device, as `devices` prints it
        id: String,
    },
}

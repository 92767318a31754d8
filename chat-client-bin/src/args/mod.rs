//! The command line.

mod friends;
mod groups;
mod messages;
#[cfg(test)]
mod tests;

use std::{ffi::OsString, path::PathBuf};

use chat_core::secure::Fingerprint;
use clap::{Parser, Subcommand};

pub(crate) use friends::FriendCommand;
pub(crate) use groups::{Group, GroupCommand, GroupUser, duration};
pub(crate) use messages::{History, Listen, Read, Send, Touch, group_ref, seq, user_ref};

/// Chat from a terminal or a script.
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
The password comes from --password-file, from the environment variable CHAT_PASSWORD, or from a prompt; never from the command line.
Exit codes: 0 done, 1 refused or failed, 2 usage, 69 no server, 74 profile unusable, 75 try again later (a message is kept in the
outbox and goes out with the next run), 76 wrong server key, 77 not logged in or wrong password.";

/// Whether `--json` is among the words, which matters even when nothing else about them can be understood.
pub(crate) fn wants_json(words: &[OsString]) -> bool {
    let options = words.iter().skip(1).take_while(|word| *word != "--");
    options.into_iter().any(|word| word == "--json")
}

/// What every command understands.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// Server, HOST:PORT; give it again for other nodes of the same service. Default: the one used last, or 127.0.0.1:7400
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        env = "CHAT_SERVER",
        value_delimiter = ','
    )]
    pub(crate) server: Vec<String>,
    /// Directory that keeps devices, sessions, known servers and outboxes. Default: $XDG_DATA_HOME/chat-client
    #[arg(long, global = true, value_name = "DIR", env = "CHAT_PROFILE")]
    pub(crate) profile: Option<PathBuf>,
    /// Who you are: a user name or id. Default: who logged in last with this profile
    #[arg(long, global = true, value_name = "NAME", env = "CHAT_USER")]
    pub(crate) user: Option<String>,
    /// Print one JSON object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Ask the servers for the nodes of their service, and use the least loaded one
    #[arg(long, global = true)]
    pub(crate) discover: bool,
    /// Demand this key of the server, sha256:…; may be given again
    #[arg(long, global = true, value_name = "FINGERPRINT")]
    pub(crate) pin: Vec<Fingerprint>,
    /// The server's port speaks plain:// (nothing is encrypted)
    #[arg(long, global = true, conflicts_with = "tls")]
    pub(crate) plain: bool,
    /// The server's port speaks tls://
    #[arg(long, global = true)]
    pub(crate) tls: bool,
    /// File whose first line is the password
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an account and log in
    Register {
        /// What people see beside the name
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
    },
    /// Log in; later commands need no password
    Login,
    /// Log out of this device
    Logout,
    /// Say who is logged in
    Whoami,
    /// Change the password and log out all other devices
    Passwd {
        /// File whose first line is the new password; else CHAT_NEW_PASSWORD, or a prompt
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// Change what people see, or who may write to you
    Account {
        /// What people see beside the name
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// Who may send direct messages
        #[arg(long, value_name = "WHO")]
        direct: Option<messages::DirectArg>,
    },
    /// Send a message; prints its place in the conversation
    Send(Send),
    /// Print what arrives, beginning with what this device has not seen
    Listen(Listen),
    /// Print past events of a conversation
    History(History),
    /// Print requests, invitations and notices
    Inbox {
        /// At most so many, the newest
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// List conversations with unread counts
    Conversations,
    /// Mark a conversation as read
    Read(Read),
    /// Friends and blocked users
    #[command(subcommand)]
    Friend(FriendCommand),
    /// Groups
    #[command(subcommand)]
    Group(GroupCommand),
    /// Find users or groups
    #[command(subcommand)]
    Search(SearchCommand),
    /// List devices, or revoke one
    Devices {
        #[command(subcommand)]
        command: Option<DeviceCommand>,
    },
    /// Change the text of an own message: edit (USER | --group NAME) SEQ TEXT
    Edit(Touch),
    /// Take an own message back: recall (USER | --group NAME) SEQ
    Recall(Touch),
    /// React to a message: react (USER | --group NAME) SEQ EMOJI
    React {
        #[command(flatten)]
        touch: Touch,
        /// Take the reaction back
        #[arg(long)]
        remove: bool,
    },
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SearchCommand {
    /// By id or beginning of the name
    Users(SearchText),
    /// By id or beginning of the name
    Groups(SearchText),
}

#[derive(Debug, clap::Args)]
pub(crate) struct SearchText {
    /// Id or beginning of a name
    pub(crate) text: String,
    /// At most so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// End a device's session and forget the device
    Revoke {
        /// Its id, as `devices` prints it
        id: String,
    },
}

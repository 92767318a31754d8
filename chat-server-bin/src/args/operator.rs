//! Arguments of the commands of operators.

use std::path::PathBuf;

use chat_core::auth::Subject;
use chat_core::engine::operator::OperatorName;
use chat_core::model::DisplayName;
use clap::{Args, Subcommand};

use crate::failure::chain;
use crate::operator::{parse_group, parse_user, parse_user_name};

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
    #[arg(long, value_name = "NAME", global = true, value_parser = operator)]
    pub(crate) operator: Option<String>,
}

/// Commands about accounts. An account is given by name, or by `#` and its id.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum UserCommand {
    /// Creates an account, or one for each line of a file
    Add {
        /// Name of the account; reserved names are allowed
        #[arg(required_unless_present = "file", conflicts_with = "file", value_parser = user_name)]
        name: Option<String>,
        /// Creates an account for each line of FILE. A line is a JSON object such as
        /// {"name":"alice","password":"…","display_name":"Alice"}; only the name is required
        #[arg(long, value_name = "FILE", conflicts_with_all = ["password_file", "no_password", "display_name"])]
        file: Option<PathBuf>,
        #[command(flatten)]
        password: PasswordArgs,
        /// Creates the account without a password
        #[arg(long, conflicts_with = "password_file")]
        no_password: bool,
        /// Display name that other users see beside the user name
        #[arg(long, value_name = "TEXT", value_parser = display_name)]
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
        #[arg(value_parser = user)]
        user: String,
    },
    /// Renames an account
    Rename {
        /// Name, or # and id
        #[arg(value_parser = user)]
        user: String,
        /// New name; reserved names are allowed
        #[arg(value_parser = user_name)]
        name: String,
    },
    /// Sets a new password and ends the user's sessions
    Passwd {
        /// Name, or # and id
        #[arg(value_parser = user)]
        user: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Disables an account: refuses its logins, ends its sessions, and passes the groups that it
    /// owns to other members
    Disable {
        /// Name, or # and id
        #[arg(value_parser = user)]
        user: String,
    },
    /// Enables a disabled account, which can then log in again
    Enable {
        /// Name, or # and id
        #[arg(value_parser = user)]
        user: String,
    },
    /// Deletes an account and its personal data permanently
    Delete {
        /// Name, or # and id
        #[arg(value_parser = user)]
        user: String,
        /// Also erases the texts of the user's messages and edits; reactions, the names and
        /// descriptions of groups, and the notes of the user's requests stay
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
        #[arg(value_parser = subject)]
        subject: String,
    },
    /// Prints the account, its devices and contacts, what the user wrote, and the user's inbox, as
    /// JSON
    Export {
        /// Name, or # and id
        #[arg(value_parser = user)]
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
        #[arg(value_parser = group)]
        group: String,
    },
    /// Makes a member the owner of a group
    Transfer {
        /// Name, or # and id
        #[arg(value_parser = group)]
        group: String,
        /// Name of the new owner, or # and id
        #[arg(value_parser = user)]
        user: String,
    },
    /// Deletes a group for all its members; they keep its history
    #[command(visible_alias = "close")]
    Delete {
        /// Name, or # and id
        #[arg(value_parser = group)]
        group: String,
    },
}

/// Commands about sessions.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum SessionCommand {
    /// Lists the sessions on the server that runs on the data directory
    List {
        /// Lists only the sessions of this user: name, or # and id
        #[arg(value_parser = user)]
        user: Option<String>,
    },
    /// Ends all sessions of a user, whose devices have to log in again
    End {
        /// Name, or # and id
        #[arg(value_parser = user)]
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

#[derive(Debug, Clone, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

/// Source of a password. A password is never an argument, because other users of the machine can
/// read command lines.
#[derive(Debug, Clone, Args)]
pub(crate) struct PasswordArgs {
    /// Reads the password from the first line of FILE instead of CHAT_PASSWORD or a prompt
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

// Each of these functions checks an argument and returns it as it was given. The process that
// executes the command, which may be a server, parses it again.

fn user(text: &str) -> Result<String, String> {
    parse_user(text).map(|_| text.to_owned())
}

fn user_name(text: &str) -> Result<String, String> {
    parse_user_name(text).map(|_| text.to_owned())
}

fn group(text: &str) -> Result<String, String> {
    parse_group(text).map(|_| text.to_owned())
}

fn display_name(text: &str) -> Result<String, String> {
    let checked = DisplayName::parse(text).map_err(|error| chain(&error));
    checked.map(|_| text.to_owned())
}

fn operator(text: &str) -> Result<String, String> {
    let checked = OperatorName::new(text).map_err(|error| chain(&error));
    checked.map(|_| text.to_owned())
}

fn subject(text: &str) -> Result<String, String> {
    let checked = Subject::new(text).map_err(|error| chain(&error));
    checked.map(|_| text.to_owned())
}

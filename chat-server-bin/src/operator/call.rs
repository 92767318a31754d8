//! [`Call`]: a command of an operator with everything that its execution needs.

use chat_core::model::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::password::read_password;
use crate::args::{AuditArgs, GroupCommand, SessionCommand, UserCommand};
use crate::failure::Failure;

/// Command of an operator, as it is sent to a running server. Users and groups are given by name,
/// or by `#` and an id.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub(crate) enum Call {
    UserAdd(NewAccount),
    UserList {
        prefix: String,
    },
    UserShow {
        user: String,
    },
    UserRename {
        user: String,
        name: String,
    },
    UserPasswd {
        user: String,
        password: Password,
    },
    UserDisable {
        user: String,
    },
    UserEnable {
        user: String,
    },
    UserDelete {
        user: String,
        erase_texts: bool,
        free_name: bool,
        free_subject: bool,
    },
    UserFreeSubject {
        subject: String,
    },
    UserExport {
        user: String,
    },
    GroupList {
        orphaned: bool,
    },
    GroupShow {
        group: String,
    },
    GroupTransfer {
        group: String,
        user: String,
    },
    GroupDelete {
        group: String,
    },
    SessionList {
        user: Option<String>,
    },
    SessionEnd {
        user: String,
    },
    Audit {
        before: Option<u64>,
        limit: u32,
    },
    Stats,
}

/// Account to create, as a line of a file or a request describes it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    pub(crate) name: String,
    /// Without a password, the account cannot log in until one is set.
    #[serde(default)]
    pub(crate) password: Option<Password>,
    #[serde(default)]
    pub(crate) display_name: Option<String>,
}

/// Password that a request, or a line of a file of accounts, contains as a JSON string.
#[derive(Clone, Debug)]
pub(crate) struct Password(pub(crate) Secret);

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = std::str::from_utf8(self.0.expose());
        serializer.serialize_str(text.map_err(|_| serde::ser::Error::custom("the password is not UTF-8 text"))?)
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The string becomes the buffer of the secret, which is wiped when it is dropped.
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

impl Call {
    /// Converts a `user` command, and reads the password that it needs, perhaps from a prompt. Not
    /// for `user add --file`, whose accounts become a call each.
    ///
    /// # Errors
    /// The password cannot be read, or a deletion lacks `--yes`.
    pub(super) fn user(command: UserCommand) -> Result<Self, Failure> {
        Ok(match command {
            UserCommand::Add {
                name,
                password,
                no_password,
                display_name,
                ..
            } => Self::UserAdd(NewAccount {
                name: name.unwrap_or_default(),
                password: (!no_password)
                    .then(|| read_password(&password).map(Password))
                    .transpose()?,
                display_name,
            }),
            UserCommand::List { prefix } => Self::UserList { prefix },
            UserCommand::Show { user } => Self::UserShow { user },
            UserCommand::Rename { user, name } => Self::UserRename { user, name },
            UserCommand::Passwd { user, password } => Self::UserPasswd {
                user,
                password: Password(read_password(&password)?),
            },
            UserCommand::Disable { user } => Self::UserDisable { user },
            UserCommand::Enable { user } => Self::UserEnable { user },
            UserCommand::Delete { yes: false, .. } => {
                let text = "a deletion cannot be undone; confirm it with --yes";
                return Err(Failure::Usage(text.to_owned()));
            }
            UserCommand::Delete {
                user,
                erase_texts,
                free_name,
                free_subject,
                yes: true,
            } => Self::UserDelete {
                user,
                erase_texts,
                free_name,
                free_subject,
            },
            UserCommand::FreeSubject { subject } => Self::UserFreeSubject { subject },
            UserCommand::Export { user } => Self::UserExport { user },
        })
    }
}

impl From<GroupCommand> for Call {
    fn from(command: GroupCommand) -> Self {
        match command {
            GroupCommand::List { orphaned } => Self::GroupList { orphaned },
            GroupCommand::Show { group } => Self::GroupShow { group },
            GroupCommand::Transfer { group, user } => Self::GroupTransfer { group, user },
            GroupCommand::Delete { group } => Self::GroupDelete { group },
        }
    }
}

impl From<SessionCommand> for Call {
    fn from(command: SessionCommand) -> Self {
        match command {
            SessionCommand::List { user } => Self::SessionList { user },
            SessionCommand::End { user } => Self::SessionEnd { user },
        }
    }
}

impl From<&AuditArgs> for Call {
    fn from(arguments: &AuditArgs) -> Self {
        Self::Audit {
            before: arguments.before,
            limit: arguments.limit,
        }
    }
}

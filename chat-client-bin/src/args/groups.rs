//! `group …`

use chat_core::model::{JoinPolicy, Role};
use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Make a group
    Create {
        /// Its name, unique on the server
        name: String,
        /// What it is about
        #[arg(long, default_value = "", value_name = "TEXT")]
        description: String,
        /// How strangers become members
        #[arg(long, value_name = "POLICY", default_value = "open")]
        join_policy: JoinPolicyArg,
        /// Newcomers may read what was said before
        #[arg(long)]
        history_visible: bool,
        /// Not found by searching
        #[arg(long)]
        unlisted: bool,
    },
    /// Join a group, ask to join it, or accept an invitation
    Join {
        /// Name or #ID
        group: String,
        /// Words for the admins
        #[arg(long, default_value = "", value_name = "TEXT")]
        note: String,
    },
    /// Leave a group
    Leave(Group),
    /// Delete a group, for everybody
    Delete(Group),
    /// List the groups you are in
    List,
    /// List the members of a group
    Members(Group),
    /// Invite somebody
    Invite(GroupUser),
    /// Decline an invitation
    Decline(Group),
    /// Let somebody in who asked
    Approve(GroupUser),
    /// Turn somebody down who asked
    Reject(GroupUser),
    /// Remove a member
    Kick {
        #[command(flatten)]
        at: GroupUser,
        /// And keep them out
        #[arg(long)]
        ban: bool,
    },
    /// Let a banned user come back
    Unban(GroupUser),
    /// Give a member a role
    Role {
        #[command(flatten)]
        at: GroupUser,
        /// The role
        role: RoleArg,
    },
    /// Silence a member for a time: 90s, 10m, 2h, 1d; 0 ends it
    Mute {
        #[command(flatten)]
        at: GroupUser,
        /// How long
        #[arg(value_parser = duration)]
        duration: u64,
    },
    /// Give the group away
    Transfer(GroupUser),
    /// Give the group another name
    Rename {
        /// Name or #ID
        group: String,
        /// The new name
        name: String,
    },
    /// Change what a group is
    Update {
        /// Name or #ID
        group: String,
        /// What it is about
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// How strangers become members
        #[arg(long, value_name = "POLICY")]
        join_policy: Option<JoinPolicyArg>,
        /// Whether newcomers may read what was said before
        #[arg(long, value_name = "BOOL")]
        history_visible: Option<bool>,
        /// Whether it is hidden from searching
        #[arg(long, value_name = "BOOL")]
        unlisted: Option<bool>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Group {
    /// Name or #ID
    pub(crate) group: String,
}

#[derive(Debug, Args)]
pub(crate) struct GroupUser {
    /// Name or #ID
    pub(crate) group: String,
    /// Name or id
    // Not `user`: that is the global option.
    #[arg(value_name = "USER")]
    pub(crate) who: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum JoinPolicyArg {
    /// Everybody joins
    Open,
    /// Admins decide
    Approval,
    /// Members invite
    Invite,
}

impl From<JoinPolicyArg> for JoinPolicy {
    fn from(policy: JoinPolicyArg) -> Self {
        match policy {
            JoinPolicyArg::Open => Self::Open,
            JoinPolicyArg::Approval => Self::Approval,
            JoinPolicyArg::Invite => Self::Invite,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleArg {
    Member,
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Member => Self::Member,
            RoleArg::Admin => Self::Admin,
        }
    }
}

/// Milliseconds, from a number of seconds or a number with a unit.
pub(crate) fn duration(text: &str) -> Result<u64, String> {
    const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(*unit));
    let (digits, seconds) = match unit {
        Some((unit, seconds)) => (text.trim_end_matches(*unit), *seconds),
        None => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|_| "write 90s, 10m, 2h, 1d or 0".to_owned())?;
    number
        .checked_mul(seconds * 1000)
        .ok_or_else(|| "that is too long".to_owned())
}

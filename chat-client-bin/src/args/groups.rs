//! Arguments of `group …`.

use chat_core::model::{JoinPolicy, Role};
use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Create a group
    Create {
        /// Name of the group, unique on the server
        name: String,
        /// Description of the group
        #[arg(long, default_value = "", value_name = "TEXT")]
        description: String,
        /// Policy for joining
        #[arg(long, value_name = "POLICY", default_value = "open")]
        join_policy: JoinPolicyArg,
        /// Let new members read earlier messages
        #[arg(long)]
        history_visible: bool,
        /// Hide the group from search; new users need an invitation
        #[arg(long)]
        unlisted: bool,
    },
    /// Join a group, ask to join it, or accept an invitation
    Join {
        /// Group name or #ID
        group: String,
        /// Text for the admins
        #[arg(long, default_value = "", value_name = "TEXT")]
        note: String,
    },
    /// Leave a group; this deletes the group if you are its last member
    Leave {
        #[command(flatten)]
        args: Group,
        /// Leave the group even if that deletes it, without asking
        #[arg(long)]
        yes: bool,
    },
    /// Delete a group for all members
    Delete(Group),
    /// List the groups you are in
    List,
    /// List the members of a group
    Members(Group),
    /// Invite a user
    Invite(GroupUser),
    /// Decline an invitation
    Decline(Group),
    /// Approve a request to join
    Approve(GroupUser),
    /// Reject a request to join
    Reject(GroupUser),
    /// Remove a member
    Kick {
        #[command(flatten)]
        args: GroupUser,
        /// Also ban the user from the group
        #[arg(long)]
        ban: bool,
    },
    /// Lift the ban of a user
    Unban(GroupUser),
    /// Change the role of a member
    Role {
        #[command(flatten)]
        args: GroupUser,
        /// New role
        role: RoleArg,
    },
    /// Mute a member for a time: 90s, 10m, 2h, 1d; 0 unmutes
    Mute {
        #[command(flatten)]
        args: GroupUser,
        /// Duration of the mute
        #[arg(value_parser = duration_ms)]
        duration: u64,
    },
    /// Transfer the ownership of the group
    Transfer(GroupUser),
    /// Rename a group
    Rename {
        /// Group name or #ID
        group: String,
        /// New name of the group
        name: String,
    },
    /// Change the settings of a group
    Update {
        /// Group name or #ID
        group: String,
        /// Description of the group
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Policy for joining
        #[arg(long, value_name = "POLICY")]
        join_policy: Option<JoinPolicyArg>,
        /// Let new members read earlier messages
        #[arg(long, value_name = "BOOL")]
        history_visible: Option<bool>,
        /// Hide the group from search; new users need an invitation
        #[arg(long, value_name = "BOOL")]
        unlisted: Option<bool>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Group {
    /// Group name or #ID
    pub(crate) group: String,
}

#[derive(Debug, Args)]
pub(crate) struct GroupUser {
    /// Group name or #ID
    pub(crate) group: String,
    /// User name or id
    // The field is not named `user`, because a global option has that id.
    #[arg(value_name = "USER")]
    pub(crate) who: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum JoinPolicyArg {
    /// Users join by themselves
    Open,
    /// Admins approve each request
    Approval,
    /// Members invite users
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

/// Returns a duration in the largest unit in which it is a whole number, such as `90 s` or `2 h`.
pub(crate) fn duration_text(ms: u64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)];
    let unit = units.into_iter().find(|(_, unit)| ms.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{ms} ms"), |(name, unit)| format!("{} {name}", ms / unit))
}

/// Parses a number of seconds, or a number with the unit `s`, `m`, `h` or `d`. Returns
/// milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let with_unit = UNITS
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
    let (digits, seconds) = with_unit.unwrap_or((text, 1));
    let invalid_duration = || "not a duration; write 90s, 10m, 2h, 1d or 0".to_owned();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid_duration()); // parsing would accept a sign
    }
    let number: u64 = digits.parse().map_err(|_| invalid_duration())?;
    number
        .checked_mul(seconds * 1000)
        .ok_or_else(|| "the duration is too long".to_owned())
}

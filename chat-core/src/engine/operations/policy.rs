//! Authorization: pure functions of the requested permission, the caller's relation to the group or
//! user, and the policies of that group or user. What they do not explicitly allow is refused.
//! Units of work call them inside their transactions, after taking the locks; commands without a
//! unit of work call them after reading the rows.

use super::contact::Relation;
use crate::engine::error::CommandError;
use crate::model::{
    Account, DirectPolicy, GroupProfile, JoinPolicy, Member, MemberState, ReplyCode, Role, Seq, Timestamp,
};

/// Relation of a user to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Membership {
    /// The user never was a member, is not banned, and has no invitation or request to join.
    Outsider,
    /// The user was a member, and is not one now, nor banned, invited or asking to join.
    Former,
    /// The user is banned, and cannot join until unbanned.
    Banned,
    /// The user has an invitation.
    Invited,
    /// The user has asked to join.
    Requested,
    /// The user is a member without a higher role, and is not muted.
    Member,
    /// The user is a member who may not write until the mute ends.
    Muted,
    /// The user is an admin.
    Admin,
    /// The user is the owner.
    Owner,
}

impl Membership {
    /// Returns the membership of the user with this row at the time `now`, at which a mute may have
    /// ended.
    pub(crate) fn of(member: Option<&Member>, now: Timestamp) -> Self {
        let Some(member) = member else { return Self::Outsider };
        match (member.state, member.role) {
            (MemberState::Active, Role::Owner) => Self::Owner,
            (MemberState::Active, Role::Admin) => Self::Admin,
            (MemberState::Active, Role::Member) if member.muted_until > now => Self::Muted,
            (MemberState::Active, Role::Member) => Self::Member,
            (MemberState::Invited, _) => Self::Invited,
            (MemberState::Requested, _) => Self::Requested,
            (MemberState::Banned, _) => Self::Banned,
            (MemberState::Left, _) if member.first_seq > Seq::ZERO => Self::Former,
            (MemberState::Left, _) => Self::Outsider,
        }
    }

    /// Returns whether the user is in the group.
    pub(crate) const fn is_inside(self) -> bool {
        matches!(self, Self::Member | Self::Muted | Self::Admin | Self::Owner)
    }

    /// Returns whether the user has the rights of an admin, as the owner has.
    const fn is_admin(self) -> bool {
        matches!(self, Self::Admin | Self::Owner)
    }
}

/// Action on a group that requires a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GroupPermission {
    /// See that the group exists, and its profile.
    Find,
    /// List the members.
    ListMembers,
    /// Send messages, and react to them.
    Send,
    /// Mention all members in a message.
    MentionAll,
    /// Edit an own message.
    EditOwn,
    /// Recall an own message.
    RecallOwn,
    /// Recall another member's message.
    RecallOthers,
    /// Invite users to the group.
    Invite,
    /// Become a member at once.
    Join,
    /// Ask the admins for admission.
    AskToJoin,
    /// Accept and decline requests to join.
    AnswerJoin,
    /// Remove, mute and unmute members, withdraw invitations, refuse requests to join, and ban and
    /// unban users, who need not be members.
    Moderate,
    /// Change name, description and policies.
    Update,
    /// Make members admins and admins members, and transfer the ownership.
    ManageRoles,
    /// Delete the group.
    Delete,
    /// Leave the group.
    Leave,
    /// Show the members that the user is typing. Receipts in groups need no permission.
    Signal,
}

/// Checks that a user with this membership has a permission.
pub(crate) fn check_group(
    permission: GroupPermission,
    membership: Membership,
    profile: &GroupProfile,
) -> Result<(), CommandError> {
    if allows(permission, membership, profile) {
        Ok(())
    } else {
        Err(denial(permission, membership, profile))
    }
}

fn allows(permission: GroupPermission, membership: Membership, profile: &GroupProfile) -> bool {
    use GroupPermission as Permission;
    let is_inside = membership.is_inside();
    let may_speak = is_inside && membership != Membership::Muted;
    match permission {
        Permission::Find => {
            !profile.unlisted || is_inside || matches!(membership, Membership::Invited | Membership::Requested)
        }
        Permission::ListMembers | Permission::Leave | Permission::RecallOwn => is_inside,
        Permission::Send | Permission::EditOwn | Permission::Signal => may_speak,
        Permission::MentionAll
        | Permission::RecallOthers
        | Permission::AnswerJoin
        | Permission::Moderate
        | Permission::Update => membership.is_admin(),
        Permission::Invite => match profile.join_policy {
            JoinPolicy::Open | JoinPolicy::Invite => may_speak,
            JoinPolicy::Approval => membership.is_admin(),
        },
        Permission::Join => match membership {
            Membership::Invited => true,
            Membership::Outsider => profile.join_policy == JoinPolicy::Open && !profile.unlisted,
            Membership::Former | Membership::Requested => profile.join_policy == JoinPolicy::Open,
            _ => false,
        },
        Permission::AskToJoin => match membership {
            Membership::Outsider => profile.join_policy == JoinPolicy::Approval && !profile.unlisted,
            Membership::Former | Membership::Requested => profile.join_policy == JoinPolicy::Approval,
            _ => false,
        },
        Permission::ManageRoles | Permission::Delete => membership == Membership::Owner,
    }
}

/// Returns the error for a missing permission. It does not reveal to outsiders that an unlisted
/// group exists. Users who are invited or have asked to join get the same `NotFound` as outsiders,
/// except for joining.
fn denial(permission: GroupPermission, membership: Membership, profile: &GroupProfile) -> CommandError {
    let is_joining = matches!(permission, GroupPermission::Join | GroupPermission::AskToJoin);
    match membership {
        Membership::Outsider if is_joining && !profile.unlisted => {
            CommandError::new(ReplyCode::Forbidden, "this group can be joined by invitation only")
        }
        Membership::Outsider => CommandError::not_found(),
        Membership::Invited | Membership::Requested if !is_joining => CommandError::not_found(),
        Membership::Muted if allows(permission, Membership::Member, profile) => {
            CommandError::new(ReplyCode::Muted, "you are muted in this group; an admin can unmute you")
        }
        _ => CommandError::forbidden(),
    }
}

/// Checks that a member with the role `actor` may remove, ban, mute or unmute a user with the role
/// `target`, which has to be a lower one.
pub(crate) fn check_rank(actor: Role, target: Role) -> Result<(), CommandError> {
    if actor > target {
        Ok(())
    } else {
        Err(CommandError::forbidden())
    }
}

/// Action towards another user that requires a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DirectPermission {
    /// Send messages, edit them, and react to messages.
    Send,
    /// Recall an own message.
    RecallOwn,
    /// Show the peer that the user is typing, and which messages the user has received and read.
    Signal,
    /// See whether the peer is online.
    SeePresence,
}

/// Rule by which a user accepts direct messages, typing notices and receipts of users who are not
/// friends. A user without an account, or whose account is disabled, accepts none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StrangerPolicy(DirectPolicy);

impl StrangerPolicy {
    /// Returns the rule of the user with this account.
    pub(crate) fn of(account: Option<&Account>) -> Self {
        let account = account.filter(|account| !account.disabled);
        Self(account.map_or(DirectPolicy::Friends, |account| account.direct_policy))
    }

    /// Returns whether the owner of this rule accepts a stranger. `has_sent` says whether the owner
    /// has written in the direct conversation with that stranger.
    pub(crate) const fn accepts(self, has_sent: bool) -> bool {
        match self.0 {
            DirectPolicy::Everyone => true,
            DirectPolicy::Replies => has_sent,
            DirectPolicy::Friends => false,
        }
    }

    /// Returns whether [`accepts`](Self::accepts) depends on its argument.
    pub(crate) const fn depends_on_messages(self) -> bool {
        matches!(self.0, DirectPolicy::Replies)
    }
}

/// Checks that a user with this relation to a peer has a permission. `accepts_strangers` matters
/// only if the user is a stranger: it is true if the direct-message policy of the peer allows
/// messages from this user without a friendship.
pub(crate) fn check_direct(
    permission: DirectPermission,
    relation: Relation,
    accepts_strangers: bool,
) -> Result<(), CommandError> {
    use DirectPermission as Permission;
    let is_allowed = match (permission, relation) {
        (_, Relation::Myself | Relation::Friend) | (Permission::RecallOwn, _) => true,
        (Permission::Send | Permission::Signal, Relation::Stranger) => accepts_strangers,
        (Permission::SeePresence, Relation::Stranger) => false,
        (
            Permission::Send | Permission::Signal | Permission::SeePresence,
            Relation::BlockedByPeer | Relation::BlocksPeer,
        ) => false,
    };
    if is_allowed {
        Ok(())
    } else {
        Err(CommandError::new(
            ReplyCode::NotFriends,
            "you cannot message this user; become friends first, or unblock the user if you blocked them",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserId;

    fn account(direct_policy: DirectPolicy, disabled: bool) -> Account {
        Account {
            id: UserId(1),
            name: "alice".into(),
            skeleton: "alice".into(),
            display_name: "Alice".into(),
            password_hash: None,
            direct_policy,
            disabled,
            created: Timestamp(1),
            subject: None,
            deleted: None,
        }
    }

    #[test]
    fn enabled_users_accept_strangers_by_policy_and_disabled_or_missing_users_none() {
        for (policy, without_message, with_message) in [
            (DirectPolicy::Everyone, true, true),
            (DirectPolicy::Replies, false, true),
            (DirectPolicy::Friends, false, false),
        ] {
            let enabled = StrangerPolicy::of(Some(&account(policy, false)));
            let accepts = (enabled.accepts(false), enabled.accepts(true));
            assert_eq!(accepts, (without_message, with_message), "{policy:?}");
            assert_eq!(enabled.depends_on_messages(), without_message != with_message);
            let disabled = StrangerPolicy::of(Some(&account(policy, true)));
            assert!(!disabled.accepts(false) && !disabled.accepts(true), "{policy:?}");
        }
        assert!(!StrangerPolicy::of(None).accepts(true));
    }
}

//! Who may do what: pure functions over what is asked and what the asker is to its object. Whatever is not allowed here is
//! refused. Units of work call them inside their transactions, after the locks.

use super::contact::Standing;
use super::error::CommandError;
use crate::model::{GroupProfile, JoinPolicy, Member, MemberState, ReplyCode, Role, Seq, Timestamp};

/// What a user is to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Nothing, never was.
    Outsider,
    /// Was a member.
    Former,
    /// May not come back.
    Banned,
    /// Invited.
    Invited,
    /// Asked to join.
    Requested,
    /// Member.
    Member,
    /// Member who may not write now.
    Muted,
    /// Admin.
    Admin,
    /// Owner.
    Owner,
}

impl Place {
    /// Of the user with this row.
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

    /// Whether they are in the group now.
    pub(crate) const fn is_inside(self) -> bool {
        matches!(self, Self::Member | Self::Muted | Self::Admin | Self::Owner)
    }

    const fn leads(self) -> bool {
        matches!(self, Self::Admin | Self::Owner)
    }
}

/// What somebody wants of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GroupAct {
    /// To learn what it is.
    Find,
    /// To learn who is in it.
    ListMembers,
    /// To write, and to react to what was written.
    Send,
    /// To call on everybody.
    MentionAll,
    /// To change an own message.
    EditOwn,
    /// To take an own message back.
    RecallOwn,
    /// To take back what somebody else wrote.
    RecallOthers,
    /// To invite.
    Invite,
    /// To become a member, now.
    Join,
    /// To be let in by an admin.
    AskToJoin,
    /// To answer those who asked.
    AnswerJoin,
    /// To remove, ban, let return, and silence members.
    Discipline,
    /// To change name, description and policies.
    Update,
    /// To give roles, and the group away.
    Govern,
    /// To delete it.
    Delete,
    /// To leave.
    Leave,
    /// To be seen writing, and reading.
    Signal,
}

/// Whether somebody at this place may do that.
pub(crate) fn group(act: GroupAct, place: Place, profile: &GroupProfile) -> Result<(), CommandError> {
    if allows(act, place, profile) {
        Ok(())
    } else {
        Err(refusal(act, place, profile))
    }
}

fn allows(act: GroupAct, place: Place, profile: &GroupProfile) -> bool {
    use GroupAct as Act;
    match act {
        Act::Find => !profile.unlisted || place.is_inside() || matches!(place, Place::Invited | Place::Requested),
        Act::ListMembers | Act::Leave => place.is_inside(),
        Act::Send | Act::EditOwn | Act::Signal => place.is_inside() && place != Place::Muted,
        Act::RecallOwn => place.is_inside(),
        Act::MentionAll | Act::RecallOthers | Act::AnswerJoin | Act::Discipline | Act::Update => place.leads(),
        Act::Invite => match profile.join_policy {
            JoinPolicy::Open | JoinPolicy::Invite => place.is_inside() && place != Place::Muted,
            JoinPolicy::Approval => place.leads(),
        },
        Act::Join => match place {
            Place::Invited => true,
            Place::Outsider => profile.join_policy == JoinPolicy::Open && !profile.unlisted,
            Place::Former | Place::Requested => profile.join_policy == JoinPolicy::Open,
            _ => false,
        },
        Act::AskToJoin => match place {
            Place::Outsider => profile.join_policy == JoinPolicy::Approval && !profile.unlisted,
            Place::Former | Place::Requested => profile.join_policy == JoinPolicy::Approval,
            _ => false,
        },
        Act::Govern | Act::Delete => place == Place::Owner,
    }
}

/// In which words. To somebody outside, a group that is not for them is like one that does not exist.
fn refusal(act: GroupAct, place: Place, profile: &GroupProfile) -> CommandError {
    let joining = matches!(act, GroupAct::Join | GroupAct::AskToJoin);
    match place {
        Place::Outsider if joining && !profile.unlisted => {
            CommandError::new(ReplyCode::Forbidden, "one joins this group by invitation")
        }
        Place::Outsider => CommandError::not_found(),
        Place::Invited | Place::Requested if !joining => CommandError::not_found(),
        Place::Muted if allows(act, Place::Member, profile) => {
            CommandError::new(ReplyCode::Muted, "an admin muted you")
        }
        _ => CommandError::forbidden(),
    }
}

/// Whether a member of role `actor` may remove, ban or silence one of role `target`.
pub(crate) fn outranks(actor: Role, target: Role) -> Result<(), CommandError> {
    if actor > target {
        Ok(())
    } else {
        Err(CommandError::forbidden())
    }
}

/// What somebody wants of another user, or of what the two write to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DirectAct {
    /// To write, edit and react.
    Send,
    /// To take an own message back.
    RecallOwn,
    /// To be seen writing, and reading.
    Signal,
    /// To see whether they can be reached.
    SeePresence,
}

/// Whether somebody of this standing may do that. `everyone`: the other takes messages from everyone.
pub(crate) fn direct(act: DirectAct, standing: Standing, everyone: bool) -> Result<(), CommandError> {
    let allowed = match (act, standing) {
        (_, Standing::Oneself | Standing::Friend) | (DirectAct::RecallOwn, _) => true,
        (DirectAct::Send | DirectAct::Signal, Standing::Stranger) => everyone,
        (DirectAct::SeePresence, Standing::Stranger) => false,
        (DirectAct::Send | DirectAct::Signal | DirectAct::SeePresence, Standing::Blocked | Standing::Blocker) => false,
    };
    if allowed {
        Ok(())
    } else {
        Err(CommandError::new(
            ReplyCode::NotFriends,
            "they take messages from friends only",
        ))
    }
}

//! Unit of work that joins a group.

use async_trait::async_trait;

use super::limits::Joiner;
use super::{GroupChangeContext, GroupLimits};
use crate::engine::error::Rejection;
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::policy::{GroupPermission, Membership};
use crate::model::{Event, EventBody, MemberState, Note, Role, UserId};
use crate::store::Transaction;

/// Makes the caller a member, or records that the caller asks to join, depending on the group's
/// join policy and on the caller's membership. Accepts an invitation, if the caller has one. A new
/// request is announced to the owner and the admins, but to each of them at most once within
/// `limits.repeat_interval`.
#[derive(Clone, Debug)]
pub(in crate::engine) struct JoinGroup {
    pub(in crate::engine) context: GroupChangeContext,
    /// Note for the admins, if the caller has to ask.
    pub(in crate::engine) note: Note,
    /// True if the caller has to ask to join and has not asked yet, by the rows that were read
    /// before the transaction. Then the inboxes of the admins and the owner are locked with the
    /// group.
    pub(in crate::engine) must_notify_admins: bool,
    pub(in crate::engine) limits: GroupLimits,
}

/// Outcome of joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Joined {
    /// The caller is a member.
    Member,
    /// The caller has asked to join, and waits for an admin's answer.
    Requested,
}

#[async_trait]
impl Operation for JoinGroup {
    type Output = (Joined, Vec<Event>);

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Self::Output, Rejection> {
        let me = self.context.caller.user;
        let admins = if self.must_notify_admins {
            tx.members_with_role(self.context.group, Role::Admin).await?
        } else {
            Vec::new()
        };
        let admins: Vec<UserId> = admins.into_iter().map(|admin| admin.user).collect();
        let mut group = self.context.lock(tx, &[], &admins).await?;
        let membership = group.membership(me);
        if membership.is_inside() && !group.row()?.deleted {
            return Ok((Joined::Member, Vec::new()));
        }
        let denied = match group.require(GroupPermission::Join) {
            Ok(()) => {
                group.add_member(tx, me, None, self.limits).await?;
                return Ok((Joined::Member, group.write(tx, intents).await?));
            }
            Err(denied) => denied,
        };
        if group.require(GroupPermission::AskToJoin).is_err() {
            return Err(denied);
        }
        if membership == Membership::Requested {
            return Ok((Joined::Requested, Vec::new()));
        }
        let is_returning = group.has_readable_events(me);
        self.limits
            .require_below_group_limits(tx, me, Joiner::Caller, is_returning)
            .await?;
        group.set_state(tx, me, MemberState::Requested).await?;
        let group_name = group.profile()?.name;
        for admin in tx.members_with_role(self.context.group, Role::Admin).await? {
            let body = EventBody::JoinRequested {
                group: self.context.group,
                group_name: group_name.clone(),
                user: me,
                note: self.note.as_str().to_owned(),
            };
            let interval = self.limits.repeat_interval;
            group.append_to_inbox_once(tx, admin.user, &body, interval).await?;
        }
        Ok((Joined::Requested, group.write(tx, intents).await?))
    }
}

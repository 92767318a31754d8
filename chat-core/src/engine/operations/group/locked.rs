//! [`LockedGroup`]: a group that a unit of work has locked, with the members involved. The caller's
//! [`fence`] was checked under the lock.

use std::collections::HashMap;
use std::time::Duration;

use super::limits::{GroupLimits, Joiner};
use crate::engine::error::{CommandError, Rejection, name_taken};
use crate::engine::operation::WriteIntents;
use crate::engine::operations::fence::fence;
use crate::engine::operations::log::{Author, Log, Logs};
use crate::engine::operations::policy::{self, GroupPermission, Membership};
use crate::model::{
    Caller, Conversation, ConversationId, ConversationKind, Event, EventBody, GroupProfile, Member, MemberState,
    ReplyCode, Role, Seq, Timestamp, UserId,
};
use crate::store::{RequestNotice, StoreError, Transaction};

/// Caller, group and time of a change: the common input of the units of work on an existing group.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct GroupChangeContext {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) group: ConversationId,
    pub(in crate::engine) now: Timestamp,
}

/// A locked group, with the changes that the unit of work is about to write.
#[derive(Debug)]
pub(super) struct LockedGroup {
    context: GroupChangeContext,
    logs: Logs,
    /// Memberships of the users involved; users without one are absent.
    members: HashMap<UserId, Member>,
    /// Locked inboxes by their owners.
    inboxes: HashMap<UserId, ConversationId>,
}

impl GroupChangeContext {
    /// Locks the group and the inboxes of `notified`, checks the caller's fence, and reads the
    /// memberships of the caller and of `users`. Fails with `NotFound` if there is no such group; a
    /// deleted group is locked too.
    pub(super) async fn lock(
        self,
        tx: &mut dyn Transaction,
        users: &[UserId],
        notified: &[UserId],
    ) -> Result<LockedGroup, Rejection> {
        let mut inboxes = HashMap::with_capacity(notified.len());
        for user in notified {
            // A user who does not exist has no inbox. Such a user has no membership either, which
            // the operation checks.
            let kind = ConversationKind::Inbox { owner: *user };
            if let Some(inbox) = tx.conversation_of_kind(&kind).await? {
                inboxes.insert(*user, inbox);
            }
        }
        let ids = inboxes.values().copied().chain([self.group]);
        let mut logs = Logs::lock(tx, self.now, ids).await?;
        fence(tx, self.caller, self.now).await?;
        let is_group = |log: &mut Log| log.row.kind == ConversationKind::Group;
        if !logs.log(self.group).is_some_and(is_group) {
            return Err(CommandError::not_found().into());
        }
        let involved: Vec<UserId> = users.iter().copied().chain([self.caller.user]).collect();
        let members = tx.members_in(self.group, &involved).await?;
        Ok(LockedGroup {
            context: self,
            logs,
            members: members.into_iter().map(|member| (member.user, member)).collect(),
            inboxes,
        })
    }
}

impl LockedGroup {
    /// Checks that the group is not deleted, and that the caller has a permission.
    pub(super) fn require(&mut self, permission: GroupPermission) -> Result<(), Rejection> {
        let membership = self.membership(self.context.caller.user);
        let row = self.row()?;
        if row.deleted {
            let error = if membership == Membership::Outsider {
                CommandError::not_found()
            } else {
                CommandError::new(ReplyCode::GroupDeleted, "the group was deleted")
            };
            return Err(error.into());
        }
        policy::check_group(permission, membership, profile(row)?)?;
        Ok(())
    }

    /// Checks that the caller has a permission, and a higher role than `target`. A target that is
    /// not a member counts as having the role `Member`.
    pub(super) fn require_rank(&mut self, permission: GroupPermission, target: UserId) -> Result<(), Rejection> {
        self.require(permission)?;
        let role = |user| self.members.get(&user).map_or(Role::Member, |member| member.role);
        let target = self.active_member(target).map_or(Role::Member, |member| member.role);
        policy::check_rank(role(self.context.caller.user), target)?;
        Ok(())
    }

    pub(super) fn row(&mut self) -> Result<&mut Conversation, Rejection> {
        Ok(&mut self.log()?.row)
    }

    pub(super) fn profile(&mut self) -> Result<GroupProfile, Rejection> {
        Ok(profile(self.row()?)?.clone())
    }

    pub(super) fn log(&mut self) -> Result<&mut Log, Rejection> {
        self.logs.log(self.context.group).ok_or(Rejection::Outdated)
    }

    pub(super) fn membership(&self, user: UserId) -> Membership {
        Membership::of(self.members.get(&user), self.context.now)
    }

    /// Returns the user whose pending invitation the inbox of `user` contains, if any.
    pub(super) fn inviter(&self, user: UserId) -> Option<UserId> {
        self.members.get(&user)?.invited_by
    }

    pub(super) fn active_member(&self, user: UserId) -> Option<&Member> {
        self.members.get(&user).filter(|member| member.is_active())
    }

    /// Appends to the group's log in the caller's name.
    pub(super) fn append(&mut self, body: &EventBody) -> Result<Seq, Rejection> {
        let author = Author::from(self.context.caller);
        self.logs.append(self.context.group, author, body)
    }

    /// Appends to the inbox of a user. Fails with [`Rejection::Outdated`] if the inbox was not
    /// locked.
    pub(super) fn append_to_inbox(&mut self, user: UserId, body: &EventBody) -> Result<(), Rejection> {
        let inbox = *self.inboxes.get(&user).ok_or(Rejection::Outdated)?;
        self.logs.append(inbox, self.context.caller.into(), body)?;
        Ok(())
    }

    /// Appends to the inbox of a user whose inbox was locked, unless the caller caused an event of
    /// the same kind about this group there within the last `interval`.
    pub(super) async fn append_to_inbox_once(
        &mut self,
        tx: &mut dyn Transaction,
        user: UserId,
        body: &EventBody,
        interval: Duration,
    ) -> Result<(), Rejection> {
        let notice = RequestNotice {
            inbox: *self.inboxes.get(&user).ok_or(Rejection::Outdated)?,
            kind: body.kind(),
            sender: self.context.caller.user,
            group: Some(self.context.group),
        };
        let now = self.context.now;
        if tx.record_request_notice(notice, now, now.before(interval)).await? {
            self.append_to_inbox(user, body)?;
        }
        Ok(())
    }

    /// Returns whether the user is or was a member, and so may read events of the group.
    pub(super) fn has_readable_events(&self, user: UserId) -> bool {
        self.members
            .get(&user)
            .is_some_and(|member| member.first_seq > Seq::ZERO)
    }

    /// Makes a user an active member, and appends `MemberJoined`. The argument `by` is the member
    /// who admitted the user; `None` if the user joined without one. Fails if the group is full or
    /// the user may not be in a further group.
    pub(super) async fn add_member(
        &mut self,
        tx: &mut dyn Transaction,
        user: UserId,
        by: Option<UserId>,
        limits: GroupLimits,
    ) -> Result<(), Rejection> {
        if self.row()?.member_count >= limits.max_members {
            return Err(CommandError::limit("the group is full").into());
        }
        let joiner = match by {
            None => Joiner::Caller,
            Some(_) => Joiner::Other,
        };
        limits
            .require_below_group_limits(tx, user, joiner, self.has_readable_events(user))
            .await?;
        let seq = self.append(&EventBody::MemberJoined { user, by })?;
        let row = self.log()?.change();
        row.member_count += 1;
        let visible = profile(row)?.history_visible;
        let first_seq = if visible { Seq(1) } else { seq };
        let mut member = Member::active(self.context.group, user, Role::Member, first_seq);
        // Messages before this event do not count as unread, even if the user may read them.
        member.read_seq = seq;
        if let Some(before) = self.members.get(&user) {
            // A user cannot end a mute by leaving and joining again.
            member.muted_until = before.muted_until;
        }
        self.put_member(tx, member).await
    }

    /// Makes an active member a former or banned one. From now on, the user may read up to
    /// `last_seq`, the event that was appended last, and sees the group as it is at that event.
    pub(super) async fn remove_member(
        &mut self,
        tx: &mut dyn Transaction,
        user: UserId,
        state: MemberState,
        last_seq: Seq,
    ) -> Result<(), Rejection> {
        let row = self.log()?.change();
        row.member_count = row.member_count.saturating_sub(1);
        let Some(mut member) = self.members.get(&user).cloned() else {
            return Err(Rejection::Outdated);
        };
        if let Some(snapshot) = self.log()?.snapshot() {
            tx.put_snapshot(self.context.group, user, &snapshot).await?;
        }
        member.set_state(state);
        member.role = Role::Member;
        member.until_seq = Some(last_seq);
        self.put_member(tx, member).await
    }

    /// Changes the state of a user who is not an active member. The range of events that the user
    /// may read stays the same.
    pub(super) async fn set_state(
        &mut self,
        tx: &mut dyn Transaction,
        user: UserId,
        state: MemberState,
    ) -> Result<(), Rejection> {
        let mut member = self.member_or_outsider(user);
        member.set_state(state);
        self.put_member(tx, member).await
    }

    /// Invites a user who is not an active member. If `announced` is set, records the caller as the
    /// inviter, and appends a `GroupInvited` to the user's inbox, which was locked, unless the
    /// inbox got one of the caller about this group within the last `interval`.
    pub(super) async fn invite(
        &mut self,
        tx: &mut dyn Transaction,
        user: UserId,
        announced: bool,
        interval: Duration,
    ) -> Result<(), Rejection> {
        let mut member = self.member_or_outsider(user);
        member.set_state(MemberState::Invited);
        if announced {
            let by = self.context.caller.user;
            member.invited_by = Some(by);
            let group_name = self.profile()?.name;
            let group = self.context.group;
            let invited = EventBody::GroupInvited { group, group_name, by };
            self.append_to_inbox_once(tx, user, &invited, interval).await?;
        }
        self.put_member(tx, member).await
    }

    /// Returns the membership of a user, or the row of a user who never was a member.
    fn member_or_outsider(&self, user: UserId) -> Member {
        let outsider = || Member {
            first_seq: Seq::ZERO,
            ..Member::active(self.context.group, user, Role::Member, Seq::ZERO)
        };
        self.members.get(&user).cloned().unwrap_or_else(outsider)
    }

    pub(super) async fn put_member(&mut self, tx: &mut dyn Transaction, member: Member) -> Result<(), Rejection> {
        tx.put_member(&member).await?;
        self.members.insert(member.user, member);
        Ok(())
    }

    /// Writes the appended events and the changed rows. Returns the events, or `NameTaken` if the
    /// group's new name is taken.
    pub(super) async fn write(self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let (are_names_free, events) = self.logs.write(tx, intents).await?;
        if !are_names_free {
            return Err(name_taken().into());
        }
        Ok(events)
    }
}

fn profile(row: &Conversation) -> Result<&GroupProfile, Rejection> {
    let profile = row.group.as_ref();
    profile.ok_or_else(|| StoreError::Corrupt(format!("group {} has no profile", row.id)).into())
}

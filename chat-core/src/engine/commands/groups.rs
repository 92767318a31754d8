//! Commands about groups.
//!
//! A change of a group runs in the group's lane, the appender's queue of the drafts to the group,
//! so that changes and messages of a session take effect in the order in which it sent them.

use std::future::ready;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::reading::PageLimits;
use crate::codec::body;
use crate::engine::directory::Directory;
use crate::engine::error::CommandError;
use crate::engine::hook_calls::HookCalls;
use crate::engine::limits::UserLimits;
use crate::engine::operation::Operation;
use crate::engine::operations::group::{
    AnswerJoin, CreateGroup, DeclineInvitation, DeleteGroup, GroupCall, GroupLimits, InviteMember, JoinGroup, Joined,
    KickMember, LeaveGroup, MuteMember, SetRole, TransferOwnership, UnbanMember, UpdateGroup,
};
use crate::engine::operations::message::fingerprint;
use crate::engine::operations::policy::{self, GroupPermission, Membership};
use crate::engine::units::Units;
use crate::engine::views::{conversation_info, group_info, user_infos};
use crate::engine::workers::{AppendQueue, CursorQueue, LaneCheck, LaneOperation, Publisher};
use crate::model::{
    Caller, ClientMessageId, ConversationId, ConversationKind, ConversationRef, Event, EventBody, EventKind,
    GroupChanges, GroupName, GroupProfile, JoinPolicy, Member, MemberInfo, MemberPage, MemberState, NewGroup, Note,
    Outcome, Page, PageFrom, Role, Seq, UserId, UserRef,
};
use crate::service::CommandFuture;

#[derive(Debug)]
pub(in crate::engine) struct GroupCommands {
    pub(in crate::engine) units: Arc<Units>,
    pub(in crate::engine) directory: Arc<Directory>,
    pub(in crate::engine) limits: Arc<UserLimits>,
    pub(in crate::engine) hooks: Arc<HookCalls>,
    pub(in crate::engine) publisher: Publisher,
    pub(in crate::engine) queue: Arc<AppendQueue>,
    pub(in crate::engine) cursors: Arc<CursorQueue>,
    pub(in crate::engine) group_limits: GroupLimits,
    pub(in crate::engine) page: PageLimits,
    pub(in crate::engine) max_list_len: u32,
    pub(in crate::engine) max_receipt_members: u32,
}

impl GroupCommands {
    /// Creates a group. A retry finds the group that was created before, even if there is now a
    /// reason to refuse the command.
    pub(super) async fn create(self: Arc<Self>, caller: Caller, new: NewGroup) -> Result<Outcome, CommandError> {
        // The fingerprint is that of the requested group, so a retry has the same one even if hooks
        // change the group differently.
        let (id, fingerprint) = (new.client_message_id, fingerprint_of(&profile_of(&new)));
        let created = match self.create_new(caller, new, fingerprint).await {
            Err(refusal) => self.created_before(caller, id, fingerprint).await?.ok_or(refusal)?,
            Ok(created) => created,
        };
        self.conversation(caller, created).await
    }

    /// Returns the group that an earlier attempt of the same command created, if any.
    async fn created_before(
        &self,
        caller: Caller,
        id: ClientMessageId,
        fingerprint: u64,
    ) -> Result<Option<ConversationId>, CommandError> {
        let ids = [id];
        let sent = self.units.store().find_sent(caller.user, &ids);
        let sent = self.units.read(sent).await?.pop().map(|sent| sent.event);
        let is_creation = |event: &Event| event.kind == EventKind::GroupCreated && event.fingerprint == fingerprint;
        Ok(sent.filter(is_creation).map(|event| event.conversation))
    }

    async fn create_new(
        &self,
        caller: Caller,
        new: NewGroup,
        fingerprint: u64,
    ) -> Result<ConversationId, CommandError> {
        let mut charge = self.limits.group_creations.charge(caller.user)?;
        let new = self.hooks.before_create_group(caller, new, &mut charge).await?;
        let create = CreateGroup {
            caller,
            client_message_id: new.client_message_id,
            fingerprint,
            profile: profile_of(&new),
            limits: self.group_limits,
            now: self.units.now(),
        };
        let deadline = self.units.deadline();
        let created = self.units.run_idempotent(caller, create, deadline, &mut false).await;
        let (group, events) = created?;
        // Without events, the unit of work found the group of an earlier attempt, and the charge is
        // refunded.
        if !events.is_empty() {
            charge.keep();
        }
        self.publisher.publish(events);
        Ok(group)
    }

    pub(super) fn join(self: Arc<Self>, caller: Caller, group: ConversationRef, note: Note) -> CommandFuture {
        let check = move |this: Arc<Self>, group| async move { this.hooks.before_join(caller, group, note).await };
        self.in_lane_after(caller, group, check, move |this, call, note| async move {
            let row = this.units.store().conversation(call.group);
            let row = this.units.read(row).await?;
            let policy = row.and_then(|row| row.group).map(|group| group.join_policy);
            let join = JoinGroup {
                call,
                note,
                by_approval: policy == Some(JoinPolicy::Approval),
                limits: this.group_limits,
            };
            let (joined, events) = this.units.run(call.group, join).await?;
            this.publisher.publish(events);
            match joined {
                Joined::Member => this.conversation(caller, call.group).await,
                Joined::Requested => Ok(Outcome::Done),
            }
        })
    }

    pub(super) fn answer_join(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
        accept: bool,
    ) -> CommandFuture {
        let limits = self.group_limits;
        self.on_member(caller, group, user, move |call, user| AnswerJoin {
            call,
            user,
            accept,
            limits,
        })
    }

    pub(super) fn invite(self: Arc<Self>, caller: Caller, group: ConversationRef, user: UserRef) -> CommandFuture {
        let check = move |this: Arc<Self>, group| async move {
            let user = this.directory.user_id(&user).await?;
            let mut charge = this.limits.invitations.charge(caller.user)?;
            this.hooks.before_invite(caller, group, user, &mut charge).await?;
            Ok((user, charge))
        };
        self.in_lane_after(caller, group, check, move |this, call, (user, mut charge)| async move {
            let limits = this.group_limits;
            let has_notice = this.has_notice(user, call.group).await?;
            let invite = InviteMember {
                call,
                user,
                has_notice,
                limits,
            };
            let invited = this.perform(call.group, invite).await?;
            charge.keep();
            Ok(invited)
        })
    }

    pub(super) fn decline_invitation(self: Arc<Self>, caller: Caller, group: ConversationRef) -> CommandFuture {
        self.in_lane(caller, group, move |this, call| async move {
            let inviter = this.inviter(caller.user, call.group).await?;
            this.perform(call.group, DeclineInvitation { call, inviter }).await
        })
    }

    pub(super) fn leave(self: Arc<Self>, caller: Caller, group: ConversationRef) -> CommandFuture {
        self.on_group(caller, group, |call| LeaveGroup { call })
    }

    pub(super) fn delete(self: Arc<Self>, caller: Caller, group: ConversationRef) -> CommandFuture {
        self.on_group(caller, group, |call| DeleteGroup { call })
    }

    pub(super) fn kick(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
        ban: bool,
    ) -> CommandFuture {
        self.on_member(caller, group, user, move |call, user| KickMember { call, user, ban })
    }

    pub(super) fn unban(self: Arc<Self>, caller: Caller, group: ConversationRef, user: UserRef) -> CommandFuture {
        self.on_member(caller, group, user, |call, user| UnbanMember { call, user })
    }

    pub(super) fn mute(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
        duration_ms: u64,
    ) -> CommandFuture {
        self.on_member(caller, group, user, move |call, user| MuteMember {
            call,
            user,
            duration_ms,
        })
    }

    pub(super) fn set_role(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
        role: Role,
    ) -> CommandFuture {
        self.on_member(caller, group, user, move |call, user| SetRole { call, user, role })
    }

    pub(super) fn transfer(self: Arc<Self>, caller: Caller, group: ConversationRef, user: UserRef) -> CommandFuture {
        self.on_member(caller, group, user, |call, user| TransferOwnership { call, user })
    }

    pub(super) fn update(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        changes: GroupChanges,
    ) -> CommandFuture {
        let check =
            move |this: Arc<Self>, group| async move { this.hooks.before_update_group(caller, group, changes).await };
        self.in_lane_after(caller, group, check, move |this, call, changes| async move {
            this.perform(call.group, UpdateGroup { call, changes }).await
        })
    }

    pub(super) async fn search(
        self: Arc<Self>,
        caller: Caller,
        query: String,
        limit: u32,
    ) -> Result<Outcome, CommandError> {
        let (units, store) = (&self.units, self.units.store());
        let limit = limit.clamp(1, self.max_list_len);
        let mut found = Vec::new();
        if let Ok(id) = query.parse() {
            let id = ConversationId(id);
            let row = units.read(store.conversation(id)).await?;
            if let Some(row) = row.filter(|row| !row.deleted) {
                let member = units.read(store.member(id, caller.user)).await?;
                let membership = Membership::of(member.as_ref(), units.now());
                let may_find = |group| policy::check_group(GroupPermission::Find, membership, group).is_ok();
                if row.group.as_ref().is_some_and(may_find) {
                    found.extend(group_info(&row));
                }
            }
        }
        let prefix = GroupName::parse_any(&query).map_or_else(|_| query.to_lowercase(), |name| name.key());
        if !prefix.is_empty() {
            let named = units.read(store.search_groups(&prefix, limit)).await?;
            found.extend(named.iter().filter_map(group_info));
        }
        found.truncate(limit as usize);
        Ok(Outcome::Groups(found))
    }

    pub(super) async fn list_members(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        after: UserId,
        limit: u32,
    ) -> Result<Outcome, CommandError> {
        let (units, store) = (&self.units, self.units.store());
        let id = self.directory.find(caller.user, &group).await?.id;
        self.cursors.wait_until_written(caller.user).await;
        let row = units.read(store.conversation(id)).await?;
        let Some(row) = row else {
            return Err(CommandError::not_found());
        };
        // Members see the same marks here as in receipts.
        let has_receipts = row.member_count <= self.max_receipt_members && !row.deleted;
        let Some(profile) = row.group else {
            return Err(CommandError::not_found());
        };
        let own = units.read(store.member(id, caller.user)).await?;
        let own = Membership::of(own.as_ref(), units.now());
        policy::check_group(GroupPermission::ListMembers, own, &profile)?;
        let sees_all = matches!(own, Membership::Admin | Membership::Owner);
        let limit = limit.clamp(1, self.max_list_len);
        let (members, more) = self.members_after(id, after, limit, sees_all).await?;
        let ids: Vec<UserId> = members.iter().map(|member| member.user).collect();
        let mut users = user_infos(units, &ids).await?;
        let info = |member: Member| {
            let shows_marks = member.user == caller.user || (has_receipts && member.is_active());
            let mark = |seq| if shows_marks { seq } else { Seq::ZERO };
            Some(MemberInfo {
                user: users.remove(&member.user)?,
                role: member.role,
                state: member.state,
                muted_until: member.muted_until,
                delivered_seq: mark(member.delivered_seq),
                read_seq: mark(member.read_seq),
            })
        };
        let members = members.into_iter().filter_map(info).collect();
        Ok(Outcome::Members(MemberPage::new(members, more)))
    }

    /// Returns at most `limit` members after the user `after`, and whether there are more; unless
    /// `sees_all`, only active members. Pages of the store contain all members, so this may read
    /// several pages.
    async fn members_after(
        &self,
        group: ConversationId,
        after: UserId,
        limit: u32,
        sees_all: bool,
    ) -> Result<(Vec<Member>, bool), CommandError> {
        let max = limit as usize;
        let mut members = Vec::new();
        let mut last = after;
        let more = loop {
            let page = self.units.store().members(group, last, limit.saturating_add(1));
            let page = self.units.read(page).await?;
            let is_last = page.len() <= max;
            last = page.last().map_or(last, |member| member.user);
            let visible = |member: &Member| sees_all || member.state == MemberState::Active;
            members.extend(page.into_iter().filter(visible));
            if members.len() > max {
                break true;
            }
            if is_last {
                break false;
            }
        };
        members.truncate(max);
        Ok((members, more))
    }

    /// Returns whether a user is invited to a group and has the invitation in the inbox. A user who
    /// blocked the inviter got no invitation in the inbox.
    async fn has_notice(&self, user: UserId, group: ConversationId) -> Result<bool, CommandError> {
        let member = self.units.read(self.units.store().member(group, user)).await?;
        if member.is_none_or(|member| member.state != MemberState::Invited) {
            return Ok(false);
        }
        Ok(self.inviter(user, group).await?.is_some())
    }

    /// Returns the sender of the latest invitation to a group in the user's inbox, or `None` if the
    /// newest page of the inbox contains none.
    async fn inviter(&self, user: UserId, group: ConversationId) -> Result<Option<UserId>, CommandError> {
        let (units, store) = (&self.units, self.units.store());
        let kind = ConversationKind::Inbox { owner: user };
        let Some(inbox) = units.read(store.conversation_of_kind(&kind)).await? else {
            return Ok(None);
        };
        let page = Page {
            from: PageFrom::Newest,
            max_events: self.page.max_events,
            max_bytes: self.page.max_bytes,
        };
        let page = units.read(store.events_for(user, inbox, page)).await?;
        let events = page.map(|page| page.events).unwrap_or_default();
        Ok(events.iter().rev().find_map(|event| inviter_of(event, group)))
    }

    async fn conversation(&self, caller: Caller, group: ConversationId) -> Result<Outcome, CommandError> {
        let info = conversation_info(&self.units, caller, group).await?;
        Ok(Outcome::Conversation(Box::new(info)))
    }

    /// Runs a unit of work and publishes its events.
    async fn perform<O>(&self, group: ConversationId, operation: O) -> Result<Outcome, CommandError>
    where
        O: Operation<Output = Vec<Event>> + Clone,
    {
        let events = self.units.run(group, operation).await?;
        self.publisher.publish(events);
        Ok(Outcome::Done)
    }

    /// Runs a unit of work in a group's lane, and publishes its events.
    fn on_group<O>(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        operation: impl FnOnce(GroupCall) -> O + Send + 'static,
    ) -> CommandFuture
    where
        O: Operation<Output = Vec<Event>> + Clone + Sync,
    {
        self.in_lane(caller, group, |this, call| async move {
            let operation = operation(call);
            this.perform(call.group, operation).await
        })
    }

    /// Runs a unit of work about one user of a group in the group's lane, and publishes its events.
    fn on_member<O>(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
        operation: impl FnOnce(GroupCall, UserId) -> O + Send + 'static,
    ) -> CommandFuture
    where
        O: Operation<Output = Vec<Event>> + Clone + Sync,
    {
        self.in_lane(caller, group, move |this, call| async move {
            let user = this.directory.user_id(&user).await?;
            let operation = operation(call, user);
            this.perform(call.group, operation).await
        })
    }

    /// Runs a change of a group in its lane.
    fn in_lane<F>(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        change: impl FnOnce(Arc<Self>, GroupCall) -> F + Send + 'static,
    ) -> CommandFuture
    where
        F: Future<Output = Result<Outcome, CommandError>> + Send + 'static,
    {
        self.submit(caller, group, None, change)
    }

    /// Runs `check`, then a change of a group in its lane, with the value that the check returned.
    /// The check runs outside the lane: a slow hook delays only the session that sent the command,
    /// and not the messages of the group.
    fn in_lane_after<T, C, F>(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        check: impl FnOnce(Arc<Self>, ConversationId) -> C + Send + 'static,
        change: impl FnOnce(Arc<Self>, GroupCall, T) -> F + Send + 'static,
    ) -> CommandFuture
    where
        T: Send + 'static,
        C: Future<Output = Result<T, CommandError>> + Send + 'static,
        F: Future<Output = Result<Outcome, CommandError>> + Send + 'static,
    {
        let this = Arc::clone(&self);
        let (send_checked, checked) = oneshot::channel();
        let check: LaneCheck = Box::new(move |target| {
            if target.kind != ConversationKind::Group {
                return Box::pin(ready(Err(CommandError::not_found())));
            }
            Box::pin(async move {
                let value = check(this, target.id).await?;
                // The receiver is gone if the command was refused in the meantime.
                let _ = send_checked.send(value);
                Ok(())
            })
        });
        self.submit(caller, group, Some(check), move |this, call| async move {
            let value = checked.await.map_err(|_| CommandError::internal())?;
            change(this, call, value).await
        })
    }

    /// Submits a change to the appender, which runs `check`, waits for the turn of the change in
    /// the group's lane, and runs it. Refuses conversations that are not groups.
    fn submit<F>(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        check: Option<LaneCheck>,
        change: impl FnOnce(Arc<Self>, GroupCall) -> F + Send + 'static,
    ) -> CommandFuture
    where
        F: Future<Output = Result<Outcome, CommandError>> + Send + 'static,
    {
        let queue = Arc::clone(&self.queue);
        let deadline = self.units.deadline() + self.hooks.max_delay();
        let operation: LaneOperation = Box::new(move |target| {
            if target.kind != ConversationKind::Group {
                return Box::pin(ready(Err(CommandError::not_found())));
            }
            let call = GroupCall {
                caller,
                group: target.id,
                now: self.units.now(),
            };
            Box::pin(change(self, call))
        });
        CommandFuture::run(queue.submit_operation(caller, group, check, operation, deadline))
    }
}

/// Returns the inviter if the event is an invitation to `group`.
fn inviter_of(event: &Event, group: ConversationId) -> Option<UserId> {
    if event.kind != EventKind::GroupInvited {
        return None;
    }
    match body::decode(event.kind, &event.body) {
        Ok(EventBody::GroupInvited { group: to, by, .. }) if to == group => Some(by),
        _ => None,
    }
}

fn profile_of(new: &NewGroup) -> GroupProfile {
    GroupProfile {
        name: new.name.as_str().to_owned(),
        key: new.name.key(),
        skeleton: new.name.skeleton().as_str().to_owned(),
        description: new.description.as_str().to_owned(),
        join_policy: new.join_policy,
        history_visible: new.history_visible,
        unlisted: new.unlisted,
    }
}

/// Returns a digest that distinguishes a retry of creating a group from another use of its
/// idempotency key.
fn fingerprint_of(profile: &GroupProfile) -> u64 {
    let body = EventBody::GroupUpdated {
        name: profile.name.clone(),
        description: profile.description.clone(),
        join_policy: profile.join_policy,
        history_visible: profile.history_visible,
        unlisted: profile.unlisted,
    };
    fingerprint(EventKind::GroupCreated, &body::encode(&body))
}

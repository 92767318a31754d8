//! Commands by which users become members of groups: joining, invitations, and requests to join.

use super::GroupCommands;
use std::sync::Arc;

use crate::codec::body;
use crate::engine::error::CommandError;
use crate::engine::operations::group::{AnswerJoin, DeclineInvitation, InviteMember, JoinGroup, Joined};
use crate::model::{
    Caller, ConversationId, ConversationKind, ConversationRef, Event, EventBody, EventKind, JoinPolicy, MemberState,
    Note, Outcome, Page, PageFrom, UserId, UserRef,
};
use crate::service::CommandFuture;

impl GroupCommands {
    pub(in crate::engine::commands) fn join(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        note: Note,
    ) -> CommandFuture {
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

    pub(in crate::engine::commands) fn answer_join(
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

    pub(in crate::engine::commands) fn invite(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
    ) -> CommandFuture {
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

    pub(in crate::engine::commands) fn decline_invitation(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
    ) -> CommandFuture {
        self.in_lane(caller, group, move |this, call| async move {
            let inviter = this.inviter(caller.user, call.group).await?;
            this.perform(call.group, DeclineInvitation { call, inviter }).await
        })
    }

    /// Returns whether a user is invited to a group and the newest page of the user's inbox
    /// contains an invitation to it. If the user blocked the inviter, the inbox got none.
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

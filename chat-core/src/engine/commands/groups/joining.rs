//! Commands by which users become members of groups: joining, invitations, and requests to join.

use super::GroupCommands;
use std::sync::Arc;

use crate::engine::error::CommandError;
use crate::engine::operations::group::{AnswerJoin, DeclineInvitation, InviteMember, JoinGroup, Joined};
use crate::engine::operations::policy::{self, GroupPermission, Membership};
use crate::model::{Caller, ConversationId, ConversationRef, Note, Outcome, UserRef};
use crate::service::CommandFuture;

impl GroupCommands {
    pub(in crate::engine::commands) fn join(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        note: Note,
    ) -> CommandFuture {
        let check = move |this: Arc<Self>, group| async move { this.hooks.before_join(caller, group, note).await };
        self.in_lane_after(caller, group, check, move |this, context, note| async move {
            let join = JoinGroup {
                context,
                note,
                must_notify_admins: this.must_notify_admins(caller, context.group).await?,
                limits: this.group_limits,
            };
            let (joined, events) = this.access.run(context.group, join).await?;
            this.publisher.publish(events);
            match joined {
                Joined::Member => {
                    let conversation = this.conversation(caller, context.group).await;
                    conversation.map_err(CommandError::after_commit)
                }
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
        self.change_member_in_lane(caller, group, user, move |context, user| AnswerJoin {
            context,
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
            this.limits.charge_attempt(caller.user).await?;
            let user = this.directory.user_id(&user).await?;
            let mut charge = this.limits.invitations.charge(caller.user)?;
            this.hooks.before_invite(caller, group, user, &mut charge).await?;
            Ok((user, charge))
        };
        self.in_lane_after(
            caller,
            group,
            check,
            move |this, context, (user, mut charge)| async move {
                let limits = this.group_limits;
                let invite = InviteMember { context, user, limits };
                let invited = this.run_and_publish(context.group, invite).await?;
                charge.keep();
                Ok(invited)
            },
        )
    }

    pub(in crate::engine::commands) fn decline_invitation(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
    ) -> CommandFuture {
        self.change_group_in_lane(caller, group, |context| DeclineInvitation { context })
    }

    /// Returns whether the join will be a new request, of which the admins of the group have to be
    /// notified. `false` for a caller who has asked already.
    async fn must_notify_admins(&self, caller: Caller, group: ConversationId) -> Result<bool, CommandError> {
        let (access, store) = (&self.access, self.access.store());
        let Some(row) = access.read(store.conversation(group)).await? else {
            return Ok(false);
        };
        let Some(profile) = row.group.filter(|_| !row.deleted) else {
            return Ok(false);
        };
        let member = access.read(store.member(group, caller.user)).await?;
        let membership = Membership::of(member.as_ref(), access.wall_time());
        let may_ask = policy::check_group(GroupPermission::AskToJoin, membership, &profile).is_ok();
        Ok(may_ask && membership != Membership::Requested)
    }
}

//! Commands that change a group or its members.

use super::GroupCommands;
use std::sync::Arc;

use crate::engine::error::CommandError;
use crate::engine::operations::group::{
    DeleteGroup, KickMember, LeaveGroup, MuteMember, SetRole, TransferOwnership, UnbanMember, UpdateGroup,
};
use crate::model::{Caller, ConversationRef, GroupChanges, Role, UserRef};
use crate::service::CommandFuture;

impl GroupCommands {
    pub(in crate::engine::commands) fn leave(self: Arc<Self>, caller: Caller, group: ConversationRef) -> CommandFuture {
        self.change_group_in_lane(caller, group, |context| LeaveGroup { context })
    }

    pub(in crate::engine::commands) fn delete(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
    ) -> CommandFuture {
        self.change_group_in_lane(caller, group, |context| DeleteGroup { context })
    }

    pub(in crate::engine::commands) fn kick(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
        ban: bool,
    ) -> CommandFuture {
        self.change_member_in_lane(caller, group, user, move |context, user| KickMember {
            context,
            user,
            ban,
        })
    }

    pub(in crate::engine::commands) fn unban(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
    ) -> CommandFuture {
        self.change_member_in_lane(caller, group, user, |context, user| UnbanMember { context, user })
    }

    pub(in crate::engine::commands) fn mute(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
        duration_ms: u64,
    ) -> CommandFuture {
        self.change_member_in_lane(caller, group, user, move |context, user| MuteMember {
            context,
            user,
            duration_ms,
        })
    }

    pub(in crate::engine::commands) fn set_role(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
        role: Role,
        allowed: Result<(), CommandError>,
    ) -> CommandFuture {
        let is_allowed = allowed.is_ok();
        let check = move |this: Arc<Self>, _| async move {
            if !is_allowed {
                this.limits.charge_attempt(caller.user).await?;
            }
            this.directory.user_id(&user).await
        };
        self.in_lane_after(caller, group, check, move |this, context, user| async move {
            let change = SetRole {
                context,
                user,
                role,
                allowed,
            };
            this.run_and_publish(context.group, change).await
        })
    }

    pub(in crate::engine::commands) fn transfer(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
    ) -> CommandFuture {
        self.change_member_in_lane(caller, group, user, |context, user| TransferOwnership { context, user })
    }

    pub(in crate::engine::commands) fn update(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        changes: GroupChanges,
        allowed: Result<(), CommandError>,
    ) -> CommandFuture {
        let is_allowed = allowed.is_ok();
        let check = move |this: Arc<Self>, group| async move {
            if !is_allowed {
                this.limits.charge_attempt(caller.user).await?;
            }
            this.hooks.before_update_group(caller, group, changes).await
        };
        self.in_lane_after(caller, group, check, move |this, context, changes| async move {
            let change = UpdateGroup {
                context,
                changes,
                allowed,
            };
            this.run_and_publish(context.group, change).await
        })
    }
}

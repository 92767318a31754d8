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
        self.on_group(caller, group, |call| LeaveGroup { call })
    }

    pub(in crate::engine::commands) fn delete(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
    ) -> CommandFuture {
        self.on_group(caller, group, |call| DeleteGroup { call })
    }

    pub(in crate::engine::commands) fn kick(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
        ban: bool,
    ) -> CommandFuture {
        self.on_member(caller, group, user, move |call, user| KickMember { call, user, ban })
    }

    pub(in crate::engine::commands) fn unban(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
    ) -> CommandFuture {
        self.on_member(caller, group, user, |call, user| UnbanMember { call, user })
    }

    pub(in crate::engine::commands) fn mute(
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
        self.in_lane_after(caller, group, check, move |this, call, user| async move {
            let change = SetRole {
                call,
                user,
                role,
                allowed,
            };
            this.perform(call.group, change).await
        })
    }

    pub(in crate::engine::commands) fn transfer(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
    ) -> CommandFuture {
        self.on_member(caller, group, user, |call, user| TransferOwnership { call, user })
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
        self.in_lane_after(caller, group, check, move |this, call, changes| async move {
            let change = UpdateGroup { call, changes, allowed };
            this.perform(call.group, change).await
        })
    }
}

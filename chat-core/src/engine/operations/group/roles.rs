//! Units of work that change the roles of members, and the owner of a group.

use async_trait::async_trait;

use super::GroupChangeContext;
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::fence::lock_user;
use crate::engine::operations::policy::GroupPermission;
use crate::model::{Event, EventBody, ReplyCode, Role, Timestamp, UserId};
use crate::store::Transaction;

/// Makes a member an admin, or an admin a member. Does nothing if the member has the role already.
#[derive(Clone, Debug)]
pub(in crate::engine) struct SetRole {
    pub(in crate::engine) context: GroupChangeContext,
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) role: Role,
    /// `Ok` if the caller's rate allows a change, otherwise the error with which a change is
    /// refused.
    pub(in crate::engine) allowed: Result<(), CommandError>,
}

#[async_trait]
impl Operation for SetRole {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut group = self.context.lock(tx, &[self.user], &[]).await?;
        group.require(GroupPermission::ManageRoles)?;
        if self.role == Role::Owner {
            return Err(CommandError::invalid("to make a member the owner, transfer the group").into());
        }
        if self.user == self.context.caller.user {
            return Err(CommandError::invalid(
                "you cannot change your own role; transferring the group makes you an admin",
            )
            .into());
        }
        let Some(mut member) = group.active_member(self.user).cloned() else {
            return Err(CommandError::not_found().into());
        };
        if member.role == self.role {
            return Ok(Vec::new());
        }
        self.allowed.clone()?;
        member.role = self.role;
        // Admins are never muted, and an earlier mute does not apply again if the user becomes a
        // member again.
        member.muted_until = Timestamp(0);
        group.put_member(tx, member).await?;
        group.append(&EventBody::RoleChanged {
            user: self.user,
            role: self.role,
        })?;
        group.write(tx, intents).await
    }
}

/// Makes another member the owner. The caller becomes an admin. Does nothing if the caller is named
/// as the new owner.
#[derive(Clone, Debug)]
pub(in crate::engine) struct TransferOwnership {
    pub(in crate::engine) context: GroupChangeContext,
    pub(in crate::engine) user: UserId,
}

#[async_trait]
impl Operation for TransferOwnership {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let me = self.context.caller.user;
        // Only an owner may delay the logins of the other user by this lock. While it is held, the
        // account cannot be disabled or deleted.
        let own = tx.members_in(self.context.group, &[me]).await?.pop();
        let is_owner = own.is_some_and(|member| member.is_active() && member.role == Role::Owner);
        if is_owner {
            lock_user(tx, self.user).await?;
        }
        let account = tx.account(self.user).await?;
        let mut group = self.context.lock(tx, &[self.user], &[]).await?;
        group.require(GroupPermission::ManageRoles)?;
        if !is_owner {
            return Err(Rejection::Outdated);
        }
        if self.user == me {
            return Ok(Vec::new());
        }
        let next = group.active_member(self.user).cloned();
        let (Some(mut next), Some(mut own)) = (next, group.active_member(me).cloned()) else {
            return Err(CommandError::not_found().into());
        };
        if account.is_none_or(|account| account.disabled) {
            let text = "this member's account is disabled, so it cannot own the group; choose another member";
            return Err(CommandError::new(ReplyCode::Forbidden, text).into());
        }
        own.role = Role::Admin;
        next.role = Role::Owner;
        next.muted_until = Timestamp(0);
        group.put_member(tx, own).await?;
        group.put_member(tx, next).await?;
        group.append(&EventBody::OwnershipTransferred { to: self.user })?;
        group.write(tx, intents).await
    }
}

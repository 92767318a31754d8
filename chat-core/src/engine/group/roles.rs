//! Roles, and who owns a group.

use async_trait::async_trait;

use super::Act;
use crate::engine::error::{CommandError, Refusal};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::policy::GroupAct;
use crate::model::{Event, EventBody, Role, Timestamp, UserId};
use crate::store::Transaction;

/// Makes a member an admin, or an admin a member.
#[derive(Clone, Debug)]
pub(in crate::engine) struct SetRole {
    pub(in crate::engine) act: Act,
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) role: Role,
}

#[async_trait]
impl Operation for SetRole {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Refusal> {
        let mut room = self.act.enter(tx, &[self.user], &[]).await?;
        room.check(GroupAct::Govern)?;
        if self.role == Role::Owner {
            return Err(CommandError::invalid("transfer the group to make somebody its owner").into());
        }
        if self.user == self.act.caller.user {
            return Err(CommandError::invalid("that is yourself; transfer the group first").into());
        }
        let Some(mut member) = room.member(self.user).filter(|member| member.is_active()).cloned() else {
            return Err(CommandError::not_found().into());
        };
        if member.role == self.role {
            return Ok(Vec::new());
        }
        member.role = self.role;
        // An admin is not muted, and one who was does not become so again.
        member.muted_until = Timestamp(0);
        room.put(tx, member).await?;
        room.append(&EventBody::RoleChanged {
            user: self.user,
            role: self.role,
        })?;
        room.leave(tx, intents).await
    }
}

/// Makes another member the owner; the caller becomes an admin.
#[derive(Clone, Debug)]
pub(in crate::engine) struct TransferOwnership {
    pub(in crate::engine) act: Act,
    pub(in crate::engine) user: UserId,
}

#[async_trait]
impl Operation for TransferOwnership {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Refusal> {
        let me = self.act.caller.user;
        let mut room = self.act.enter(tx, &[self.user], &[]).await?;
        room.check(GroupAct::Govern)?;
        if self.user == me {
            return Ok(Vec::new());
        }
        let next = room.member(self.user).filter(|member| member.is_active()).cloned();
        let (Some(mut next), Some(mut own)) = (next, room.member(me).cloned()) else {
            return Err(CommandError::not_found().into());
        };
        own.role = Role::Admin;
        next.role = Role::Owner;
        next.muted_until = Timestamp(0);
        room.put(tx, own).await?;
        room.put(tx, next).await?;
        room.append(&EventBody::OwnershipTransferred { to: self.user })?;
        room.leave(tx, intents).await
    }
}

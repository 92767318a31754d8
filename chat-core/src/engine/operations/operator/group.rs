//! Units of work by which operators transfer and delete groups, for example groups without an
//! owner.

use async_trait::async_trait;

use super::succession::make_owner;
use super::{AuditContext, SYSTEM, account_deleted, conversation_target, group_deleted, no_account, no_group};
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::fence::lock_user;
use crate::engine::operations::log::{Log, Logs};
use crate::model::{ConversationId, ConversationKind, Event, EventBody, ReplyCode, Role, UserId, escape_for_log};
use crate::store::Transaction;

/// Makes a member the owner of a group. The former owner, if there is one, becomes an admin. If the
/// member is the owner already, only appends to the audit log.
#[derive(Clone, Debug)]
pub(in crate::engine) struct TransferGroup {
    pub(in crate::engine) audit: AuditContext,
    pub(in crate::engine) group: ConversationId,
    pub(in crate::engine) to: UserId,
}

#[async_trait]
impl Operation for TransferGroup {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        // While this lock is held, the account cannot be disabled or deleted.
        lock_user(tx, self.to).await?;
        let Some(account) = tx.account(self.to).await? else {
            return Err(no_account(self.to).into());
        };
        if account.deleted.is_some() {
            return Err(account_deleted(self.to).into());
        }
        if account.disabled {
            let text = format!("the account of user {} is disabled; enable it first", account.name);
            return Err(CommandError::new(ReplyCode::AccountDisabled, text).into());
        }
        let mut logs = Logs::lock(tx, self.audit.now, [self.group]).await?;
        let log = existing_group(&mut logs, self.group)?;
        let next = tx.members_in(self.group, &[self.to]).await?.pop();
        let Some(next) = next.filter(|member| member.is_active()) else {
            let group = log.row.group.as_ref().map(|profile| escape_for_log(&profile.name));
            let group = group.unwrap_or_else(|| format!("#{}", self.group).into());
            let text = format!("user {} is not a member of group {group}", account.name);
            return Err(CommandError::new(ReplyCode::NotFound, text).into());
        };
        if next.role != Role::Owner {
            let owners = tx.members_with_role(self.group, Role::Owner).await?;
            make_owner(tx, log, self.audit.now, owners, next).await?;
        }
        let (_, events) = logs.write(tx, intents).await?;
        let detail = format!("to user {}", self.to);
        self.audit
            .record(tx, "group.transfer", conversation_target(self.group), detail)
            .await?;
        Ok(events)
    }
}

/// Deletes a group in the name of the system. The log stays readable to the last members.
#[derive(Clone, Debug)]
pub(in crate::engine) struct DeleteGroupByOperator {
    pub(in crate::engine) audit: AuditContext,
    pub(in crate::engine) group: ConversationId,
}

#[async_trait]
impl Operation for DeleteGroupByOperator {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut logs = Logs::lock(tx, self.audit.now, [self.group]).await?;
        let log = existing_group(&mut logs, self.group)?;
        log.append(self.audit.now, SYSTEM, &EventBody::GroupDeleted);
        log.change().deleted = true;
        let name = log.row.group.as_ref().map(|profile| profile.name.clone());
        let (_, events) = logs.write(tx, intents).await?;
        let detail = format!("name {}", name.unwrap_or_default());
        self.audit
            .record(tx, "group.delete", conversation_target(self.group), detail)
            .await?;
        Ok(events)
    }
}

/// Returns the log of a group that `logs` has locked. Fails with `NotFound` if there is no such
/// group, and with `GroupDeleted` if the group is deleted.
fn existing_group(logs: &mut Logs, group: ConversationId) -> Result<&mut Log, CommandError> {
    let is_group = |log: &&mut Log| log.row.kind == ConversationKind::Group;
    let log = logs.log(group).filter(is_group).ok_or_else(|| no_group(group))?;
    if log.row.deleted {
        return Err(group_deleted(group));
    }
    Ok(log)
}

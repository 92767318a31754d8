//! Succession of the owners of groups: who follows an owner, and the unit of work that passes a
//! disabled user's group on.

use async_trait::async_trait;

use super::{AuditContext, SYSTEM, conversation_target};
use crate::engine::error::Rejection;
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::fence::lock_user;
use crate::engine::operations::log::{Log, Logs};
use crate::model::{Conversation, ConversationId, ConversationKind, Event, EventBody, Member, Role, Timestamp, UserId};
use crate::store::{StoreError, Transaction};

/// Returns the member who follows `owner` as the owner of a group: the longest-standing admin, or
/// if there is none, the longest-standing member. The longest-standing one is the one whose first
/// readable event is the earliest, and among equals the one with the smallest id. Disabled accounts
/// are skipped. Returns `None` if there is no such member.
pub(super) async fn successor(
    tx: &mut dyn Transaction,
    group: ConversationId,
    owner: UserId,
) -> Result<Option<Member>, StoreError> {
    let candidates = tx.members_by_seniority(group, 2).await?;
    Ok(candidates.into_iter().find(|member| member.user != owner))
}

/// Makes `next` the owner of a group, and `owners`, its owners so far, admins. If `next` is muted,
/// the mute ends. Returns the id of the new owner.
pub(super) async fn make_owner(
    tx: &mut dyn Transaction,
    log: &mut Log,
    now: Timestamp,
    owners: impl IntoIterator<Item = Member, IntoIter: Send>,
    mut next: Member,
) -> Result<UserId, StoreError> {
    for mut owner in owners {
        owner.role = Role::Admin;
        tx.put_member(&owner).await?;
        let body = EventBody::RoleChanged {
            user: owner.user,
            role: Role::Admin,
        };
        log.append(now, SYSTEM, &body);
    }
    next.role = Role::Owner;
    next.muted_until = Timestamp(0);
    tx.put_member(&next).await?;
    log.append(now, SYSTEM, &EventBody::OwnershipTransferred { to: next.user });
    Ok(next.user)
}

/// Makes the [`successor`] of a disabled user the owner of a group. The user becomes an admin, who
/// has an admin's rights again once the account is enabled. Does nothing if the user does not own
/// the group or is enabled again, if the group is deleted, or if there is no successor.
#[derive(Clone, Debug)]
pub(in crate::engine) struct PassGroup {
    pub(in crate::engine) audit: AuditContext,
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) group: ConversationId,
}

#[async_trait]
impl Operation for PassGroup {
    /// The new owner, if there is one, and the events. An operator may have disabled the new owner
    /// at the same time, because this unit of work does not lock that user.
    type Output = (Option<UserId>, Vec<Event>);

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Self::Output, Rejection> {
        let nothing = || Ok((None, Vec::new()));
        lock_user(tx, self.user).await?;
        if !tx.account(self.user).await?.is_some_and(|account| account.disabled) {
            return nothing();
        }
        let mut logs = Logs::lock(tx, self.audit.now, [self.group]).await?;
        let is_existing = |row: &Conversation| row.kind == ConversationKind::Group && !row.deleted;
        let Some(log) = logs.log(self.group).filter(|log| is_existing(&log.row)) else {
            return nothing();
        };
        let own = tx.members_in(self.group, &[self.user]).await?.pop();
        let Some(owner) = own.filter(|member| member.is_active() && member.role == Role::Owner) else {
            return nothing();
        };
        let Some(next) = successor(tx, self.group, self.user).await? else {
            return nothing();
        };
        let next = make_owner(tx, log, self.audit.now, [owner], next).await?;
        let (_, events) = logs.write(tx, intents).await?;
        let detail = format!("to user {next}, because user {} was disabled", self.user);
        self.audit
            .record(tx, "group.transfer", conversation_target(self.group), detail)
            .await?;
        Ok((Some(next), events))
    }
}

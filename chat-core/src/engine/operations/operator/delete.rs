//! Units of work that delete an account (the data in its row, its devices, contacts and
//! memberships), and that free the subject of a deleted account.

use async_trait::async_trait;

use super::succession::successor;
use super::{AuditContext, no_account, on_behalf_of, user_target};
use crate::auth::Subject;
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::contact::inbox_of;
use crate::engine::operations::fence::lock_user;
use crate::engine::operations::log::{Log, Logs};
use crate::model::{
    Account, ContactState, ConversationId, ConversationKind, DirectPolicy, Event, EventBody, Member, MemberState,
    ReplyCode, Role, Timestamp, UserId,
};
use crate::store::{StoreError, Transaction};

/// Marks an account as deleted, removes the personal data in its row, and deletes its devices. A
/// name or subject that is not freed stays reserved: the row keeps the name, and a digest of the
/// subject. May be run again on a deleted account, to continue the deletion or to free the name or
/// subject.
#[derive(Clone, Debug)]
pub(in crate::engine) struct MarkDeleted {
    pub(in crate::engine) audit: AuditContext,
    pub(in crate::engine) user: UserId,
    /// True if another account may take the name.
    pub(in crate::engine) free_name: bool,
    /// True if another account may be bound to the subject.
    pub(in crate::engine) free_subject: bool,
    /// Options of the deletion, as the audit log describes them.
    pub(in crate::engine) detail: String,
}

#[async_trait]
impl Operation for MarkDeleted {
    /// The account before this run.
    type Output = Account;

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<Account, Rejection> {
        lock_user(tx, self.user).await?;
        let devices = tx.lock_devices_of(self.user).await?;
        let Some(before) = tx.account(self.user).await? else {
            return Err(no_account(self.user).into());
        };
        for device in devices {
            tx.delete_device(self.user, device.id).await?;
        }
        let deleted = Account {
            display_name: String::new(),
            password_hash: None,
            direct_policy: DirectPolicy::default(),
            disabled: true,
            deleted: before.deleted.or(Some(self.audit.now)),
            ..before.clone()
        };
        tx.update_account(&deleted).await?;
        let subject = self.subject_after(&before);
        if !tx.set_subject(self.user, subject.as_deref()).await? {
            return Err(StoreError::Corrupt("the tombstone of a subject is taken".to_owned()).into());
        }
        if self.free_name {
            // No account can be given this name, because names contain no `#`.
            let name = format!("deleted#{}", self.user);
            if !tx.rename_account(self.user, &name, &name).await? {
                return Err(StoreError::Corrupt(format!("the name {name} is taken")).into());
            }
        }
        self.audit
            .record(tx, "account.delete", user_target(self.user), self.detail.clone())
            .await?;
        Ok(before)
    }
}

impl MarkDeleted {
    /// Returns the [tombstone](Subject::tombstone) that replaces the account's subject and keeps it
    /// reserved, or `None` if the subject is freed or the account has none.
    fn subject_after(&self, before: &Account) -> Option<String> {
        let subject = before.subject.as_ref().filter(|_| !self.free_subject)?;
        if before.deleted.is_some() {
            // An earlier deletion has replaced the subject.
            return Some(subject.clone());
        }
        Subject::new(subject.as_str()).ok().map(|subject| subject.tombstone())
    }
}

/// Frees the subject of a deleted account, so that the next login with it gets a new account.
#[derive(Clone, Debug)]
pub(in crate::engine) struct FreeSubject {
    pub(in crate::engine) audit: AuditContext,
    pub(in crate::engine) subject: Subject,
}

#[async_trait]
impl Operation for FreeSubject {
    /// The deleted account.
    type Output = UserId;

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<UserId, Rejection> {
        let Some(account) = tx.account_by_subject(&self.subject.tombstone()).await? else {
            let text = "no deleted account reserves this subject";
            return Err(CommandError::new(ReplyCode::NotFound, text).into());
        };
        lock_user(tx, account.id).await?;
        tx.set_subject(account.id, None).await?;
        self.audit
            .record(tx, "account.free_subject", user_target(account.id), String::new())
            .await?;
        Ok(account.id)
    }
}

/// Deletes the contacts between a deleted user and these peers, on both sides. Friends get a
/// `FriendRemoved` event in their inboxes.
#[derive(Clone, Debug)]
pub(in crate::engine) struct EndContacts {
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) peers: Vec<UserId>,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for EndContacts {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut friends = Vec::new();
        for peer in &self.peers {
            let (_, theirs) = tx.lock_contacts(self.user, *peer).await?;
            if theirs.is_some_and(|contact| contact.state == ContactState::Friend) {
                friends.push(*peer);
            }
            tx.delete_contact(self.user, *peer).await?;
            tx.delete_contact(*peer, self.user).await?;
        }
        let mut inboxes = Vec::with_capacity(friends.len());
        for friend in friends {
            inboxes.push(inbox_of(tx, friend).await?);
        }
        let mut logs = Logs::lock(tx, self.now, inboxes.iter().copied()).await?;
        for inbox in inboxes {
            let body = EventBody::FriendRemoved { by: self.user };
            logs.append(inbox, on_behalf_of(self.user), &body)?;
        }
        Ok(logs.write(tx, intents).await?.1)
    }
}

/// Ends a deleted user's membership, invitation or request to join if the conversation is a group.
/// If the conversation is the user's inbox, deletes the records of which requests the inbox has
/// announced. In a direct conversation or a deleted group, only waits for the lock, and so for the
/// transactions that hold it.
///
/// A group that the user owns goes to the [`successor`]. If the group has no other member, it is
/// deleted. If all other members are disabled, it stays without an owner (orphaned).
#[derive(Clone, Debug)]
pub(in crate::engine) struct EndMembership {
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) conversation: ConversationId,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for EndMembership {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut logs = Logs::lock(tx, self.now, [self.conversation]).await?;
        let is_inbox = |log: &mut Log| matches!(log.row.kind, ConversationKind::Inbox { .. });
        if logs.log(self.conversation).is_some_and(is_inbox) {
            tx.delete_request_notices(self.conversation).await?;
        }
        let is_existing_group = |log: &&mut Log| log.row.kind == ConversationKind::Group && !log.row.deleted;
        let Some(log) = logs.log(self.conversation).filter(is_existing_group) else {
            return Ok(Vec::new());
        };
        let own = tx.members_in(self.conversation, &[self.user]).await?.pop();
        match own {
            Some(mut member) if matches!(member.state, MemberState::Invited | MemberState::Requested) => {
                member.set_state(MemberState::Left);
                tx.put_member(&member).await?;
            }
            Some(member) if member.is_active() => self.leave(tx, log, member).await?,
            _ => {}
        }
        Ok(logs.write(tx, intents).await?.1)
    }
}

impl EndMembership {
    /// Ends an active membership. A group that the user owns first gets its [`successor`] as the
    /// owner, if there is one. If it has no other member, it is deleted instead.
    async fn leave(&self, tx: &mut dyn Transaction, log: &mut Log, mut member: Member) -> Result<(), Rejection> {
        let author = on_behalf_of(self.user);
        if member.role == Role::Owner {
            if log.row.member_count <= 1 {
                log.append(self.now, author, &EventBody::GroupDeleted);
                log.change().deleted = true;
                return Ok(());
            }
            if let Some(mut next) = successor(tx, self.conversation, self.user).await? {
                log.append(self.now, author, &EventBody::OwnershipTransferred { to: next.user });
                next.role = Role::Owner;
                next.muted_until = Timestamp(0);
                tx.put_member(&next).await?;
            }
        }
        let body = EventBody::MemberLeft { user: self.user };
        member.until_seq = Some(log.append(self.now, author, &body).seq);
        member.set_state(MemberState::Left);
        member.role = Role::Member;
        tx.put_member(&member).await?;
        let row = log.change();
        row.member_count = row.member_count.saturating_sub(1);
        if let Some(snapshot) = log.snapshot() {
            tx.put_snapshot(self.conversation, self.user, &snapshot).await?;
        }
        Ok(())
    }
}

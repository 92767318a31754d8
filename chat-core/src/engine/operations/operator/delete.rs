//! Deleting an account: its row, its contacts, its memberships.

use std::cmp::Reverse;

use async_trait::async_trait;

use super::{Action, no_account, on_behalf_of, user_target};
use crate::engine::error::Rejection;
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::contact::inbox_of;
use crate::engine::operations::fence::lock_user;
use crate::engine::operations::log::{Log, Logs};
use crate::model::{
    Account, ContactState, ConversationId, ConversationKind, DirectPolicy, Event, EventBody, Member, MemberState, Role,
    Timestamp, UserId,
};
use crate::store::{StoreError, Transaction};

/// Maximum number of members who are considered as the next owner of a group.
const MAX_CANDIDATES: usize = 100;

/// Marks an account as deleted, and removes the personal data that its row and its devices hold.
/// Does the same again for an account that is marked already.
#[derive(Clone, Debug)]
pub(in crate::engine) struct MarkDeleted {
    pub(in crate::engine) action: Action,
    pub(in crate::engine) user: UserId,
    /// Gives the name free for other accounts.
    pub(in crate::engine) free_name: bool,
    /// Options of the deletion in words.
    pub(in crate::engine) detail: &'static str,
}

#[async_trait]
impl Operation for MarkDeleted {
    /// The account before the deletion.
    type Output = Account;

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<Account, Rejection> {
        lock_user(tx, self.user).await?;
        let devices = tx.devices_of(self.user).await?;
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
            deleted: before.deleted.or(Some(self.action.now)),
            ..before.clone()
        };
        tx.update_account(&deleted).await?;
        tx.set_subject(self.user, None).await?;
        if self.free_name {
            // No account can be given this name, because names contain no `#`.
            let name = format!("deleted#{}", self.user);
            if !tx.rename_account(self.user, &name, &name).await? {
                return Err(StoreError::Corrupt(format!("the name {name} is taken")).into());
            }
        }
        self.action
            .record(tx, "account.delete", user_target(self.user), self.detail.to_owned())
            .await?;
        Ok(before)
    }
}

/// Deletes the contacts of a deleted user with these peers, on both sides. Friends get the event of
/// a friendship that ended.
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

/// Ends a deleted user's membership, invitation or request in a group. Does nothing in other
/// conversations, and in groups that are closed.
///
/// A group of the user goes to the admin, or else the member, who has been in it for the longest
/// time: whose first readable event is the earliest; of several, the one with the smallest id.
/// Disabled accounts do not count. If no one else is in the group, it is closed. If no member can
/// take it, it is orphaned.
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
        let is_open_group = |log: &&mut Log| log.row.kind == ConversationKind::Group && !log.row.closed;
        let Some(log) = logs.log(self.conversation).filter(is_open_group) else {
            return Ok(Vec::new());
        };
        let own = tx.members_in(self.conversation, &[self.user]).await?.pop();
        match own {
            Some(mut member) if matches!(member.state, MemberState::Invited | MemberState::Requested) => {
                member.state = MemberState::Left;
                tx.put_member(&member).await?;
            }
            Some(member) if member.is_active() => self.leave(tx, log, member).await?,
            _ => {}
        }
        Ok(logs.write(tx, intents).await?.1)
    }
}

impl EndMembership {
    async fn leave(&self, tx: &mut dyn Transaction, log: &mut Log, mut member: Member) -> Result<(), Rejection> {
        let author = on_behalf_of(self.user);
        if member.role == Role::Owner {
            if log.row.member_count <= 1 {
                log.append(self.now, author, &EventBody::GroupDeleted);
                log.change().closed = true;
                return Ok(());
            }
            if let Some(mut next) = self.next_owner(tx).await? {
                log.append(self.now, author, &EventBody::OwnershipTransferred { to: next.user });
                next.role = Role::Owner;
                next.muted_until = Timestamp(0);
                tx.put_member(&next).await?;
            }
        }
        let body = EventBody::MemberLeft { user: self.user };
        member.until_seq = Some(log.append(self.now, author, &body).seq);
        member.state = MemberState::Left;
        member.role = Role::Member;
        tx.put_member(&member).await?;
        let row = log.change();
        row.member_count = row.member_count.saturating_sub(1);
        Ok(())
    }

    async fn next_owner(&self, tx: &mut dyn Transaction) -> Result<Option<Member>, StoreError> {
        let mut candidates = tx.members_with_role(self.conversation, Role::Member).await?;
        candidates.retain(|member| member.user != self.user);
        candidates.sort_by_key(|member| (Reverse(member.role), member.first_seq, member.user));
        for candidate in candidates.into_iter().take(MAX_CANDIDATES) {
            let account = tx.account(candidate.user).await?;
            if account.is_some_and(|account| !account.disabled) {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }
}

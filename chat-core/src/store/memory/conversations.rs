//! Conversations and their members, in the memory store.

use std::cmp::Reverse;
use std::ops::Bound;

use async_trait::async_trait;

use super::MemoryStore;
use super::accounts::with_prefix;
use super::tables::{StoredConversation, Tables};
use super::tx::MemoryTx;
use crate::model::{
    Conversation, ConversationId, ConversationKind, DeviceId, Event, EventKind, GroupSnapshot, Member, MemberState,
    Role, Seq, UserId,
};
use crate::store::{
    ConversationStore, ConversationTx, LogVersion, MembershipView, NamedGroup, NewConversation, StoreError,
};

impl Tables {
    /// Returns the membership of `user` as `device` sees it, or `None` if the user has none or its
    /// readable range is empty.
    fn membership(&self, user: UserId, device: DeviceId, id: ConversationId) -> Option<MembershipView> {
        let stored = self.conversations.get(&id)?;
        let member = stored.members.get(&user)?;
        if !may_read_something(member) {
            return None;
        }
        // The unread events are those in `(floor, end]`.
        let floor = member.read_seq.max(member.first_seq.previous());
        let end = stored.readable_end(member);
        let peer = match stored.row.kind {
            ConversationKind::Direct { low, high } if low == user => Some(high),
            ConversationKind::Direct { low, .. } => Some(low),
            _ => None,
        };
        Some(MembershipView {
            conversation: stored.row.clone(),
            member: member.clone(),
            cursor: self.cursors.get(&(user, device, id)).copied().unwrap_or(Seq::ZERO),
            unread: stored.unread(floor, end),
            unread_mentions: stored.mentions_of(user, floor, end),
            peer: peer
                .filter(|peer| *peer != user)
                .and_then(|peer| stored.members.get(&peer))
                .cloned(),
            snapshot: member.until_seq.and_then(|_| stored.snapshots.get(&user)).cloned(),
        })
    }

    /// Returns whether an existing group other than `id` has this key (the canonical spelling of
    /// its name) or skeleton.
    fn is_group_name_taken(&self, id: Option<ConversationId>, key: &str, skeleton: &str) -> bool {
        let by_key = self.group_keys.get(key).copied();
        let by_skeleton = self.group_skeletons.get(skeleton).copied();
        [by_key, by_skeleton]
            .into_iter()
            .flatten()
            .any(|holder| Some(holder) != id)
    }

    /// Inserts the unique values of `row` into the indexes.
    fn insert_unique(&mut self, row: &Conversation) {
        match (&row.kind, &row.group) {
            (ConversationKind::Group, Some(group)) if !row.deleted => {
                self.group_keys.insert(group.key.clone(), row.id);
                self.group_skeletons.insert(group.skeleton.clone(), row.id);
            }
            (ConversationKind::Group, _) => {}
            (kind, _) => drop(self.kinds.insert(kind.clone(), row.id)),
        }
    }

    /// Removes the unique values of `row` from the indexes.
    fn remove_unique(&mut self, row: &Conversation) {
        match (&row.kind, &row.group) {
            (ConversationKind::Group, Some(group)) if !row.deleted => {
                self.group_keys.remove(&group.key);
                self.group_skeletons.remove(&group.skeleton);
            }
            (ConversationKind::Group, _) => {}
            (kind, _) => drop(self.kinds.remove(kind)),
        }
    }

    /// Replaces the row of a conversation, and its unique values in the indexes if they changed.
    fn replace_row(&mut self, row: Conversation) {
        let Some(stored) = self.conversations.get_mut(&row.id) else {
            return;
        };
        let (old_names, new_names) = (reserved_names(&stored.row), reserved_names(&row));
        if old_names == new_names {
            stored.row = row;
            return;
        }
        let old = std::mem::replace(&mut stored.row, row.clone());
        self.remove_unique(&old);
        self.insert_unique(&row);
    }

    fn remove_conversation(&mut self, id: ConversationId) {
        if let Some(stored) = self.conversations.remove(&id) {
            self.remove_unique(&stored.row);
        }
    }
}

impl StoredConversation {
    /// Returns the number of messages in `(floor, end]` that were not recalled.
    fn unread(&self, floor: Seq, end: Seq) -> u64 {
        if end <= floor {
            return 0;
        }
        let is_recalled = |event: &&Event| event.kind == EventKind::Message && event.recalled_seq.is_some();
        let recalled = self.range(floor.next(), end).iter().filter(is_recalled).count() as u64;
        let sent = self.message_count(end).saturating_sub(self.message_count(floor));
        sent.saturating_sub(recalled)
    }

    /// Returns the number of messages in `(floor, end]` that mention `user` or every member
    /// (`UserId(0)`).
    fn mentions_of(&self, user: UserId, floor: Seq, end: Seq) -> u64 {
        if end <= floor {
            return 0;
        }
        let mentions = |user| self.mentions.range((user, floor.next())..=(user, end));
        let only_of_everyone = mentions(UserId(0)).filter(|(_, seq)| !self.mentions.contains(&(user, *seq)));
        (mentions(user).count() + only_of_everyone.count()) as u64
    }
}

/// Returns whether the readable range of `member` is not empty. It is empty for users who were
/// never a member, and for users who left before an event was readable for them.
fn may_read_something(member: &Member) -> bool {
    member.first_seq > Seq::ZERO && member.until_seq.is_none_or(|until| until >= member.first_seq)
}

/// Returns the key and the skeleton that `row` reserves, or `None` if it is not an existing group.
fn reserved_names(row: &Conversation) -> Option<(&str, &str)> {
    let group = row
        .group
        .as_ref()
        .filter(|_| row.kind == ConversationKind::Group && !row.deleted)?;
    Some((&group.key, &group.skeleton))
}

#[async_trait]
impl ConversationStore for MemoryStore {
    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.read(|tables| Some(tables.conversations.get(&id)?.row.clone()))
    }

    async fn conversation_of_kind(&self, kind: &ConversationKind) -> Result<Option<ConversationId>, StoreError> {
        self.read(|tables| tables.kinds.get(kind).copied())
    }

    async fn group_by_key(&self, key: &str) -> Result<Option<ConversationId>, StoreError> {
        self.read(|tables| tables.group_keys.get(key).copied())
    }

    async fn named_group(&self, key: &str, user: UserId) -> Result<Option<NamedGroup>, StoreError> {
        self.read(|tables| {
            let stored = tables.conversations.get(tables.group_keys.get(key)?)?;
            Some(NamedGroup {
                conversation: stored.row.clone(),
                member: stored.members.get(&user).cloned(),
            })
        })
    }

    async fn search_groups(&self, prefix: &str, limit: u32) -> Result<Vec<Conversation>, StoreError> {
        self.read(|tables| {
            with_prefix(&tables.group_keys, prefix)
                .filter_map(|id| tables.conversations.get(&id))
                .filter(|stored| stored.row.group.as_ref().is_some_and(|group| !group.unlisted))
                .take(limit as usize)
                .map(|stored| stored.row.clone())
                .collect()
        })
    }

    async fn memberships(
        &self,
        user: UserId,
        device: DeviceId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<MembershipView>, StoreError> {
        self.read(|tables| {
            let ids = tables.memberships.get(&user).into_iter();
            let ids = ids.flat_map(|ids| ids.range((Bound::Excluded(after), Bound::Unbounded)));
            let found = ids.filter_map(|id| tables.membership(user, device, *id));
            found.take(limit as usize).collect()
        })
    }

    async fn membership(
        &self,
        user: UserId,
        device: DeviceId,
        id: ConversationId,
    ) -> Result<Option<MembershipView>, StoreError> {
        self.read(|tables| tables.membership(user, device, id))
    }

    async fn member(&self, id: ConversationId, user: UserId) -> Result<Option<Member>, StoreError> {
        self.read(|tables| tables.conversations.get(&id)?.members.get(&user).cloned())
    }

    async fn members(&self, id: ConversationId, after: UserId, limit: u32) -> Result<Vec<Member>, StoreError> {
        self.read(|tables| {
            let Some(stored) = tables.conversations.get(&id) else {
                return Vec::new();
            };
            let after = (Bound::Excluded(after), Bound::Unbounded);
            let later = stored.members.range(after).map(|(_, member)| member);
            let not_left = later.filter(|member| member.state != MemberState::Left);
            not_left.take(limit as usize).cloned().collect()
        })
    }

    async fn members_of_user(
        &self,
        user: UserId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<Member>, StoreError> {
        self.read(|tables| {
            let Some(ids) = tables.memberships.get(&user) else {
                return Vec::new();
            };
            let later = ids.range((Bound::Excluded(after), Bound::Unbounded));
            let members = later.filter_map(|id| tables.conversations.get(id)?.members.get(&user));
            members.take(limit as usize).cloned().collect()
        })
    }

    async fn log_versions(&self, ids: &[ConversationId]) -> Result<Vec<LogVersion>, StoreError> {
        self.read(|tables| {
            let rows = ids
                .iter()
                .filter_map(|id| tables.conversations.get(id))
                .map(|stored| &stored.row);
            let version = |row: &Conversation| LogVersion {
                conversation: row.id,
                last_seq: row.last_seq,
                members_version: row.members_version,
            };
            rows.map(version).collect()
        })
    }
}

#[async_trait]
impl ConversationTx for MemoryTx<'_> {
    async fn create_conversation(&mut self, new: NewConversation) -> Result<Option<ConversationId>, StoreError> {
        let is_taken = match &new.group {
            Some(group) => self.tables.is_group_name_taken(None, &group.key, &group.skeleton),
            None => self.tables.kinds.contains_key(&new.kind),
        };
        if is_taken {
            return Ok(None);
        }
        self.tables.last_conversation += 1;
        let row = new.into_row(ConversationId(self.tables.last_conversation));
        let id = row.id;
        self.on_rollback(move |tables| {
            tables.remove_conversation(id);
            tables.last_conversation -= 1;
        });
        self.contract.after_create_conversation(&row);
        self.tables.insert_unique(&row);
        self.tables.conversations.insert(id, StoredConversation::new(row));
        Ok(Some(id))
    }

    async fn conversation_of_kind(&mut self, kind: &ConversationKind) -> Result<Option<ConversationId>, StoreError> {
        Ok(self.tables.kinds.get(kind).copied())
    }

    async fn lock_conversation(&mut self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        let is_locked = self.contract.before_lock_conversation(id)?;
        let Some(stored) = self.tables.conversations.get(&id) else {
            return Ok(None);
        };
        if !is_locked {
            self.contract.after_lock_conversation(&stored.row);
        }
        Ok(Some(stored.row.clone()))
    }

    async fn update_conversation(&mut self, conversation: &Conversation) -> Result<bool, StoreError> {
        if let Some((key, skeleton)) = reserved_names(conversation)
            && self.tables.is_group_name_taken(Some(conversation.id), key, skeleton)
        {
            return Ok(false);
        }
        self.contract.before_update_conversation(conversation)?;
        let Some(stored) = self.tables.conversations.get(&conversation.id) else {
            return Err(StoreError::Defect(format!(
                "conversation {} does not exist and cannot be updated",
                conversation.id
            )));
        };
        let old = stored.row.clone();
        let new = Conversation {
            kind: old.kind.clone(),
            ..conversation.clone()
        };
        self.tables.replace_row(new);
        self.on_rollback(move |tables| tables.replace_row(old));
        Ok(true)
    }

    async fn members_in(&mut self, id: ConversationId, users: &[UserId]) -> Result<Vec<Member>, StoreError> {
        let Some(stored) = self.tables.conversations.get(&id) else {
            return Ok(Vec::new());
        };
        let mut users = users.to_vec();
        users.sort_unstable();
        users.dedup();
        Ok(users
            .iter()
            .filter_map(|user| stored.members.get(user))
            .cloned()
            .collect())
    }

    async fn members_with_role(&mut self, id: ConversationId, role: Role) -> Result<Vec<Member>, StoreError> {
        let Some(stored) = self.tables.conversations.get(&id) else {
            return Ok(Vec::new());
        };
        let wanted = stored
            .members
            .values()
            .filter(|member| member.is_active() && member.role >= role);
        Ok(wanted.cloned().collect())
    }

    async fn members_by_seniority(&mut self, id: ConversationId, limit: u32) -> Result<Vec<Member>, StoreError> {
        let Some(stored) = self.tables.conversations.get(&id) else {
            return Ok(Vec::new());
        };
        let active = stored.members.values().filter(|member| member.is_active());
        let mut members: Vec<Member> = active
            .filter(|member| self.tables.is_enabled(member.user))
            .cloned()
            .collect();
        members.sort_by_key(|member| (Reverse(member.role), member.first_seq, member.user));
        members.truncate(limit as usize);
        Ok(members)
    }

    async fn put_member(&mut self, member: &Member) -> Result<(), StoreError> {
        let (id, user) = (member.conversation, member.user);
        let Some(stored) = self.tables.conversations.get_mut(&id) else {
            return Err(StoreError::Defect(format!(
                "conversation {id} does not exist; a member cannot be added to it"
            )));
        };
        let mut new = member.clone();
        let old = stored.members.get(&user).cloned();
        if let Some(old) = &old {
            new.delivered_seq = new.delivered_seq.max(old.delivered_seq);
            new.read_seq = new.read_seq.max(old.read_seq);
        }
        stored.members.insert(user, new);
        if old.is_none() {
            self.tables.memberships.entry(user).or_default().insert(id);
        }
        self.on_rollback(move |tables| {
            let Some(stored) = tables.conversations.get_mut(&id) else {
                return;
            };
            if let Some(old) = old {
                stored.members.insert(user, old);
            } else {
                stored.members.remove(&user);
                if let Some(memberships) = tables.memberships.get_mut(&user) {
                    memberships.remove(&id);
                }
            }
        });
        self.record_change(user);
        Ok(())
    }

    async fn put_snapshot(
        &mut self,
        id: ConversationId,
        user: UserId,
        snapshot: &GroupSnapshot,
    ) -> Result<(), StoreError> {
        self.contract.before_put_snapshot(id)?;
        let Some(stored) = self.tables.conversations.get_mut(&id) else {
            return Ok(());
        };
        let old = stored.snapshots.insert(user, snapshot.clone());
        self.on_rollback(move |tables| {
            let Some(stored) = tables.conversations.get_mut(&id) else {
                return;
            };
            match old {
                Some(old) => drop(stored.snapshots.insert(user, old)),
                None => drop(stored.snapshots.remove(&user)),
            }
        });
        Ok(())
    }

    async fn advance_read(&mut self, id: ConversationId, reads: &[(UserId, Seq)]) -> Result<(), StoreError> {
        let Some(stored) = self.tables.conversations.get_mut(&id) else {
            return Ok(());
        };
        let mut old = Vec::with_capacity(reads.len());
        for (user, seq) in reads {
            if let Some(member) = stored.members.get_mut(user).filter(|member| member.is_active())
                && *seq > member.read_seq
            {
                old.push((*user, std::mem::replace(&mut member.read_seq, *seq)));
            }
        }
        self.on_rollback(move |tables| {
            let Some(stored) = tables.conversations.get_mut(&id) else {
                return;
            };
            for (user, seq) in old.into_iter().rev() {
                if let Some(member) = stored.members.get_mut(&user) {
                    member.read_seq = seq;
                }
            }
        });
        Ok(())
    }

    async fn group_count(&mut self, user: UserId, max: u32) -> Result<u32, StoreError> {
        let ids = self.tables.memberships.get(&user).into_iter().flatten();
        let conversations = ids.filter_map(|id| self.tables.conversations.get(id));
        let groups = conversations.filter(|stored| stored.row.kind == ConversationKind::Group && !stored.row.deleted);
        let active = groups.filter(|stored| stored.members.get(&user).is_some_and(Member::is_active));
        Ok(u32::try_from(active.count()).unwrap_or(u32::MAX).min(max))
    }

    async fn former_group_count(&mut self, user: UserId, max: u32) -> Result<u32, StoreError> {
        let ids = self.tables.memberships.get(&user).into_iter().flatten();
        let conversations = ids.filter_map(|id| self.tables.conversations.get(id));
        let groups = conversations.filter(|stored| stored.row.kind == ConversationKind::Group);
        let has_ended = |stored: &&StoredConversation| {
            let member = stored.members.get(&user).filter(|member| may_read_something(member));
            member.is_some_and(|member| stored.row.deleted || !member.is_active())
        };
        Ok(u32::try_from(groups.filter(has_ended).count())
            .unwrap_or(u32::MAX)
            .min(max))
    }
}

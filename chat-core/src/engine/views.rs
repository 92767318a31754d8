//! What users are shown of conversations, members, groups and each other.

use std::collections::HashMap;

use super::account::{private, public};
use super::contact::Standing;
use super::core::Core;
use super::error::CommandError;
use super::policy::{self, DirectAct, GroupAct, Place};
use crate::model::{
    Caller, ContactInfo, ContactState, Conversation, ConversationInfo, ConversationKind, ConversationRef,
    ConversationView, DeviceInfo, GroupInfo, GroupName, MemberInfo, MemberPage, MemberState, Outcome, PresenceState,
    Role, Seq, UserId, UserInfo, UserRef,
};
use crate::store::MembershipView;

/// Users that one request may name.
const USERS_AT_ONCE: usize = 200;

impl Core {
    async fn users(&self, ids: &[UserId]) -> Result<HashMap<UserId, UserInfo>, CommandError> {
        let accounts = self.read(self.store.accounts(ids)).await?;
        Ok(accounts.iter().map(|account| (account.id, public(account))).collect())
    }

    pub(super) async fn list_conversations(&self, caller: Caller) -> Result<Vec<ConversationInfo>, CommandError> {
        let heads = self.read(self.store.memberships(caller.user, caller.device)).await?;
        self.conversation_infos(caller.user, heads).await
    }

    /// What these heads look like to their user, latest first.
    pub(super) async fn conversation_infos(
        &self,
        user: UserId,
        heads: Vec<MembershipView>,
    ) -> Result<Vec<ConversationInfo>, CommandError> {
        let peers: Vec<UserId> = heads
            .iter()
            .filter_map(|head| peer_of(&head.conversation, user))
            .collect();
        let mut users = self.users(&peers).await?;
        let mut infos: Vec<ConversationInfo> = heads
            .into_iter()
            .filter_map(|head| conversation_info(head, user, &mut users))
            .collect();
        infos.sort_by_key(|info| (std::cmp::Reverse(info.last_time), info.id));
        Ok(infos)
    }

    pub(super) async fn get_conversation(
        &self,
        caller: Caller,
        conversation: &ConversationRef,
    ) -> Result<ConversationInfo, CommandError> {
        let target = self.find(caller.user, conversation).await?;
        let head = self
            .read(self.store.membership(caller.user, caller.device, target.id))
            .await?;
        let head = head.ok_or_else(CommandError::not_found)?;
        let infos = self.conversation_infos(caller.user, vec![head]).await?;
        infos.into_iter().next().ok_or_else(CommandError::internal)
    }

    pub(super) async fn list_devices(&self, caller: Caller) -> Result<Vec<DeviceInfo>, CommandError> {
        let devices = self.read(self.store.devices(caller.user)).await?;
        let online = self.live_devices(caller.user).await;
        let info = |device: crate::model::Device| DeviceInfo {
            online: online.contains(&device.id),
            current: device.id == caller.device,
            id: device.id,
            name: device.name,
            created: device.created,
            last_login: device.last_login,
        };
        Ok(devices.into_iter().map(info).collect())
    }

    pub(super) async fn search_users(&self, query: &str, limit: u32) -> Result<Vec<UserInfo>, CommandError> {
        let limit = limit.clamp(1, self.config.max_list_len);
        let mut found = Vec::new();
        if let Ok(id) = query.parse() {
            let account = self.read(self.store.account(UserId(id))).await?;
            found.extend(account.filter(|account| !account.disabled).as_ref().map(public));
        }
        if !query.is_empty() {
            let named = self.read(self.store.search_accounts(query, limit)).await?;
            found.extend(named.iter().map(public));
        }
        found.truncate(limit as usize);
        Ok(found)
    }

    pub(super) async fn get_users(&self, caller: Caller, users: &[UserRef]) -> Result<Vec<UserInfo>, CommandError> {
        if users.len() > USERS_AT_ONCE {
            return Err(CommandError::invalid("too many users at once"));
        }
        let mut ids = Vec::with_capacity(users.len());
        for user in users {
            match self.user_id(user).await {
                Ok(id) => ids.push(id),
                Err(error) if error == CommandError::not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let accounts = self.read(self.store.accounts(&ids)).await?;
        let shown = accounts.iter().map(|account| {
            let info = if account.id == caller.user {
                private(account)
            } else {
                public(account)
            };
            (account.id, info)
        });
        let shown: HashMap<UserId, UserInfo> = shown.collect();
        Ok(ids.iter().filter_map(|id| shown.get(id).cloned()).collect())
    }

    pub(super) async fn list_contacts(&self, caller: Caller) -> Result<Vec<ContactInfo>, CommandError> {
        let contacts = self.read(self.store.contacts(caller.user)).await?;
        let peers: Vec<UserId> = contacts.iter().map(|contact| contact.peer).collect();
        let mut users = self.users(&peers).await?;
        let friends = contacts.iter().filter(|contact| contact.state == ContactState::Friend);
        let friends: Vec<UserId> = friends.map(|contact| contact.peer).collect();
        let present = self.presence_of(&friends).await;
        let info = |contact: crate::model::Contact| {
            let standing = Standing::of(Some(&contact), None);
            let may_see = policy::direct(DirectAct::SeePresence, standing, false).is_ok();
            let presence = present.get(&contact.peer).copied().unwrap_or(PresenceState::Offline);
            Some(ContactInfo {
                user: users.remove(&contact.peer)?,
                state: contact.state,
                blocked: contact.blocked,
                note: contact.note,
                since: contact.since,
                presence: may_see.then_some(presence),
            })
        };
        Ok(contacts.into_iter().filter_map(info).collect())
    }

    pub(super) async fn search_groups(
        &self,
        caller: Caller,
        query: &str,
        limit: u32,
    ) -> Result<Vec<GroupInfo>, CommandError> {
        let limit = limit.clamp(1, self.config.max_list_len);
        let mut found = Vec::new();
        if let Ok(id) = query.parse() {
            let id = crate::model::ConversationId(id);
            let row = self.read(self.store.conversation(id)).await?;
            if let Some(row) = row.filter(|row| !row.closed) {
                let member = self.read(self.store.member(id, caller.user)).await?;
                let place = Place::of(member.as_ref(), self.now());
                let group = row.group.as_ref();
                if group.is_some_and(|group| policy::group(GroupAct::Find, place, group).is_ok()) {
                    found.extend(group_info(&row));
                }
            }
        }
        let prefix = GroupName::parse_any(query).map_or_else(|_| query.to_lowercase(), |name| name.key());
        if !prefix.is_empty() {
            let named = self.read(self.store.search_groups(&prefix, limit)).await?;
            found.extend(named.iter().filter_map(group_info));
        }
        found.truncate(limit as usize);
        Ok(found)
    }

    pub(super) async fn list_members(
        &self,
        caller: Caller,
        group: &ConversationRef,
        after: UserId,
        limit: u32,
    ) -> Result<Outcome, CommandError> {
        let target = self.find(caller.user, group).await?;
        let row = self.read(self.store.conversation(target.id)).await?;
        let Some(profile) = row.and_then(|row| row.group) else {
            return Err(CommandError::not_found());
        };
        let own = self.read(self.store.member(target.id, caller.user)).await?;
        let place = Place::of(own.as_ref(), self.now());
        policy::group(GroupAct::ListMembers, place, &profile)?;
        let sees_all = matches!(place, Place::Admin | Place::Owner);
        let limit = limit.clamp(1, self.config.max_list_len);
        let mut members = Vec::new();
        let mut last = after;
        // Those that the caller may not see are read too: one more page for each page full of them.
        let more = loop {
            let page = self
                .read(self.store.members(target.id, last, limit.saturating_add(1)))
                .await?;
            let ended = page.len() <= limit as usize;
            last = page.last().map_or(last, |member| member.user);
            members.extend(
                page.into_iter()
                    .filter(|member| sees_all || member.state == MemberState::Active),
            );
            if members.len() > limit as usize {
                break true;
            }
            if ended {
                break false;
            }
        };
        members.truncate(limit as usize);
        let ids: Vec<UserId> = members.iter().map(|member| member.user).collect();
        let mut users = self.users(&ids).await?;
        let info = |member: crate::model::Member| {
            Some(MemberInfo {
                user: users.remove(&member.user)?,
                role: member.role,
                state: member.state,
                muted_until: member.muted_until,
                delivered_seq: member.delivered_seq,
                read_seq: member.read_seq,
            })
        };
        let members = members.into_iter().filter_map(info).collect();
        Ok(Outcome::Members(MemberPage::new(members, more)))
    }
}

/// The other user of a direct conversation; oneself for notes.
fn peer_of(conversation: &Conversation, user: UserId) -> Option<UserId> {
    match conversation.kind {
        ConversationKind::Direct { low, high } if low == user => Some(high),
        ConversationKind::Direct { low, .. } => Some(low),
        _ => None,
    }
}

fn conversation_info(
    head: MembershipView,
    user: UserId,
    users: &mut HashMap<UserId, UserInfo>,
) -> Option<ConversationInfo> {
    let MembershipView {
        conversation,
        member,
        cursor,
        unread,
        mentions,
        peer,
    } = head;
    let view = match (&conversation.kind, peer_of(&conversation, user)) {
        (_, Some(peer)) => ConversationView::Direct(users.get(&peer)?.clone()),
        (ConversationKind::Group, _) => ConversationView::Group(group_info(&conversation)?),
        (_, None) => ConversationView::Inbox,
    };
    let role = if conversation.kind == ConversationKind::Group {
        member.role
    } else {
        Role::Member
    };
    let (peer_delivered_seq, peer_read_seq) =
        peer.map_or((Seq::ZERO, Seq::ZERO), |peer| (peer.delivered_seq, peer.read_seq));
    Some(ConversationInfo {
        id: conversation.id,
        view,
        role,
        first_seq: member.first_seq,
        last_seq: member
            .until_seq
            .unwrap_or(conversation.last_seq)
            .min(conversation.last_seq),
        cursor: cursor.max(member.first_seq.previous()),
        read_seq: member.read_seq,
        unread: u32::try_from(unread).unwrap_or(u32::MAX),
        mentions: u32::try_from(mentions).unwrap_or(u32::MAX),
        peer_delivered_seq,
        peer_read_seq,
        last_time: conversation.last_time,
        members_version: conversation.members_version,
        active: member.is_active() && !conversation.closed,
    })
}

/// A group as a member or a searcher sees it.
fn group_info(row: &Conversation) -> Option<GroupInfo> {
    Some(GroupInfo {
        id: row.id,
        profile: row.group.clone()?,
        member_count: row.member_count,
    })
}

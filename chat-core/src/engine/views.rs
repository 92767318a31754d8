//! Views of conversations, groups and users, as the replies to a user contain them.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::error::CommandError;
use super::operations::account::public_info;
use super::signals::hide_peers;
use super::store_access::StoreAccess;
use crate::model::{
    Caller, Conversation, ConversationId, ConversationInfo, ConversationKind, ConversationView, GroupInfo,
    GroupProfile, GroupSnapshot, JoinPolicy, Member, Role, Seq, Timestamp, UserId, UserInfo,
};
use crate::store::MembershipView;

/// Reads the public profiles of these users. Ids without an account are left out.
pub(super) async fn user_infos(
    access: &StoreAccess,
    ids: &[UserId],
) -> Result<HashMap<UserId, UserInfo>, CommandError> {
    let accounts = access.read(access.store().accounts(ids)).await?;
    Ok(accounts
        .iter()
        .map(|account| (account.id, public_info(account)))
        .collect())
}

/// Reads one of the caller's conversations.
///
/// # Errors
/// [`NotFound`](crate::model::ReplyCode::NotFound): the caller may not read the conversation.
/// [`Internal`](crate::model::ReplyCode::Internal): [`membership_info`] returns `None`. Otherwise
/// the errors of [`StoreAccess::read`].
pub(super) async fn conversation_info(
    access: &StoreAccess,
    caller: Caller,
    conversation: ConversationId,
) -> Result<ConversationInfo, CommandError> {
    let membership = access
        .store()
        .membership(caller.user, caller.device_or_none(), conversation);
    let membership = access.read(membership).await?;
    let membership = membership.ok_or_else(CommandError::not_found)?;
    let infos = conversation_infos(access, caller.user, vec![membership]).await?;
    let info = infos.into_iter().next();
    info.ok_or_else(|| CommandError::defect("the view of a conversation is missing"))
}

/// Converts a user's memberships to the user's view of the conversations, the one with the newest
/// event first. Reads the profiles of peers from the store, and hides the marks of peers that the
/// user may not see. Leaves out the memberships for which [`membership_info`] returns `None`.
pub(super) async fn conversation_infos(
    access: &StoreAccess,
    user: UserId,
    mut memberships: Vec<MembershipView>,
) -> Result<Vec<ConversationInfo>, CommandError> {
    hide_peers(access, user, &mut memberships).await?;
    let peers: Vec<UserId> = memberships
        .iter()
        .filter_map(|membership| peer_of(&membership.conversation, user))
        .collect();
    let users = user_infos(access, &peers).await?;
    let mut infos: Vec<ConversationInfo> = memberships
        .into_iter()
        .filter_map(|membership| membership_info(membership, user, &users))
        .collect();
    infos.sort_by_key(|info| (Reverse(info.last_time), info.id));
    Ok(infos)
}

/// Removes the descriptions of groups, so that a list of many conversations stays small.
pub(super) fn without_descriptions(mut infos: Vec<ConversationInfo>) -> Vec<ConversationInfo> {
    for info in &mut infos {
        if let ConversationView::Group(group) = &mut info.view {
            group.profile.description.clear();
        }
    }
    infos
}

/// Returns whether a conversation has ended for the user, and the device for which `membership` was
/// read has acknowledged everything that the user may read of it. The reply to a login leaves such
/// conversations out, and so do lists, unless the query includes ended ones.
pub(super) fn is_ended_and_received(membership: &MembershipView) -> bool {
    let (row, member) = (&membership.conversation, &membership.member);
    let has_ended = row.deleted || !member.is_active();
    has_ended && membership.cursor >= row.last_seq.min(member.until_seq.unwrap_or(row.last_seq))
}

/// Keeps those of a user's memberships that the reply to a login lists: the inbox, and the others
/// with the newest events, together up to `limit`. Those that have
/// [ended and were received](is_ended_and_received) are dropped first. Returns the kept ones, and
/// whether `limit` has left out others.
pub(super) fn newest_memberships(mut memberships: Vec<MembershipView>, limit: u32) -> (Vec<MembershipView>, bool) {
    memberships.retain(|membership| !is_ended_and_received(membership));
    let last_time = |membership: &MembershipView| {
        let snapshot = membership.snapshot.as_ref().map(|snapshot| snapshot.last_time);
        snapshot.unwrap_or(membership.conversation.last_time)
    };
    memberships.sort_by_key(|membership| {
        let is_inbox = matches!(membership.conversation.kind, ConversationKind::Inbox { .. });
        (!is_inbox, Reverse(last_time(membership)), membership.conversation.id)
    });
    let has_more = memberships.len() > limit as usize;
    memberships.truncate(limit as usize);
    (memberships, has_more)
}

/// Returns the other user of a direct conversation (for notes to self, the user), or `None` for
/// other kinds of conversations.
fn peer_of(conversation: &Conversation, user: UserId) -> Option<UserId> {
    match conversation.kind {
        ConversationKind::Direct { low, high } if low == user => Some(high),
        ConversationKind::Direct { low, .. } => Some(low),
        _ => None,
    }
}

/// Converts a membership of `user` to the user's view of its conversation. Returns `None` if the
/// peer of a direct conversation is not in `users`, or if a group has no profile.
fn membership_info(
    membership: MembershipView,
    user: UserId,
    users: &HashMap<UserId, UserInfo>,
) -> Option<ConversationInfo> {
    let MembershipView {
        conversation,
        member,
        cursor,
        unread,
        unread_mentions,
        peer,
        snapshot,
    } = membership;
    let conversation = as_visible_to(&member, conversation, snapshot);
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
        unread_mentions: u32::try_from(unread_mentions).unwrap_or(u32::MAX),
        peer_delivered_seq,
        peer_read_seq,
        last_time: conversation.last_time,
        members_version: conversation.members_version,
        active: member.is_active() && !conversation.deleted,
    })
}

/// Returns a conversation with the fields that this member may see. For a former member of a group,
/// the profile, member count and last time are those from when the member left, or those of
/// [`placeholder_snapshot`] if the store has no snapshot from then, and `members_version` is not
/// above the last event that the member may read. Other conversations are returned unchanged.
fn as_visible_to(member: &Member, conversation: Conversation, snapshot: Option<GroupSnapshot>) -> Conversation {
    let Some(until_seq) = member
        .until_seq
        .filter(|_| conversation.kind == ConversationKind::Group)
    else {
        return conversation;
    };
    let snapshot = snapshot.unwrap_or_else(|| placeholder_snapshot(conversation.id));
    Conversation {
        group: Some(snapshot.profile),
        member_count: snapshot.member_count,
        last_time: snapshot.last_time,
        members_version: conversation.members_version.min(until_seq),
        ..conversation
    }
}

/// Returns what a former member sees of a group if the store has no snapshot from the time when the
/// member left: `#` and the group's id as its name, and no other property of the group.
fn placeholder_snapshot(group: ConversationId) -> GroupSnapshot {
    GroupSnapshot {
        profile: GroupProfile {
            name: format!("#{group}"),
            key: String::new(),
            skeleton: String::new(),
            description: String::new(),
            join_policy: JoinPolicy::Invite,
            history_visible: false,
            unlisted: true,
        },
        member_count: 0,
        last_time: Timestamp(0),
    }
}

/// Returns a group as its members and the users who search for it see it, or `None` if the
/// conversation has no group profile.
pub(super) fn group_info(row: &Conversation) -> Option<GroupInfo> {
    Some(GroupInfo {
        id: row.id,
        profile: row.group.clone()?,
        member_count: row.member_count,
    })
}

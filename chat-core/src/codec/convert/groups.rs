//! Conversion of groups and their members.

use super::accounts::{to_user_info, user_info};
use super::{enums, parts, people};
use crate::codec::error::{InvalidRequest, Malformed};
use crate::codec::proto;
use crate::model::{
    Command, ConversationId, Description, GroupChanges, GroupInfo, GroupName, GroupProfile, MemberInfo, NewGroup, Note,
    Role, Seq, Timestamp, UserId,
};

/// Maximum duration of a mute, in milliseconds: ten years of 366 days.
const MAX_MUTE_MS: u64 = 10 * 366 * 24 * 60 * 60 * 1000;

pub(super) fn to_create(create: proto::CreateGroup) -> Result<Command, InvalidRequest> {
    Ok(Command::CreateGroup(NewGroup {
        client_message_id: parts::to_client_message_id(&create.client_message_id)?,
        name: GroupName::parse(&create.name)?,
        description: Description::new(create.description)?,
        join_policy: parts::to_enum(create.join_policy, "join_policy", enums::to_join_policy)?.unwrap_or_default(),
        history_visible: create.history_visible,
        unlisted: create.unlisted,
    }))
}

pub(super) fn to_search(search: proto::SearchGroups) -> Result<Command, InvalidRequest> {
    let canonical = |query: &str| GroupName::parse_any(query).map(|name| name.key());
    Ok(Command::SearchGroups {
        query: people::to_query(&search.query, canonical)?,
        limit: parts::to_limit(search.limit, 20, 50)?,
    })
}

pub(super) fn to_join(join: proto::JoinGroup) -> Result<Command, InvalidRequest> {
    Ok(Command::JoinGroup {
        group: parts::to_conversation_ref(join.group)?,
        note: Note::new(join.note)?,
    })
}

pub(super) fn to_mute(mute: proto::MuteMember) -> Result<Command, InvalidRequest> {
    if mute.duration_ms > MAX_MUTE_MS {
        return Err(InvalidRequest::argument("duration_ms must be at most ten years"));
    }
    Ok(Command::MuteMember {
        group: parts::to_conversation_ref(mute.group)?,
        user: parts::to_user_ref(mute.user)?,
        duration_ms: mute.duration_ms,
    })
}

pub(super) fn to_set_role(set: proto::SetRole) -> Result<Command, InvalidRequest> {
    let role = match enums::to_role(set.role) {
        Some(role @ (Role::Member | Role::Admin)) => role,
        Some(Role::Owner) | None => return Err(InvalidRequest::argument("role must be MEMBER or ADMIN")),
    };
    Ok(Command::SetRole {
        group: parts::to_conversation_ref(set.group)?,
        user: parts::to_user_ref(set.user)?,
        role,
    })
}

pub(super) fn to_update(update: proto::UpdateGroup) -> Result<Command, InvalidRequest> {
    Ok(Command::UpdateGroup {
        group: parts::to_conversation_ref(update.group)?,
        changes: GroupChanges {
            name: update.name.as_deref().map(GroupName::parse).transpose()?,
            description: update.description.map(Description::new).transpose()?,
            join_policy: parts::to_enum(update.join_policy, "join_policy", enums::to_join_policy)?,
            history_visible: update.history_visible,
            unlisted: update.unlisted,
        },
    })
}

pub(super) fn to_list_members(list: proto::ListMembers) -> Result<Command, InvalidRequest> {
    Ok(Command::ListMembers {
        group: parts::to_conversation_ref(list.group)?,
        after: match list.after_user {
            0 => UserId(0),
            user => parts::to_user_id(user)?,
        },
        limit: parts::to_limit(list.limit, 200, 500)?,
    })
}

pub(super) fn group_info(group: &GroupInfo) -> proto::GroupInfo {
    let profile = &group.profile;
    proto::GroupInfo {
        id: group.id.0,
        name: profile.name.clone(),
        description: profile.description.clone(),
        join_policy: enums::join_policy(profile.join_policy),
        history_visible: profile.history_visible,
        unlisted: profile.unlisted,
        member_count: group.member_count,
    }
}

/// Decodes a group. The key and the skeleton of its name, which only servers need, are not
/// transmitted and become empty.
pub(super) fn to_group_info(group: proto::GroupInfo) -> Result<GroupInfo, Malformed> {
    if group.id == 0 {
        return Err(Malformed::Field("group id"));
    }
    Ok(GroupInfo {
        id: ConversationId(group.id),
        profile: GroupProfile {
            name: group.name,
            key: String::new(),
            skeleton: String::new(),
            description: group.description,
            join_policy: parts::required(enums::to_join_policy(group.join_policy), "join_policy")?,
            history_visible: group.history_visible,
            unlisted: group.unlisted,
        },
        member_count: group.member_count,
    })
}

pub(super) fn member_info(member: &MemberInfo) -> proto::MemberInfo {
    proto::MemberInfo {
        user: Some(user_info(&member.user)),
        role: enums::role(member.role),
        state: enums::member_state(member.state),
        muted_until_ms: member.muted_until.0,
        delivered_seq: member.delivered_seq.0,
        read_seq: member.read_seq.0,
    }
}

pub(super) fn to_member_info(member: proto::MemberInfo) -> Result<MemberInfo, Malformed> {
    Ok(MemberInfo {
        user: to_user_info(parts::required(member.user, "user")?)?,
        role: parts::required(enums::to_role(member.role), "role")?,
        state: parts::required(enums::to_member_state(member.state), "member state")?,
        muted_until: Timestamp(member.muted_until_ms),
        delivered_seq: Seq(member.delivered_seq),
        read_seq: Seq(member.read_seq),
    })
}

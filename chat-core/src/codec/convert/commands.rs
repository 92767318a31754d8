//! Encoding of all commands.

use super::{conversations, enums, login, messages, parts};
use crate::codec::proto::{self, client_packet::Command as Wire};
use crate::model::{Command, ConversationRef, UserRef};

pub(in crate::codec) fn command(command: &Command) -> Wire {
    match command {
        Command::Logout => Wire::Logout(proto::Logout {}),
        Command::ChangePassword { old, new } => Wire::ChangePassword(proto::ChangePassword {
            old_password: login::password(old),
            new_password: login::password(new),
        }),
        Command::ListDevices => Wire::ListDevices(proto::ListDevices {}),
        Command::RevokeDevice(device) => Wire::RevokeDevice(proto::RevokeDevice {
            device: parts::id(device.0),
        }),
        Command::UpdateProfile(changes) => Wire::UpdateProfile(proto::UpdateProfile {
            display_name: changes.display_name.as_ref().map(|name| name.as_str().to_owned()),
            direct_policy: changes.direct_policy.map_or(0, enums::direct_policy),
        }),
        Command::SetStatus(state) => Wire::SetStatus(proto::SetStatus {
            presence: enums::presence(*state),
        }),

        Command::SearchUsers { query, limit } => Wire::SearchUsers(proto::SearchUsers {
            query: query.clone(),
            limit: *limit,
        }),
        Command::GetUsers(users) => Wire::GetUsers(proto::GetUsers {
            users: users.iter().map(parts::user_ref).collect(),
        }),
        Command::RequestFriend { user, note } => Wire::RequestFriend(proto::RequestFriend {
            user: some_user(user),
            note: note.as_str().to_owned(),
        }),
        Command::AnswerFriend { user, accept } => Wire::AnswerFriend(proto::AnswerFriend {
            user: some_user(user),
            accept: *accept,
        }),
        Command::RemoveFriend(user) => Wire::RemoveFriend(proto::RemoveFriend { user: some_user(user) }),
        Command::Block(user) => Wire::Block(proto::Block { user: some_user(user) }),
        Command::Unblock(user) => Wire::Unblock(proto::Unblock { user: some_user(user) }),
        Command::ListContacts => Wire::ListContacts(proto::ListContacts {}),

        Command::Send { conversation, draft } => messages::send(parts::conversation_ref(conversation), draft),

        Command::ListConversations => Wire::ListConversations(proto::ListConversations {}),
        Command::GetConversation(conversation) => Wire::GetConversation(proto::GetConversation {
            conversation: some_group(conversation),
        }),
        Command::ReadHistory { conversation, page } => {
            Wire::ReadHistory(conversations::read_history(parts::conversation_ref(conversation), page))
        }
        Command::Acknowledge { conversation, seq } => Wire::Acknowledge(proto::Acknowledge {
            conversation: conversation.0,
            seq: seq.0,
        }),
        Command::MarkRead { conversation, seq } => Wire::MarkRead(proto::MarkRead {
            conversation: conversation.0,
            seq: seq.0,
        }),
        Command::Typing { conversation, stopped } => Wire::Typing(proto::Typing {
            conversation: conversation.0,
            stopped: *stopped,
        }),

        Command::CreateGroup(group) => Wire::CreateGroup(proto::CreateGroup {
            client_message_id: parts::id(group.client_message_id.0),
            name: group.name.as_str().to_owned(),
            description: group.description.as_str().to_owned(),
            join_policy: enums::join_policy(group.join_policy),
            history_visible: group.history_visible,
            unlisted: group.unlisted,
        }),
        Command::SearchGroups { query, limit } => Wire::SearchGroups(proto::SearchGroups {
            query: query.clone(),
            limit: *limit,
        }),
        Command::JoinGroup { group, note } => Wire::JoinGroup(proto::JoinGroup {
            group: some_group(group),
            note: note.as_str().to_owned(),
        }),
        Command::AnswerJoin { group, user, accept } => Wire::AnswerJoin(proto::AnswerJoin {
            group: some_group(group),
            user: some_user(user),
            accept: *accept,
        }),
        Command::InviteMember { group, user } => Wire::InviteMember(proto::InviteMember {
            group: some_group(group),
            user: some_user(user),
        }),
        Command::DeclineInvitation(group) => Wire::DeclineInvitation(proto::DeclineInvitation {
            group: some_group(group),
        }),
        Command::LeaveGroup(group) => Wire::LeaveGroup(proto::LeaveGroup {
            group: some_group(group),
        }),
        Command::DeleteGroup(group) => Wire::DeleteGroup(proto::DeleteGroup {
            group: some_group(group),
        }),
        Command::KickMember { group, user, ban } => Wire::KickMember(proto::KickMember {
            group: some_group(group),
            user: some_user(user),
            ban: *ban,
        }),
        Command::UnbanMember { group, user } => Wire::UnbanMember(proto::UnbanMember {
            group: some_group(group),
            user: some_user(user),
        }),
        Command::MuteMember {
            group,
            user,
            duration_ms,
        } => Wire::MuteMember(proto::MuteMember {
            group: some_group(group),
            user: some_user(user),
            duration_ms: *duration_ms,
        }),
        Command::SetRole { group, user, role } => Wire::SetRole(proto::SetRole {
            group: some_group(group),
            user: some_user(user),
            role: enums::role(*role),
        }),
        Command::TransferOwnership { group, user } => Wire::TransferOwnership(proto::TransferOwnership {
            group: some_group(group),
            user: some_user(user),
        }),
        Command::UpdateGroup { group, changes } => Wire::UpdateGroup(proto::UpdateGroup {
            group: some_group(group),
            name: changes.name.as_ref().map(|name| name.as_str().to_owned()),
            description: changes.description.as_ref().map(|text| text.as_str().to_owned()),
            join_policy: changes.join_policy.map_or(0, enums::join_policy),
            history_visible: changes.history_visible,
            unlisted: changes.unlisted,
        }),
        Command::ListMembers { group, after, limit } => Wire::ListMembers(proto::ListMembers {
            group: some_group(group),
            after_user: after.0,
            limit: *limit,
        }),
    }
}

fn some_user(user: &UserRef) -> Option<proto::UserRef> {
    Some(parts::user_ref(user))
}

fn some_group(group: &ConversationRef) -> Option<proto::ConversationRef> {
    Some(parts::conversation_ref(group))
}

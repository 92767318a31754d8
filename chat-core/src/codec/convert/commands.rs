//! Encoding of all commands. [`requests`](super::requests) decodes them.

use super::{conversations, enums, login, messages, parts};
use crate::codec::proto::{self, client_packet::Command as WireCommand};
use crate::model::{
    Command, ConversationId, ConversationRef, DeviceId, GroupChanges, NewGroup, Note, PresenceState, ProfileChanges,
    Role, Secret, Seq, UserId, UserRef,
};

pub(in crate::codec) fn command(command: &Command) -> WireCommand {
    match command {
        Command::Logout => WireCommand::Logout(proto::Logout {}),
        Command::ChangePassword { old, new } => WireCommand::ChangePassword(change_password(old, new)),
        Command::ListDevices => WireCommand::ListDevices(proto::ListDevices {}),
        Command::RevokeDevice(device) => WireCommand::RevokeDevice(revoke_device(*device)),
        Command::UpdateProfile(changes) => WireCommand::UpdateProfile(update_profile(changes)),
        Command::SetPresence(state) => WireCommand::SetPresence(set_presence(*state)),

        Command::SearchUsers { query, limit } => WireCommand::SearchUsers(search_users(query, *limit)),
        Command::GetUsers(users) => WireCommand::GetUsers(get_users(users)),
        Command::RequestFriend { user, note } => WireCommand::RequestFriend(request_friend(user, note)),
        Command::AnswerFriend { user, accept } => WireCommand::AnswerFriend(answer_friend(user, *accept)),
        Command::RemoveFriend(user) => WireCommand::RemoveFriend(proto::RemoveFriend { user: user_field(user) }),
        Command::Block(user) => WireCommand::Block(proto::Block { user: user_field(user) }),
        Command::Unblock(user) => WireCommand::Unblock(proto::Unblock { user: user_field(user) }),
        Command::ListContacts { after, limit } => WireCommand::ListContacts(proto::ListContacts {
            after_user: after.0,
            limit: *limit,
        }),

        Command::Send { conversation, draft } => messages::send(parts::conversation_ref(conversation), draft),

        Command::ListConversations(query) => WireCommand::ListConversations(conversations::list_conversations(*query)),
        Command::GetConversation(conversation) => WireCommand::GetConversation(get_conversation(conversation)),
        Command::ReadHistory { conversation, page } => {
            WireCommand::ReadHistory(conversations::read_history(parts::conversation_ref(conversation), page))
        }
        Command::Acknowledge { conversation, seq } => WireCommand::Acknowledge(acknowledge(*conversation, *seq)),
        Command::MarkRead { conversation, seq } => WireCommand::MarkRead(mark_read(*conversation, *seq)),
        Command::Typing { conversation, stopped } => WireCommand::Typing(typing(*conversation, *stopped)),

        Command::CreateGroup(group) => WireCommand::CreateGroup(create_group(group)),
        Command::SearchGroups { query, limit } => WireCommand::SearchGroups(search_groups(query, *limit)),
        Command::JoinGroup { group, note } => WireCommand::JoinGroup(join_group(group, note)),
        Command::AnswerJoin { group, user, accept } => WireCommand::AnswerJoin(answer_join(group, user, *accept)),
        Command::InviteMember { group, user } => WireCommand::InviteMember(invite_member(group, user)),
        Command::DeclineInvitation(group) => WireCommand::DeclineInvitation(decline_invitation(group)),
        Command::LeaveGroup(group) => WireCommand::LeaveGroup(leave_group(group)),
        Command::DeleteGroup(group) => WireCommand::DeleteGroup(delete_group(group)),
        Command::KickMember { group, user, ban } => WireCommand::KickMember(kick_member(group, user, *ban)),
        Command::UnbanMember { group, user } => WireCommand::UnbanMember(unban_member(group, user)),
        Command::MuteMember {
            group,
            user,
            duration_ms,
        } => WireCommand::MuteMember(mute_member(group, user, *duration_ms)),
        Command::SetRole { group, user, role } => WireCommand::SetRole(set_role(group, user, *role)),
        Command::TransferOwnership { group, user } => WireCommand::TransferOwnership(transfer_ownership(group, user)),
        Command::UpdateGroup { group, changes } => WireCommand::UpdateGroup(update_group(group, changes)),
        Command::ListMembers { group, after, limit } => WireCommand::ListMembers(list_members(group, *after, *limit)),
    }
}

fn change_password(old: &Secret, new: &Secret) -> proto::ChangePassword {
    proto::ChangePassword {
        old_password: login::password(old),
        new_password: login::password(new),
    }
}

fn revoke_device(device: DeviceId) -> proto::RevokeDevice {
    proto::RevokeDevice {
        device: parts::id(device.0),
    }
}

fn update_profile(changes: &ProfileChanges) -> proto::UpdateProfile {
    proto::UpdateProfile {
        display_name: changes.display_name.as_ref().map(|name| name.as_str().to_owned()),
        direct_policy: changes.direct_policy.map_or(0, enums::direct_policy),
    }
}

fn set_presence(state: PresenceState) -> proto::SetPresence {
    proto::SetPresence {
        presence: enums::presence(state),
    }
}

fn search_users(query: &str, limit: u32) -> proto::SearchUsers {
    proto::SearchUsers {
        query: query.to_owned(),
        limit,
    }
}

fn get_users(users: &[UserRef]) -> proto::GetUsers {
    proto::GetUsers {
        users: users.iter().map(parts::user_ref).collect(),
    }
}

fn request_friend(user: &UserRef, note: &Note) -> proto::RequestFriend {
    proto::RequestFriend {
        user: user_field(user),
        note: note.as_str().to_owned(),
    }
}

fn answer_friend(user: &UserRef, accept: bool) -> proto::AnswerFriend {
    proto::AnswerFriend {
        user: user_field(user),
        accept,
    }
}

fn get_conversation(conversation: &ConversationRef) -> proto::GetConversation {
    proto::GetConversation {
        conversation: conversation_field(conversation),
    }
}

fn acknowledge(conversation: ConversationId, seq: Seq) -> proto::Acknowledge {
    proto::Acknowledge {
        conversation: conversation.0,
        seq: seq.0,
    }
}

fn mark_read(conversation: ConversationId, seq: Seq) -> proto::MarkRead {
    proto::MarkRead {
        conversation: conversation.0,
        seq: seq.0,
    }
}

fn typing(conversation: ConversationId, stopped: bool) -> proto::Typing {
    proto::Typing {
        conversation: conversation.0,
        stopped,
    }
}

fn create_group(group: &NewGroup) -> proto::CreateGroup {
    proto::CreateGroup {
        client_message_id: parts::id(group.client_message_id.0),
        name: group.name.as_str().to_owned(),
        description: group.description.as_str().to_owned(),
        join_policy: enums::join_policy(group.join_policy),
        history_visible: group.history_visible,
        unlisted: group.unlisted,
    }
}

fn search_groups(query: &str, limit: u32) -> proto::SearchGroups {
    proto::SearchGroups {
        query: query.to_owned(),
        limit,
    }
}

fn join_group(group: &ConversationRef, note: &Note) -> proto::JoinGroup {
    proto::JoinGroup {
        group: conversation_field(group),
        note: note.as_str().to_owned(),
    }
}

fn answer_join(group: &ConversationRef, user: &UserRef, accept: bool) -> proto::AnswerJoin {
    proto::AnswerJoin {
        group: conversation_field(group),
        user: user_field(user),
        accept,
    }
}

fn invite_member(group: &ConversationRef, user: &UserRef) -> proto::InviteMember {
    proto::InviteMember {
        group: conversation_field(group),
        user: user_field(user),
    }
}

fn decline_invitation(group: &ConversationRef) -> proto::DeclineInvitation {
    proto::DeclineInvitation {
        group: conversation_field(group),
    }
}

fn leave_group(group: &ConversationRef) -> proto::LeaveGroup {
    proto::LeaveGroup {
        group: conversation_field(group),
    }
}

fn delete_group(group: &ConversationRef) -> proto::DeleteGroup {
    proto::DeleteGroup {
        group: conversation_field(group),
    }
}

fn kick_member(group: &ConversationRef, user: &UserRef, ban: bool) -> proto::KickMember {
    proto::KickMember {
        group: conversation_field(group),
        user: user_field(user),
        ban,
    }
}

fn unban_member(group: &ConversationRef, user: &UserRef) -> proto::UnbanMember {
    proto::UnbanMember {
        group: conversation_field(group),
        user: user_field(user),
    }
}

fn mute_member(group: &ConversationRef, user: &UserRef, duration_ms: u64) -> proto::MuteMember {
    proto::MuteMember {
        group: conversation_field(group),
        user: user_field(user),
        duration_ms,
    }
}

fn set_role(group: &ConversationRef, user: &UserRef, role: Role) -> proto::SetRole {
    proto::SetRole {
        group: conversation_field(group),
        user: user_field(user),
        role: enums::role(role),
    }
}

fn transfer_ownership(group: &ConversationRef, user: &UserRef) -> proto::TransferOwnership {
    proto::TransferOwnership {
        group: conversation_field(group),
        user: user_field(user),
    }
}

fn update_group(group: &ConversationRef, changes: &GroupChanges) -> proto::UpdateGroup {
    proto::UpdateGroup {
        group: conversation_field(group),
        name: changes.name.as_ref().map(|name| name.as_str().to_owned()),
        description: changes.description.as_ref().map(|text| text.as_str().to_owned()),
        join_policy: changes.join_policy.map_or(0, enums::join_policy),
        history_visible: changes.history_visible,
        unlisted: changes.unlisted,
    }
}

fn list_members(group: &ConversationRef, after: UserId, limit: u32) -> proto::ListMembers {
    proto::ListMembers {
        group: conversation_field(group),
        after_user: after.0,
        limit,
    }
}

fn user_field(user: &UserRef) -> Option<proto::UserRef> {
    Some(parts::user_ref(user))
}

fn conversation_field(conversation: &ConversationRef) -> Option<proto::ConversationRef> {
    Some(parts::conversation_ref(conversation))
}

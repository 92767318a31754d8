//! Decoding of all requests. [`commands`](super::commands) encodes those that are commands.

use super::{accounts, conversations, groups, login, messages, parts, people};
use crate::codec::error::InvalidRequest;
use crate::codec::packet::RequestKind;
use crate::codec::proto::{self, client_packet::Command as Wire};
use crate::model::Command;

/// Decodes a request. `max_text` is the largest accepted message text, in bytes.
pub(in crate::codec) fn to_request(wire: Wire, max_text: usize) -> Result<RequestKind, InvalidRequest> {
    Ok(match wire {
        Wire::Hello(hello) => RequestKind::Hello(login::to_hello(hello)?),
        Wire::Register(register) => RequestKind::Register(login::to_registration(register)?),
        Wire::Login(login) => RequestKind::Login(login::to_login(login)?),
        Wire::Resume(resume) => RequestKind::Resume(login::to_resume(resume)?),
        Wire::ListNodes(proto::ListNodes {}) => RequestKind::ListNodes,
        Wire::Ping(proto::Ping {}) => RequestKind::Ping,
        wire => RequestKind::Command(to_command(wire, max_text)?),
    })
}

fn to_command(wire: Wire, max_text: usize) -> Result<Command, InvalidRequest> {
    use Command::*;
    Ok(match wire {
        // `to_request` has handled the requests that are not commands.
        Wire::Hello(_) | Wire::Register(_) | Wire::Login(_) | Wire::Resume(_) | Wire::ListNodes(_) | Wire::Ping(_) => {
            return Err(InvalidRequest::argument("not a command"));
        }

        Wire::Logout(proto::Logout {}) => Logout,
        Wire::ChangePassword(change) => to_change_password(change)?,
        Wire::ListDevices(proto::ListDevices {}) => ListDevices,
        Wire::RevokeDevice(revoke) => RevokeDevice(parts::to_device(&revoke.device)?),
        Wire::UpdateProfile(update) => accounts::to_update_profile(update)?,
        Wire::SetStatus(status) => accounts::to_set_status(&status)?,

        Wire::SearchUsers(search) => people::to_search_users(search)?,
        Wire::GetUsers(get) => people::to_get_users(get)?,
        Wire::RequestFriend(request) => people::to_request_friend(request)?,
        Wire::AnswerFriend(answer) => to_answer_friend(answer)?,
        Wire::RemoveFriend(remove) => RemoveFriend(parts::to_user_ref(remove.user)?),
        Wire::Block(block) => Block(parts::to_user_ref(block.user)?),
        Wire::Unblock(unblock) => Unblock(parts::to_user_ref(unblock.user)?),
        Wire::ListContacts(proto::ListContacts {}) => ListContacts,

        Wire::CreateGroup(create) => groups::to_create(create)?,
        Wire::SearchGroups(search) => groups::to_search(search)?,
        Wire::JoinGroup(join) => groups::to_join(join)?,
        Wire::AnswerJoin(answer) => to_answer_join(answer)?,
        Wire::InviteMember(invite) => to_invite_member(invite)?,
        Wire::DeclineInvitation(decline) => DeclineInvitation(parts::to_conversation_ref(decline.group)?),
        Wire::LeaveGroup(leave) => LeaveGroup(parts::to_conversation_ref(leave.group)?),
        Wire::DeleteGroup(delete) => DeleteGroup(parts::to_conversation_ref(delete.group)?),
        Wire::KickMember(kick) => to_kick_member(kick)?,
        Wire::UnbanMember(unban) => to_unban_member(unban)?,
        Wire::MuteMember(mute) => groups::to_mute(mute)?,
        Wire::SetRole(set) => groups::to_set_role(set)?,
        Wire::TransferOwnership(transfer) => to_transfer_ownership(transfer)?,
        Wire::UpdateGroup(update) => groups::to_update(update)?,
        Wire::ListMembers(list) => groups::to_list_members(list)?,

        Wire::SendMessage(send) => messages::to_send(send, max_text)?,
        Wire::EditMessage(edit) => messages::to_edit(edit, max_text)?,
        Wire::RecallMessage(recall) => messages::to_recall(recall)?,
        Wire::React(react) => messages::to_react(react)?,

        Wire::ListConversations(proto::ListConversations {}) => ListConversations,
        Wire::GetConversation(get) => GetConversation(parts::to_conversation_ref(get.conversation)?),
        Wire::ReadHistory(read) => conversations::to_read_history(read)?,
        Wire::Acknowledge(acknowledge) => to_acknowledge(acknowledge)?,
        Wire::MarkRead(mark) => to_mark_read(mark)?,
        Wire::Typing(typing) => to_typing(typing)?,
    })
}

fn to_change_password(change: proto::ChangePassword) -> Result<Command, InvalidRequest> {
    Ok(Command::ChangePassword {
        old: login::to_password(change.old_password)?,
        new: login::to_new_password(change.new_password)?,
    })
}

fn to_answer_friend(answer: proto::AnswerFriend) -> Result<Command, InvalidRequest> {
    Ok(Command::AnswerFriend {
        user: parts::to_user_ref(answer.user)?,
        accept: answer.accept,
    })
}

fn to_answer_join(answer: proto::AnswerJoin) -> Result<Command, InvalidRequest> {
    Ok(Command::AnswerJoin {
        group: parts::to_conversation_ref(answer.group)?,
        user: parts::to_user_ref(answer.user)?,
        accept: answer.accept,
    })
}

fn to_invite_member(invite: proto::InviteMember) -> Result<Command, InvalidRequest> {
    Ok(Command::InviteMember {
        group: parts::to_conversation_ref(invite.group)?,
        user: parts::to_user_ref(invite.user)?,
    })
}

fn to_kick_member(kick: proto::KickMember) -> Result<Command, InvalidRequest> {
    Ok(Command::KickMember {
        group: parts::to_conversation_ref(kick.group)?,
        user: parts::to_user_ref(kick.user)?,
        ban: kick.ban,
    })
}

fn to_unban_member(unban: proto::UnbanMember) -> Result<Command, InvalidRequest> {
    Ok(Command::UnbanMember {
        group: parts::to_conversation_ref(unban.group)?,
        user: parts::to_user_ref(unban.user)?,
    })
}

fn to_transfer_ownership(transfer: proto::TransferOwnership) -> Result<Command, InvalidRequest> {
    Ok(Command::TransferOwnership {
        group: parts::to_conversation_ref(transfer.group)?,
        user: parts::to_user_ref(transfer.user)?,
    })
}

fn to_acknowledge(acknowledge: proto::Acknowledge) -> Result<Command, InvalidRequest> {
    Ok(Command::Acknowledge {
        conversation: parts::to_conversation_id(acknowledge.conversation)?,
        seq: parts::to_seq_or_zero(acknowledge.seq, "seq")?,
    })
}

fn to_mark_read(mark: proto::MarkRead) -> Result<Command, InvalidRequest> {
    Ok(Command::MarkRead {
        conversation: parts::to_conversation_id(mark.conversation)?,
        seq: parts::to_seq_or_zero(mark.seq, "seq")?,
    })
}

fn to_typing(typing: proto::Typing) -> Result<Command, InvalidRequest> {
    Ok(Command::Typing {
        conversation: parts::to_conversation_id(typing.conversation)?,
        stopped: typing.stopped,
    })
}

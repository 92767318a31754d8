//! Decoding of all requests. [`commands`](super::commands) encodes those that are commands.

use super::{accounts, conversations, groups, login, messages, parts, people};
use crate::codec::error::InvalidRequest;
use crate::codec::packet::RequestKind;
use crate::codec::proto::{self, client_packet::Command as WireCommand};
use crate::model::Command;

/// Decodes a request. `max_text_bytes` is the largest accepted message text, in bytes.
pub(in crate::codec) fn to_request(wire: WireCommand, max_text_bytes: usize) -> Result<RequestKind, InvalidRequest> {
    Ok(match wire {
        WireCommand::Hello(hello) => RequestKind::Hello(login::to_hello(hello)?),
        WireCommand::Register(register) => RequestKind::Register(login::to_registration(register)?),
        WireCommand::Login(login) => RequestKind::Login(login::to_login(login)?),
        WireCommand::Resume(resume) => RequestKind::Resume(login::to_resume(resume)?),
        WireCommand::ListNodes(proto::ListNodes {}) => RequestKind::ListNodes,
        WireCommand::Ping(proto::Ping {}) => RequestKind::Ping,
        wire => RequestKind::Command(to_command(wire, max_text_bytes)?),
    })
}

fn to_command(wire: WireCommand, max_text_bytes: usize) -> Result<Command, InvalidRequest> {
    use Command::*;
    Ok(match wire {
        // `to_request` has handled the requests that are not commands.
        WireCommand::Hello(_)
        | WireCommand::Register(_)
        | WireCommand::Login(_)
        | WireCommand::Resume(_)
        | WireCommand::ListNodes(_)
        | WireCommand::Ping(_) => {
            return Err(InvalidRequest::argument("not a command"));
        }

        WireCommand::Logout(proto::Logout {}) => Logout,
        WireCommand::ChangePassword(change) => to_change_password(change)?,
        WireCommand::ListDevices(proto::ListDevices {}) => ListDevices,
        WireCommand::RevokeDevice(revoke) => RevokeDevice(parts::to_device(&revoke.device)?),
        WireCommand::UpdateProfile(update) => accounts::to_update_profile(update)?,
        WireCommand::SetPresence(set) => accounts::to_set_presence(&set)?,

        WireCommand::SearchUsers(search) => people::to_search_users(search)?,
        WireCommand::GetUsers(get) => people::to_get_users(get)?,
        WireCommand::RequestFriend(request) => people::to_request_friend(request)?,
        WireCommand::AnswerFriend(answer) => to_answer_friend(answer)?,
        WireCommand::RemoveFriend(remove) => RemoveFriend(parts::to_user_ref(remove.user)?),
        WireCommand::Block(block) => Block(parts::to_user_ref(block.user)?),
        WireCommand::Unblock(unblock) => Unblock(parts::to_user_ref(unblock.user)?),
        WireCommand::ListContacts(list) => people::to_list_contacts(list)?,

        WireCommand::CreateGroup(create) => groups::to_create(create)?,
        WireCommand::SearchGroups(search) => groups::to_search(search)?,
        WireCommand::JoinGroup(join) => groups::to_join(join)?,
        WireCommand::AnswerJoin(answer) => to_answer_join(answer)?,
        WireCommand::InviteMember(invite) => to_invite_member(invite)?,
        WireCommand::DeclineInvitation(decline) => DeclineInvitation(parts::to_conversation_ref(decline.group)?),
        WireCommand::LeaveGroup(leave) => LeaveGroup(parts::to_conversation_ref(leave.group)?),
        WireCommand::DeleteGroup(delete) => DeleteGroup(parts::to_conversation_ref(delete.group)?),
        WireCommand::KickMember(kick) => to_kick_member(kick)?,
        WireCommand::UnbanMember(unban) => to_unban_member(unban)?,
        WireCommand::MuteMember(mute) => groups::to_mute(mute)?,
        WireCommand::SetRole(set) => groups::to_set_role(set)?,
        WireCommand::TransferOwnership(transfer) => to_transfer_ownership(transfer)?,
        WireCommand::UpdateGroup(update) => groups::to_update(update)?,
        WireCommand::ListMembers(list) => groups::to_list_members(list)?,

        WireCommand::SendMessage(send) => messages::to_send(send, max_text_bytes)?,
        WireCommand::EditMessage(edit) => messages::to_edit(edit, max_text_bytes)?,
        WireCommand::RecallMessage(recall) => messages::to_recall(recall)?,
        WireCommand::React(react) => messages::to_react(react)?,

        WireCommand::ListConversations(list) => conversations::to_list_conversations(&list)?,
        WireCommand::GetConversation(get) => GetConversation(parts::to_conversation_ref(get.conversation)?),
        WireCommand::ReadHistory(read) => conversations::to_read_history(read)?,
        WireCommand::Acknowledge(acknowledge) => to_acknowledge(acknowledge)?,
        WireCommand::MarkRead(mark) => to_mark_read(mark)?,
        WireCommand::Typing(typing) => to_typing(typing)?,
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

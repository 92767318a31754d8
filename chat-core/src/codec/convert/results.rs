//! Encoding and decoding of the results of replies.

use super::accounts::{device_info, to_device_info, to_user_info, user_info};
use super::conversations::{
    conversation_info, conversation_list, to_conversation_info, to_conversation_page, to_history_page,
};
use super::groups::{group_info, member_info, to_group_info, to_member_info};
use super::people::{contact_info, to_contact_info};
use super::{login, messages, parts};
use crate::codec::error::Malformed;
use crate::codec::packet::{Answer, NodeEntry};
use crate::codec::proto::{self, reply::Result as WireResult};
use crate::model::{ContactPage, MemberPage, Outcome, SessionTokens, Timestamp};

/// Encodes the result of a reply. Returns `None` for [`Outcome::Done`], which has no content, and
/// for the results that [`server`](crate::codec::server) encodes without generated code
/// (`Outcome::Appended`, `Outcome::History`).
pub(in crate::codec) fn result(answer: &Answer) -> Option<WireResult> {
    match answer {
        Answer::Welcome(welcome) => Some(WireResult::Welcome(login::welcome(welcome))),
        Answer::Registered(user) => Some(WireResult::Registered(login::registered(user))),
        Answer::LoggedIn(logged_in) => Some(WireResult::LoggedIn(login::logged_in(logged_in))),
        Answer::Nodes(nodes) => Some(WireResult::Nodes(proto::NodeList {
            nodes: nodes.iter().map(node_entry).collect(),
        })),
        Answer::Pong(time) => Some(WireResult::Pong(proto::Pong { server_time_ms: time.0 })),
        Answer::Outcome(outcome) => outcome_result(outcome),
    }
}

fn node_entry(node: &NodeEntry) -> proto::NodeEntry {
    proto::NodeEntry {
        addresses: node.addresses.clone(),
        sessions: node.sessions,
        accepts_no_sessions: node.accepts_no_sessions,
    }
}

fn to_node_entry(node: proto::NodeEntry) -> NodeEntry {
    NodeEntry {
        addresses: node.addresses,
        sessions: node.sessions,
        accepts_no_sessions: node.accepts_no_sessions,
    }
}

fn outcome_result(outcome: &Outcome) -> Option<WireResult> {
    Some(match outcome {
        Outcome::Done | Outcome::Appended(_) | Outcome::History(_) => return None,
        Outcome::Devices(devices) => WireResult::Devices(proto::DeviceList {
            devices: devices.iter().map(device_info).collect(),
        }),
        Outcome::User(user) => WireResult::User(user_info(user)),
        Outcome::PasswordChanged(tokens) => WireResult::PasswordChanged(proto::PasswordChanged {
            session_token: login::token(Some(&tokens.session_token)),
            device_token: login::token(Some(&tokens.device_token)),
        }),
        Outcome::Users(users) => WireResult::Users(proto::UserList {
            users: users.iter().map(user_info).collect(),
        }),
        Outcome::Contacts(page) => WireResult::Contacts(proto::ContactList {
            contacts: page.contacts.iter().map(contact_info).collect(),
            more: page.has_more,
        }),
        Outcome::Conversations(page) => WireResult::Conversations(conversation_list(page)),
        Outcome::Conversation(conversation) => WireResult::Conversation(conversation_info(conversation)),
        Outcome::Groups(groups) => WireResult::Groups(proto::GroupList {
            groups: groups.iter().map(group_info).collect(),
        }),
        Outcome::Members(page) => WireResult::Members(proto::MemberList {
            members: page.members.iter().map(member_info).collect(),
            more: page.has_more,
        }),
    })
}

/// Decodes the result of a reply. No result means [`Outcome::Done`], and so does a result that this
/// version does not know, which the generated decoder leaves out.
pub(in crate::codec) fn to_answer(result: Option<WireResult>) -> Result<Answer, Malformed> {
    let outcome = match result {
        None => Outcome::Done,
        Some(WireResult::Welcome(welcome)) => return login::to_welcome(welcome).map(Answer::Welcome),
        Some(WireResult::Registered(registered)) => return login::to_registered(registered).map(Answer::Registered),
        Some(WireResult::LoggedIn(logged_in)) => {
            return Ok(Answer::LoggedIn(Box::new(login::to_logged_in(logged_in)?)));
        }
        Some(WireResult::Nodes(list)) => return Ok(Answer::Nodes(list.nodes.into_iter().map(to_node_entry).collect())),
        Some(WireResult::Pong(pong)) => return Ok(Answer::Pong(Timestamp(pong.server_time_ms))),
        Some(WireResult::Devices(list)) => Outcome::Devices(parts::decode_list(list.devices, to_device_info)?),
        Some(WireResult::User(user)) => Outcome::User(to_user_info(user)?),
        Some(WireResult::PasswordChanged(changed)) => Outcome::PasswordChanged(SessionTokens {
            session_token: login::to_new_token(&changed.session_token, "session_token")?,
            device_token: login::to_new_token(&changed.device_token, "device_token")?,
        }),
        Some(WireResult::Users(list)) => Outcome::Users(parts::decode_list(list.users, to_user_info)?),
        Some(WireResult::Contacts(list)) => Outcome::Contacts(ContactPage {
            contacts: parts::decode_list(list.contacts, to_contact_info)?,
            has_more: list.more,
        }),
        Some(WireResult::Conversations(list)) => Outcome::Conversations(to_conversation_page(list)?),
        Some(WireResult::Conversation(conversation)) => {
            Outcome::Conversation(Box::new(to_conversation_info(conversation)?))
        }
        Some(WireResult::Groups(list)) => Outcome::Groups(parts::decode_list(list.groups, to_group_info)?),
        Some(WireResult::Members(list)) => Outcome::Members(MemberPage {
            members: parts::decode_list(list.members, to_member_info)?,
            has_more: list.more,
        }),
        Some(WireResult::Appended(appended)) => Outcome::Appended(messages::to_appended(&appended)?),
        Some(WireResult::History(page)) => Outcome::History(to_history_page(page)?),
    };
    Ok(Answer::Outcome(outcome))
}

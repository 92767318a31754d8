//! Encoding and decoding of the results of all replies.

use super::accounts::{device_info, to_device_info, to_user_info, user_info};
use super::conversations::{conversation_info, to_conversation_info, to_history_page};
use super::groups::{group_info, member_info, to_group_info, to_member_info};
use super::people::{contact_info, to_contact_info};
use super::{login, messages, parts};
use crate::codec::error::Malformed;
use crate::codec::packet::{Answer, NodeEntry};
use crate::codec::proto::{self, reply::Result as Wire};
use crate::model::{MemberPage, Outcome, SessionTokens, Timestamp};

/// Encodes the result of a reply. Returns `None` for [`Outcome::Done`], which has no content, and
/// for the results that [`server`](crate::codec::server) encodes without generated code
/// (`Outcome::Appended`, `Outcome::History`).
pub(in crate::codec) fn result(answer: &Answer) -> Option<Wire> {
    match answer {
        Answer::Welcome(welcome) => Some(Wire::Welcome(login::welcome(welcome))),
        Answer::Registered(user) => Some(Wire::Registered(login::registered(user))),
        Answer::LoggedIn(logged_in) => Some(Wire::LoggedIn(login::logged_in(logged_in))),
        Answer::Nodes(nodes) => Some(Wire::Nodes(proto::NodeList {
            nodes: nodes.iter().map(node_entry).collect(),
        })),
        Answer::Pong(time) => Some(Wire::Pong(proto::Pong { server_time_ms: time.0 })),
        Answer::Outcome(outcome) => outcome_result(outcome),
    }
}

fn node_entry(node: &NodeEntry) -> proto::NodeEntry {
    proto::NodeEntry {
        addresses: node.addresses.clone(),
        sessions: node.sessions,
        draining: node.draining,
    }
}

fn to_node_entry(node: proto::NodeEntry) -> NodeEntry {
    NodeEntry {
        addresses: node.addresses,
        sessions: node.sessions,
        draining: node.draining,
    }
}

fn outcome_result(outcome: &Outcome) -> Option<Wire> {
    Some(match outcome {
        Outcome::Done | Outcome::Appended(_) | Outcome::History(_) => return None,
        Outcome::Devices(devices) => Wire::Devices(proto::DeviceList {
            devices: devices.iter().map(device_info).collect(),
        }),
        Outcome::User(user) => Wire::User(user_info(user)),
        Outcome::PasswordChanged(tokens) => Wire::PasswordChanged(proto::PasswordChanged {
            session_token: login::token(Some(&tokens.session_token)),
            device_token: login::token(Some(&tokens.device_token)),
        }),
        Outcome::Users(users) => Wire::Users(proto::UserList {
            users: users.iter().map(user_info).collect(),
        }),
        Outcome::Contacts(contacts) => Wire::Contacts(proto::ContactList {
            contacts: contacts.iter().map(contact_info).collect(),
        }),
        Outcome::Conversations(conversations) => Wire::Conversations(proto::ConversationList {
            conversations: conversations.iter().map(conversation_info).collect(),
        }),
        Outcome::Conversation(conversation) => Wire::Conversation(conversation_info(conversation)),
        Outcome::Groups(groups) => Wire::Groups(proto::GroupList {
            groups: groups.iter().map(group_info).collect(),
        }),
        Outcome::Members(page) => Wire::Members(proto::MemberList {
            members: page.members.iter().map(member_info).collect(),
            more: page.has_more,
        }),
    })
}

/// Decodes the result of a reply. No result means [`Outcome::Done`].
pub(in crate::codec) fn to_answer(result: Option<Wire>) -> Result<Answer, Malformed> {
    let outcome = match result {
        None => Outcome::Done,
        Some(Wire::Welcome(welcome)) => return login::to_welcome(welcome).map(Answer::Welcome),
        Some(Wire::Registered(registered)) => return login::to_registered(registered).map(Answer::Registered),
        Some(Wire::LoggedIn(logged_in)) => {
            return Ok(Answer::LoggedIn(Box::new(login::to_logged_in(logged_in)?)));
        }
        Some(Wire::Nodes(list)) => return Ok(Answer::Nodes(list.nodes.into_iter().map(to_node_entry).collect())),
        Some(Wire::Pong(pong)) => return Ok(Answer::Pong(Timestamp(pong.server_time_ms))),
        Some(Wire::Devices(list)) => Outcome::Devices(parts::decode_list(list.devices, to_device_info)?),
        Some(Wire::User(user)) => Outcome::User(to_user_info(user)?),
        Some(Wire::PasswordChanged(changed)) => Outcome::PasswordChanged(SessionTokens {
            session_token: login::to_new_token(&changed.session_token, "session_token")?,
            device_token: login::to_new_token(&changed.device_token, "device_token")?,
        }),
        Some(Wire::Users(list)) => Outcome::Users(parts::decode_list(list.users, to_user_info)?),
        Some(Wire::Contacts(list)) => Outcome::Contacts(parts::decode_list(list.contacts, to_contact_info)?),
        Some(Wire::Conversations(list)) => {
            Outcome::Conversations(parts::decode_list(list.conversations, to_conversation_info)?)
        }
        Some(Wire::Conversation(conversation)) => Outcome::Conversation(Box::new(to_conversation_info(conversation)?)),
        Some(Wire::Groups(list)) => Outcome::Groups(parts::decode_list(list.groups, to_group_info)?),
        Some(Wire::Members(list)) => Outcome::Members(MemberPage {
            members: parts::decode_list(list.members, to_member_info)?,
            has_more: list.more,
        }),
        Some(Wire::Appended(appended)) => Outcome::Appended(messages::to_appended(&appended)?),
        Some(Wire::History(page)) => Outcome::History(to_history_page(page)?),
    };
    Ok(Answer::Outcome(outcome))
}

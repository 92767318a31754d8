//! Leaving a group, with the consequence that the user has to know: the last member deletes the
//! group by leaving it.

use chat_core::commands::Commands;
use chat_core::model::{ConversationId, ConversationRef, ConversationView};

use crate::command_client::CommandClient;
use crate::failure::Failure;

/// Relation of a user to a group that the user wants to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaver {
    /// The user is no member, and has at most an invitation or a request to join, which leaving
    /// ends. Contains the id if the user can read the group, as former members can.
    Outsider(Option<ConversationId>),
    /// The user is one of the members, or the conversation is no group.
    Member(ConversationId),
    /// The user is the last member: leaving deletes the group.
    Last(ConversationId),
}

impl Leaver {
    /// Asks the server for the user's relation to a group.
    pub(crate) async fn of(client: &CommandClient, group: &ConversationRef) -> Result<Self, Failure> {
        let info = match client.conversation(group.clone()).await {
            Ok(info) => info,
            Err(failure) if failure.is_not_found() => return Ok(Self::Outsider(None)),
            Err(failure) => return Err(failure),
        };
        Ok(match &info.view {
            _ if !info.active => Self::Outsider(Some(info.id)),
            ConversationView::Group(group) if group.member_count <= 1 => Self::Last(info.id),
            _ => Self::Member(info.id),
        })
    }

    /// Returns the reference to leave: by id if the id is known, so that no other group of the same
    /// name is left.
    pub(crate) fn reference(self, given: ConversationRef) -> ConversationRef {
        match self {
            Self::Outsider(None) => given,
            Self::Outsider(Some(id)) | Self::Member(id) | Self::Last(id) => ConversationRef::Id(id),
        }
    }

    /// Returns what the user has reached by leaving the group with this name. `subject` is the
    /// beginning of a sentence, such as `you `, or empty.
    pub(crate) fn done(self, subject: &str, group: &str) -> String {
        match self {
            Self::Outsider(_) => format!("no invitation to {group} and no request to join it is left"),
            Self::Member(_) | Self::Last(_) => format!("{subject}left {group}"),
        }
    }
}

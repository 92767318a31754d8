//! Leaving a group, with the consequence that the user has to know: the last member deletes the
//! group by leaving it.

use chat_core::commands::Commands;
use chat_core::model::{ConversationId, ConversationRef, ConversationView};

use crate::command_client::CommandClient;
use crate::failure::Failure;

/// Relation of a user to a group that the user wants to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaver {
    /// The user has at most an invitation or a request to join, which leaving ends.
    Outsider,
    /// The user is, or was, one of the members, or the conversation is no group.
    Member(ConversationId),
    /// The user is the last member: leaving deletes the group.
    Last(ConversationId),
}

impl Leaver {
    /// Asks the server for the user's relation to a group.
    pub(crate) async fn of(client: &CommandClient, group: &ConversationRef) -> Result<Self, Failure> {
        let info = match client.conversation(group.clone()).await {
            Ok(info) => info,
            Err(failure) if failure.is_not_found() => return Ok(Self::Outsider),
            Err(failure) => return Err(failure),
        };
        Ok(match &info.view {
            ConversationView::Group(group) if group.member_count <= 1 && info.active => Self::Last(info.id),
            _ => Self::Member(info.id),
        })
    }

    /// Returns the reference to leave: by id if the id is known, so that no other group of the same
    /// name is left.
    pub(crate) fn reference(self, given: ConversationRef) -> ConversationRef {
        match self {
            Self::Outsider => given,
            Self::Member(id) | Self::Last(id) => ConversationRef::Id(id),
        }
    }

    /// Returns what the user has done by leaving the group with this name, as in "you left club".
    pub(crate) fn done(self, group: &str) -> String {
        match self {
            Self::Outsider => format!("gave up the invitation to {group}, or the request to join it"),
            Self::Member(_) | Self::Last(_) => format!("left {group}"),
        }
    }
}

//! Names what a refused command did not find.
//!
//! The server answers alike for everything that does not exist or is hidden from the user, so that
//! its answer reveals nothing. This client knows what it has asked for: [`Referents`] names the
//! kind and the value. If a command refers to several things, the client looks up which of them the
//! user can see.

use std::time::Duration;

use chat_core::client::{Client, ClientError};
use chat_core::commands::Commands;
use chat_core::model::{Command, ConversationRef, DeviceId, DraftContent, ReplyCode, Seq, UserRef};

use crate::failure::Failure;
use crate::outbox::{conversation_label, user_label};
use crate::output::single_line;

/// Maximum time for looking up one of the things that may be missing.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Things that a command refers to, by which the error of a refused command names what the server
/// did not find. The server looks for them in the order of these fields, and stops at the first
/// that it does not find.
#[derive(Clone, Debug)]
pub(crate) struct Referents {
    /// Conversation that the user of this client has to be in, if there is one.
    conversation: Option<ConversationRef>,
    /// Other user, if there is one.
    user: Option<UserRef>,
    /// The thing that is missing if the conversation and the user are found.
    requirement: Requirement,
}

/// Something that a command needs besides a conversation and another user. "The user" is that other
/// user.
#[derive(Clone, Debug)]
enum Requirement {
    Nothing,
    /// The user is a member of the group.
    Member,
    /// The user has asked to join the group.
    JoinRequest,
    /// The user is banned from the group.
    Ban,
    /// The user has sent a friend request.
    FriendRequest,
    /// The message is in the conversation.
    Message(Seq),
    /// The user of this client can see the group.
    Group(ConversationRef),
    /// The user of this client is invited to the group.
    Invitation(ConversationRef),
    /// The user of this client is a member of the group, is invited to it or has asked to join it.
    Membership(ConversationRef),
    Device(DeviceId),
}

/// Result of looking something up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Yes,
    No,
    /// The server did not answer in time, or the look-up failed for another reason.
    Unknown,
}

impl Referents {
    fn requirement(requirement: Requirement) -> Self {
        Self {
            conversation: None,
            user: None,
            requirement,
        }
    }

    fn user(user: &UserRef, requirement: Requirement) -> Self {
        Self {
            user: Some(user.clone()),
            ..Self::requirement(requirement)
        }
    }

    /// Returns the referents of a command that refers to a conversation only.
    pub(crate) fn conversation(conversation: &ConversationRef) -> Self {
        Self {
            conversation: Some(conversation.clone()),
            ..Self::requirement(Requirement::Nothing)
        }
    }

    fn in_group(group: &ConversationRef, user: &UserRef, requirement: Requirement) -> Self {
        Self {
            conversation: Some(group.clone()),
            ..Self::user(user, requirement)
        }
    }

    /// Returns what a message, edit, recall or reaction refers to.
    pub(crate) fn of_message(conversation: &ConversationRef, content: &DraftContent) -> Self {
        let target = match content {
            DraftContent::Message { reply_to, .. } => *reply_to,
            DraftContent::Edit { target, .. }
            | DraftContent::Recall { target }
            | DraftContent::React { target, .. } => Some(*target),
            _ => None,
        };
        Self {
            requirement: target.map_or(Requirement::Nothing, Requirement::Message),
            ..Self::conversation(conversation)
        }
    }

    /// Returns what a command refers to, or `None` if the server never answers it with `NotFound`.
    pub(crate) fn of(command: &Command) -> Option<Self> {
        Some(match command {
            Command::RevokeDevice(device) => Self::requirement(Requirement::Device(*device)),
            Command::RequestFriend { user, .. }
            | Command::RemoveFriend(user)
            | Command::Block(user)
            | Command::Unblock(user) => Self::user(user, Requirement::Nothing),
            Command::AnswerFriend { user, .. } => Self::user(user, Requirement::FriendRequest),
            Command::JoinGroup { group, .. } => Self::requirement(Requirement::Group(group.clone())),
            Command::DeclineInvitation(group) => Self::requirement(Requirement::Invitation(group.clone())),
            Command::LeaveGroup(group) => Self::requirement(Requirement::Membership(group.clone())),
            Command::AnswerJoin { group, user, .. } => Self::in_group(group, user, Requirement::JoinRequest),
            Command::InviteMember { group, user } => Self::in_group(group, user, Requirement::Nothing),
            Command::UnbanMember { group, user } => Self::in_group(group, user, Requirement::Ban),
            Command::KickMember { group, user, .. }
            | Command::MuteMember { group, user, .. }
            | Command::SetRole { group, user, .. }
            | Command::TransferOwnership { group, user } => Self::in_group(group, user, Requirement::Member),
            Command::DeleteGroup(group) | Command::UpdateGroup { group, .. } | Command::ListMembers { group, .. } => {
                Self::conversation(group)
            }
            Command::GetConversation(conversation) | Command::ReadHistory { conversation, .. } => {
                Self::conversation(conversation)
            }
            Command::MarkRead { conversation, .. }
            | Command::Acknowledge { conversation, .. }
            | Command::Typing { conversation, .. } => Self::conversation(&ConversationRef::Id(*conversation)),
            Command::Send { conversation, draft } => Self::of_message(conversation, &draft.content),
            _ => return None,
        })
    }

    /// Turns the error of a command into a failure. If the server has not found something, looks up
    /// what is missing, and names it in the text.
    pub(crate) async fn explain(&self, client: &Client, error: ClientError) -> Failure {
        let is_missing = error.code() == Some(ReplyCode::NotFound);
        let mut failure = Failure::from(error);
        if is_missing {
            failure.text = self.describe(client).await;
        }
        failure
    }

    /// Says what is missing, or may be missing.
    async fn describe(&self, client: &Client) -> String {
        let parts = [self.missing_conversation(client).await, self.missing_user(client).await];
        let mut possible = Vec::new();
        for part in parts.into_iter().flatten() {
            match part {
                (Found::No, text) => return text,
                (Found::Unknown, text) => possible.push(text),
                (Found::Yes, _) => {}
            }
        }
        possible.extend(self.unmet_requirement(client));
        if possible.is_empty() {
            // Something has changed since the refusal: the client can see everything that the
            // command refers to. The text says what was probably missing then.
            return match (&self.user, &self.conversation) {
                (Some(user), _) => no_user(client, user),
                (None, Some(conversation)) => no_conversation(client, conversation),
                (None, None) => "it was not found, or is not visible to you".to_owned(),
            };
        }
        possible.join(", or ")
    }

    /// Looks for the conversation. Returns whether it is found, with the text to print if it is
    /// not, or `None` if the command refers to no conversation, or needs none that exists.
    async fn missing_conversation(&self, client: &Client) -> Option<(Found, String)> {
        let conversation = self.conversation.as_ref()?;
        if client.find_conversation(conversation).is_some() {
            return Some((Found::Yes, String::new()));
        }
        let found = found(client.conversation(conversation.clone())).await;
        let text = match conversation {
            ConversationRef::Direct(user) if found == Found::No => match user_found(client, user).await {
                // A message creates the conversation if there is none, so what is missing is the
                // message that this one refers to.
                Found::Yes if matches!(self.requirement, Requirement::Message(_)) => return None,
                Found::Yes => format!("there is no conversation with {} yet", user_label(client, user)),
                Found::No => no_user(client, user),
                Found::Unknown => format!("{}, or no conversation with this user", no_user(client, user)),
            },
            _ => no_conversation(client, conversation),
        };
        Some((found, text))
    }

    async fn missing_user(&self, client: &Client) -> Option<(Found, String)> {
        let user = self.user.as_ref()?;
        Some((user_found(client, user).await, no_user(client, user)))
    }

    /// Returns the text to print if the conversation and the user are found.
    fn unmet_requirement(&self, client: &Client) -> Option<String> {
        let user = self.user.as_ref().map(|user| user_label(client, user));
        let user = user.unwrap_or_default();
        let group = self
            .conversation
            .as_ref()
            .map(|group| conversation_label(client, group));
        let group = group.unwrap_or_default();
        let text = match &self.requirement {
            Requirement::Nothing => return None,
            Requirement::Member => format!("{user} is no member of {group}"),
            Requirement::JoinRequest => format!("there is no request of {user} to join {group}"),
            Requirement::Ban => format!("{user} is not banned from {group}"),
            Requirement::FriendRequest => format!("there is no friend request from {user}"),
            Requirement::Message(seq) => format!("there is no message #{seq} in {group}"),
            Requirement::Group(group) => no_conversation(client, group),
            Requirement::Invitation(group) => {
                format!("there is no invitation to {} for you", group_phrase(client, group))
            }
            Requirement::Membership(group) => format!(
                "there is no {} that you are in, are invited to or have asked to join",
                group_phrase(client, group).trim_start_matches("the ")
            ),
            Requirement::Device(device) => {
                format!("there is no device {device}; `chat-client devices` lists your devices")
            }
        };
        Some(single_line(&text))
    }
}

/// Says that there is no such user.
pub(crate) fn no_user(client: &Client, user: &UserRef) -> String {
    match user {
        UserRef::Name(name) => single_line(&format!("there is no user “{name}”")),
        UserRef::Id(_) => format!("there is no {}", user_label(client, user)),
    }
}

/// Says that the user can see no such conversation. Of a direct conversation, says that there is no
/// such user.
pub(crate) fn no_conversation(client: &Client, conversation: &ConversationRef) -> String {
    let text = match conversation {
        ConversationRef::Direct(user) => return no_user(client, user),
        ConversationRef::Group(name) => format!("there is no group “{name}” that you can see"),
        ConversationRef::Id(_) => {
            let label = conversation_label(client, conversation);
            format!("there is no {label} that you can see")
        }
    };
    single_line(&text)
}

/// Says what may be missing if the server answered a message of an earlier run with `NotFound`. The
/// content of the message is not known any more.
pub(crate) fn of_earlier_message(client: &Client, conversation: &ConversationRef) -> String {
    let missing = no_conversation(client, conversation);
    format!("{missing}, or no message that it refers to")
}

fn group_phrase(client: &Client, group: &ConversationRef) -> String {
    match group {
        ConversationRef::Group(name) => format!("the group “{name}”"),
        group => format!("the {}", conversation_label(client, group)),
    }
}

async fn user_found(client: &Client, user: &UserRef) -> Found {
    match tokio::time::timeout(LOOKUP_TIMEOUT, client.users([user.clone()])).await {
        Ok(Ok(users)) if users.is_empty() => Found::No,
        Ok(Ok(_)) => Found::Yes,
        _ => Found::Unknown,
    }
}

async fn found<T>(answer: impl Future<Output = Result<T, ClientError>>) -> Found {
    match tokio::time::timeout(LOOKUP_TIMEOUT, answer).await {
        Ok(Ok(_)) => Found::Yes,
        Ok(Err(error)) if error.code() == Some(ReplyCode::NotFound) => Found::No,
        _ => Found::Unknown,
    }
}

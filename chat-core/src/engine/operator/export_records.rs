//! Records of an exported account.

use super::AccountInfo;
use crate::model::{
    ContactInfo, Conversation, ConversationId, ConversationKind, DeviceInfo, Event, EventBody, EventKind, Member,
    MemberState, Role, Seq, Timestamp, UserId,
};

/// One record of an exported account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "record", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum ExportRecord {
    /// The account itself, which is the first record.
    Profile(AccountInfo),
    /// A device of the user.
    Device(DeviceInfo),
    /// A contact of the user.
    Contact(ContactInfo),
    /// A membership of the user in a conversation, in any state.
    Membership(ExportedMembership),
    /// Something that the user wrote in a conversation; see [`ExportedEvent`].
    Event(ExportedEvent),
    /// An event in the user's inbox.
    Inbox(InboxEntry),
}

/// Membership of the exported user in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ExportedMembership {
    /// Conversation of the membership.
    pub conversation: ConversationId,
    /// Name of the group, if the conversation is a group.
    pub group: Option<String>,
    /// Other user of a direct conversation; in the notes to self, the user.
    pub peer: Option<UserId>,
    /// State of the user in the conversation.
    pub state: MemberState,
    /// Role of the user.
    pub role: Role,
    /// First event that the user may read; 0 if the user was never a member.
    pub first_seq: Seq,
    /// Last event that the user has read.
    pub read_seq: Seq,
}

impl ExportedMembership {
    pub(super) fn of(row: &Conversation, member: &Member) -> Self {
        let peer = match row.kind {
            ConversationKind::Direct { low, high } if low == member.user => Some(high),
            ConversationKind::Direct { low, .. } => Some(low),
            _ => None,
        };
        Self {
            conversation: row.id,
            group: row.group.as_ref().map(|profile| profile.name.clone()),
            peer,
            state: member.state,
            role: member.role,
            first_seq: member.first_seq,
            read_seq: member.read_seq,
        }
    }
}

/// Something that the exported user wrote: a message, an edit, a reaction, or the name or
/// description of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ExportedEvent {
    /// Conversation of the event.
    pub conversation: ConversationId,
    /// Position in the conversation.
    pub seq: Seq,
    /// Time of the commit.
    #[cfg_attr(feature = "serde", serde(rename = "time_ms"))]
    pub time: Timestamp,
    /// `message`, `edit`, `reaction` or `group_profile`.
    pub kind: &'static str,
    /// Message that an edit or a reaction refers to, or that a message answers.
    pub target: Option<Seq>,
    /// Text of the message or edit (empty if the message was recalled), emoji of the reaction, or
    /// name of the group. If the event is an update of the group, the description follows on the
    /// next lines.
    pub text: String,
}

impl ExportedEvent {
    /// Returns what the sender of the event wrote, or `None` if the event contains no such text or
    /// cannot be decoded. The removal of a reaction counts as no text.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let (kind, target, text) = match (event.kind, event.body().ok()?) {
            (EventKind::Message, EventBody::Message(message)) => ("message", message.reply_to, message.text),
            (EventKind::Edit, EventBody::Edit { target, text }) => ("edit", Some(target), text),
            (
                EventKind::Reaction,
                EventBody::Reaction {
                    target,
                    emoji,
                    removed: false,
                },
            ) => ("reaction", Some(target), emoji),
            (EventKind::GroupCreated, EventBody::GroupCreated { name }) => ("group_profile", None, name),
            (EventKind::GroupUpdated, EventBody::GroupUpdated { name, description, .. }) => {
                ("group_profile", None, format!("{name}\n{description}"))
            }
            _ => return None,
        };
        Some(Self {
            conversation: event.conversation,
            seq: event.seq,
            time: event.time,
            kind,
            target,
            text,
        })
    }
}

/// An event in the inbox of the exported user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct InboxEntry {
    /// Position in the inbox.
    pub seq: Seq,
    /// Time of the commit.
    #[cfg_attr(feature = "serde", serde(rename = "time_ms"))]
    pub time: Timestamp,
    /// Kind of the event, such as `friend_requested`.
    pub kind: &'static str,
    /// Other user whom the event concerns, if there is one.
    pub user: Option<UserId>,
    /// Name of the group of the event, if there is one.
    pub group: Option<String>,
    /// Text of a system message or note of a request; empty in other events and after erasure.
    pub text: String,
}

impl InboxEntry {
    /// Returns the entry of an event, or `None` for the recall of a message, an event of a kind
    /// that inboxes do not contain, and an event that cannot be decoded.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let (kind, user, group, text) = match event.body().ok()? {
            EventBody::Message(message) => ("message", None, None, message.text),
            EventBody::FriendRequested { from, note } => ("friend_requested", Some(from), None, note),
            EventBody::FriendAnswered { by, accepted } => {
                let kind = if accepted { "friend_accepted" } else { "friend_declined" };
                (kind, Some(by), None, String::new())
            }
            EventBody::FriendRemoved { by } => ("friend_removed", Some(by), None, String::new()),
            EventBody::GroupInvited { group_name, by, .. } => {
                ("group_invited", Some(by), Some(group_name), String::new())
            }
            EventBody::JoinRequested {
                group_name, user, note, ..
            } => ("join_requested", Some(user), Some(group_name), note),
            EventBody::JoinAnswered {
                group_name, accepted, ..
            } => {
                let kind = if accepted { "join_accepted" } else { "join_declined" };
                (kind, None, Some(group_name), String::new())
            }
            EventBody::RemovedFromGroup { group_name, by, .. } => {
                ("removed_from_group", Some(by), Some(group_name), String::new())
            }
            EventBody::InvitationDeclined { group_name, user, .. } => {
                ("invitation_declined", Some(user), Some(group_name), String::new())
            }
            EventBody::ConversationOpened { peer, .. } => ("conversation_opened", Some(peer), None, String::new()),
            _ => return None,
        };
        Some(Self {
            seq: event.seq,
            time: event.time,
            kind,
            user,
            group,
            text,
        })
    }
}

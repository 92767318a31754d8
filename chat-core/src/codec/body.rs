//! Event bodies. The server encodes a body once, when it creates the event, and stores and sends
//! these bytes.
//!
//! The bytes are one field of the oneof `body` of `chat.v1.Event`, with its key and length. An
//! encoded event is its other fields followed by these bytes, because protobuf messages can be
//! concatenated.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use super::convert::enums;
use super::error::BodyError;
use super::proto::{self, event::Body};
use super::wire::{Encode, FieldSink, message_len};
use crate::model::{ConversationId, Emoji, Event, EventBody, EventKind, Message, Seq, Timestamp, UserId};

/// Encodes a body for storage and for sending. Returns no bytes for [`EventBody::Unknown`].
#[must_use]
pub fn encode(body: &EventBody) -> Bytes {
    let kind = body.kind();
    if kind == EventKind::Unknown {
        return Bytes::new();
    }
    let length = body.len();
    let mut out = BytesMut::with_capacity(message_len(kind as u32, length));
    out.message(kind as u32, length);
    body.put_fields(&mut out);
    out.freeze()
}

/// Decodes the body of an event of this kind, and normalises the emoji of a reaction. Returns
/// [`EventBody::Unknown`] for [`EventKind::Unknown`], whatever the bytes are.
///
/// # Errors
/// The bytes are not a body of this kind: the store is damaged, or was written by a later version.
pub fn decode(kind: EventKind, bytes: &Bytes) -> Result<EventBody, BodyError> {
    if kind == EventKind::Unknown {
        return Ok(EventBody::Unknown);
    }
    let event = proto::Event::decode(bytes.clone()).map_err(|_| BodyError { kind })?;
    let body = event.body.and_then(from_proto).filter(|body| body.kind() == kind);
    body.ok_or(BodyError { kind })
}

impl Event {
    /// Decodes the field `body`. Returns [`EventBody::Unknown`] on a client, for an event whose
    /// kind this version does not know.
    ///
    /// # Errors
    /// The bytes are not a body of the event's `kind`: the store is damaged, or was written by a
    /// later version.
    pub fn body(&self) -> Result<EventBody, BodyError> {
        decode(self.kind, &self.body)
    }
}

/// Returns the encoded body that replaces that of a recalled message.
#[must_use]
pub fn tombstone() -> Bytes {
    encode(&EventBody::Message(Message::default()))
}

/// Returns the encoded body that replaces that of each edit of a recalled message.
#[must_use]
pub fn edit_tombstone(target: Seq) -> Bytes {
    encode(&EventBody::Edit {
        target,
        text: String::new(),
    })
}

impl Encode for EventBody {
    fn put_fields(&self, out: &mut impl FieldSink) {
        match self {
            Self::Message(message) => message.put_fields(out),
            Self::Edit { target, text } => {
                out.integer(1, target.0);
                out.text(2, text.as_bytes());
            }
            Self::Recall { target } => out.integer(1, target.0),
            Self::Reaction { target, emoji, removed } => {
                out.integer(1, target.0);
                out.text(2, emoji.as_bytes());
                out.flag(3, *removed);
            }
            Self::FriendRequested { .. }
            | Self::FriendAnswered { .. }
            | Self::FriendRemoved { .. }
            | Self::GroupInvited { .. }
            | Self::JoinRequested { .. }
            | Self::JoinAnswered { .. }
            | Self::RemovedFromGroup { .. }
            | Self::InvitationDeclined { .. }
            | Self::ConversationOpened { .. } => put_inbox_fields(self, out),
            _ => put_group_fields(self, out),
        }
    }
}

impl Encode for Message {
    fn put_fields(&self, out: &mut impl FieldSink) {
        out.text(1, self.text.as_bytes());
        out.integer(2, self.reply_to.map_or(0, |seq| seq.0));
        out.packed(3, self.mentions.iter().map(|user| user.0));
        out.flag(4, self.mention_all);
    }
}

fn put_group_fields(body: &EventBody, out: &mut impl FieldSink) {
    match body {
        EventBody::GroupCreated { name } => out.text(1, name.as_bytes()),
        EventBody::MemberJoined { user, by } => {
            out.integer(1, user.0);
            out.integer(2, by.map_or(0, |by| by.0));
        }
        EventBody::MemberLeft { user } => out.integer(1, user.0),
        EventBody::MemberKicked { user, banned } => {
            out.integer(1, user.0);
            out.flag(2, *banned);
        }
        EventBody::RoleChanged { user, role } => {
            out.integer(1, user.0);
            out.signed(2, i64::from(enums::role(*role)));
        }
        EventBody::OwnershipTransferred { to } => out.integer(1, to.0),
        EventBody::MemberMuted { user, until } => {
            out.integer(1, user.0);
            out.signed(2, until.0);
        }
        EventBody::GroupUpdated {
            name,
            description,
            join_policy,
            history_visible,
            unlisted,
        } => {
            out.text(1, name.as_bytes());
            out.text(2, description.as_bytes());
            out.signed(3, i64::from(enums::join_policy(*join_policy)));
            out.flag(4, *history_visible);
            out.flag(5, *unlisted);
        }
        _ => {} // `GroupDeleted` and `Unknown` have no fields; no other body comes here
    }
}

fn put_inbox_fields(body: &EventBody, out: &mut impl FieldSink) {
    match body {
        EventBody::FriendRequested { from, note } => {
            out.integer(1, from.0);
            out.text(2, note.as_bytes());
        }
        EventBody::FriendAnswered { by, accepted } => {
            out.integer(1, by.0);
            out.flag(2, *accepted);
        }
        EventBody::FriendRemoved { by } => out.integer(1, by.0),
        EventBody::GroupInvited { group, group_name, by } => {
            put_group_and_name(*group, group_name, out);
            out.integer(3, by.0);
        }
        EventBody::JoinRequested {
            group,
            group_name,
            user,
            note,
        } => {
            put_group_and_name(*group, group_name, out);
            out.integer(3, user.0);
            out.text(4, note.as_bytes());
        }
        EventBody::JoinAnswered {
            group,
            group_name,
            accepted,
        } => {
            put_group_and_name(*group, group_name, out);
            out.flag(3, *accepted);
        }
        EventBody::RemovedFromGroup { group, group_name, by } => {
            put_group_and_name(*group, group_name, out);
            out.integer(3, by.0);
        }
        EventBody::InvitationDeclined {
            group,
            group_name,
            user,
        } => {
            put_group_and_name(*group, group_name, out);
            out.integer(3, user.0);
        }
        EventBody::ConversationOpened { conversation, peer } => {
            out.integer(1, conversation.0);
            out.integer(2, peer.0);
        }
        _ => {} // `EventBody::put_fields` passes no other body
    }
}

fn put_group_and_name(group: ConversationId, name: &str, out: &mut impl FieldSink) {
    out.integer(1, group.0);
    out.text(2, name.as_bytes());
}

/// Translates a body to the model, and normalises the emoji of a reaction. Returns `None` if an
/// enum field has a value that this version does not know.
pub(super) fn from_proto(body: Body) -> Option<EventBody> {
    Some(match body {
        Body::Message(message) => EventBody::Message(Message {
            text: message.text,
            reply_to: (message.reply_to != 0).then_some(Seq(message.reply_to)),
            mentions: message.mentions.into_iter().map(UserId).collect(),
            mention_all: message.mention_all,
        }),
        Body::Edit(edit) => EventBody::Edit {
            target: Seq(edit.target),
            text: edit.text,
        },
        Body::Recall(recall) => EventBody::Recall {
            target: Seq(recall.target),
        },
        Body::Reaction(reaction) => EventBody::Reaction {
            target: Seq(reaction.target),
            emoji: Emoji::normalize(&reaction.emoji),
            removed: reaction.removed,
        },
        Body::GroupCreated(created) => EventBody::GroupCreated { name: created.name },
        Body::MemberJoined(joined) => EventBody::MemberJoined {
            user: UserId(joined.user),
            by: (joined.by != 0).then_some(UserId(joined.by)),
        },
        Body::MemberLeft(left) => EventBody::MemberLeft {
            user: UserId(left.user),
        },
        Body::MemberKicked(kicked) => EventBody::MemberKicked {
            user: UserId(kicked.user),
            banned: kicked.banned,
        },
        Body::RoleChanged(changed) => EventBody::RoleChanged {
            user: UserId(changed.user),
            role: enums::to_role(changed.role)?,
        },
        Body::OwnershipTransferred(transferred) => EventBody::OwnershipTransferred {
            to: UserId(transferred.to),
        },
        Body::MemberMuted(muted) => EventBody::MemberMuted {
            user: UserId(muted.user),
            until: Timestamp(muted.until_ms),
        },
        Body::GroupUpdated(updated) => EventBody::GroupUpdated {
            name: updated.name,
            description: updated.description,
            join_policy: enums::to_join_policy(updated.join_policy)?,
            history_visible: updated.history_visible,
            unlisted: updated.unlisted,
        },
        Body::GroupDeleted(proto::GroupDeletedBody {}) => EventBody::GroupDeleted,
        body => return inbox_from_proto(body),
    })
}

fn inbox_from_proto(body: Body) -> Option<EventBody> {
    Some(match body {
        Body::FriendRequested(requested) => EventBody::FriendRequested {
            from: UserId(requested.from),
            note: requested.note,
        },
        Body::FriendAnswered(answered) => EventBody::FriendAnswered {
            by: UserId(answered.by),
            accepted: answered.accepted,
        },
        Body::FriendRemoved(removed) => EventBody::FriendRemoved { by: UserId(removed.by) },
        Body::GroupInvited(invited) => EventBody::GroupInvited {
            group: ConversationId(invited.group),
            group_name: invited.group_name,
            by: UserId(invited.by),
        },
        Body::JoinRequested(requested) => EventBody::JoinRequested {
            group: ConversationId(requested.group),
            group_name: requested.group_name,
            user: UserId(requested.user),
            note: requested.note,
        },
        Body::JoinAnswered(answered) => EventBody::JoinAnswered {
            group: ConversationId(answered.group),
            group_name: answered.group_name,
            accepted: answered.accepted,
        },
        Body::RemovedFromGroup(removed) => EventBody::RemovedFromGroup {
            group: ConversationId(removed.group),
            group_name: removed.group_name,
            by: UserId(removed.by),
        },
        Body::InvitationDeclined(declined) => EventBody::InvitationDeclined {
            group: ConversationId(declined.group),
            group_name: declined.group_name,
            user: UserId(declined.user),
        },
        Body::ConversationOpened(opened) => EventBody::ConversationOpened {
            conversation: ConversationId(opened.conversation),
            peer: UserId(opened.peer),
        },
        _ => return None,
    })
}

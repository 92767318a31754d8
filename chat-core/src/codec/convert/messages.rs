//! Conversion of drafts and of the answer to an appended draft.

use std::sync::Arc;

use bytes::Bytes;

use super::parts;
use crate::codec::error::{InvalidRequest, Malformed};
use crate::codec::proto;
use crate::codec::wire::{Encode, FieldSink};
use crate::model::{
    Appended, Command, ConversationId, Draft, DraftContent, Emoji, MessageText, Seq, Timestamp, UserId,
};

/// Maximum number of users that one message mentions by their ids.
const MAX_MENTIONS: usize = 50;

/// Decoded `SendMessage`, whose text is borrowed from the packet or owned.
#[derive(Default)]
pub(in crate::codec) struct SendFields<'a, T> {
    pub(in crate::codec) conversation: Option<proto::ConversationRef>,
    pub(in crate::codec) client_message_id: &'a [u8],
    pub(in crate::codec) text: T,
    pub(in crate::codec) reply_to: u64,
    pub(in crate::codec) mentions: Vec<u64>,
    pub(in crate::codec) mention_all: bool,
}

pub(super) fn to_send(send: proto::SendMessage, max_text_bytes: usize) -> Result<Command, InvalidRequest> {
    let fields = SendFields {
        conversation: send.conversation,
        client_message_id: &send.client_message_id,
        text: send.text,
        reply_to: send.reply_to,
        mentions: send.mentions,
        mention_all: send.mention_all,
    };
    fields.into_command(max_text_bytes)
}

impl<T: Into<Arc<str>> + AsRef<str>> SendFields<'_, T> {
    pub(in crate::codec) fn into_command(self, max_text_bytes: usize) -> Result<Command, InvalidRequest> {
        if self.mentions.len() > MAX_MENTIONS {
            return Err(InvalidRequest::argument(format!(
                "a message has at most {MAX_MENTIONS} mentions"
            )));
        }
        let mentions = self.mentions.into_iter().map(parts::to_user_id);
        let content = DraftContent::Message {
            text: MessageText::with_limit(self.text, max_text_bytes)?,
            reply_to: match self.reply_to {
                0 => None,
                seq => Some(parts::to_seq(seq, "reply_to")?),
            },
            mentions: mentions.collect::<Result<Vec<UserId>, _>>()?,
            mention_all: self.mention_all,
        };
        to_send_command(self.conversation, self.client_message_id, content)
    }
}

pub(super) fn to_edit(edit: proto::EditMessage, max_text_bytes: usize) -> Result<Command, InvalidRequest> {
    let content = DraftContent::Edit {
        target: parts::to_seq(edit.target, "target")?,
        text: MessageText::with_limit(edit.text, max_text_bytes)?,
    };
    to_send_command(edit.conversation, &edit.client_message_id, content)
}

pub(super) fn to_recall(recall: proto::RecallMessage) -> Result<Command, InvalidRequest> {
    let content = DraftContent::Recall {
        target: parts::to_seq(recall.target, "target")?,
    };
    to_send_command(recall.conversation, &recall.client_message_id, content)
}

pub(super) fn to_react(react: proto::React) -> Result<Command, InvalidRequest> {
    let content = DraftContent::React {
        target: parts::to_seq(react.target, "target")?,
        emoji: Emoji::new(&react.emoji)?,
        remove: react.remove,
    };
    to_send_command(react.conversation, &react.client_message_id, content)
}

fn to_send_command(
    conversation: Option<proto::ConversationRef>,
    client_message_id: &[u8],
    content: DraftContent,
) -> Result<Command, InvalidRequest> {
    Ok(Command::Send {
        conversation: parts::to_conversation_ref(conversation)?,
        draft: Draft {
            client_message_id: parts::to_client_message_id(client_message_id)?,
            content,
        },
    })
}

pub(super) fn send(conversation: proto::ConversationRef, draft: &Draft) -> proto::client_packet::Command {
    use proto::client_packet::Command as WireCommand;
    let conversation = Some(conversation);
    let client_message_id: Bytes = parts::id(draft.client_message_id.0);
    match &draft.content {
        DraftContent::Message {
            text,
            reply_to,
            mentions,
            mention_all,
        } => WireCommand::SendMessage(proto::SendMessage {
            conversation,
            client_message_id,
            text: text.as_str().to_owned(),
            reply_to: reply_to.map_or(0, |seq| seq.0),
            mentions: mentions.iter().map(|user| user.0).collect(),
            mention_all: *mention_all,
        }),
        DraftContent::Edit { target, text } => WireCommand::EditMessage(proto::EditMessage {
            conversation,
            client_message_id,
            target: target.0,
            text: text.as_str().to_owned(),
        }),
        DraftContent::Recall { target } => WireCommand::RecallMessage(proto::RecallMessage {
            conversation,
            client_message_id,
            target: target.0,
        }),
        DraftContent::React { target, emoji, remove } => WireCommand::React(proto::React {
            conversation,
            client_message_id,
            target: target.0,
            emoji: emoji.as_str().to_owned(),
            remove: *remove,
        }),
    }
}

impl Encode for Appended {
    fn put_fields(&self, out: &mut impl FieldSink) {
        out.integer(1, self.conversation.0);
        out.integer(2, self.seq.0);
        out.bytes(3, &self.event_id.0);
        out.signed(4, self.time.0);
        out.flag(5, self.duplicate);
    }
}

pub(super) fn to_appended(appended: &proto::Appended) -> Result<Appended, Malformed> {
    if appended.conversation == 0 || appended.seq == 0 {
        return Err(Malformed::Field("position of the event"));
    }
    Ok(Appended {
        conversation: ConversationId(appended.conversation),
        seq: Seq(appended.seq),
        event_id: parts::to_event_id(&appended.event_id)?,
        time: Timestamp(appended.time_ms),
        duplicate: appended.duplicate,
    })
}

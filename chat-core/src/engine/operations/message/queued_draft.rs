//! [`QueuedDraft`]: a draft as the appender queues it, encoded and with its fingerprint; and the
//! limits of messages.

use std::collections::HashSet;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::codec::body;
use crate::engine::config::EngineConfig;
use crate::model::{
    Caller, ClientMessageId, ConversationRef, Draft, DraftContent, EventBody, EventKind, Message, Seq, UserId,
};

/// Limits of messages, from the engine's configuration.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct MessageLimits {
    /// Maximum age, in milliseconds, of a message that its sender may still edit or recall.
    pub(in crate::engine) edit_window_ms: u64,
    /// Maximum number of users that one message may mention.
    pub(in crate::engine) max_mentions: usize,
}

impl From<&EngineConfig> for MessageLimits {
    fn from(config: &EngineConfig) -> Self {
        Self {
            edit_window_ms: u64::try_from(config.edit_window.as_millis()).unwrap_or(u64::MAX),
            max_mentions: config.max_mentions,
        }
    }
}

/// A draft as the appender queues it.
#[derive(Clone, Debug)]
pub(in crate::engine) struct QueuedDraft {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) client_message_id: ClientMessageId,
    /// [`fingerprint`] of the draft as the client sent it, even if a hook has rewritten the draft.
    pub(in crate::engine) fingerprint: u64,
    pub(in crate::engine) kind: EventKind,
    /// Message that an edit, a recall or a reaction refers to.
    pub(in crate::engine) target: Option<Seq>,
    pub(in crate::engine) reply_to: Option<Seq>,
    pub(in crate::engine) mentions: Vec<UserId>,
    pub(in crate::engine) mention_all: bool,
    pub(in crate::engine) body: Bytes,
    /// True if the sender referred to the conversation by a name. By the time of a retry, the name
    /// may belong to another conversation.
    pub(in crate::engine) is_by_name: bool,
}

impl QueuedDraft {
    /// Encodes a draft.
    pub(in crate::engine) fn new(caller: Caller, draft: Draft) -> Self {
        let body = event_body(draft.content);
        let mut queued = Self::from_body(caller, draft.client_message_id, &body, 0);
        queued.fingerprint = fingerprint(queued.kind, &queued.body);
        queued
    }

    /// Records whether the sender referred to the conversation by a name.
    pub(in crate::engine) fn record_reference_by_name(mut self, conversation: &ConversationRef) -> Self {
        self.is_by_name = conversation.is_by_name();
        self
    }

    /// Replaces the content by the one that a hook returned. The fingerprint remains that of the
    /// draft as the client sent it.
    pub(in crate::engine) fn rewritten(self, content: DraftContent) -> Self {
        let body = event_body(content);
        Self {
            is_by_name: self.is_by_name,
            ..Self::from_body(self.caller, self.client_message_id, &body, self.fingerprint)
        }
    }

    fn from_body(caller: Caller, client_message_id: ClientMessageId, body: &EventBody, fingerprint: u64) -> Self {
        let (reply_to, mut mentions, mention_all) = match body {
            EventBody::Message(message) => (message.reply_to, message.mentions.clone(), message.mention_all),
            _ => (None, Vec::new(), false),
        };
        mentions.sort_unstable();
        mentions.dedup();
        Self {
            caller,
            client_message_id,
            fingerprint,
            kind: body.kind(),
            target: body.target(),
            reply_to,
            mentions,
            mention_all,
            body: body::encode(body),
            is_by_name: false,
        }
    }

    /// Returns the memory that the draft is charged for while it is queued, in bytes.
    pub(in crate::engine) fn cost(&self) -> usize {
        // Estimate of the other memory of a queued draft: keys, reply channel, queue entries.
        const OVERHEAD: usize = 512;
        self.body.len() + self.mentions.len() * 8 + OVERHEAD
    }
}

/// Returns the users who sent these drafts.
pub(super) fn senders(drafts: &[QueuedDraft]) -> HashSet<UserId> {
    drafts.iter().map(|draft| draft.caller.user).collect()
}

/// Returns the event that the content of a draft becomes.
fn event_body(content: DraftContent) -> EventBody {
    match content {
        DraftContent::Message {
            text,
            reply_to,
            mentions,
            mention_all,
        } => EventBody::Message(Message {
            text: text.as_str().to_owned(),
            reply_to: reply_to.filter(|seq| *seq > Seq::ZERO),
            mentions,
            mention_all,
        }),
        DraftContent::Edit { target, text } => EventBody::Edit {
            target,
            text: text.as_str().to_owned(),
        },
        DraftContent::Recall { target } => EventBody::Recall { target },
        DraftContent::React { target, emoji, remove } => EventBody::Reaction {
            target,
            emoji: emoji.as_str().to_owned(),
            removed: remove,
        },
    }
}

/// Returns the fingerprint of a draft or a new group: a digest of its kind and body, which
/// distinguishes a retry from another use of the same idempotency key. It is stored, so its
/// computation must never change.
pub(in crate::engine) fn fingerprint(kind: EventKind, body: &[u8]) -> u64 {
    let mut digest = Sha256::new();
    digest.update([kind as u8]);
    digest.update(body);
    let digest: [u8; 32] = digest.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    // Stores keep the fingerprint as a signed integer, so the top bit is unused.
    u64::from_be_bytes(first) >> 1
}

//! A draft, ready to be appended: encoded, and with its digest.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::codec::body;
use crate::model::{Caller, ClientMessageId, Draft, DraftContent, EventBody, EventKind, Message, Seq, UserId};

/// A draft as the appender queues it.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Prepared {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) client_message_id: ClientMessageId,
    /// Of what the sender sent, whatever a hook made of it.
    pub(in crate::engine) fingerprint: u64,
    pub(in crate::engine) kind: EventKind,
    pub(in crate::engine) target: Option<Seq>,
    pub(in crate::engine) reply_to: Option<Seq>,
    pub(in crate::engine) mentions: Vec<UserId>,
    pub(in crate::engine) mention_all: bool,
    pub(in crate::engine) body: Bytes,
}

impl Prepared {
    /// Takes a draft over.
    pub(in crate::engine) fn new(caller: Caller, draft: Draft) -> Self {
        let body = encode(draft.content);
        let mut prepared = Self::of(caller, draft.client_message_id, &body, 0);
        prepared.fingerprint = fingerprint(prepared.kind, &prepared.body);
        prepared
    }

    /// Takes over what a hook made of a draft that had this digest.
    pub(in crate::engine) fn rewritten(self, content: DraftContent) -> Self {
        let body = encode(content);
        Self::of(self.caller, self.client_message_id, &body, self.fingerprint)
    }

    fn of(caller: Caller, client_message_id: ClientMessageId, body: &EventBody, fingerprint: u64) -> Self {
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
        }
    }

    /// What it takes of the queues' limits, in bytes.
    pub(in crate::engine) fn cost(&self) -> usize {
        // The rest of a job: keys, reply channel, places in queues.
        const OVERHEAD: usize = 512;
        self.body.len() + self.mentions.len() * 8 + OVERHEAD
    }
}

fn encode(content: DraftContent) -> EventBody {
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

/// Tells a retry from another use of the same key. The same on every node and in every version, since it is stored.
pub(in crate::engine) fn fingerprint(kind: EventKind, body: &[u8]) -> u64 {
    let mut digest = Sha256::new();
    digest.update([kind as u8]);
    digest.update(body);
    let digest: [u8; 32] = digest.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    // Stores keep it as a signed integer; none has to think about the top bit.
    u64::from_be_bytes(first) >> 1
}

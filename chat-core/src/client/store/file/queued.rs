//! Format of a message in the outbox file.
//!
//! ```text
//!   queued i64 · deadline i64 (0: none) · epoch · name · request
//!   queued, deadline: times in milliseconds since 1970
//!   epoch:    u8 (1, or 0: none) · the store epoch that ids belong to, 16 bytes
//!   name:     length u32 (0: none) · a request that asks for the conversation by its name
//!   request:  the request that sends the message
//! ```
//! Integers are big-endian, and requests are encoded as for the server. Messages of an earlier
//! version have neither epoch nor name.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::client::store::OutboxEntry;
use crate::codec::{RequestId, RequestKind, client::encode_command, frame::PREFIX_BYTES, server::decode_request};
use crate::model::{Command, ConversationRef, Draft, MessageText, StoreEpoch, Timestamp};

pub(super) fn encode(entry: &OutboxEntry) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_i64(entry.queued_at.0);
    out.put_i64(entry.deadline.map_or(0, |deadline| deadline.0));
    out.put_u8(u8::from(entry.store_epoch.is_some()));
    out.put_slice(entry.store_epoch.as_ref().map_or(&[], |epoch| &epoch.0));
    let mut name = BytesMut::new();
    if let Some(conversation) = &entry.name {
        encode_command(RequestId(1), &Command::GetConversation(conversation.clone()), &mut name);
    }
    out.put_u32(u32::try_from(name.len()).expect("a name is smaller than 4 GiB"));
    out.put_slice(&name);
    let command = Command::Send {
        conversation: entry.conversation.clone(),
        draft: Draft {
            client_message_id: entry.id,
            content: entry.content.clone(),
        },
    };
    encode_command(RequestId(1), &command, &mut out);
    out
}

/// Decodes a message; `is_current_version` is false for one of an earlier version. Returns `None`
/// if it is unreadable.
pub(super) fn decode(content: &mut Bytes, is_current_version: bool) -> Option<OutboxEntry> {
    let queued_at = Timestamp(content.try_get_i64().ok()?);
    let deadline = content.try_get_i64().ok()?;
    let (store_epoch, name) = if is_current_version {
        (decode_epoch(content)?, decode_name(content)?)
    } else {
        (None, None)
    };
    let Command::Send { conversation, draft } = decode_command(content.clone())? else {
        return None;
    };
    Some(OutboxEntry {
        id: draft.client_message_id,
        conversation,
        name,
        store_epoch,
        content: draft.content,
        queued_at,
        deadline: (deadline != 0).then_some(Timestamp(deadline)),
    })
}

/// Decodes the store epoch. Returns `None` if it is unreadable, and `Some(None)` if there is none.
fn decode_epoch(content: &mut Bytes) -> Option<Option<StoreEpoch>> {
    if content.try_get_u8().ok()? == 0 {
        return Some(None);
    }
    let mut epoch = [0; 16];
    content.try_copy_to_slice(&mut epoch).ok()?;
    Some(Some(StoreEpoch(epoch)))
}

/// Decodes the name. Returns `None` if it is unreadable, and `Some(None)` if there is none.
fn decode_name(content: &mut Bytes) -> Option<Option<ConversationRef>> {
    let length = usize::try_from(content.try_get_u32().ok()?).ok()?;
    if length == 0 {
        return Some(None);
    }
    if content.len() < length {
        return None;
    }
    match decode_command(content.split_to(length))? {
        Command::GetConversation(name) => Some(Some(name)),
        _ => None,
    }
}

fn decode_command(mut frame: Bytes) -> Option<Command> {
    if frame.len() < PREFIX_BYTES {
        return None;
    }
    frame.advance(PREFIX_BYTES);
    match decode_request(frame, MessageText::MAX_BYTES).ok()?.kind {
        RequestKind::Command(command) => Some(command),
        _ => None,
    }
}

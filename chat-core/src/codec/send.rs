//! Hand-written decoder of `SendMessage`, which is the most frequent request, and whose text the
//! generated decoder would copy twice.
//!
//! It decodes only the usual form: a request id other than 0, then a message whose fields are in
//! the order of their tags and do not include `mentions`. All other packets, such as those with
//! repeated or unknown fields or invalid UTF-8, are left to the generated code, which decides
//! whether they are well-formed.

use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::convert::SendFields;
use super::error::InvalidRequest;
use super::packet::RequestId;
use super::proto;
use crate::model::Command;

/// Tags of the fields of `chat.v1.ClientPacket`.
const REQUEST_ID: u32 = 1;
const SEND_MESSAGE: u32 = 60;

/// Decodes a packet that consists of a request id and a `SendMessage` in the usual form. Returns
/// `None` for any other packet.
pub(super) fn decode(packet: &[u8], max_text_bytes: usize) -> Option<(RequestId, Result<Command, InvalidRequest>)> {
    let mut rest = packet;
    let (REQUEST_ID, WireType::Varint) = decode_key(&mut rest).ok()? else {
        return None;
    };
    let id = RequestId(decode_varint(&mut rest).ok()?);
    let (SEND_MESSAGE, WireType::LengthDelimited) = decode_key(&mut rest).ok()? else {
        return None;
    };
    let message = take_bytes(&mut rest)?;
    if !rest.is_empty() || !id.wants_reply() {
        return None;
    }
    Some((id, decode_fields(message)?.into_command(max_text_bytes)))
}

/// Decodes the fields of a `SendMessage`, by their tags in `chat.v1`.
fn decode_fields(mut rest: &[u8]) -> Option<SendFields<'_, &str>> {
    let mut send = SendFields::default();
    let mut last_tag = 0;
    while !rest.is_empty() {
        let (tag, wire) = decode_key(&mut rest).ok()?;
        if tag <= last_tag {
            return None; // a repeated field, or fields that are not in the order of their tags
        }
        last_tag = tag;
        match (tag, wire) {
            (1, WireType::LengthDelimited) => {
                send.conversation = Some(proto::ConversationRef::decode(take_bytes(&mut rest)?).ok()?);
            }
            (2, WireType::LengthDelimited) => send.client_message_id = take_bytes(&mut rest)?,
            (3, WireType::LengthDelimited) => send.text = std::str::from_utf8(take_bytes(&mut rest)?).ok()?,
            (4, WireType::Varint) => send.reply_to = decode_varint(&mut rest).ok()?,
            (6, WireType::Varint) => send.mention_all = decode_varint(&mut rest).ok()? != 0,
            _ => return None,
        }
    }
    Some(send)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

//! Server side of the codec: decodes requests, encodes replies and pushes.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use super::convert::{enums, requests, results};
use super::error::{DecodeError, InvalidRequest, Malformed};
use super::event::EventFields;
use super::frame::{PREFIX_BYTES, put_prefix};
use super::packet::{Answer, Failure, Request, RequestId, RequestKind};
use super::proto::{self, client_packet::Command as WireCommand, server_packet::Packet};
use super::send;
use super::wire::{Encode, FieldSink, message_len};
use crate::model::{CloseCode, Event, HistoryPage, Outcome, PageFrom, Push, ReplyCode};

/// Tags of fields of `chat.v1.ServerPacket`, `chat.v1.Reply` and `chat.v1.HistoryPage` that are
/// encoded without generated code.
mod tag {
    pub(super) const REPLY: u32 = 1;
    pub(super) const EVENT: u32 = 2;
    pub(super) const REQUEST_ID: u32 = 1;
    pub(super) const APPENDED: u32 = 21;
    pub(super) const HISTORY: u32 = 22;
    pub(super) const PAGE_EVENTS: u32 = 2;
}

/// Decodes a packet of a client. Message texts of more than `max_text_bytes` bytes, or of more than
/// [`MessageText::MAX_BYTES`](crate::model::MessageText::MAX_BYTES), are rejected.
///
/// # Errors
/// [`DecodeError::Malformed`]: close the connection. [`DecodeError::Invalid`]: send the failure as
/// a reply if the request wants one, and continue, except in the cases that `Invalid` describes.
pub fn decode_request(packet: Bytes, max_text_bytes: usize) -> Result<Request, DecodeError> {
    if let Some((id, command)) = send::decode(&packet, max_text_bytes) {
        return into_request(id, false, command.map(RequestKind::Command));
    }
    let packet = proto::ClientPacket::decode(packet).map_err(Malformed::from)?;
    let id = RequestId(packet.request_id);
    let Some(command) = packet.command else {
        return if id.wants_reply() {
            let failure = Failure::new(ReplyCode::UnknownCommand, "this server does not know the command");
            Err(DecodeError::Invalid {
                request_id: id,
                is_hello: false,
                failure,
            })
        } else {
            Err(Malformed::NoRequestId.into())
        };
    };
    if !id.wants_reply() && !may_go_unanswered(&command) {
        return Err(Malformed::NoRequestId.into());
    }
    let is_hello = matches!(command, WireCommand::Hello(_));
    into_request(id, is_hello, requests::to_request(command, max_text_bytes))
}

/// Returns the request with its id, or the error for an invalid request. `is_hello` says whether
/// the request is a `Hello`.
fn into_request(
    id: RequestId,
    is_hello: bool,
    kind: Result<RequestKind, InvalidRequest>,
) -> Result<Request, DecodeError> {
    match kind {
        Ok(kind) => Ok(Request { id, kind }),
        Err(invalid) => Err(DecodeError::Invalid {
            request_id: id,
            is_hello,
            failure: invalid.into(),
        }),
    }
}

/// Returns whether a request of this kind may have no id, so that it gets no reply.
fn may_go_unanswered(command: &WireCommand) -> bool {
    matches!(
        command,
        WireCommand::Acknowledge(_) | WireCommand::MarkRead(_) | WireCommand::Typing(_) | WireCommand::SetPresence(_)
    )
}

/// Appends a reply as one frame.
pub fn encode_reply(request_id: RequestId, result: &Result<Answer, Failure>, out: &mut BytesMut) {
    match result {
        Ok(Answer::Outcome(Outcome::Appended(appended))) => {
            put_reply(request_id, tag::APPENDED, appended, out);
        }
        Ok(Answer::Outcome(Outcome::History(page))) => put_reply(request_id, tag::HISTORY, page, out),
        Ok(answer) => {
            let reply = proto::Reply {
                request_id: request_id.0,
                result: results::result(answer),
                ..Default::default()
            };
            put_packet(Packet::Reply(reply), out);
        }
        Err(failure) => {
            let reply = proto::Reply {
                request_id: request_id.0,
                code: failure.number(),
                text: failure.text.clone(),
                retry_after_ms: failure.retry_after_ms,
                result: None,
            };
            put_packet(Packet::Reply(reply), out);
        }
    }
}

/// Encodes a push as one frame.
#[must_use]
pub fn encode_push(push: &Push) -> Bytes {
    let mut out = BytesMut::new();
    put_push(push, &mut out);
    out.freeze()
}

/// Shortens a page of history until its encoded events have at most `max_bytes` bytes, but not to
/// less than one event. The size includes edited texts, and the keys and lengths of the fields.
/// Events are removed from the end that is farther from `from`. If any are removed, sets
/// `has_more`.
pub fn fit_page(page: &mut HistoryPage, from: PageFrom, max_bytes: usize) {
    let size = |event| {
        let fields = EventFields::past(event);
        message_len(tag::PAGE_EVENTS, fields.len())
    };
    let mut left = max_bytes;
    let mut fits = |event| match left.checked_sub(size(event)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let all = page.events.len();
    match from {
        PageFrom::After(_) => {
            let kept = page.events.iter().take_while(|event| fits(event)).count().max(1);
            page.events.truncate(kept);
        }
        PageFrom::Before(_) | PageFrom::Newest => {
            let kept = page.events.iter().rev().take_while(|event| fits(event)).count().max(1);
            page.events.drain(..all.saturating_sub(kept));
        }
    }
    page.has_more |= page.events.len() < all;
}

/// Returns the text that `SessionClosed` contains for people.
#[must_use]
pub const fn close_text(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Normal => "closed",
        CloseCode::GoingAway => "the server is going away; connect again",
        CloseCode::Replaced => "a newer login replaced this session",
        CloseCode::Revoked => {
            "this device was revoked, the password was changed, an operator ended the sessions, or the login expired; \
             log in again"
        }
        CloseCode::ProtocolError => "the client violated the protocol",
        CloseCode::Timeout => "the client sent nothing for too long, or did not log in in time",
        CloseCode::SlowConsumer => "the client read too slowly",
        CloseCode::Overloaded => "too many sessions from this address or network, or too many packets before login",
        CloseCode::LoggedOut => "logged out",
        CloseCode::Internal => "internal error; the server's log has the details",
        CloseCode::AccountDisabled => "the account was disabled or deleted",
        CloseCode::PacketTooLarge => "a packet exceeds the size limit",
        CloseCode::UnsupportedVersion => {
            "the client and the server have no version of the protocol in common; update the older one"
        }
    }
}

/// Appends a reply whose result, field `tag` of the reply, is encoded without generated code.
fn put_reply(request_id: RequestId, tag: u32, result: &impl Encode, out: &mut BytesMut) {
    let result_len = result.len();
    let id = IntegerField(tag::REQUEST_ID, request_id.0);
    let reply_len = id.len().saturating_add(message_len(tag, result_len));
    put_message_prefix(tag::REPLY, reply_len, out);
    id.put_fields(out);
    out.message(tag, result_len);
    result.put_fields(out);
}

fn put_event(event: &Event, out: &mut BytesMut) {
    let event = EventFields::live(event);
    put_message_prefix(tag::EVENT, event.len(), out);
    event.put_fields(out);
}

/// Appends the frame's length, and the key and length of the packet's only field. Reserves memory
/// for the whole frame.
fn put_message_prefix(tag: u32, length: usize, out: &mut BytesMut) {
    let packet_len = message_len(tag, length);
    out.reserve(packet_len.saturating_add(PREFIX_BYTES));
    put_prefix(out, packet_len);
    out.message(tag, length);
}

/// Integer field: its tag and value.
struct IntegerField(u32, u64);

impl Encode for IntegerField {
    fn put_fields(&self, out: &mut impl FieldSink) {
        out.integer(self.0, self.1);
    }
}

fn put_packet(packet: Packet, out: &mut BytesMut) {
    let packet = proto::ServerPacket { packet: Some(packet) };
    let length = packet.encoded_len();
    out.reserve(length.saturating_add(PREFIX_BYTES));
    put_prefix(out, length);
    packet.encode_raw(out);
}

fn put_push(push: &Push, out: &mut BytesMut) {
    let packet = match push {
        Push::Event(event) => return put_event(event, out),
        Push::Receipt {
            conversation,
            user,
            delivered_seq,
            read_seq,
        } => Packet::Receipt(proto::ReceiptNotice {
            conversation: conversation.0,
            user: user.0,
            delivered_seq: delivered_seq.0,
            read_seq: read_seq.0,
        }),
        Push::Read {
            conversation,
            read_seq,
            unread,
            unread_mentions,
        } => Packet::Read(proto::ReadNotice {
            conversation: conversation.0,
            read_seq: read_seq.0,
            unread: *unread,
            unread_mentions: *unread_mentions,
        }),
        Push::Typing {
            conversation,
            user,
            stopped,
        } => Packet::Typing(proto::TypingNotice {
            conversation: conversation.0,
            user: user.0,
            stopped: *stopped,
        }),
        Push::Presence { user, state } => Packet::Presence(proto::PresenceNotice {
            user: user.0,
            presence: enums::presence(*state),
        }),
        Push::Behind { conversation, last_seq } => Packet::Behind(proto::BehindNotice {
            conversation: conversation.0,
            last_seq: last_seq.0,
        }),
        Push::GoAway { retry_after_ms } => Packet::GoAway(proto::GoAway {
            retry_after_ms: *retry_after_ms,
        }),
        Push::Closed(code) => Packet::SessionClosed(proto::SessionClosed {
            code: u32::from(code.number()),
            text: close_text(*code).to_owned(),
        }),
    };
    put_packet(packet, out);
}

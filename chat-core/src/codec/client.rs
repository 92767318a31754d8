//! Client side of the codec: encodes requests, decodes replies and pushes.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use super::convert::{self, commands, enums, results};
use super::error::Malformed;
use super::event;
use super::frame::{PREFIX_BYTES, put_prefix};
use super::packet::{Failure, Incoming, Request, RequestId, RequestKind};
use super::proto::{self, client_packet::Command as WireCommand, server_packet::Packet};
use crate::model::{CloseCode, Command, ConversationId, Push, Seq, UserId};

/// Appends a request as one frame.
pub fn encode_request(request: &Request, out: &mut BytesMut) {
    let wire = match &request.kind {
        RequestKind::Hello(hello) => WireCommand::Hello(convert::hello(hello)),
        RequestKind::Register(registration) => WireCommand::Register(convert::register(registration)),
        RequestKind::Login(login) => WireCommand::Login(convert::login(login)),
        RequestKind::Resume(resume) => WireCommand::Resume(convert::resume(resume)),
        RequestKind::ListNodes => WireCommand::ListNodes(proto::ListNodes {}),
        RequestKind::Ping => WireCommand::Ping(proto::Ping {}),
        RequestKind::Command(command) => commands::command(command),
    };
    put(request.id, wire, out);
}

/// Appends a command as one frame.
pub fn encode_command(id: RequestId, command: &Command, out: &mut BytesMut) {
    put(id, commands::command(command), out);
}

fn put(id: RequestId, command: WireCommand, out: &mut BytesMut) {
    let packet = proto::ClientPacket {
        request_id: id.0,
        command: Some(command),
    };
    let length = packet.encoded_len();
    out.reserve(length.saturating_add(PREFIX_BYTES));
    put_prefix(out, length);
    packet.encode_raw(out);
}

/// Decodes a packet of a server. Texts are unchanged, except that the emoji of reactions are
/// normalised: escape control characters before printing a text to a terminal.
///
/// # Errors
/// The server violated the protocol: close the connection.
pub fn decode(packet: Bytes) -> Result<Incoming, Malformed> {
    let packet = proto::ServerPacket::decode(packet)?;
    let push = match packet.packet {
        None => return Ok(Incoming::Unknown),
        Some(Packet::Reply(reply)) => return to_reply(reply),
        Some(Packet::Event(event)) => Push::Event(event::decode(event)?.event),
        Some(Packet::Receipt(receipt)) => Push::Receipt {
            conversation: ConversationId(receipt.conversation),
            user: UserId(receipt.user),
            delivered_seq: Seq(receipt.delivered_seq),
            read_seq: Seq(receipt.read_seq),
        },
        Some(Packet::Read(read)) => Push::Read {
            conversation: ConversationId(read.conversation),
            read_seq: Seq(read.read_seq),
            unread: read.unread,
            unread_mentions: read.unread_mentions,
        },
        Some(Packet::Typing(typing)) => Push::Typing {
            conversation: ConversationId(typing.conversation),
            user: UserId(typing.user),
            stopped: typing.stopped,
        },
        Some(Packet::Presence(presence)) => match enums::to_presence(presence.presence) {
            Some(state) => Push::Presence {
                user: UserId(presence.user),
                state,
            },
            None => return Ok(Incoming::Unknown),
        },
        Some(Packet::Behind(behind)) => Push::Behind {
            conversation: ConversationId(behind.conversation),
            last_seq: Seq(behind.last_seq),
        },
        Some(Packet::GoAway(go_away)) => Push::GoAway {
            retry_after_ms: go_away.retry_after_ms,
        },
        Some(Packet::SessionClosed(closed)) => Push::Closed(to_close_code(closed.code)),
    };
    Ok(Incoming::Push(push))
}

fn to_reply(reply: proto::Reply) -> Result<Incoming, Malformed> {
    let result = match reply.code {
        0 => Ok(results::to_answer(reply.result)?),
        number => Err(Failure::from_wire(number, reply.text, reply.retry_after_ms)),
    };
    Ok(Incoming::Reply {
        request_id: RequestId(reply.request_id),
        result,
    })
}

/// Decodes a close code. A code that this version does not know becomes `GoingAway`, so that the
/// client reconnects.
fn to_close_code(number: u32) -> CloseCode {
    u16::try_from(number)
        .ok()
        .and_then(CloseCode::from_number)
        .unwrap_or(CloseCode::GoingAway)
}

//! Tests of how the server decodes the requests of a hostile or defective client.

mod fields;
mod packets;
mod texts;

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use super::samples;
use crate::codec::proto::{self, client_packet::Command as WireCommand};
use crate::codec::{DecodeError, Malformed, RequestId, client, server};
use crate::model::{MessageText, ReplyCode};

/// Request id of the packets in these tests.
const ID: u64 = 5;

fn decode(bytes: impl Into<Bytes>) -> Result<(), DecodeError> {
    server::decode_request(bytes.into(), MessageText::MAX_BYTES).map(drop)
}

fn packet(request_id: u64, command: WireCommand) -> Vec<u8> {
    let command = Some(command);
    proto::ClientPacket { request_id, command }.encode_to_vec()
}

/// Returns the code with which the command is rejected, or `None` if it is accepted.
fn error_code(command: WireCommand) -> Option<ReplyCode> {
    match decode(packet(ID, command)) {
        Ok(()) => None,
        Err(DecodeError::Invalid {
            request_id, failure, ..
        }) => {
            assert_eq!(request_id, RequestId(ID));
            assert!(!failure.text.is_empty());
            Some(failure.code().expect("a known code"))
        }
        Err(DecodeError::Malformed(malformed)) => {
            panic!("the packet is malformed, so the connection would be closed: {malformed}")
        }
    }
}

fn by_id(id: u64) -> Option<proto::UserRef> {
    let r#ref = Some(proto::user_ref::Ref::Id(id));
    Some(proto::UserRef { r#ref })
}

fn by_name(name: &str) -> Option<proto::UserRef> {
    let r#ref = Some(proto::user_ref::Ref::Name(name.into()));
    Some(proto::UserRef { r#ref })
}

fn conversation(id: u64) -> Option<proto::ConversationRef> {
    let r#ref = Some(proto::conversation_ref::Ref::Id(id));
    Some(proto::ConversationRef { r#ref })
}

fn group(name: &str) -> Option<proto::ConversationRef> {
    let r#ref = Some(proto::conversation_ref::Ref::Group(name.into()));
    Some(proto::ConversationRef { r#ref })
}

fn sixteen_bytes() -> Bytes {
    Bytes::from_static(&[0xc1; 16])
}

// The following functions return valid requests, in which the tests replace fields.

fn send() -> proto::SendMessage {
    proto::SendMessage {
        conversation: conversation(9),
        client_message_id: sixteen_bytes(),
        text: "hi".into(),
        ..Default::default()
    }
}

fn register() -> proto::Register {
    proto::Register {
        name: "alice".into(),
        password: "correct horse".into(),
        display_name: String::new(),
    }
}

fn login() -> proto::Login {
    proto::Login {
        account: Some(proto::login::Account::Name("alice".into())),
        password: "correct horse".into(),
        device: sixteen_bytes(),
        ..Default::default()
    }
}

fn resume() -> proto::Resume {
    proto::Resume {
        user: 1,
        device: sixteen_bytes(),
        session_token: Bytes::from_static(&[1; 32]),
    }
}

fn create() -> proto::CreateGroup {
    proto::CreateGroup {
        client_message_id: sixteen_bytes(),
        name: "Rust".into(),
        ..Default::default()
    }
}

fn history() -> proto::ReadHistory {
    proto::ReadHistory {
        conversation: conversation(9),
        after: Some(0),
        before: None,
        limit: 0,
    }
}

#[test]
fn templates_of_the_hostile_tests_are_valid_requests() {
    for request in [
        WireCommand::SendMessage(send()),
        WireCommand::Register(register()),
        WireCommand::Login(login()),
        WireCommand::Resume(resume()),
        WireCommand::CreateGroup(create()),
        WireCommand::ReadHistory(history()),
    ] {
        assert_eq!(error_code(request), None);
    }
}

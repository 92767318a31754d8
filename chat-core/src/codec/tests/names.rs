//! Tests that the `.proto`, the model and the documentation agree on names and numbers.

use std::collections::BTreeMap;

use crate::codec::proto;
use crate::model::{CloseCode, EventKind, ReplyCode};

const PROTO: &str = include_str!("../../../proto/chat/v1/client.proto");

fn protocol_document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
    std::fs::read_to_string(path).expect("docs/protocol.md exists")
}

/// Returns the entries `name = number` of the `oneof` or `enum` that starts with the line
/// `opening`.
fn numbers(opening: &str) -> BTreeMap<String, u32> {
    let (_, after) = PROTO.split_once(opening).expect("the block is in the .proto");
    let (inside, _) = after.split_once('}').expect("the block is closed");
    inside
        .lines()
        .filter_map(|line| line.split("//").next()?.trim().strip_suffix(';')?.split_once(" = "))
        .map(|(name, number)| {
            let name = name.split_whitespace().last().expect("a name");
            (name.to_owned(), number.parse().expect("a number"))
        })
        .collect()
}

/// Returns `name` in upper snake case after `prefix`: `REPLY_CODE_BAD_REQUEST` for `REPLY_CODE` and
/// `BadRequest`.
fn upper_snake_case(prefix: &str, name: &str) -> String {
    name.chars().fold(prefix.to_owned(), |mut out, c| {
        if c.is_uppercase() {
            out.push('_');
        }
        out.extend(c.to_uppercase());
        out
    })
}

#[test]
fn reply_codes_are_those_of_the_proto() {
    let mut expected: BTreeMap<_, _> = ReplyCode::ALL
        .iter()
        .map(|code| (upper_snake_case("REPLY_CODE", &format!("{code:?}")), code.number()))
        .collect();
    expected.insert("REPLY_CODE_OK".into(), 0);
    assert_eq!(numbers("enum ReplyCode {"), expected);
}

#[test]
fn close_codes_are_those_of_the_proto() {
    let expected: BTreeMap<_, _> = CloseCode::ALL
        .iter()
        .map(|code| {
            (
                upper_snake_case("CLOSE_CODE", &format!("{code:?}")),
                u32::from(code.number()),
            )
        })
        .collect();
    assert_eq!(numbers("enum CloseCode {"), expected);
}

#[test]
fn event_kinds_are_those_of_the_proto() {
    let expected: BTreeMap<_, _> = EventKind::ALL
        .into_iter()
        .map(|kind| {
            (
                upper_snake_case("", &format!("{kind:?}"))
                    .trim_start_matches('_')
                    .to_lowercase(),
                kind as u32,
            )
        })
        .collect();
    assert_eq!(numbers("oneof body {"), expected);
}

#[test]
fn protocol_document_mentions_every_code_command_packet_result_and_body() {
    let document = protocol_document();
    let reply_codes = numbers("enum ReplyCode {")
        .into_iter()
        .map(|(name, number)| (name.replace("REPLY_CODE_", ""), Some(number)));
    let close_codes = numbers("enum CloseCode {")
        .into_iter()
        .map(|(name, number)| (name.replace("CLOSE_CODE_", ""), Some(number)));
    for (name, number) in reply_codes.chain(close_codes) {
        let row = format!("| {} | `{name}` |", number.unwrap_or_default());
        assert!(document.contains(&row), "docs/protocol.md lacks the row {row}");
    }
    let names = numbers("oneof command {")
        .into_keys()
        .chain(numbers("oneof body {").into_keys())
        .chain(numbers("oneof packet {").into_keys())
        .chain(numbers("oneof result {").into_keys());
    for name in names {
        assert!(
            document.contains(&format!("`{name}`")),
            "docs/protocol.md lacks `{name}`"
        );
    }
}

#[test]
fn protocol_document_examples_match_the_encoder() {
    use prost::Message as _;

    use super::samples;
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    // The examples are hex dumps over several lines, with comments after `#`.
    let on_one_line: String = protocol_document()
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .collect::<Vec<_>>()
        .join(" ");
    let request = |id, command| {
        let packet = proto::ClientPacket {
            request_id: id,
            command: Some(command),
        };
        let mut frame = bytes::BytesMut::new();
        crate::codec::frame::put_frame(&mut frame, &packet.encode_to_vec());
        frame
    };
    use proto::client_packet::Command as WireCommand;
    let hello = request(
        1,
        WireCommand::Hello(proto::Hello {
            min_version: 1,
            max_version: 1,
            client: "demo 1".into(),
        }),
    );
    let send = request(
        3,
        WireCommand::SendMessage(proto::SendMessage {
            conversation: Some(proto::ConversationRef {
                r#ref: Some(proto::conversation_ref::Ref::Id(9)),
            }),
            client_message_id: samples::MESSAGE_ID.0.to_vec().into(),
            text: "hi".into(),
            ..Default::default()
        }),
    );
    let mut appended = bytes::BytesMut::new();
    let outcome = crate::model::Outcome::Appended(crate::model::Appended {
        conversation: crate::model::ConversationId(9),
        seq: crate::model::Seq(300),
        event_id: samples::EVENT_ID,
        time: samples::TIME,
        duplicate: false,
    });
    let answer = Ok(crate::codec::Answer::Outcome(outcome));
    crate::codec::server::encode_reply(crate::codec::RequestId(3), &answer, &mut appended);
    let body = crate::model::EventBody::Message(crate::model::Message {
        text: "hi".into(),
        ..Default::default()
    });
    let event = crate::codec::server::encode_push(&crate::model::Push::Event(samples::event(&body)));
    for (name, frame) in [
        ("hello", &hello[..]),
        ("send", &send),
        ("appended", &appended),
        ("event", &event),
    ] {
        let example = hex(frame);
        assert!(
            on_one_line.contains(&example),
            "docs/protocol.md lacks the {name} example {example}"
        );
    }
}

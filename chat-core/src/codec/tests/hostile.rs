//! Tests with requests of a hostile or defective client, and the exact result of each.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use super::samples;
use crate::codec::proto::{self, client_packet::Command as Wire};
use crate::codec::{DecodeError, Malformed, RequestId, server};
use crate::model::{MessageText, ReplyCode};

const ID: u64 = 5;

fn decode(bytes: impl Into<Bytes>) -> Result<(), DecodeError> {
    server::decode_request(bytes.into(), MessageText::MAX_BYTES).map(drop)
}

fn packet(request_id: u64, command: Wire) -> Vec<u8> {
    let command = Some(command);
    proto::ClientPacket { request_id, command }.encode_to_vec()
}

/// Returns the code with which the command is rejected, or `None` if it is accepted.
fn error_code(command: Wire) -> Option<ReplyCode> {
    match decode(packet(ID, command)) {
        Ok(()) => None,
        Err(DecodeError::Invalid { request_id, failure }) => {
            assert_eq!(request_id, RequestId(ID));
            assert!(!failure.text.is_empty());
            Some(failure.code().expect("a known code"))
        }
        Err(DecodeError::Malformed(malformed)) => panic!("closed instead of refused: {malformed}"),
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
    for good in [
        Wire::SendMessage(send()),
        Wire::Register(register()),
        Wire::Login(login()),
        Wire::Resume(resume()),
        Wire::CreateGroup(create()),
        Wire::ReadHistory(history()),
    ] {
        assert_eq!(error_code(good), None);
    }
}

#[test]
fn decode_request_reports_malformed_packets() {
    let broken_text = {
        let mut bytes = packet(ID, Wire::SendMessage(send()));
        let at = bytes.windows(2).position(|two| two == b"hi").unwrap();
        bytes[at] = 0xff;
        bytes
    };
    let surrogate = [&b"\x08\x05\x1a\x05\x0a\x03"[..], b"\xed\xa0\x80"].concat();
    let overlong_nul = [&b"\x08\x05\x1a\x04\x0a\x02"[..], b"\xc0\x80"].concat();
    let truncated = {
        let bytes = packet(ID, Wire::SendMessage(send()));
        bytes[..bytes.len() - 1].to_vec()
    };
    let deep = (0..200).fold(Vec::new(), |inner: Vec<u8>, _| {
        let mut outer = vec![0xa2, 0x1f]; // field 500, nested in itself: unknown, so skipped
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend(inner);
        outer
    });
    let groups = vec![0xa3; 3000]; // start-group keys without end
    let cases: [(&str, Vec<u8>); 9] = [
        ("broken UTF-8", broken_text),
        ("a UTF-16 surrogate", surrogate),
        ("an overlong NUL", overlong_nul),
        ("truncated", truncated),
        ("nested start-groups", groups),
        ("a varint of eleven bytes", vec![0xff; 11]),
        ("field number 0", vec![0x00, 0x00]),
        (
            "a length beyond the packet",
            vec![0x08, 0x05, 0x12, 0xff, 0xff, 0xff, 0x7f],
        ),
        ("the wrong wire type", vec![0x0d, 1, 2, 3, 4]),
    ];
    for (what, bytes) in cases {
        assert_eq!(decode(bytes), Err(Malformed::NotProtobuf.into()), "{what}");
    }
    // An unknown field is opaque: however deep it looks, the decoder does not descend into it.
    assert!(matches!(
        decode(deep),
        Err(DecodeError::Malformed(Malformed::NoRequestId))
    ));
}

#[test]
fn decode_request_requires_an_id() {
    let no_id = Err(Malformed::NoRequestId.into());
    assert_eq!(decode(Bytes::new()), no_id, "an empty packet");
    for command in [
        Wire::SendMessage(send()),
        Wire::Login(login()),
        Wire::Ping(proto::Ping {}),
        Wire::Hello(proto::Hello::default()),
    ] {
        assert_eq!(decode(packet(0, command)), no_id);
    }
    let (conversation, seq) = (9, 7);
    for command in [
        Wire::Acknowledge(proto::Acknowledge { conversation, seq }),
        Wire::MarkRead(proto::MarkRead { conversation, seq }),
        Wire::Typing(proto::Typing {
            conversation,
            stopped: false,
        }),
        Wire::SetStatus(proto::SetStatus { presence: 1 }),
    ] {
        assert_eq!(decode(packet(0, command)), Ok(()));
    }
}

#[test]
fn decode_request_rejects_unknown_commands() {
    for bytes in [&b"\x08\x05"[..], b"\x08\x05\xfa\x3e\x00", b"\xfa\x3e\x03abc\x08\x05"] {
        let Err(DecodeError::Invalid { request_id, failure }) = decode(Bytes::copy_from_slice(bytes)) else {
            panic!("accepted or closed");
        };
        assert_eq!(request_id, RequestId(ID));
        assert_eq!(failure.code(), Some(ReplyCode::UnknownCommand));
    }
}

#[test]
fn decode_request_requires_ids_of_sixteen_bytes() {
    for length in [0, 1, 15, 17, 32, 4096] {
        let wrong = Bytes::from(vec![1; length]);
        let commands = [
            Wire::SendMessage(proto::SendMessage {
                client_message_id: wrong.clone(),
                ..send()
            }),
            Wire::CreateGroup(proto::CreateGroup {
                client_message_id: wrong.clone(),
                ..create()
            }),
            Wire::Login(proto::Login {
                device: wrong.clone(),
                ..login()
            }),
            Wire::Resume(proto::Resume {
                device: wrong.clone(),
                ..resume()
            }),
            Wire::RevokeDevice(proto::RevokeDevice { device: wrong.clone() }),
            Wire::RecallMessage(proto::RecallMessage {
                conversation: conversation(9),
                client_message_id: wrong,
                target: 1,
            }),
        ];
        for command in commands {
            assert_eq!(error_code(command), Some(ReplyCode::InvalidArgument), "{length} bytes");
        }
    }
}

#[test]
fn decode_request_validates_ids_and_sequence_numbers() {
    for number in [0, i64::MAX as u64 + 1, u64::MAX] {
        let kick = proto::KickMember {
            group: conversation(9),
            user: by_id(number),
            ban: false,
        };
        let commands = [
            Wire::SendMessage(proto::SendMessage {
                conversation: conversation(number),
                ..send()
            }),
            Wire::SendMessage(proto::SendMessage {
                mentions: vec![1, number],
                ..send()
            }),
            Wire::Block(proto::Block { user: by_id(number) }),
            Wire::KickMember(kick),
            Wire::Resume(proto::Resume {
                user: number,
                ..resume()
            }),
            Wire::EditMessage(proto::EditMessage {
                conversation: conversation(9),
                client_message_id: sixteen_bytes(),
                target: number,
                text: "x".into(),
            }),
            Wire::Acknowledge(proto::Acknowledge {
                conversation: number,
                seq: 1,
            }),
        ];
        for command in commands {
            let what = format!("{command:?}");
            assert_eq!(error_code(command), Some(ReplyCode::InvalidArgument), "{what}");
        }
    }
}

#[test]
fn decode_request_accepts_a_login_without_account() {
    let login = Wire::Login(proto::Login {
        account: None,
        ..login()
    });
    assert_eq!(error_code(login), None, "the secret may identify the account");
}

#[test]
fn decode_request_rejects_missing_fields() {
    let no_user = proto::UserRef { r#ref: None };
    let no_conversation = Some(proto::ConversationRef { r#ref: None });
    let commands = [
        Wire::Block(proto::Block { user: None }),
        Wire::Block(proto::Block {
            user: Some(no_user.clone()),
        }),
        Wire::LeaveGroup(proto::LeaveGroup { group: None }),
        Wire::LeaveGroup(proto::LeaveGroup { group: no_conversation }),
        Wire::GetConversation(proto::GetConversation {
            conversation: Some(proto::ConversationRef {
                r#ref: Some(proto::conversation_ref::Ref::Direct(no_user)),
            }),
        }),
        Wire::SearchUsers(proto::SearchUsers {
            query: "  ".into(),
            limit: 0,
        }),
        Wire::ReadHistory(proto::ReadHistory {
            after: None,
            before: None,
            ..history()
        }),
        Wire::ReadHistory(proto::ReadHistory {
            after: Some(1),
            before: Some(9),
            ..history()
        }),
        Wire::Resume(proto::Resume {
            session_token: Bytes::new(),
            ..resume()
        }),
    ];
    for command in commands {
        let what = format!("{command:?}");
        assert_eq!(error_code(command), Some(ReplyCode::InvalidArgument), "{what}");
    }
}

#[test]
fn decode_request_bounds_lists_and_limits() {
    let commands = [
        Wire::SendMessage(proto::SendMessage {
            mentions: (1..=51).collect(),
            ..send()
        }),
        Wire::GetUsers(proto::GetUsers {
            users: (1..=201).filter_map(by_id).collect(),
        }),
        Wire::SearchUsers(proto::SearchUsers {
            query: "al".into(),
            limit: 51,
        }),
        Wire::SearchGroups(proto::SearchGroups {
            query: "x".repeat(257),
            limit: 1,
        }),
        Wire::SearchUsers(proto::SearchUsers {
            query: "İ".repeat(128), // longer in lower case
            limit: 1,
        }),
        Wire::ListMembers(proto::ListMembers {
            group: conversation(9),
            after_user: 0,
            limit: 501,
        }),
        Wire::ReadHistory(proto::ReadHistory {
            limit: 501,
            ..history()
        }),
        Wire::MuteMember(proto::MuteMember {
            group: conversation(9),
            user: by_id(1),
            duration_ms: u64::MAX,
        }),
        Wire::Login(proto::Login {
            device_name: "x".repeat(65),
            ..login()
        }),
        Wire::Login(proto::Login {
            device_name: "phone\nrevoked  laptop".to_owned(),
            ..login()
        }),
        Wire::Login(proto::Login {
            device_name: "phone \u{202e}".to_owned(),
            ..login()
        }),
        Wire::Hello(proto::Hello {
            client: "demo\u{1b}[2J".to_owned(),
            min_version: 1,
            max_version: 1,
        }),
        Wire::Login(proto::Login {
            device_token: Bytes::from(vec![1; 129]),
            ..login()
        }),
        Wire::Hello(proto::Hello {
            client: "x".repeat(65),
            min_version: 1,
            max_version: 1,
        }),
    ];
    for command in commands {
        assert_eq!(error_code(command), Some(ReplyCode::InvalidArgument));
    }
}

#[test]
fn decode_request_rejects_unknown_enum_values() {
    for number in [-1, 99, i32::MIN, i32::MAX] {
        let commands = [
            Wire::SetStatus(proto::SetStatus { presence: number }),
            Wire::UpdateProfile(proto::UpdateProfile {
                direct_policy: number,
                display_name: None,
            }),
            Wire::CreateGroup(proto::CreateGroup {
                join_policy: number,
                ..create()
            }),
            Wire::SetRole(proto::SetRole {
                group: conversation(9),
                user: by_id(1),
                role: number,
            }),
        ];
        for command in commands {
            assert_eq!(error_code(command), Some(ReplyCode::InvalidArgument), "{number}");
        }
    }
    let owner = proto::Role::Owner as i32;
    let set_role = proto::SetRole {
        group: conversation(9),
        user: by_id(1),
        role: owner,
    };
    assert_eq!(
        error_code(Wire::SetRole(set_role)),
        Some(ReplyCode::InvalidArgument),
        "only a transfer makes an owner"
    );
    let offline = proto::Presence::Offline as i32;
    let set_status = Wire::SetStatus(proto::SetStatus { presence: offline });
    assert_eq!(
        error_code(set_status),
        Some(ReplyCode::InvalidArgument),
        "a connected user cannot be offline"
    );
}

#[test]
fn decode_request_validates_names() {
    let zalgo = "e\u{301}".repeat(32 * 1024 / 3); // nearly 64 KiB of combining marks
    let marks = format!("a{}", "\u{301}".repeat(32 * 1024));
    for name in [
        "",
        " ",
        "a b",
        "аlice",
        "admin",
        "123",
        "a\u{202e}b",
        "a\0b",
        &zalgo,
        &marks,
    ] {
        let register = proto::Register {
            name: name.into(),
            ..register()
        };
        assert_eq!(
            error_code(Wire::Register(register)),
            Some(ReplyCode::InvalidName),
            "{name:.20?}"
        );
    }
    for name in ["", "\u{200b}", "a\0b", &zalgo, &marks] {
        let named = [
            Wire::Block(proto::Block { user: by_name(name) }),
            Wire::LeaveGroup(proto::LeaveGroup { group: group(name) }),
            Wire::CreateGroup(proto::CreateGroup {
                name: name.into(),
                ..create()
            }),
            Wire::UpdateProfile(proto::UpdateProfile {
                display_name: Some(name.into()),
                direct_policy: 0,
            }),
            Wire::Login(proto::Login {
                account: Some(proto::login::Account::Name(name.into())),
                ..login()
            }),
        ];
        for command in named {
            assert_eq!(error_code(command), Some(ReplyCode::InvalidName), "{name:.20?}");
        }
    }
}

#[test]
fn decode_request_validates_texts() {
    let combining = "\u{301}".repeat(32 * 1024);
    assert_eq!(combining.len(), 64 * 1024);
    for text in ["", "a\0b", &"x".repeat(16 * 1024 + 1), &combining] {
        let edit = proto::EditMessage {
            conversation: conversation(9),
            client_message_id: sixteen_bytes(),
            target: 1,
            text: text.into(),
        };
        let send = proto::SendMessage {
            text: text.into(),
            ..send()
        };
        let with_mentions = proto::SendMessage {
            mentions: vec![1],
            ..send.clone()
        };
        for command in [
            Wire::SendMessage(send),
            Wire::SendMessage(with_mentions),
            Wire::EditMessage(edit),
        ] {
            assert_eq!(error_code(command), Some(ReplyCode::InvalidText), "{text:.20?}");
        }
    }
    for note in ["\u{1b}[2J", &"x".repeat(201), &combining] {
        let request = proto::RequestFriend {
            user: by_id(2),
            note: note.into(),
        };
        assert_eq!(error_code(Wire::RequestFriend(request)), Some(ReplyCode::InvalidText));
    }
    for emoji in ["", " ", "\u{202e}", &"👍".repeat(9), &combining] {
        let react = proto::React {
            conversation: conversation(9),
            client_message_id: sixteen_bytes(),
            target: 1,
            emoji: emoji.into(),
            remove: false,
        };
        assert_eq!(error_code(Wire::React(react)), Some(ReplyCode::InvalidText));
    }
}

#[test]
fn message_texts_round_trip_byte_for_byte() {
    // Not normalised, not trimmed: decomposed letters, Han extension B, ZWJ sequences, marks up to
    // the limit.
    let marks = "\u{301}".repeat(8 * 1024);
    for text in [" e\u{301} \r\n", "𠮷野家", "👩‍👩‍👧‍👦", "\u{feff}x\u{200b}", &marks] {
        let send = Wire::SendMessage(proto::SendMessage {
            text: text.into(),
            ..send()
        });
        let request = server::decode_request(packet(ID, send).into(), MessageText::MAX_BYTES).unwrap();
        let mut out = BytesMut::new();
        crate::codec::client::encode_request(&request, &mut out);
        let back = proto::ClientPacket::decode(samples::unframe(&out)).unwrap();
        let Some(Wire::SendMessage(back)) = back.command else {
            panic!("another command");
        };
        assert_eq!(back.text, text);
    }
}

#[test]
fn decode_request_enforces_a_lower_text_limit() {
    let bytes = Bytes::from(packet(ID, Wire::SendMessage(send())));
    assert!(server::decode_request(bytes.clone(), 2).is_ok());
    assert!(matches!(
        server::decode_request(bytes, 1),
        Err(DecodeError::Invalid { .. })
    ));
}

#[test]
fn decode_request_bounds_passwords() {
    for password in ["", "1234567", &"x".repeat(1025)] {
        let register = proto::Register {
            password: password.into(),
            ..register()
        };
        let change = proto::ChangePassword {
            old_password: "correct horse".into(),
            new_password: password.into(),
        };
        for command in [Wire::Register(register), Wire::ChangePassword(change)] {
            assert_eq!(error_code(command), Some(ReplyCode::InvalidPassword));
        }
    }
    for password in ["", &"x".repeat(3073)] {
        let login = proto::Login {
            password: password.into(),
            ..login()
        };
        assert_eq!(error_code(Wire::Login(login)), Some(ReplyCode::InvalidPassword));
    }
}

#[test]
fn debug_output_of_requests_hides_secrets() {
    for command in [Wire::Register(register()), Wire::Login(login())] {
        let request = server::decode_request(packet(ID, command).into(), 100).unwrap();
        assert!(!format!("{request:?}").contains("correct horse"));
    }
    let malformed = decode(b"\x08\x05\x22\x20correct horse".to_vec());
    assert!(!format!("{malformed:?}").contains("correct"));
}

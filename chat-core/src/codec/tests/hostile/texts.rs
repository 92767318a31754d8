//! Tests of the names, texts and passwords in requests.

use super::*;

#[test]
fn decode_request_validates_names() {
    let letters = "e\u{301}".repeat(32 * 1024 / 3); // nearly 32 KiB, one combining mark on each letter
    let marks = format!("a{}", "\u{301}".repeat(32 * 1024)); // all marks on one letter
    for name in [
        "",
        " ",
        "a b",
        "аlice", // with a Cyrillic а
        "admin",
        "123",
        "a\u{202e}b",
        "a\0b",
        &letters,
        &marks,
    ] {
        let register = proto::Register {
            name: name.into(),
            ..register()
        };
        assert_eq!(
            error_code(WireCommand::Register(register)),
            Some(ReplyCode::InvalidName),
            "{name:.20?}"
        );
    }
    for name in ["", "\u{200b}", "a\0b", &letters, &marks] {
        let named = [
            WireCommand::Block(proto::Block { user: by_name(name) }),
            WireCommand::LeaveGroup(proto::LeaveGroup { group: group(name) }),
            WireCommand::CreateGroup(proto::CreateGroup {
                name: name.into(),
                ..create()
            }),
            WireCommand::UpdateProfile(proto::UpdateProfile {
                display_name: Some(name.into()),
                direct_policy: 0,
            }),
            WireCommand::Login(proto::Login {
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
            WireCommand::SendMessage(send),
            WireCommand::SendMessage(with_mentions),
            WireCommand::EditMessage(edit),
        ] {
            assert_eq!(error_code(command), Some(ReplyCode::InvalidText), "{text:.20?}");
        }
    }
    for note in ["\u{1b}[2J", &"x".repeat(201), &combining] {
        let request = proto::RequestFriend {
            user: by_id(2),
            note: note.into(),
        };
        assert_eq!(
            error_code(WireCommand::RequestFriend(request)),
            Some(ReplyCode::InvalidText)
        );
    }
    for emoji in ["", " ", "\u{202e}", &"👍".repeat(9), &combining] {
        let react = proto::React {
            conversation: conversation(9),
            client_message_id: sixteen_bytes(),
            target: 1,
            emoji: emoji.into(),
            remove: false,
        };
        assert_eq!(error_code(WireCommand::React(react)), Some(ReplyCode::InvalidText));
    }
}

#[test]
fn message_texts_round_trip_byte_for_byte() {
    // Texts are neither normalised nor trimmed. The samples have spaces at the ends, decomposed
    // letters, Han extension B, ZWJ sequences, and combining marks up to the maximum size of a
    // text.
    let marks = "\u{301}".repeat(8 * 1024);
    for text in [" e\u{301} \r\n", "𠮷野家", "👩‍👩‍👧‍👦", "\u{feff}x\u{200b}", &marks] {
        let send = WireCommand::SendMessage(proto::SendMessage {
            text: text.into(),
            ..send()
        });
        let request = server::decode_request(packet(ID, send).into(), MessageText::MAX_BYTES).unwrap();
        let mut out = BytesMut::new();
        crate::codec::client::encode_request(&request, &mut out);
        let back = proto::ClientPacket::decode(samples::unframe(&out)).unwrap();
        let Some(WireCommand::SendMessage(back)) = back.command else {
            panic!("another command");
        };
        assert_eq!(back.text, text);
    }
}

#[test]
fn decode_request_enforces_a_lower_text_limit() {
    let bytes = Bytes::from(packet(ID, WireCommand::SendMessage(send())));
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
        for command in [WireCommand::Register(register), WireCommand::ChangePassword(change)] {
            assert_eq!(error_code(command), Some(ReplyCode::InvalidPassword));
        }
    }
    for password in ["", &"x".repeat(3073)] {
        let login = proto::Login {
            password: password.into(),
            ..login()
        };
        assert_eq!(error_code(WireCommand::Login(login)), Some(ReplyCode::InvalidPassword));
    }
}

#[test]
fn debug_output_of_requests_hides_secrets() {
    for command in [WireCommand::Register(register()), WireCommand::Login(login())] {
        let request = server::decode_request(packet(ID, command).into(), 100).unwrap();
        assert!(!format!("{request:?}").contains("correct horse"));
    }
    // The field claims 32 bytes, of which 13 arrive.
    let malformed = decode(b"\x08\x05\x22\x20correct horse".to_vec());
    assert!(!format!("{malformed:?}").contains("correct"));
}

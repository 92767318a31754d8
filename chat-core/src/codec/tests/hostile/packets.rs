//! Tests of malformed packets, of packets with an unknown or several commands, and of missing or
//! invalid ids.

use super::*;

#[test]
fn decode_request_reports_malformed_packets() {
    let broken_text = {
        let mut bytes = packet(ID, WireCommand::SendMessage(send()));
        let at = bytes.windows(2).position(|two| two == b"hi").unwrap();
        bytes[at] = 0xff;
        bytes
    };
    // Two packets that register a name which is not valid UTF-8.
    let surrogate = [&b"\x08\x05\x1a\x05\x0a\x03"[..], b"\xed\xa0\x80"].concat();
    let overlong_nul = [&b"\x08\x05\x1a\x04\x0a\x02"[..], b"\xc0\x80"].concat();
    let truncated = {
        let bytes = packet(ID, WireCommand::SendMessage(send()));
        bytes[..bytes.len() - 1].to_vec()
    };
    let nested = (0..200).fold(Vec::new(), |inner: Vec<u8>, _| {
        let mut outer = vec![0xa2, 0x1f]; // field 500, nested in itself: unknown, so skipped
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend(inner);
        outer
    });
    let groups = [0xa3_u8, 0x1f].repeat(1500); // start-groups of field 500, none of which ends
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
    // The decoder skips the content of an unknown field, even if it looks like nested messages.
    assert!(matches!(
        decode(nested),
        Err(DecodeError::Malformed(Malformed::NoRequestId))
    ));
}

#[test]
fn decode_request_requires_a_request_id_unless_no_reply_is_needed() {
    let no_id = Err(Malformed::NoRequestId.into());
    assert_eq!(decode(Bytes::new()), no_id, "an empty packet");
    for command in [
        WireCommand::SendMessage(send()),
        WireCommand::Login(login()),
        WireCommand::Ping(proto::Ping {}),
        WireCommand::Hello(proto::Hello::default()),
    ] {
        assert_eq!(decode(packet(0, command)), no_id);
    }
    let (conversation, seq) = (9, 7);
    for command in [
        WireCommand::Acknowledge(proto::Acknowledge { conversation, seq }),
        WireCommand::MarkRead(proto::MarkRead { conversation, seq }),
        WireCommand::Typing(proto::Typing {
            conversation,
            stopped: false,
        }),
        WireCommand::SetPresence(proto::SetPresence { presence: 1 }),
    ] {
        assert_eq!(decode(packet(0, command)), Ok(()));
    }
}

#[test]
fn decode_request_rejects_unknown_commands() {
    // A request id without a command, and a request id after or before an unknown field 1007.
    for bytes in [&b"\x08\x05"[..], b"\x08\x05\xfa\x3e\x00", b"\xfa\x3e\x03abc\x08\x05"] {
        let Err(DecodeError::Invalid {
            request_id, failure, ..
        }) = decode(Bytes::copy_from_slice(bytes))
        else {
            panic!("not refused with a reply");
        };
        assert_eq!(request_id, RequestId(ID));
        assert_eq!(failure.code(), Some(ReplyCode::UnknownCommand));
    }
}

/// Decodes the packet that consists of these packets one after another: protobuf merges them, so
/// that it holds the commands of all of them. Returns the request as a client encodes it, because
/// requests with secrets cannot be compared otherwise.
fn decode_merged(packets: &[Vec<u8>]) -> Result<BytesMut, DecodeError> {
    let request = server::decode_request(packets.concat().into(), MessageText::MAX_BYTES)?;
    let mut encoded = BytesMut::new();
    client::encode_request(&request, &mut encoded);
    Ok(encoded)
}

#[test]
fn decode_request_takes_the_last_of_several_commands() {
    let commands = [
        WireCommand::SendMessage(send()),
        WireCommand::Ping(proto::Ping {}),
        WireCommand::CreateGroup(create()),
        WireCommand::Login(login()),
        WireCommand::ReadHistory(history()),
    ];
    for (position, first) in commands.iter().enumerate() {
        for last in commands[..position].iter().chain(&commands[position + 1..]) {
            let alone = decode_merged(&[packet(ID, last.clone())]).unwrap();
            // The id of the first packet is replaced too, and a repeated id is no second request.
            for id in [3, ID] {
                let both = decode_merged(&[packet(id, first.clone()), packet(ID, last.clone())]);
                assert_eq!(both.as_ref(), Ok(&alone), "{first:?}, {last:?}");
            }
            // A command that is replaced is not checked.
            let kick = proto::KickMember::default();
            let replaced = packet(ID, WireCommand::KickMember(kick));
            let both = decode_merged(&[replaced, packet(ID, last.clone())]);
            assert_eq!(both.as_ref(), Ok(&alone), "{last:?}");
            // The first command again after another one is not merged with its earlier form.
            let again = [first, last, first].map(|command| packet(ID, command.clone()));
            assert_eq!(decode_merged(&again), decode_merged(&again[..1]), "{first:?}, {last:?}");
        }
    }
}

#[test]
fn decode_request_merges_a_repeated_command_field_by_field() {
    let first = proto::SendMessage {
        reply_to: 7,
        mentions: vec![1],
        ..send()
    };
    let second = proto::SendMessage {
        text: "later".into(),
        mentions: vec![2],
        mention_all: true,
        ..Default::default()
    };
    let merged = proto::SendMessage {
        text: "later".into(),
        mentions: vec![1, 2],
        mention_all: true,
        ..first.clone()
    };
    let [first, second, merged] = [first, second, merged].map(|send| packet(ID, WireCommand::SendMessage(send)));
    let expected = decode_merged(&[merged]).unwrap();
    assert_eq!(decode_merged(&[first.clone(), second.clone()]), Ok(expected));
    // The conversation of the second packet replaces that of the first, whatever its form.
    let by_name = proto::SendMessage {
        conversation: group("rust"),
        ..Default::default()
    };
    let by_name = packet(ID, WireCommand::SendMessage(by_name));
    let in_group = proto::SendMessage {
        conversation: group("rust"),
        ..send()
    };
    let in_group = decode_merged(&[packet(ID, WireCommand::SendMessage(in_group))]).unwrap();
    let plain = packet(ID, WireCommand::SendMessage(send()));
    assert_eq!(decode_merged(&[plain, by_name]), Ok(in_group));
}

#[test]
fn decode_request_requires_ids_of_sixteen_bytes() {
    for length in [0, 1, 15, 17, 32, 4096] {
        let wrong = Bytes::from(vec![1; length]);
        let commands = [
            WireCommand::SendMessage(proto::SendMessage {
                client_message_id: wrong.clone(),
                ..send()
            }),
            WireCommand::CreateGroup(proto::CreateGroup {
                client_message_id: wrong.clone(),
                ..create()
            }),
            WireCommand::Login(proto::Login {
                device: wrong.clone(),
                ..login()
            }),
            WireCommand::Resume(proto::Resume {
                device: wrong.clone(),
                ..resume()
            }),
            WireCommand::RevokeDevice(proto::RevokeDevice { device: wrong.clone() }),
            WireCommand::RecallMessage(proto::RecallMessage {
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
            WireCommand::SendMessage(proto::SendMessage {
                conversation: conversation(number),
                ..send()
            }),
            WireCommand::SendMessage(proto::SendMessage {
                mentions: vec![1, number],
                ..send()
            }),
            WireCommand::Block(proto::Block { user: by_id(number) }),
            WireCommand::KickMember(kick),
            WireCommand::Resume(proto::Resume {
                user: number,
                ..resume()
            }),
            WireCommand::EditMessage(proto::EditMessage {
                conversation: conversation(9),
                client_message_id: sixteen_bytes(),
                target: number,
                text: "x".into(),
            }),
            WireCommand::Acknowledge(proto::Acknowledge {
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
    let login = WireCommand::Login(proto::Login {
        account: None,
        ..login()
    });
    assert_eq!(
        error_code(login),
        None,
        "the password may be a token that identifies the account"
    );
}

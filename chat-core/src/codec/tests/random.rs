//! Tests with random input: decoders do not panic, values survive a round trip, and the
//! hand-written decoder of sends agrees with the generated decoder.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use prost::Message as _;

use super::samples::{self, unframe};
use crate::codec::proto::{self, client_packet::Command as WireCommand};
use crate::codec::{Answer, Incoming, Request, RequestId, body, client, send, server};
use crate::model::*;

const MAX_TEXT_BYTES: usize = MessageText::MAX_BYTES;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "[a-z世界🍣]{1,20}",
        Just("\u{301}".repeat(50)),
        Just("a\0b".to_owned())
    ]
}

/// Generates integers: small ones, ones of any size, 0, and the greatest valid id.
fn integer() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..300, any::<u64>(), Just(0), Just(i64::MAX as u64)]
}

/// Generates the bytes of an id: mostly 16, and sometimes up to 39 of them.
fn id_bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 16),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
    .prop_map(Bytes::from)
}

fn user_ref() -> impl Strategy<Value = proto::UserRef> {
    use proto::user_ref::Ref;
    prop_oneof![
        Just(None),
        integer().prop_map(|id| Some(Ref::Id(id))),
        text().prop_map(|name| Some(Ref::Name(name))),
    ]
    .prop_map(|r#ref| proto::UserRef { r#ref })
}

fn conversation_ref() -> impl Strategy<Value = proto::ConversationRef> {
    use proto::conversation_ref::Ref;
    prop_oneof![
        Just(None),
        integer().prop_map(|id| Some(Ref::Id(id))),
        user_ref().prop_map(|user| Some(Ref::Direct(user))),
        text().prop_map(|name| Some(Ref::Group(name))),
    ]
    .prop_map(|r#ref| proto::ConversationRef { r#ref })
}

fn send_message() -> impl Strategy<Value = proto::SendMessage> {
    (
        prop::option::weighted(0.9, conversation_ref()),
        id_bytes(),
        text(),
        integer(),
        prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(integer(), 0..60)],
        any::<bool>(),
    )
        .prop_map(
            |(conversation, client_message_id, text, reply_to, mentions, mention_all)| proto::SendMessage {
                conversation,
                client_message_id,
                text,
                reply_to,
                mentions,
                mention_all,
            },
        )
}

/// Generates copies of a packet with up to three bytes changed, and sometimes bytes cut off or
/// added at the end.
fn corrupted(packet: Vec<u8>) -> impl Strategy<Value = Bytes> {
    let length = packet.len();
    let changes = prop::collection::vec((0..length.max(1), any::<u8>()), 0..4);
    let ending = prop_oneof![
        3 => Just((length, Vec::new())),
        1 => (0..=length, prop::collection::vec(any::<u8>(), 0..8)),
    ];
    (changes, ending).prop_map(move |(changes, (keep, more))| {
        let mut bytes = packet.clone();
        for (at, byte) in changes {
            if let Some(target) = bytes.get_mut(at) {
                *target = byte;
            }
        }
        bytes.truncate(keep);
        bytes.extend(more);
        Bytes::from(bytes)
    })
}

fn mutated_request() -> impl Strategy<Value = Bytes> {
    let packets: Vec<Vec<u8>> = samples::requests()
        .into_iter()
        .map(|(_, kind)| {
            let mut frame = BytesMut::new();
            let id = RequestId(77);
            client::encode_request(&Request { id, kind }, &mut frame);
            unframe(&frame).to_vec()
        })
        .collect();
    prop::sample::select(packets).prop_flat_map(corrupted)
}

fn mutated_server_packet() -> impl Strategy<Value = Bytes> {
    let replies = samples::results().into_iter().map(|(_, result)| {
        let mut frame = BytesMut::new();
        server::encode_reply(RequestId(77), &result, &mut frame);
        unframe(&frame).to_vec()
    });
    let pushes = samples::pushes()
        .into_iter()
        .map(|(_, push)| unframe(&server::encode_push(&push)).to_vec());
    prop::sample::select(replies.chain(pushes).collect::<Vec<_>>()).prop_flat_map(corrupted)
}

fn body() -> impl Strategy<Value = EventBody> {
    let message = (
        text(),
        any::<u64>(),
        prop::collection::vec(any::<u64>(), 0..20),
        any::<bool>(),
    );
    let message = message.prop_map(|(text, reply_to, mentions, mention_all)| {
        EventBody::Message(Message {
            text,
            reply_to: (reply_to != 0).then_some(Seq(reply_to)),
            mentions: mentions.into_iter().map(UserId).collect(),
            mention_all,
        })
    });
    let edit = (any::<u64>(), text()).prop_map(|(target, text)| EventBody::Edit {
        target: Seq(target),
        text,
    });
    let updated =
        (text(), text(), any::<bool>(), any::<bool>()).prop_map(|(name, description, history_visible, unlisted)| {
            EventBody::GroupUpdated {
                name,
                description,
                join_policy: JoinPolicy::Invite,
                history_visible,
                unlisted,
            }
        });
    let muted = (any::<u64>(), any::<i64>()).prop_map(|(user, until)| EventBody::MemberMuted {
        user: UserId(user),
        until: Timestamp(until),
    });
    let requested = (any::<u64>(), text(), any::<u64>(), text()).prop_map(|(group, group_name, user, note)| {
        EventBody::JoinRequested {
            group: ConversationId(group),
            group_name,
            user: UserId(user),
            note,
        }
    });
    prop_oneof![message, edit, updated, muted, requested]
}

fn event() -> impl Strategy<Value = Event> {
    // The sender is 0 if the event comes from the system.
    let sender = prop_oneof![Just(0), 1u64..];
    let numbers = (1u64.., 1u64.., sender, any::<i64>());
    let ids = (any::<[u8; 16]>(), prop::option::of(any::<[u8; 16]>()));
    let changed_by = (prop::option::of(1u64..), prop::option::of(1u64..));
    (numbers, ids, changed_by, body()).prop_map(|(numbers, ids, changed_by, body)| Event {
        conversation: ConversationId(numbers.0),
        seq: Seq(numbers.1),
        id: EventId(ids.0),
        sender: UserId(numbers.2),
        device: None,
        client_message_id: ids.1.map(ClientMessageId),
        fingerprint: 0,
        time: Timestamp(numbers.3),
        kind: body.kind(),
        target: body.target(),
        message_count: 0,
        edited_seq: changed_by.0.map(Seq),
        recalled_seq: changed_by.1.map(Seq),
        body: body::encode(&body),
    })
}

proptest! {
    #[test]
    fn decode_survives_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        let _ = server::decode_request(bytes.clone(), MAX_TEXT_BYTES);
        let _ = client::decode(bytes.clone());
        for kind in EventKind::ALL {
            let _ = body::decode(kind, &bytes);
        }
    }

    #[test]
    fn decode_request_survives_mutated_requests(packet in mutated_request()) {
        let _ = server::decode_request(packet, MAX_TEXT_BYTES);
    }

    #[test]
    fn client_decode_survives_mutated_server_packets(packet in mutated_server_packet()) {
        let _ = client::decode(packet);
    }

    #[test]
    fn accepted_mutated_requests_round_trip(packet in mutated_request()) {
        if let Ok(request) = server::decode_request(packet, MAX_TEXT_BYTES) {
            let mut frame = BytesMut::new();
            client::encode_request(&request, &mut frame);
            let again = server::decode_request(unframe(&frame), MAX_TEXT_BYTES);
            prop_assert_eq!(format!("{:?}", again), format!("{:?}", Ok::<_, ()>(request)));
        }
    }

    #[test]
    fn hand_written_decoder_agrees_with_prost_on_sends(
        message in send_message(),
        request_id in 0u64..300,
        max_text_bytes in prop_oneof![Just(MAX_TEXT_BYTES), 0usize..30],
    ) {
        let command = Some(WireCommand::SendMessage(message));
        let packet = proto::ClientPacket { request_id, command };
        if let Some((id, by_hand)) = send::decode(&packet.encode_to_vec(), max_text_bytes) {
            prop_assert_eq!(id.0, request_id);
            let by_prost = crate::codec::convert::requests::to_request(packet.command.unwrap(), max_text_bytes);
            let by_prost = by_prost.map(|kind| match kind {
                crate::codec::RequestKind::Command(command) => command,
                other => panic!("{other:?}"),
            });
            prop_assert_eq!(format!("{by_hand:?}"), format!("{by_prost:?}"));
        }
    }

    #[test]
    fn hand_written_decoder_agrees_with_prost_on_mutated_sends(
        packet in send_message().prop_flat_map(|message| {
            let command = Some(WireCommand::SendMessage(message));
            corrupted(proto::ClientPacket { request_id: 7, command }.encode_to_vec())
        }),
    ) {
        if let Some((id, by_hand)) = send::decode(&packet, MAX_TEXT_BYTES) {
            let by_prost = proto::ClientPacket::decode(packet).expect("prost reads it too");
            prop_assert_eq!(id.0, by_prost.request_id);
            let by_prost = crate::codec::convert::requests::to_request(by_prost.command.unwrap(), MAX_TEXT_BYTES);
            let by_prost = by_prost.map(|kind| match kind {
                crate::codec::RequestKind::Command(command) => command,
                other => panic!("{other:?}"),
            });
            prop_assert_eq!(format!("{by_hand:?}"), format!("{by_prost:?}"));
        }
    }

    #[test]
    fn body_round_trips(sample in body()) {
        let bytes = body::encode(&sample);
        prop_assert_eq!(body::decode(sample.kind(), &bytes), Ok(sample));
    }

    #[test]
    fn event_round_trips_as_a_push_and_in_a_page(event in event(), edit in text()) {
        let push = Push::Event(event.clone());
        let back = client::decode(unframe(&server::encode_push(&push)));
        // The edits of a pushed event are events of their own.
        let pushed = Event { edited_seq: None, ..event.clone() };
        prop_assert_eq!(back, Ok(Incoming::Push(Push::Event(pushed))));

        let edited_text = (event.edited_seq.is_some() && event.recalled_seq.is_none()).then_some(edit);
        let page = HistoryPage {
            conversation: event.conversation,
            events: vec![HistoryEvent { event, edited_text }],
            has_more: false,
            first_seq: Seq(1),
            last_seq: Seq(u64::MAX),
        };
        let result = Ok(Answer::Outcome(Outcome::History(page)));
        let mut frame = BytesMut::new();
        server::encode_reply(RequestId(u64::MAX), &result, &mut frame);
        let expected = Incoming::Reply { request_id: RequestId(u64::MAX), result };
        prop_assert_eq!(client::decode(unframe(&frame)), Ok(expected));
    }
}

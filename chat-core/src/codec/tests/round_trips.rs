//! Tests that each sample is encoded and decoded to an equal value, that prost encodes bodies and
//! replies to the same bytes, and that encoded pushes waste no memory.

use bytes::BytesMut;
use prost::Message as _;

use super::samples::{self, unframe};
use crate::codec::{Incoming, Request, RequestId, RequestKind, body, client, proto, server};
use crate::model::{Command, EventKind, MessageText, Push, UserId};

const ID: RequestId = RequestId(77);

#[test]
fn every_sample_body_round_trips() {
    let samples = samples::bodies();
    for kind in EventKind::ALL {
        assert!(
            samples.iter().any(|(_, body)| body.kind() == kind),
            "no sample of {kind:?}"
        );
    }
    for (name, sample) in samples {
        let bytes = body::encode(&sample);
        assert_eq!(body::decode(sample.kind(), &bytes).as_ref(), Ok(&sample), "{name}");
        for other in EventKind::ALL.into_iter().filter(|kind| *kind != sample.kind()) {
            assert!(
                body::decode(other, &bytes).is_err(),
                "{name} is not decoded as {other:?}"
            );
        }
        let by_prost = proto::Event::decode(bytes.clone()).unwrap().encode_to_vec();
        assert_eq!(by_prost, bytes, "{name} as prost writes it");
    }
}

#[test]
fn every_sample_push_round_trips() {
    for (name, push) in samples::pushes() {
        let frame = server::encode_push(&push);
        assert_eq!(client::decode(unframe(&frame)), Ok(Incoming::Push(push)), "{name}");
    }
}

/// A message may have been edited before its event is pushed. The edit is pushed as an event of its
/// own, so the push of the message must not state an edit, not even one with an empty text.
#[test]
fn push_of_an_edited_message_contains_the_original_text_only() {
    let page = samples::page();
    let edited = page.events.iter().find(|entry| entry.edited_text.is_some()).unwrap();
    let frame = server::encode_push(&Push::Event(edited.event.clone()));
    let packet = proto::ServerPacket::decode(unframe(&frame)).unwrap();
    let Some(proto::server_packet::Packet::Event(pushed)) = packet.packet else {
        panic!("{packet:?} is no event")
    };
    assert_eq!((pushed.edited_seq, pushed.edited_text.as_str()), (0, ""));
    let original = proto::Event::decode(edited.event.body.clone()).unwrap();
    assert_eq!(pushed.body, original.body);
}

#[test]
fn every_sample_result_round_trips() {
    for (name, result) in samples::results() {
        let mut frame = BytesMut::new();
        server::encode_reply(ID, &result, &mut frame);
        let expected = Incoming::Reply { request_id: ID, result };
        assert_eq!(client::decode(unframe(&frame)), Ok(expected), "{name}");
        let by_prost = proto::ServerPacket::decode(unframe(&frame)).unwrap().encode_to_vec();
        assert_eq!(by_prost, unframe(&frame), "{name} as prost writes it");
    }
}

#[test]
fn every_sample_request_round_trips() {
    for (name, kind) in samples::requests() {
        let request = Request { id: ID, kind };
        let mut frame = BytesMut::new();
        client::encode_request(&request, &mut frame);
        let decoded = server::decode_request(unframe(&frame), MessageText::MAX_BYTES).unwrap();
        // The Debug output hides secrets, so the bytes are compared too.
        assert_eq!(format!("{decoded:?}"), format!("{request:?}"), "{name}");
        let mut again = BytesMut::new();
        client::encode_request(&decoded, &mut again);
        assert_eq!(again, frame, "{name}");
    }
}

/// A client that does not request pages sends the command without fields.
#[test]
fn list_of_contacts_without_fields_asks_for_the_longest_first_page() {
    let command = proto::client_packet::Command::ListContacts(proto::ListContacts::default());
    let packet = proto::ClientPacket {
        request_id: ID.0,
        command: Some(command),
    };
    let decoded = server::decode_request(packet.encode_to_vec().into(), MessageText::MAX_BYTES).unwrap();
    let RequestKind::Command(Command::ListContacts { after, limit }) = decoded.kind else {
        panic!("another command: {decoded:?}");
    };
    assert_eq!((after, limit), (UserId(0), 500));
}

#[test]
fn encoded_pushes_have_no_spare_capacity() {
    for (_, push) in samples::pushes() {
        let frame = server::encode_push(&push);
        let memory = frame.try_into_mut().unwrap();
        assert_eq!(memory.capacity(), memory.len());
    }
}

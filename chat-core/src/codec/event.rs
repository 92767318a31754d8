//! Encoding and decoding of `chat.v1.Event`. An event is encoded as its other fields, followed by
//! the stored bytes of its [`body`], which are copied into every packet.

use super::error::Malformed;
use super::proto;
use super::wire::{Encode, FieldSink};
use crate::model::{ClientMessageId, ConversationId, Event, EventId, EventKind, HistoryEvent, Seq, Timestamp, UserId};

use super::body;

/// Event to encode, and its latest edit if that is sent with it.
pub(super) struct EventFields<'a> {
    event: &'a Event,
    edited_seq: Option<Seq>,
    edited_text: Option<&'a str>,
}

impl<'a> EventFields<'a> {
    /// Wraps an event that is pushed. It is sent without its latest edit, even if it was edited
    /// before it was pushed, because edits are pushed as separate events.
    pub(super) const fn live(event: &'a Event) -> Self {
        Self {
            event,
            edited_seq: None,
            edited_text: None,
        }
    }

    /// Wraps an event of a page of history, with the text of its latest edit if the page has it.
    pub(super) fn past(event: &'a HistoryEvent) -> Self {
        Self {
            event: &event.event,
            edited_seq: event.event.edited_seq,
            edited_text: event.edited_text.as_deref(),
        }
    }
}

impl Encode for EventFields<'_> {
    fn put_fields(&self, out: &mut impl FieldSink) {
        let event = self.event;
        out.integer(1, event.conversation.0);
        out.integer(2, event.seq.0);
        out.bytes(3, &event.id.0);
        out.integer(4, event.sender.0);
        out.signed(5, event.time.0);
        if let Some(id) = &event.client_message_id {
            out.bytes(6, &id.0);
        }
        out.integer(7, self.edited_seq.map_or(0, |seq| seq.0));
        out.text(8, self.edited_text.unwrap_or_default().as_bytes());
        out.integer(9, event.recalled_seq.map_or(0, |seq| seq.0));
        out.encoded(&event.body);
    }
}

/// Decodes an event. Fields that are not transmitted (device, fingerprint, message count) become
/// `None` or 0. An event without a body that this version knows gets [`EventKind::Unknown`].
pub(super) fn decode(event: proto::Event) -> Result<HistoryEvent, Malformed> {
    let (kind, target, body) = match event.body {
        Some(body) => {
            let body = body::from_proto(body).ok_or(Malformed::Field("event body"))?;
            (body.kind(), body.target(), body::encode(&body))
        }
        None => (EventKind::Unknown, None, bytes::Bytes::new()),
    };
    let client_message_id = match &event.client_message_id[..] {
        [] => None,
        id => Some(ClientMessageId::try_from(id).map_err(|_| Malformed::Field("client_message_id"))?),
    };
    Ok(HistoryEvent {
        event: Event {
            conversation: positive(event.conversation, "conversation").map(ConversationId)?,
            seq: positive(event.seq, "seq").map(Seq)?,
            id: EventId::try_from(&event.id[..]).map_err(|_| Malformed::Field("event id"))?,
            // 0 is valid: `UserId::SYSTEM`.
            sender: UserId(event.sender),
            device: None,
            client_message_id,
            fingerprint: 0,
            time: Timestamp(event.time_ms),
            kind,
            target,
            message_count: 0,
            edited_seq: optional_seq(event.edited_seq),
            recalled_seq: optional_seq(event.recalled_seq),
            body,
        },
        edited_text: (event.edited_seq != 0 && event.recalled_seq == 0).then_some(event.edited_text),
    })
}

fn positive(number: u64, field: &'static str) -> Result<u64, Malformed> {
    if number == 0 {
        Err(Malformed::Field(field))
    } else {
        Ok(number)
    }
}

fn optional_seq(number: u64) -> Option<Seq> {
    (number != 0).then_some(Seq(number))
}

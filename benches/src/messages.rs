//! Fixture: messages of a given size.

use chat_core::codec::body;
use chat_core::model::{
    ClientMessageId, Command, ConversationId, ConversationRef, DeviceId, Draft, Event, EventBody, EventId, Message,
    MessageText, Seq, Timestamp, UserId,
};

/// Returns a text of `size` bytes.
///
/// # Panics
/// If the engine refuses a text of this size.
#[must_use]
pub fn text(size: usize) -> MessageText {
    MessageText::new("x".repeat(size)).expect("a valid size")
}

/// Returns a command that sends a text of `size` bytes.
#[must_use]
pub fn send(size: usize) -> Command {
    Command::Send {
        conversation: ConversationRef::Id(ConversationId(7)),
        draft: Draft::text(text(size)),
    }
}

/// Returns the event of a committed message of `size` bytes.
#[must_use]
pub fn event(size: usize) -> Event {
    let message = Message {
        text: text(size).as_str().to_owned(),
        ..Message::default()
    };
    let content = EventBody::Message(message);
    Event {
        conversation: ConversationId(7),
        seq: Seq(1),
        id: EventId::random(),
        sender: UserId(1),
        device: Some(DeviceId::random()),
        client_message_id: Some(ClientMessageId::random()),
        fingerprint: 0,
        time: Timestamp(1_790_000_000_000),
        kind: content.kind(),
        target: None,
        message_count: 1,
        edited_seq: None,
        recalled_seq: None,
        body: body::encode(&content),
    }
}

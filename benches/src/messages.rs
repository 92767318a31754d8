//! Fixture: messages of a given size.

use chat_core::codec::body;
use chat_core::model::{
    ClientMessageId, Command, ConversationId, ConversationRef, DeviceId, Draft, Event, EventBody, EventId, Message,
    MessageText, Seq, Timestamp, UserId,
};

/// Returns a text of `size` bytes.
///
/// # Panics
/// If `size` is 0, or greater than [`MessageText::MAX_BYTES`].
#[must_use]
pub fn text(size: usize) -> MessageText {
    MessageText::new("x".repeat(size)).expect("a valid size")
}

/// Returns a command that sends a text of `size` bytes.
///
/// # Panics
/// As for [`text`].
#[must_use]
pub fn send_command(size: usize) -> Command {
    Command::Send {
        conversation: ConversationRef::Id(ConversationId(7)),
        draft: Draft::text(text(size)),
    }
}

/// Returns the event of a committed message with a text of `size` bytes.
///
/// # Panics
/// As for [`text`].
#[must_use]
pub fn event(size: usize) -> Event {
    let content = EventBody::Message(Message::new(text(size).as_str()));
    let mut event = Event::new(
        ConversationId(7),
        Seq(1),
        EventId::random(),
        UserId(1),
        Timestamp(1_790_000_000_000),
        content.kind(),
        body::encode(&content),
    );
    (event.device, event.client_message_id) = (Some(DeviceId::random()), Some(ClientMessageId::random()));
    event
}

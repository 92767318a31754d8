//! Mistakes made on purpose, so that a check of running nodes can be seen to find them.
//!
//! With the feature `planted-bugs` the variable `PLANTED_BUG` names the one that this process makes. Without the feature every function
//! here does nothing, and is compiled to nothing.

#[cfg(feature = "planted-bugs")]
pub(crate) use on::*;

#[cfg(not(feature = "planted-bugs"))]
pub(crate) use off::*;

#[cfg(feature = "planted-bugs")]
mod on {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use crate::codec::body;
    use crate::engine::CommandError;
    use crate::model::{
        Appended, ClientMessageId, Conversation, ConversationId, Event, EventBody, HistoryEvent, Message, UserId,
    };

    /// The name of the mistake.
    fn chosen() -> &'static str {
        static CHOSEN: OnceLock<String> = OnceLock::new();
        CHOSEN.get_or_init(|| {
            let name = std::env::var("PLANTED_BUG").unwrap_or_default();
            if !name.is_empty() {
                tracing::error!(name, "this process makes mistakes on purpose");
            }
            name
        })
    }

    /// Whether the mistake is made this time: once in so many.
    fn strikes(name: &str, each: u32) -> bool {
        static TIMES: AtomicU32 = AtomicU32::new(0);
        chosen() == name && TIMES.fetch_add(1, Ordering::Relaxed) % each == each - 1
    }

    /// `ack-unwritten`: what is acknowledged is not written.
    pub(crate) fn forgets_to_write() -> bool {
        strikes("ack-unwritten", 50)
    }

    /// `key-forgotten`: messages are not kept under the sender's key, so that nobody knows a repetition.
    pub(crate) fn stored_key(key: ClientMessageId) -> ClientMessageId {
        if strikes("key-forgotten", 1) {
            ClientMessageId::random()
        } else {
            key
        }
    }

    /// `stored-twice`: a message takes two places.
    pub(crate) fn stores_twice() -> bool {
        strikes("stored-twice", 50)
    }

    /// `time-back`: an event is older than the one before.
    pub(crate) fn numbered(row: &mut Conversation) {
        if strikes("time-back", 50) {
            row.last_time.0 -= 60_000;
        }
    }

    /// `ack-moved`: a repetition is told another place. `ack-elsewhere`: a place is one in another conversation. `stored-refused`:
    /// what is written is refused.
    pub(crate) fn answered(results: &mut [Result<Appended, CommandError>]) {
        for result in results {
            let Ok(appended) = result else { continue };
            if appended.duplicate && strikes("ack-moved", 1) {
                appended.seq = appended.seq.next();
            } else if strikes("ack-elsewhere", 100) {
                appended.conversation = ConversationId(appended.conversation.0 + 1);
            } else if strikes("stored-refused", 100) {
                *result = Err(CommandError::forbidden());
            }
        }
    }

    /// `page-altered`: somebody reads another text. `page-forged`: of another sender. `page-short`: an event is left out.
    pub(crate) fn page(events: &mut Vec<HistoryEvent>) {
        for read in events.iter_mut() {
            if strikes("page-altered", 200) {
                alter(&mut read.event);
            }
            if strikes("page-forged", 200) {
                read.event.sender = UserId(read.event.sender.0 + 1);
            }
        }
        if chosen() == "page-short" {
            events.retain(|read| read.event.seq.0 % 50 != 49);
        }
    }

    /// `push-altered`: those who are there get another text than those who read it later.
    pub(crate) fn pushed(event: &Event) -> Event {
        let mut event = event.clone();
        if strikes("push-altered", 50) {
            alter(&mut event);
        }
        event
    }

    /// `removed-stays`: who was removed from a group is told on.
    pub(crate) fn keeps_the_removed() -> bool {
        chosen() == "removed-stays"
    }

    /// `stranger-sends`: nobody asks whether a sender is a member.
    pub(crate) fn lets_strangers_send() -> bool {
        chosen() == "stranger-sends"
    }

    /// `fence-open`: nobody asks whether another session of the device has taken over, neither when something is written nor when
    /// another node says so.
    pub(crate) fn ignores_fences() -> bool {
        chosen() == "fence-open"
    }

    /// `deaf`: a node does not hear what others tell it.
    pub(crate) fn is_deaf() -> bool {
        chosen() == "deaf"
    }

    fn alter(event: &mut Event) {
        if let Ok(EventBody::Message(message)) = body::decode(event.kind, &event.body) {
            let text = "this was never said".to_owned();
            event.body = body::encode(&EventBody::Message(Message { text, ..message }));
        }
    }
}

#[cfg(not(feature = "planted-bugs"))]
mod off {
    use crate::engine::CommandError;
    use crate::model::{Appended, ClientMessageId, Conversation, Event, HistoryEvent};

    pub(crate) const fn forgets_to_write() -> bool {
        false
    }

    pub(crate) const fn stored_key(key: ClientMessageId) -> ClientMessageId {
        key
    }

    pub(crate) const fn stores_twice() -> bool {
        false
    }

    pub(crate) const fn numbered(_: &mut Conversation) {}

    pub(crate) const fn answered(_: &mut [Result<Appended, CommandError>]) {}

    pub(crate) const fn page(_: &mut Vec<HistoryEvent>) {}

    pub(crate) fn pushed(event: &Event) -> Event {
        event.clone()
    }

    pub(crate) const fn keeps_the_removed() -> bool {
        false
    }

    pub(crate) const fn lets_strangers_send() -> bool {
        false
    }

    pub(crate) const fn ignores_fences() -> bool {
        false
    }

    pub(crate) const fn is_deaf() -> bool {
        false
    }
}

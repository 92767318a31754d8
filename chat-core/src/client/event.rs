//! Events that a client delivers to its application.

use std::{sync::Arc, time::Duration};

use crate::model::{
    Appended, ClientMessageId, ConversationId, ConversationInfo, ConversationRef, EventBody, HistoryEvent,
    PresenceState, Seq, UserId,
};

use super::{ClientError, Cursor, EventIdentity};

/// One event of a conversation's log. From the start of delivery that [`Receive`](super::Receive)
/// selects, a running client delivers every event once, in order and without gaps. There are two
/// exceptions: [`ClientEvent::Truncated`] reports events that are missing, and
/// [`ClientEvent::StoreReplaced`] or [`ClientEvent::Rewound`] reports that a log is delivered
/// again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// The conversation as the client knew it when it processed this event. If the event was read
    /// from the log later, this may include the effects of later events.
    pub conversation: Arc<ConversationInfo>,
    /// The event. If it was read from the log and had been edited,
    /// [`edited_text`](HistoryEvent::edited_text) is the text of its latest edit.
    pub event: HistoryEvent,
    /// Decoded body; [`EventBody::Unknown`] for an event of a later version of the protocol, or
    /// with a malformed body.
    pub body: EventBody,
    /// True if this device sent the event, under an idempotency key that the client made.
    pub is_from_this_device: bool,
}

impl Delivery {
    /// Returns the position of the event in its conversation.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.event.event.seq
    }

    /// Returns the cursor that acknowledges this event.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor {
            seq: self.seq(),
            identity: Some(EventIdentity::from(&self.event.event)),
        }
    }

    /// Returns the user who caused the event.
    #[must_use]
    pub fn sender(&self) -> UserId {
        self.event.event.sender
    }
}

/// An event that a client delivers to its application.
///
/// A best-effort event may be missing: the client drops it while too many events wait for the
/// application, and the server need not send it.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the variant describes its fields")]
pub enum ClientEvent {
    /// An event of a conversation's log. Acknowledge it with
    /// [`Received::done`](super::Received::done) when it has been processed.
    Event(Box<Delivery>),
    /// The events `from` to `to` will not be delivered: the user may not read them, or the server
    /// no longer has them.
    Truncated {
        conversation: Arc<ConversationInfo>,
        /// First missing event.
        from: Seq,
        /// Last missing event.
        to: Seq,
    },
    /// The server's store was replaced, because its operator restored a backup. Events that were
    /// delivered, and the ids in them, may no longer exist or denote something else. Each
    /// conversation is delivered again from the cursor that the server has for this device, or from
    /// the beginning with [`Receive::FromBeginning`](super::Receive::FromBeginning).
    StoreReplaced,
    /// A conversation's log differs from the delivered events, because the server's operator
    /// restored a copy of its data. Discard every event that was delivered after `to`; the log may
    /// have other events there, which follow. Acknowledge this event with
    /// [`Received::done`](super::Received::done), or the next run may report it again.
    Rewound {
        conversation: Arc<ConversationInfo>,
        /// Last position whose event is known to be unchanged; if there is none, the position
        /// before the first readable event.
        to: Seq,
    },
    /// Another member has received or read more. Best effort.
    Receipt {
        conversation: ConversationId,
        user: UserId,
        /// Last event that any device of the member has acknowledged.
        delivered_seq: Seq,
        /// Last event that the member has read.
        read_seq: Seq,
    },
    /// The user's read mark was moved elsewhere: on another device, or by an application or
    /// operator. Best effort.
    Read(Arc<ConversationInfo>),
    /// A member is typing, or stopped. In a group, this may be the user on another device. Best
    /// effort.
    Typing {
        conversation: ConversationId,
        user: UserId,
        /// True if the member stopped typing.
        stopped: bool,
    },
    /// A friend's presence changed, or the friendship has just begun. Best effort.
    Presence {
        user: UserId,
        /// The friend's current state.
        state: PresenceState,
    },
    /// A message of the outbox has its outcome, and no [`SendHandle`](super::SendHandle) waits for
    /// it: the handle was dropped, or an earlier run queued the message. Best effort.
    Settled {
        /// Idempotency key of the message.
        id: ClientMessageId,
        /// Conversation of the message.
        conversation: ConversationRef,
        /// Outcome of the message.
        outcome: SendOutcome,
    },
    /// A session started. Best effort.
    Connected {
        /// Address of the server.
        server: String,
    },
    /// Everything that the logs contained at the start of the session has been delivered. Does not
    /// occur with [`Receive::Nothing`](super::Receive::Nothing).
    CaughtUp,
    /// A connection ended, or an attempt to connect failed; the client connects again. Best effort.
    Disconnected {
        reason: ClientError,
        /// Time until the next attempt.
        retry_in: Duration,
    },
    /// The client ended. No event follows. Missing if the client's task panicked, or if too many
    /// events waited for the application.
    Ended(ClientError),
}

/// Outcome of a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SendOutcome {
    /// The server stored the message.
    Stored(Appended),
    /// The message was not stored, and is not sent again. There are two exceptions: with
    /// [`ClientError::StoreReplaced`], an attempt before the restoration may be in the backup; and
    /// if a crash or a failure of the client's store loses the outcome, the next run sends the
    /// message again.
    NotStored(ClientError),
    /// The deadline passed before the server answered, or the server had an internal error at
    /// several attempts. The message is stored once or not at all.
    Unknown,
}

//! What a client hands to its application.

use std::{sync::Arc, time::Duration};

use crate::model::{
    Appended, ClientMessageId, ConversationId, ConversationInfo, ConversationRef, EventBody, HistoryEvent,
    PresenceState, Seq, UserId,
};

use super::{ClientError, Cursor, Mark};

/// One entry of a conversation's log. Every place comes once per process life, in order, without holes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// The conversation as it stood just after this event.
    pub conversation: Arc<ConversationInfo>,
    /// The event, with its latest edit beside it when it was read from the log.
    pub event: HistoryEvent,
    /// What happened, decoded; [`EventBody::Unknown`] for what only a later version understands.
    pub body: EventBody,
    /// Sent from this device.
    pub own: bool,
}

impl Delivery {
    /// Its place.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.event.event.seq
    }

    /// Its place, and what stands there: to acknowledge it.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor {
            seq: self.seq(),
            mark: Some(Mark::from(&self.event.event)),
        }
    }

    /// Who did it.
    #[must_use]
    pub fn sender(&self) -> UserId {
        self.event.event.sender
    }
}

/// Something the application should know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// An entry of a log. Acknowledge it when it is dealt with.
    Event(Box<Delivery>),
    /// These places will never come: this user may not read them, or the server does not have them any more.
    Truncated {
        /// Where.
        conversation: Arc<ConversationInfo>,
        /// The first that is missing.
        from: Seq,
        /// The last that is missing.
        to: Seq,
    },
    /// The server's history is another one than before (a backup was restored): what was handed out of all conversations is void. Each comes anew
    /// from where the server knows this device to be.
    HistoryReset,
    /// A conversation's log is another one than before, from some place on (a copy was restored without saying so): what was handed out after
    /// `to` is void, and comes anew as it is now. To be acknowledged, or the next run is told again.
    Rewound {
        /// Which.
        conversation: Arc<ConversationInfo>,
        /// Up to here both logs are the same.
        to: Seq,
    },
    /// Another member has got or read so far. Best effort.
    Receipt {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// Got up to.
        delivered_seq: Seq,
        /// Read up to.
        read_seq: Seq,
    },
    /// The user's own read marker moved, on this or another device.
    Read(Arc<ConversationInfo>),
    /// Another member writes, or stopped. Best effort.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// Stopped.
        stopped: bool,
    },
    /// A friend came or went. Best effort.
    Presence {
        /// Who.
        user: UserId,
        /// What they are now.
        state: PresenceState,
    },
    /// A message of the outbox came to its end, and nobody waits for it: its handle was dropped, or an earlier run had queued it.
    Settled {
        /// Its idempotency key.
        id: ClientMessageId,
        /// Where it was to go.
        conversation: ConversationRef,
        /// How it ended.
        outcome: SendOutcome,
    },
    /// A session begins.
    Connected {
        /// With which server.
        server: String,
    },
    /// Everything that was in the logs when the session began has been handed out.
    CaughtUp,
    /// The connection is gone; the next attempt follows after so long.
    Disconnected {
        /// Why.
        reason: ClientError,
        /// Until then nothing is tried.
        retry_in: Duration,
    },
    /// Nothing more will come.
    Ended(ClientError),
}

/// How a message of the outbox ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SendOutcome {
    /// It is durable, at this place.
    Acked(Appended),
    /// It was not stored and will not be.
    Rejected(ClientError),
    /// Its deadline passed before the server answered: it is there once or not at all.
    Unknown,
}

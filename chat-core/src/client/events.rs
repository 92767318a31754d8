//! [`Events`]: the stream of a client's events.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;
use tokio::sync::mpsc;

use crate::model::ConversationId;

use super::{
    ClientEvent, Cursor,
    shared::{Acknowledgement, Shared},
};

/// Stream of a client's events, in order. While it is not read, events are queued. Once many are
/// queued, the client requests no further logs from the server; while the queue is full, it also
/// drops best-effort events.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<ClientEvent>,
    shared: Arc<Shared>,
    /// Number of resets ([`ClientEvent::StoreReplaced`], [`ClientEvent::Rewound`]) that were
    /// delivered.
    resets: u64,
    /// Number of the store epoch that the delivered events belong to, from 0: each
    /// [`ClientEvent::StoreReplaced`] starts the next.
    epoch_number: u64,
}

impl Events {
    pub(super) fn new(receiver: mpsc::Receiver<ClientEvent>, shared: Arc<Shared>) -> Self {
        Self {
            receiver,
            shared,
            resets: 0,
            epoch_number: 0,
        }
    }

    /// Records that the application takes the events. From now on, ids in its requests count as ids
    /// of the store epoch that the taken events belong to.
    pub(super) fn taken(self) -> Self {
        self.shared.set_delivered_epoch_number(Some(self.epoch_number));
        self
    }

    /// Returns the next event, or `None` once the client has ended and no event is left.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Received> {
        let event = self.receiver.recv().await?;
        Some(self.received(event))
    }

    /// Counts the event if it is a reset or starts a store epoch. Returns it for the application.
    fn received(&mut self, event: ClientEvent) -> Received {
        if matches!(event, ClientEvent::StoreReplaced | ClientEvent::Rewound { .. }) {
            self.resets = self.shared.count_reset();
        }
        if matches!(event, ClientEvent::StoreReplaced) {
            self.epoch_number += 1;
            self.shared.set_delivered_epoch_number(Some(self.epoch_number));
        }
        Received {
            event,
            shared: Arc::clone(&self.shared),
            resets: self.resets,
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.shared.set_delivered_epoch_number(None);
    }
}

impl Stream for Events {
    type Item = Received;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Received>> {
        let event = std::task::ready!(self.receiver.poll_recv(context));
        Poll::Ready(event.map(|event| self.received(event)))
    }
}

/// An event that was delivered to the application.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received {
    /// The event itself.
    pub event: ClientEvent,
    shared: Arc<Shared>,
    /// Number of resets that were delivered up to this event.
    resets: u64,
}

impl Received {
    /// Acknowledges this event and all before it in its conversation, so that later runs do not
    /// deliver them again, except with [`Receive::FromBeginning`](super::Receive::FromBeginning).
    /// The client saves acknowledgements with a delay of up to 100 ms; a crash may lose the last
    /// ones. Does nothing for an event without a position in a log.
    pub fn done(&self) {
        if let Some((conversation, cursor)) = self.position() {
            let resets = self.resets;
            self.shared
                .acknowledge(conversation, Acknowledgement { cursor, resets });
        }
    }

    fn position(&self) -> Option<(ConversationId, Cursor)> {
        match &self.event {
            ClientEvent::Event(delivery) => Some((delivery.event.event.conversation, delivery.cursor())),
            ClientEvent::Truncated { conversation, to, .. } | ClientEvent::Rewound { conversation, to } => {
                Some((conversation.id, Cursor::from(*to)))
            }
            _ => None,
        }
    }
}

//! [`FeedItem`]: one event of a feed, handed out to the consumer.

use std::sync::Arc;

use thiserror::Error;

use super::shared::Shared;
use crate::model::Event;

/// An event that a feed handed out. [`Event::body()`] decodes its content.
///
/// Call [`done`](Self::done) or [`acknowledge`](Self::acknowledge) once the event is processed. The
/// cursor of a conversation passes an event when that event and all earlier ones were acknowledged.
/// If an item is dropped without acknowledgement, the cursor of its conversation stops, and the
/// event counts as in flight until the feed is closed or this node loses the lease of the
/// conversation's shard. Then the event is handed out again, by this or another node that has the
/// feed open.
#[derive(Debug)]
#[must_use = "an event that is not acknowledged stops the cursor of its conversation"]
pub struct FeedItem {
    event: Event,
    /// Term of the lease under which the event was handed out.
    term: u64,
    shared: Arc<Shared>,
}

/// Error of [`FeedItem::acknowledge`]: the acknowledgement may not have been recorded. If it was
/// not, the event will be handed out again, possibly by another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "this node lost the lease of the conversation's shard, or the feed was closed, before the store confirmed the \
     acknowledgement"
)]
pub struct NotRecorded;

impl FeedItem {
    pub(super) fn new(event: Event, term: u64, shared: Arc<Shared>) -> Self {
        Self { event, term, shared }
    }

    /// Returns the event as it was stored when the feed read it. If the message had been edited by
    /// then, the event refers to the edit; if it had been recalled, the body is erased. An edit or
    /// a recall is also a separate event, later in the log.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Acknowledges the event without waiting. Once all earlier events of the conversation are
    /// acknowledged too, the acknowledgement is written to the store together with others: see
    /// [`flush_interval`](super::FeedOptions::flush_interval). After a crash before that, the event
    /// is handed out again. Closing the feed or the engine writes the outstanding acknowledgements,
    /// if the store is available. If this node has lost the lease of the conversation's shard, the
    /// acknowledgement has no effect.
    pub fn done(self) {
        self.shared
            .acknowledge(self.event.conversation, self.event.seq, self.term);
    }

    /// Acknowledges the event and waits until the acknowledgement is stored: from then on no node
    /// hands the event out again. This includes waiting until all earlier events of the
    /// conversation are acknowledged, and until the store is available.
    ///
    /// # Errors
    /// [`NotRecorded`].
    ///
    /// # Cancel safety
    /// If the future is dropped after its first poll, the event is acknowledged as by
    /// [`done`](Self::done). If it was never polled, the item is dropped without acknowledgement.
    pub async fn acknowledge(self) -> Result<(), NotRecorded> {
        let recorded = self
            .shared
            .acknowledge_durably(self.event.conversation, self.event.seq, self.term);
        // The consumer has processed the item, so a closing feed need not wait for it.
        drop(self);
        match recorded {
            Some(recorded) => recorded.await.map_err(|_| NotRecorded),
            None => Err(NotRecorded),
        }
    }
}

impl Drop for FeedItem {
    fn drop(&mut self) {
        self.shared.item_returned();
    }
}

//! The consumer's side of a feed.

use std::sync::Arc;

use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::item::FeedItem;
use super::machine::Machine;
use crate::model::{ConversationId, Seq};
use crate::sync::Mutex;
use crate::time::now;

/// A feed of events: see [`Engine::feed`](crate::engine::Engine::feed). Dropping it closes it in
/// the background; [`close`](Self::close) waits for that. It keeps the engine neither alive nor
/// open.
///
/// Several tasks may call [`next`](Self::next) of one feed. Each event goes to one of them, so
/// events of one conversation may then be processed at the same time.
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
}

/// State that the consumer shares with the driver.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) machine: Mutex<Machine>,
    /// Tells the driver that the machine may have work.
    pub(super) work: Notify,
    /// Tells a consumer that there may be an event.
    pub(super) ready: Notify,
    /// Cancelled when the feed begins to close: it hands out nothing more.
    pub(super) closing: CancellationToken,
    /// Cancelled when the driver has ended.
    pub(super) closed: CancellationToken,
}

impl Feed {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Waits for an event that was not handed out yet. Returns `None` once the engine shuts down.
    ///
    /// Events of one conversation come in the order of their `Seq`, without gaps in what the scope
    /// may read. While the store is down, or other nodes hold all leases of the feed, this waits.
    ///
    /// # Cancel safety
    /// Safe: an event that was not returned is returned by the next call.
    pub async fn next(&self) -> Option<FeedItem> {
        loop {
            if self.shared.closing.is_cancelled() {
                return None;
            }
            if let Some(item) = self.shared.take() {
                return Some(item);
            }
            tokio::select! {
                () = self.shared.ready.notified() => {}
                () = self.shared.closing.cancelled() => return None,
            }
        }
    }

    /// Hands out nothing more, waits a few seconds at most for the items that the consumer still
    /// has, records what was acknowledged and releases the leases, so that other nodes go on at
    /// once.
    pub async fn close(self) {
        self.shared.closing.cancel();
        self.shared.closed.cancelled().await;
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.shared.closing.cancel();
    }
}

impl Shared {
    fn take(self: &Arc<Self>) -> Option<FeedItem> {
        let mut machine = self.machine.lock();
        let (event, term) = machine.take(now())?;
        if machine.has_ready() {
            self.ready.notify_one();
        }
        Some(FeedItem::new(event, term, Arc::clone(self)))
    }

    pub(super) fn acknowledge(&self, conversation: ConversationId, seq: Seq, term: u64) {
        self.machine.lock().acknowledge(now(), conversation, seq, term);
        self.work.notify_one();
    }

    /// Returns a receiver that is told when the acknowledgement is recorded, or `None` if the lease
    /// is lost.
    pub(super) fn acknowledge_durably(
        &self,
        conversation: ConversationId,
        seq: Seq,
        term: u64,
    ) -> Option<oneshot::Receiver<()>> {
        let recorded = self.machine.lock().acknowledge_durably(now(), conversation, seq, term);
        self.work.notify_one();
        recorded
    }

    /// Records that the consumer has one item less.
    pub(super) fn returned(&self) {
        if self.machine.lock().returned() {
            self.work.notify_one();
        }
    }
}

//! [`Feed`]: the consumer's side of a feed.

use std::sync::Arc;

use super::item::FeedItem;
use super::shared::Shared;

/// A feed of events: see [`Engine::feed`](crate::engine::Engine::feed). Dropping the handle closes
/// the feed in the background; [`close`](Self::close) waits until it is closed. A feed does not
/// keep the engine alive.
///
/// Several tasks may call [`next`](Self::next) on one feed. Each event goes to one of them, so
/// events of one conversation may be processed concurrently.
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
}

impl Feed {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Waits for the next event and hands it out. Returns `None` once the engine shuts down, or if
    /// the task of the feed panicked.
    ///
    /// Events of one conversation are handed out in the order of their `Seq`. From the feed's
    /// [start](crate::engine::FeedOptions::start) on, no event of its scope is left out. If this
    /// node loses a lease and claims it again, the events after the cursor are handed out again.
    /// While the store is unavailable, or other nodes hold all leases of the feed, this waits.
    ///
    /// # Cancel safety
    /// Safe: an event that was not returned is returned by the next call.
    pub async fn next(&self) -> Option<FeedItem> {
        loop {
            if self.shared.closing.is_cancelled() {
                return None;
            }
            if let Some((event, term)) = self.shared.take() {
                return Some(FeedItem::new(event, term, Arc::clone(&self.shared)));
            }
            tokio::select! {
                () = self.shared.ready.notified() => {}
                () = self.shared.closing.cancelled() => return None,
            }
        }
    }

    /// Closes the feed: hands out no more events, waits for the items that the consumer still has,
    /// at most for the engine's [`request_timeout`](crate::engine::EngineConfig::request_timeout),
    /// records the acknowledgements and releases the leases, so that other nodes need not wait
    /// until the leases expire. Without the store, the acknowledgements are lost, and the leases
    /// stay until they expire.
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

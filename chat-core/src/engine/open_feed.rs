//! The methods of an engine that open and delete feeds.

use super::Engine;
use super::feed::{Feed, FeedError, FeedOptions};

impl Engine {
    /// Opens a feed, which hands out every event of all conversations, or every event that one user
    /// may read, from its [start](FeedOptions::start) on. A feed has no device, no session and no
    /// presence.
    ///
    /// The feed continues where the feed of that name stopped, on this or on another node: its
    /// cursors are in the store. Within a conversation, events come in the order of their `Seq`,
    /// and none is left out. Each event is handed out once, and again only if the store had not
    /// recorded its [acknowledgement](super::FeedItem::done) when the feed was closed, or when the
    /// node crashed or lost its lease.
    ///
    /// Several nodes may open the same feed. The conversations are divided into 16 shards, and the
    /// nodes share these. When a node closes the feed, other nodes take over its shards. After a
    /// node has crashed, they usually do so within [`lease_ttl`](FeedOptions::lease_ttl) and a
    /// fifth of it. A node that joins usually gets its share within two fifths of `lease_ttl`, plus
    /// the time in which the other nodes process the events in flight of the shards that they give
    /// up.
    ///
    /// An event is handed out at once if the node that committed it holds the lease of its shard,
    /// and otherwise within about a second, because it is announced on the bus. Without a bus, the
    /// node scans the store about every second if other nodes use it. In any case, a scan about
    /// every 30 s ([`sweep_interval`](super::RouterConfig::sweep_interval)) finds events that were
    /// never announced. In a large store, scans are less frequent. A slow consumer delays only
    /// itself: at most [`max_in_flight`](FeedOptions::max_in_flight) events are in memory. While
    /// the store is down, the feed waits.
    ///
    /// The feed ends when the engine shuts down; then [`Feed::next`] returns `None`.
    ///
    /// # Errors
    /// [`FeedError`]; no feed was opened. After [`FeedError::Store`], leases that this call may
    /// have claimed remain until they expire.
    ///
    /// # Cancel safety
    /// If the future is dropped, this call opens no feed, but leases that it claimed remain until
    /// they expire.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use chat_core::engine::FeedOptions;
    /// use chat_core::prelude::*;
    /// use chat_core::store::MemoryStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let engine = Engine::builder(Arc::new(MemoryStore::new())).build().await?;
    /// let feed = engine.feed(FeedOptions::all_conversations("index").from_now()).await?;
    /// # let alice = Registration::new(UserName::parse("alice")?, Secret::new("correct horse"));
    /// # let alice = engine.register(Source::Local, alice).await?;
    /// # let session = engine.session(alice.id, DeviceId::random()).await?;
    /// # session.send_text(ConversationRef::direct(alice.id), "milk, bread").await?;
    /// while let Some(item) = feed.next().await {
    ///     if let EventBody::Message(message) = item.event().body()? {
    ///         println!("{} wrote {}", item.event().sender, message.text);
    /// #       break;
    ///     }
    ///     item.done();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn feed(&self, options: FeedOptions) -> Result<Feed, FeedError> {
        self.feeds().open(options).await
    }

    /// Deletes the cursors and leases of a feed. A feed that is opened with that name later is a
    /// new feed: it starts where [`FeedOptions::start`] says.
    ///
    /// # Errors
    /// [`FeedError`]; nothing was deleted if a node has the feed open. After [`FeedError::Store`]
    /// the feed may have been deleted.
    pub async fn delete_feed(&self, name: &str) -> Result<(), FeedError> {
        self.feeds().delete(name).await
    }
}

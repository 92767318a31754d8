//! Opening feeds.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, Io};
use super::handle::{Feed, Shared};
use super::leases::{Delete, Leases};
use super::machine::{Done, Machine};
use super::options::{FeedError, FeedOptions, FeedScope};
use super::source::Source;
use crate::engine::Engine;
use crate::engine::breaker::Scope;
use crate::engine::error::CommandError;
use crate::engine::lifecycle::Lifecycle;
use crate::engine::units::Units;
use crate::model::NodeId;
use crate::router::Router;
use crate::store::StoreExt;
use crate::sync::Mutex;
use crate::time::now;

/// Names of the feeds that are open on this engine.
type OpenNames = Arc<Mutex<HashSet<String>>>;

/// Opens the feeds of an engine.
#[derive(Debug)]
pub(in crate::engine) struct Feeds {
    units: Arc<Units>,
    router: Router,
    lifecycle: Lifecycle,
    node: NodeId,
    /// Time for which a closing feed waits for its consumer.
    grace: Duration,
    open: OpenNames,
}

/// Keeps a feed's name taken until it is dropped.
#[derive(Debug)]
pub(super) struct OpenName {
    open: OpenNames,
    name: String,
}

impl OpenName {
    fn take(open: &OpenNames, name: &str) -> Result<Self, FeedError> {
        if !open.lock().insert(name.to_owned()) {
            return Err(FeedError::AlreadyOpen(name.to_owned()));
        }
        Ok(Self {
            open: Arc::clone(open),
            name: name.to_owned(),
        })
    }
}

impl Drop for OpenName {
    fn drop(&mut self) {
        self.open.lock().remove(&self.name);
    }
}

impl Feeds {
    pub(in crate::engine) fn new(
        units: Arc<Units>,
        router: Router,
        lifecycle: Lifecycle,
        node: NodeId,
        grace: Duration,
    ) -> Self {
        Self {
            units,
            router,
            lifecycle,
            node,
            grace,
            open: OpenNames::default(),
        }
    }

    async fn open(&self, options: FeedOptions) -> Result<Feed, FeedError> {
        options.validate()?;
        if self.lifecycle.is_draining() {
            return Err(FeedError::ShuttingDown);
        }
        let name = OpenName::take(&self.open, &options.name)?;
        // News count from before the first look at the store.
        let watch = self.router.watch_commits(match options.scope {
            FeedScope::User(user) => Some(user),
            FeedScope::AllConversations => None,
        });
        let io = self.io(&options);
        let mut machine = Machine::new(&options, now());
        // The first round runs here: when the feed is open, its begin is fixed.
        for work in machine.poll_work(now()) {
            let done = io.clone().execute(work).await;
            if let Done::Leases(Err(error)) = done {
                return Err(FeedError::Store(error));
            }
            machine.finish(now(), done);
        }
        let shared = Arc::new(Shared {
            machine: Mutex::new(machine),
            work: Notify::new(),
            ready: Notify::new(),
            closing: self.lifecycle.draining().child_token(),
            closed: CancellationToken::new(),
        });
        let driver = Driver {
            shared: Arc::clone(&shared),
            io,
            watch,
            grace: self.grace,
            name,
        };
        self.lifecycle.spawn_worker(driver.run());
        Ok(Feed::new(shared))
    }

    fn io(&self, options: &FeedOptions) -> Io {
        let source = Arc::new(Source {
            units: Arc::clone(&self.units),
            log: self.router.event_log(),
            feed: options.name.clone(),
            scope: options.scope,
        });
        let leases = Arc::new(Leases {
            units: Arc::clone(&self.units),
            source: Arc::clone(&source),
            node: self.node,
            start: options.start,
            ttl: options.lease_ttl,
            registration: Mutex::default(),
        });
        Io { source, leases }
    }

    async fn delete(&self, name: &str) -> Result<(), FeedError> {
        FeedOptions::all_conversations(name).validate()?;
        let _name = OpenName::take(&self.open, name)?;
        let delete = self.units.store().run(Delete(name.to_owned()));
        match self.units.write(Scope::Alone, delete).await {
            Some(deleted) => deleted.map_err(|error| FeedError::Store(error.into())),
            None => Err(FeedError::Store(CommandError::try_again())),
        }
    }
}

impl Engine {
    /// Opens a feed: every event of all conversations, or of those of one user, without a device, a
    /// session or presence.
    ///
    /// The feed continues where the feed of that name stopped, here or on another node: its cursors
    /// are in the store. Within a conversation, events come in the order of their `Seq` and without
    /// gaps. Each event is handed out once, and again only if it was not
    /// [acknowledged](super::FeedItem::done) before the node died or lost its lease.
    ///
    /// Several nodes may open the same feed. They divide the conversations into 16 parts between
    /// them, and a node takes over the parts of another one that closes the feed, or within
    /// [`lease_ttl`](FeedOptions::lease_ttl) those of a node that died. A node that joins gets its
    /// share as soon as the others have processed what they have in flight.
    ///
    /// An event that this node commits is handed out at once. Those of other nodes follow within
    /// about a second: by their announcements on the bus, or without a bus by polling the store.
    /// What was announced nowhere is found every 30 s; in a large store, less often. A consumer
    /// that is slow delays only itself: at most [`max_in_flight`](FeedOptions::max_in_flight)
    /// events are in memory. While the store is down, the feed waits.
    ///
    /// The feed ends when the engine shuts down; then [`Feed::next`] returns `None`.
    ///
    /// # Errors
    /// [`FeedError`]; nothing was opened.
    ///
    /// # Cancel safety
    /// Dropping the future opens nothing, but leases that were claimed stand until they expire.
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

    /// Deletes the cursors and leases of a feed. No node may have it open. A feed of that name that
    /// is opened later begins anew.
    ///
    /// # Errors
    /// [`FeedError`]. After [`FeedError::Store`] the feed may have been deleted.
    pub async fn delete_feed(&self, name: &str) -> Result<(), FeedError> {
        self.feeds().delete(name).await
    }
}

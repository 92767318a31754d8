//! [`Feeds`]: opening and deleting feeds.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::driver::{Driver, Io};
use super::handle::Feed;
use super::leases::{Leases, delete};
use super::machine::{Machine, WorkAnswer};
use super::names::OpenNames;
use super::options::{FeedError, FeedOptions, FeedScope};
use super::reader::FeedReader;
use super::shared::{EndGuard, Shared};
use crate::engine::lifecycle::Lifecycle;
use crate::engine::store_access::StoreAccess;
use crate::model::NodeId;
use crate::router::Router;
use crate::sync::Mutex;
use crate::time::now;

/// Opens and deletes the feeds of an engine.
#[derive(Debug)]
pub(in crate::engine) struct Feeds {
    access: Arc<StoreAccess>,
    router: Router,
    lifecycle: Lifecycle,
    node: NodeId,
    /// Maximum time for which a closing feed waits for the items that its consumer has.
    close_timeout: Duration,
    open: OpenNames,
}

impl Feeds {
    pub(in crate::engine) fn new(
        access: Arc<StoreAccess>,
        router: Router,
        lifecycle: Lifecycle,
        node: NodeId,
        close_timeout: Duration,
    ) -> Self {
        Self {
            access,
            router,
            lifecycle,
            node,
            close_timeout,
            open: OpenNames::default(),
        }
    }

    /// Opens a feed; see [`Engine::feed`](crate::engine::Engine::feed).
    pub(in crate::engine) async fn open(&self, options: FeedOptions) -> Result<Feed, FeedError> {
        options.validate()?;
        if self.lifecycle.is_draining() {
            return Err(FeedError::ShuttingDown);
        }
        let name = self.open.take(&options.name)?;
        // The watch starts before the first read of the store, so that no commit is missed.
        let watch = self.router.watch_commits(match options.scope {
            FeedScope::User(user) => Some(user),
            FeedScope::AllConversations => None,
        });
        let io = self.io(&options);
        let mut machine = Machine::new(&options, now());
        // The first round of leases runs here, because it fixes the position at which the feed
        // starts: every event that is committed after the feed was opened is handed out.
        for work in machine.poll_work(now()) {
            let answer = io.clone().execute(work).await;
            if let WorkAnswer::Leases(Err(error)) = answer {
                return Err(FeedError::Store(error));
            }
            machine.finish(now(), answer);
        }
        let shared = Arc::new(Shared::new(machine, self.lifecycle.draining().child_token()));
        let driver = Driver {
            shared: Arc::clone(&shared),
            io,
            watch,
            close_timeout: self.close_timeout,
            _name: name,
            _end: EndGuard(Arc::clone(&shared)),
        };
        self.lifecycle.spawn_worker("feed", driver.run());
        Ok(Feed::new(shared))
    }

    fn io(&self, options: &FeedOptions) -> Io {
        let reader = Arc::new(FeedReader {
            access: Arc::clone(&self.access),
            log: self.router.event_log(),
            feed: options.name.clone(),
            scope: options.scope,
        });
        let leases = Arc::new(Leases {
            access: Arc::clone(&self.access),
            reader: Arc::clone(&reader),
            node: self.node,
            start: options.start,
            ttl: options.lease_ttl,
            registration: Mutex::default(),
            is_failing: AtomicBool::default(),
        });
        Io { reader, leases }
    }

    /// Deletes a feed; see [`Engine::delete_feed`](crate::engine::Engine::delete_feed).
    pub(in crate::engine) async fn delete(&self, name: &str) -> Result<(), FeedError> {
        FeedOptions::all_conversations(name).validate()?;
        let _name = self.open.take(name)?;
        match delete(&self.access, self.node, name).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(FeedError::OpenElsewhere(name.to_owned())),
            Err(error) => Err(FeedError::Store(error)),
        }
    }
}

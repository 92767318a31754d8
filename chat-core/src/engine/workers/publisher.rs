//! Publication of committed events.

use std::sync::Arc;

use super::observers::ObserverQueue;
use crate::model::Event;
use crate::router::Router;

/// Publishes committed events to sessions on this node, other nodes and the observing hooks.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Publisher {
    router: Router,
    observers: Arc<ObserverQueue>,
}

impl Publisher {
    pub(in crate::engine) fn new(router: Router, observers: Arc<ObserverQueue>) -> Self {
        Self { router, observers }
    }

    /// Publishes events, which must be in ascending order of `Seq` in each conversation. Never
    /// waits. If two calls for one conversation come in another order than the commits, the router
    /// reads the missing events from the store, and the hooks observe the events in the order of
    /// the calls.
    pub(in crate::engine) fn publish(&self, events: Vec<Event>) {
        if !events.is_empty() {
            self.router.committed(&events);
            self.observers.committed(events);
        }
    }

    /// Delivers events that a retry found in the store to the sessions that may have missed them.
    /// Does not pass them to the observing hooks, which would observe events twice that were
    /// published before. The order of the events is as for [`publish`](Self::publish).
    pub(in crate::engine) fn deliver(&self, found: &[Event]) {
        self.router.committed(found);
    }
}

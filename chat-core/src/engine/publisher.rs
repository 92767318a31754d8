//! Publishing committed events.

use std::sync::Arc;

use super::workers::ObserverQueue;
use crate::model::Event;
use crate::router::Router;

/// Tells sessions on this node, other nodes and the observing hooks what was committed.
#[derive(Clone, Debug)]
pub(super) struct Publisher {
    router: Router,
    observers: Arc<ObserverQueue>,
}

impl Publisher {
    pub(super) fn new(router: Router, observers: Arc<ObserverQueue>) -> Self {
        Self { router, observers }
    }

    /// Publishes events in the order of their `Seq` in each conversation. Never waits.
    pub(super) fn publish(&self, events: Vec<Event>) {
        if !events.is_empty() {
            self.router.committed(&events);
            self.observers.committed(events);
        }
    }
}

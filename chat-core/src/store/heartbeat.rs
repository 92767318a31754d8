//! [`Heartbeat`]: the answer of a store to the heartbeat of a node.

use std::time::Duration;

use crate::model::{NodeId, Timestamp};

/// Answer to [`Store::heartbeat`](super::Store::heartbeat): the other nodes that use the store, and
/// the store's time of day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heartbeat {
    /// Nodes whose last heartbeat is at most [`Heartbeat::PEER_TIMEOUT`] old, without the calling
    /// node, in any order.
    pub peers: Vec<NodeId>,
    /// The store's time of day, with which the node compares its own clock. `None` if the store has
    /// no time of day of its own.
    pub time: Option<Timestamp>,
}

impl Heartbeat {
    /// Time for which a node counts as alive after its last heartbeat.
    pub const PEER_TIMEOUT: Duration = Duration::from_secs(10);

    /// Returns an answer with these peers and this time.
    #[must_use]
    pub const fn new(peers: Vec<NodeId>, time: Option<Timestamp>) -> Self {
        Self { peers, time }
    }
}

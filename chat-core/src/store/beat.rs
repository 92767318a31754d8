//! What a store tells a node of the others.

use std::time::Duration;

use crate::model::{NodeId, Timestamp};

/// Who else works on a store, and what time it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Beat {
    /// Nodes that said so within [`Beat::FRESH`], without the one that asks, in any order.
    pub others: Vec<NodeId>,
    /// The store's own time of day, if it has a clock of its own.
    pub time: Option<Timestamp>,
}

impl Beat {
    /// How long a node that says nothing is taken to be alive.
    pub const FRESH: Duration = Duration::from_secs(10);

    /// These nodes, and this time.
    #[must_use]
    pub const fn new(others: Vec<NodeId>, time: Option<Timestamp>) -> Self {
        Self { others, time }
    }
}

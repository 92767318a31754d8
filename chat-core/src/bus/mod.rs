//! The port between nodes: a doorbell that may fail to ring.
//!
//! What is published reaches each subscriber of its topic at most once; it may be lost, and nothing durable depends on
//! it. A bus that knows it may have lost something says [`BusMessage::Gap`]; nodes then look into the store. Nodes also look
//! by themselves (beacons, sweeps), because a bus may lose something without knowing.

mod memory;

use std::fmt::{self, Debug};

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

pub use memory::MemoryBus;

use crate::model::{ConversationId, NodeId, UserId};

/// What nodes subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Topic {
    /// What happens in a conversation; nodes with a session in it subscribe.
    Conversation(ConversationId),
    /// What happens to a user's sessions; nodes with a session of the user subscribe.
    User(UserId),
    /// Meant for one node.
    Node(NodeId),
    /// Every node subscribes: beacons.
    Control,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conversation(id) => write!(f, "conversation:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Node(id) => write!(f, "node:{id}"),
            Self::Control => f.write_str("control"),
        }
    }
}

/// What a subscription yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusMessage {
    /// An envelope, whole. Its content is untrusted input.
    Envelope(Topic, Bytes),
    /// Something may have been missed since the last delivery.
    Gap,
}

/// Why the bus did not take something.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BusError {
    /// It cannot be reached, or is overloaded.
    #[error("the bus is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It was closed.
    #[error("the bus is closed")]
    Closed,
}

/// Carries envelopes between nodes, at most once each. `testkit` has the contract as code.
#[async_trait]
pub trait MessageBus: Debug + Send + Sync + 'static {
    /// Rings. Returns once the bus took the envelope, which says nothing of its arrival.
    ///
    /// # Errors
    /// [`BusError::Unavailable`]: it may or may not have rung.
    async fn publish(&self, topic: Topic, envelope: Bytes) -> Result<(), BusError>;

    /// Opens this node's one stream of deliveries. It begins with no topics.
    async fn connect(&self) -> Result<Box<dyn Subscriber>, BusError>;

    /// Finishes what was begun and releases connections and tasks. Idempotent.
    async fn close(&self);
}

/// A node's stream of deliveries, and the topics it is made of.
#[async_trait]
pub trait Subscriber: Debug + Send + 'static {
    /// A handle that changes the topics while somebody waits in [`Subscriber::next`].
    fn topics(&self) -> Box<dyn Topics>;

    /// The next delivery; `None` once the bus is closed. Bounded: a subscriber that falls behind gets a
    /// [`BusMessage::Gap`] in place of what was dropped.
    ///
    /// # Cancel safety
    /// Safe: what was not returned is returned by the next call.
    async fn next(&mut self) -> Option<BusMessage>;
}

/// Changes the topics of a [`Subscriber`].
#[async_trait]
pub trait Topics: Debug + Send + Sync + 'static {
    /// From the return on, envelopes of this topic are delivered. Twice is as good as once.
    async fn subscribe(&self, topic: Topic) -> Result<(), BusError>;

    /// Soon after the return, envelopes of this topic are no longer delivered.
    async fn unsubscribe(&self, topic: Topic) -> Result<(), BusError>;
}

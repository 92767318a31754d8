//! Port for messages between nodes. A bus may lose them: except for notices, a node finds in the
//! store what it missed.
//!
//! An envelope is one encoded message of a node. It reaches each subscriber of its topic at most
//! once. It may be lost, and nothing durable depends on it. A bus that knows that it may have lost
//! envelopes delivers [`BusMessage::Gap`]; nodes then read the store. Because a bus may lose
//! envelopes without noticing, nodes also repeat recent announcements in their heartbeats, and
//! compare everything with the store in regular sweeps.
//!
//! A notice is a message for clients that no log of a conversation contains, for example that a
//! user is typing. A lost notice is not repeated.

mod memory;

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

pub use memory::MemoryBus;

use crate::model::{ConversationId, NodeId, UserId};

/// Subject of an envelope. A node receives the envelopes of the topics to which it subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Topic {
    /// Announcements that the log of a conversation has grown, and notices to its members. Nodes
    /// with a session of a member subscribe.
    Conversation(ConversationId),
    /// Announcements that sessions of a user may have ended or that the user has become a member of
    /// a conversation, and notices to the user. Nodes with a session of the user subscribe.
    User(UserId),
    /// Messages for one node. This version neither sends such messages nor subscribes to the topic,
    /// but a bus has to carry them.
    Node(NodeId),
    /// Heartbeats, and requests to compare everything with the store. Every node subscribes.
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

/// A message that a [`Subscriber`] receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusMessage {
    /// A complete envelope, with the topic on which it was published. Its content is untrusted
    /// input.
    Envelope(Topic, Bytes),
    /// Envelopes may have been lost since the last message.
    Gap,
}

/// Error of a call to the bus.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BusError {
    /// The bus cannot be reached, or is overloaded.
    #[error("the message bus is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The bus was closed by [`MessageBus::close`].
    #[error("the message bus is closed")]
    Closed,
}

impl BusError {
    /// Returns the error for a bus that did not answer within `timeout`.
    pub(crate) fn timed_out(timeout: Duration) -> Self {
        Self::Unavailable(format!("the message bus did not answer within {timeout:?}").into())
    }
}

/// Carries envelopes between nodes, each at most once. The feature `testkit` contains a conformance
/// suite.
#[async_trait]
pub trait MessageBus: Debug + Send + Sync + 'static {
    /// Publishes an envelope. Returns once the bus has accepted the envelope, which may still be
    /// lost.
    ///
    /// # Errors
    /// [`BusError::Unavailable`]: the envelope may or may not have been published.
    /// [`BusError::Closed`]: it was not published.
    async fn publish(&self, topic: Topic, envelope: Bytes) -> Result<(), BusError>;

    /// Opens a stream of messages. It is subscribed to no topic at first.
    async fn connect(&self) -> Result<Box<dyn Subscriber>, BusError>;

    /// Finishes running calls, and releases connections and tasks. Idempotent.
    async fn close(&self);
}

/// A node's stream of messages from the topics that it subscribed to.
#[async_trait]
pub trait Subscriber: Debug + Send + 'static {
    /// Returns a handle that changes the topics while another task waits in [`Subscriber::next`].
    fn topics(&self) -> Box<dyn Topics>;

    /// Returns the next message, or `None` once the bus is closed and no message is queued. The
    /// queue is bounded: a subscriber that falls behind receives a [`BusMessage::Gap`] in place of
    /// the envelopes that were dropped.
    ///
    /// # Cancel safety
    /// Safe: a message that was not returned is returned by the next call.
    async fn next(&mut self) -> Option<BusMessage>;
}

/// Changes the topics of a [`Subscriber`].
#[async_trait]
pub trait Topics: Debug + Send + Sync + 'static {
    /// Subscribes to a topic: envelopes published after the return are delivered, unless they are
    /// lost. Idempotent.
    async fn subscribe(&self, topic: Topic) -> Result<(), BusError>;

    /// Unsubscribes from a topic: delivery of its envelopes stops soon after the return.
    /// Idempotent.
    async fn unsubscribe(&self, topic: Topic) -> Result<(), BusError>;
}

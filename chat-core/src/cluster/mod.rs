//! Ports to soft state that expires unless it is renewed: which nodes there are, and which users can be reached.

mod memory;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::watch;

pub use memory::{MemoryDiscovery, MemoryPresence};

use crate::model::{DeviceId, NodeId, PresenceState, UserId};

/// What a node tells the others of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeInfo {
    /// Its id, the same for its whole life.
    pub id: NodeId,
    /// Grows at each start, so that old claims can be told from new.
    pub incarnation: u64,
    /// Where clients reach it, as `sc1://host:port` and the like; empty if nowhere.
    pub addresses: Vec<String>,
    /// Live sessions.
    pub sessions: u32,
    /// It asks for no new sessions: it is about to end, cannot reach its store, or does not know the time.
    pub draining: bool,
}

/// The nodes there are, newest view, the own one among them.
pub type Nodes = Arc<[NodeInfo]>;

/// Why the cluster's soft state could not be read or written. Nothing durable depends on it.
#[derive(Debug, Error)]
#[error("the cluster state is unavailable")]
pub struct ClusterError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Finds the other nodes.
///
/// A node is in the view once, whatever it told last. What a life of a node tells changes nothing once a later life was heard
/// of. `testkit` has the contract as code.
#[async_trait]
pub trait Discovery: Debug + Send + Sync + 'static {
    /// Makes the node known and yields the newest whole view, not differences. The backend keeps the claim alive until the
    /// node leaves, or its process dies, whether or not the view is still looked at.
    async fn join(&self, me: NodeInfo) -> Result<watch::Receiver<Nodes>, ClusterError>;

    /// Replaces what the node tells of itself.
    async fn update(&self, me: NodeInfo) -> Result<(), ClusterError>;

    /// Withdraws the node; does nothing if it is not known.
    async fn leave(&self, id: NodeId) -> Result<(), ClusterError>;
}

/// Knows which devices of which users are connected, on any node. A claim lives as long as its node's lease does. What was set or
/// cleared is seen by whoever asks afterwards. `testkit` has the contract as code.
#[async_trait]
pub trait Presence: Debug + Send + Sync + 'static {
    /// This device is connected to this node, in this state. A newer claim of the same device replaces an older one.
    async fn set(&self, node: NodeId, user: UserId, device: DeviceId, state: PresenceState)
    -> Result<(), ClusterError>;

    /// This device is no longer connected to this node. Does nothing if another node claimed it since.
    async fn clear(&self, node: NodeId, user: UserId, device: DeviceId) -> Result<(), ClusterError>;

    /// Connected devices of these users and their states, in any order.
    async fn devices(&self, users: &[UserId]) -> Result<Vec<(UserId, DeviceId, NodeId, PresenceState)>, ClusterError>;
}

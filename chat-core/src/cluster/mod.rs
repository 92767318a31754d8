//! Ports to soft state, which expires unless it is renewed: which nodes are alive, and which
//! devices are connected to them.

mod memory;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::watch;

pub use memory::{MemoryDiscovery, MemoryPresence};

use crate::model::{DeviceId, NodeId, PresenceState, UserId};

/// Information about a node that it gives to the others.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Id of the node, the same from start to end.
    pub id: NodeId,
    /// Grows at each start, so that old claims can be told from new ones.
    pub incarnation: u64,
    /// Addresses at which clients reach the node, as `sc1://host:port` and the like; empty if it
    /// accepts none.
    pub addresses: Vec<String>,
    /// Number of live sessions.
    pub sessions: u32,
    /// The node asks for no new sessions: it is about to end, cannot reach its store, or its clock
    /// is wrong.
    pub draining: bool,
}

impl NodeInfo {
    /// Returns the info of a node without addresses and sessions, which takes new sessions.
    #[must_use]
    pub const fn new(id: NodeId, incarnation: u64) -> Self {
        Self {
            id,
            incarnation,
            addresses: Vec::new(),
            sessions: 0,
            draining: false,
        }
    }
}

/// The newest view of the live nodes, including the one that looks.
pub type Nodes = Arc<[NodeInfo]>;

/// The cluster's soft state could not be read or written. Nothing durable depends on it.
#[derive(Debug, Error)]
#[error("the cluster state is unavailable")]
pub struct ClusterError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Finds the other nodes.
///
/// A node is in the view once, with the info that it gave last. An info of one incarnation changes
/// nothing once a later incarnation of the node was seen. The feature `testkit` has the contract as
/// code.
#[async_trait]
pub trait Discovery: Debug + Send + Sync + 'static {
    /// Adds the node and returns the view of all nodes: always the newest whole one, not
    /// differences. The backend keeps the node in the view until it leaves or its process dies,
    /// whether or not the returned view is still watched.
    async fn join(&self, me: NodeInfo) -> Result<watch::Receiver<Nodes>, ClusterError>;

    /// Replaces the node's info.
    async fn update(&self, me: NodeInfo) -> Result<(), ClusterError>;

    /// Removes the node from the view. Does nothing if it is not there.
    async fn leave(&self, id: NodeId) -> Result<(), ClusterError>;
}

/// Keeps which devices of which users are connected, on any node. A claim lives as long as its
/// node's lease. A change is visible to every call that begins after it returned. The feature
/// `testkit` has the contract as code.
#[async_trait]
pub trait Presence: Debug + Send + Sync + 'static {
    /// Claims that a device is connected to this node, in this state. Replaces an older claim of
    /// the same device.
    async fn set(&self, node: NodeId, user: UserId, device: DeviceId, state: PresenceState)
    -> Result<(), ClusterError>;

    /// Ends this node's claim of a device. Does nothing if another node has claimed the device
    /// since.
    async fn clear(&self, node: NodeId, user: UserId, device: DeviceId) -> Result<(), ClusterError>;

    /// Returns the connected devices of these users, with node and state, in any order.
    async fn devices(&self, users: &[UserId]) -> Result<Vec<(UserId, DeviceId, NodeId, PresenceState)>, ClusterError>;
}

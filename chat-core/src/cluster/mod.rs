//! Traits by which the engine reaches soft state, which expires unless it is renewed: which nodes
//! are alive, and which devices are connected to them.

mod memory;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::watch;

pub use memory::{MemoryDiscovery, MemoryPresence};

use crate::model::{DeviceId, NodeId, PresenceState, UserId};

/// Information that a node publishes to the other nodes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Id of the node, which does not change while the node runs.
    pub id: NodeId,
    /// Number that grows at each start of the node, so that an info that an earlier run published
    /// can be recognised.
    pub incarnation: u64,
    /// Addresses at which clients reach the node, such as `sc1://host:port`; empty if the node
    /// accepts no clients.
    pub addresses: Vec<String>,
    /// Number of live sessions.
    pub sessions: u32,
    /// True if the node accepts no new sessions, because it is about to stop, is not
    /// [ready](crate::engine::Readiness), or has closed a listener.
    pub accepts_no_sessions: bool,
}

impl NodeInfo {
    /// Returns the info of a node without addresses and sessions, which accepts new sessions.
    #[must_use]
    pub const fn new(id: NodeId, incarnation: u64) -> Self {
        Self {
            id,
            incarnation,
            addresses: Vec::new(),
            sessions: 0,
            accepts_no_sessions: false,
        }
    }
}

/// View of a cluster: one info for each node that is known to be alive, including the node that
/// reads the view.
pub type Nodes = Arc<[NodeInfo]>;

/// Error of a call to [`Discovery`] or [`Presence`]: the cluster's soft state could not be read or
/// written. Nothing durable depends on that state.
#[derive(Debug, Error)]
#[error("the cluster state is unavailable")]
pub struct ClusterError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Service by which the nodes of a cluster find each other.
///
/// A node is in the [view](Nodes) once, with the info that it published last. An info of an older
/// incarnation than the known one is ignored. The feature `testkit` contains a conformance suite.
#[async_trait]
pub trait Discovery: Debug + Send + Sync + 'static {
    /// Adds the node and returns the view. If the node cannot be added now, this fails, or the
    /// backend adds the node later. The receiver always has the latest complete view, not
    /// differences. The backend keeps the node in the view until the node leaves or its process
    /// ends, even if the receiver is dropped.
    async fn join(&self, me: NodeInfo) -> Result<watch::Receiver<Nodes>, ClusterError>;

    /// Replaces the info of a node that has joined.
    async fn update(&self, me: NodeInfo) -> Result<(), ClusterError>;

    /// Removes the node from the view. Does nothing if the node is not in the view.
    async fn leave(&self, id: NodeId) -> Result<(), ClusterError>;
}

/// Records which devices of which users are connected to which node. A claim is valid until it is
/// cleared or replaced, or until the lease of its node expires; the backend renews the lease while
/// the node runs. Nodes also repeat their claims regularly, so a backend may drop a claim that was
/// not repeated for a day. A change is visible to every call that starts after the change has
/// returned. The feature `testkit` contains a conformance suite.
#[async_trait]
pub trait Presence: Debug + Send + Sync + 'static {
    /// Claims that a device is connected to `node`, in this state, which is not `Offline`. Replaces
    /// an older claim of the same device.
    async fn set(&self, node: NodeId, user: UserId, device: DeviceId, state: PresenceState)
    -> Result<(), ClusterError>;

    /// Ends the claim of a device by `node`. Does nothing if another node has claimed the device
    /// since.
    async fn clear(&self, node: NodeId, user: UserId, device: DeviceId) -> Result<(), ClusterError>;

    /// Returns the connected devices of these users, with node and state, in any order.
    async fn devices(&self, users: &[UserId]) -> Result<Vec<(UserId, DeviceId, NodeId, PresenceState)>, ClusterError>;
}

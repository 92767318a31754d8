//! Discovery and presence inside one process.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{ClusterError, Discovery, NodeInfo, Nodes, Presence};
use crate::model::{DeviceId, NodeId, PresenceState, UserId};
use crate::sync::Mutex;

/// A [`Discovery`] of the nodes of one process. Clones share one view. A node is in the view until
/// it leaves.
#[derive(Clone, Debug)]
pub struct MemoryDiscovery {
    nodes: Arc<watch::Sender<Nodes>>,
}

impl Default for MemoryDiscovery {
    fn default() -> Self {
        Self {
            nodes: Arc::new(watch::Sender::new(Arc::from([]))),
        }
    }
}

impl MemoryDiscovery {
    /// Creates a discovery without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the info of a node, which is added if it is not in the view; `None` removes the node.
    /// An info of an older incarnation than the known one changes nothing.
    fn set_info(&self, id: NodeId, info: Option<NodeInfo>) {
        self.nodes.send_modify(|nodes| {
            let known = nodes.iter().find(|node| node.id == id);
            let is_stale = |info: &NodeInfo| known.is_some_and(|known| known.incarnation > info.incarnation);
            if info.as_ref().is_some_and(is_stale) {
                return;
            }
            let others = nodes.iter().filter(|node| node.id != id).cloned();
            *nodes = others.chain(info).collect();
        });
    }
}

#[async_trait]
impl Discovery for MemoryDiscovery {
    async fn join(&self, me: NodeInfo) -> Result<watch::Receiver<Nodes>, ClusterError> {
        self.set_info(me.id, Some(me));
        Ok(self.nodes.subscribe())
    }

    async fn update(&self, me: NodeInfo) -> Result<(), ClusterError> {
        self.set_info(me.id, Some(me));
        Ok(())
    }

    async fn leave(&self, id: NodeId) -> Result<(), ClusterError> {
        self.set_info(id, None);
        Ok(())
    }
}

/// A [`Presence`] for the nodes of one process. Clones share one state. There are no leases: a
/// claim is valid until it is cleared or replaced.
#[derive(Clone, Debug, Default)]
pub struct MemoryPresence {
    claims: Arc<Mutex<HashMap<UserId, Vec<Claim>>>>,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    device: DeviceId,
    node: NodeId,
    state: PresenceState,
}

impl MemoryPresence {
    /// Creates a presence service without claims.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes the claims of a node, as if its lease had expired.
    #[cfg(test)]
    pub(crate) fn expire(&self, node: NodeId) {
        self.claims.lock().retain(|_, claims| {
            claims.retain(|claim| claim.node != node);
            !claims.is_empty()
        });
    }
}

#[async_trait]
impl Presence for MemoryPresence {
    async fn set(
        &self,
        node: NodeId,
        user: UserId,
        device: DeviceId,
        state: PresenceState,
    ) -> Result<(), ClusterError> {
        let mut all = self.claims.lock();
        let claims = all.entry(user).or_default();
        claims.retain(|claim| claim.device != device);
        claims.push(Claim { device, node, state });
        Ok(())
    }

    async fn clear(&self, node: NodeId, user: UserId, device: DeviceId) -> Result<(), ClusterError> {
        let mut all = self.claims.lock();
        if let Some(claims) = all.get_mut(&user) {
            claims.retain(|claim| claim.device != device || claim.node != node);
            if claims.is_empty() {
                all.remove(&user);
            }
        }
        Ok(())
    }

    async fn devices(&self, users: &[UserId]) -> Result<Vec<(UserId, DeviceId, NodeId, PresenceState)>, ClusterError> {
        let all = self.claims.lock();
        let claims_of = |user: &UserId| all.get(user).map(|claims| (*user, claims.clone()));
        let claims = users.iter().filter_map(claims_of);
        Ok(claims
            .flat_map(|(user, claims)| claims.into_iter().map(move |c| (user, c.device, c.node, c.state)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn expired_lease_ends_the_claims_of_its_node_only() {
        let presence = MemoryPresence::new();
        let (expired, live) = (NodeId([1; 16]), NodeId([2; 16]));
        let (phone, laptop) = (DeviceId([1; 16]), DeviceId([2; 16]));
        let user = UserId(1);
        presence.set(expired, user, phone, PresenceState::Online).await.unwrap();
        presence.set(live, user, laptop, PresenceState::Idle).await.unwrap();
        presence.expire(expired);
        let claims = presence.devices(&[user]).await.unwrap();
        assert_eq!(claims, [(user, laptop, live, PresenceState::Idle)]);
        presence.set(live, user, phone, PresenceState::Online).await.unwrap();
        assert_eq!(
            presence.devices(&[user]).await.unwrap().len(),
            2,
            "the other node claims the device"
        );
        presence.expire(live);
        assert!(
            presence.claims.lock().is_empty(),
            "a user without claims costs no memory"
        );
    }
}
